package trigger

import (
	"errors"
	"strings"
)

// What repeats are found by, for Config.Dedupe, besides JSON pointers.
const (
	DedupeID   = "id"   // the sender's id
	DedupeBody = "body" // the whole body
)

// dedupe makes the identity of requests whose senders do not keep their ids.
type dedupe struct {
	body bool
	at   pointer // nil: nowhere
}

// CheckDedupe says what is wrong with a Config.Dedupe. Its errors complete the
// sentence "dedupe …".
func CheckDedupe(s string) error {
	_, err := newDedupe(s)
	return err
}

func newDedupe(s string) (dedupe, error) {
	switch s {
	case "", DedupeID:
		return dedupe{}, nil
	case DedupeBody:
		return dedupe{body: true}, nil
	}
	if !strings.HasPrefix(s, "/") {
		return dedupe{}, errors.New("is none of id, body and a JSON pointer: write for example /data/id")
	}
	at, err := parsePointer(s)
	return dedupe{at: at}, err
}

// identity is the id where the body has nothing at the path: the sender's other
// messages, which have another shape, must not be lost or taken for one.
func (d dedupe) identity(id string, body []byte) (string, error) {
	if d.body {
		return bodyIdentity(body), nil
	}
	if d.at == nil {
		return id, nil
	}
	found, err := scalarAt(body, d.at)
	if found.text == "" {
		return id, err
	}
	return found.text, err
}
