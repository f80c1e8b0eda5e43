package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// A Queue made by Dial has no index of its own. It asks the gateway.

// answerError is an error whose text does not begin with what it is.
type answerError struct {
	text string
	kind error
}

func (e *answerError) Error() string { return e.text }
func (e *answerError) Unwrap() error { return e.kind }

// kindOf is what an error with a status is; the text tells those apart that share one.
func kindOf(code string) error {
	switch code {
	case "404":
		return ErrNotFound
	case "400":
		return ErrArgument
	case "409":
		return ErrConflict
	case "425":
		return errors.Join(ErrUnavailable, ErrIndexing)
	case "503":
		return ErrUnavailable
	}
	return nil
}

// answered returns the error that an endpoint sent in place of its answer.
func answered(m *nats.Msg) error {
	if text := m.Header.Get(micro.ErrorHeader); text != "" {
		return &answerError{text, kindOf(m.Header.Get(micro.ErrorCodeHeader))}
	}
	return nil
}

// ask sends a request to an endpoint of the gateway's service: a text, or anything as JSON.
func ask[T any](ctx context.Context, q *Queue, endpoint string, request any) (answer T, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*publishLimit)
	defer cancel()
	return askUntil[T](ctx, q, endpoint, request)
}

// askUntil is ask without a time limit of its own.
func askUntil[T any](ctx context.Context, q *Queue, endpoint string, request any) (answer T, err error) {
	var body []byte
	switch r := request.(type) {
	case nil:
	case string:
		body = []byte(r)
	default:
		if body, err = json.Marshal(r); err != nil {
			return answer, fmt.Errorf("ask for %s: %w", endpoint, err)
		}
	}
	m, err := q.nc.RequestWithContext(ctx, "funker."+endpoint, body)
	if err != nil {
		return answer, failed(err, "ask for "+endpoint)
	}
	if err := answered(m); err != nil {
		return answer, err
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return answer, fmt.Errorf("answer of %s: %w", endpoint, err)
	}
	return answer, nil
}

// askRecord is Get. A large body does not come with the answer.
func (q *Queue) askRecord(ctx context.Context, text string) (Record, error) {
	r, err := ask[Record](ctx, q, "show", text)
	if err != nil || !r.Omitted {
		return r, err
	}
	at := parseRef(r.Origin)
	m, err := q.message(ctx, at.shelf().String(), at.seq())
	if err != nil {
		return Record{}, err
	}
	body, err := q.body(ctx, m.Header, m.Data)
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return Record{}, err
	}
	r.Body, r.Omitted = body, false
	return r, nil
}

// askRef is resolve.
func (q *Queue) askRef(ctx context.Context, text string) (ref, error) {
	name, err := ask[string](ctx, q, "find", text)
	return parseRef(name), err
}
