package trigger

import (
	"errors"
	"strings"
)

// place is where a request has a value: nowhere, in a header, or at a JSON
// pointer (RFC 6901) of its body.
type place struct {
	header  string
	pointer pointer
}

// CheckPlace returns an error when from is neither "", nor the name of a header
// such as "X-Request-Id", nor a JSON pointer such as "/data/id".
func CheckPlace(from string) error {
	_, err := parsePlace(from)
	return err
}

func parsePlace(from string) (place, error) {
	switch {
	case strings.HasPrefix(from, "/"):
		at, err := parsePointer(from)
		return place{pointer: at}, err
	case from != "" && !isHeaderName(from):
		return place{}, errors.New("is neither the name of a header, such as X-Request-Id, nor a JSON pointer into the body, such as /data/id")
	}
	return place{header: from}, nil
}

// isHeaderName says whether s is a token (RFC 9110) of reasonable length.
func isHeaderName(s string) bool {
	const others = "!#$%&'*+-.^_`|~"
	return s != "" && len(s) <= 128 && strings.IndexFunc(s, func(c rune) bool {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		return !letter && !strings.ContainsRune(others, c)
	}) < 0
}

// value is what a request has there, "" when it has nothing.
func (p place) value(r Request) (string, error) {
	if p.pointer == nil {
		return r.Header.Get(p.header), nil
	}
	found, err := scalarAt(r.Body, p.pointer)
	if err == nil && found.unfit {
		err = refuse(ReasonMalformed, "the manifest takes a name or an id from the body, and there it is not a string or a number of up to %d bytes without control characters", maxName)
	}
	return found.text, err
}
