package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrFull means that the store has reached a limit. Nothing was stored; the sender may try again later.
	ErrFull = errors.New("the store is full")
	// ErrUnavailable means that the queue could not be reached or is stopping. Whether the event was stored is not
	// known; publishing it again is harmless.
	ErrUnavailable = errors.New("the queue is not available")
	// ErrTooLarge means that a body exceeds MaxBody.
	ErrTooLarge = fmt.Errorf("body is over %d bytes", MaxBody)
)

// publishLimit is how long Publish waits for the disk when the context has no earlier deadline.
const publishLimit = 5 * time.Second

// Receipt says where an event is stored.
type Receipt struct {
	ID        string // of the event; of the first one when this is a duplicate
	Duplicate bool   // the sender's delivery id was seen within the last ten minutes: nothing new was stored
}

// Publish stores an event durably. When it returns without an error, the event survives a power cut. It sets e.ID
// when it is empty. Errors: ErrFull, ErrUnavailable, ErrTooLarge, ErrName.
func (q *Queue) Publish(ctx context.Context, e *Event) (Receipt, error) {
	subject, err := prepare(e, eventSubject)
	if err != nil {
		return Receipt{}, err
	}
	msg := encode(e, subject)
	msg.Header[headerMsgID] = []string{messageID(e)}
	ack, err := q.store(ctx, msg)
	if err != nil {
		return Receipt{}, err
	}
	if !ack.Duplicate {
		return Receipt{ID: e.ID}, nil
	}
	first, err := q.message(ctx, streamEvents, ack.Sequence)
	if err != nil {
		return Receipt{}, fmt.Errorf("look up first copy: %w", err)
	}
	return Receipt{ID: first.Header.Get(headerID), Duplicate: true}, nil
}

// store publishes msg to its stream and waits until it is on disk.
func (q *Queue) store(ctx context.Context, msg *nats.Msg) (*jetstream.PubAck, error) {
	ctx, cancel := context.WithTimeout(ctx, publishLimit)
	defer cancel()
	ack, err := q.js.PublishMsg(ctx, msg)
	switch {
	case err == nil:
		return ack, nil
	case full(err):
		return nil, fmt.Errorf("%w: %w", ErrFull, err)
	case unavailable(err):
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil, fmt.Errorf("publish to %s: %w", msg.Subject, err)
}

// prepare gives e its id and makes its subject.
func prepare(e *Event, subject func(source, function string) string) (string, error) {
	if len(e.Body) > MaxBody {
		return "", fmt.Errorf("%w: it has %d", ErrTooLarge, len(e.Body))
	}
	source, err := Token(e.Source)
	if err != nil {
		return "", err
	}
	function, err := Token(e.Function)
	if err != nil {
		return "", err
	}
	if e.ID == "" {
		e.ID = NewID()
	}
	return subject(source, function), nil
}
