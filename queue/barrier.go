package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// What workers of other processes ask the gateway.
const (
	subjectSync    = "funker.sync"    // "<stream>" or nothing: answered when what the server has confirmed there is on disk
	subjectSettled = "funker.settled" // "<root> <message>": whether the run has moved on from the message or has ended
)

// flush returns when everything is on disk that the server has confirmed so far in a stream, or in all when it is "".
func (q *Queue) flush(ctx context.Context, stream string) error {
	switch {
	case q.sync != nil:
		if err := q.sync.wait(ctx, stream); err != nil {
			return fmt.Errorf("%w: sync to disk: %w", ErrUnavailable, err)
		}
	case !q.gateway():
		m, err := q.ask(ctx, subjectSync, []byte(stream))
		if err != nil {
			return fmt.Errorf("wait for the sync: %w", err)
		}
		if text := m.Header.Get(micro.ErrorHeader); text != "" {
			return fmt.Errorf("%w: sync to disk: %s", ErrUnavailable, text)
		}
	}
	return nil
}

// flushAll does the same for everything in the store, the state of consumers too.
func (q *Queue) flushAll() error {
	if q.sync == nil {
		return nil
	}
	return q.sync.all()
}

// isSettled reports whether a run has ended or has moved on from the message at hand. It returns
// ErrUnavailable when the gateway does not answer.
func (q *Queue) isSettled(ctx context.Context, root, at string) (bool, error) {
	if q.gateway() {
		ctx, cancel := context.WithTimeout(ctx, publishLimit)
		defer cancel()
		settled, err := q.settled(ctx, root, at)
		if errors.Is(err, ErrIndexing) || errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return settled, err
	}
	m, err := q.ask(ctx, subjectSettled, []byte(root+" "+at))
	if err == nil {
		err = answered(m)
	}
	if err != nil {
		return false, fmt.Errorf("ask whether %s is settled: %w", root, err)
	}
	return string(m.Data) == "true", nil
}

// ask returns the gateway's answer. It asks again after the connection broke, and while the gateway starts: it takes
// connections a little before it answers. Errors: ErrUnavailable.
func (q *Queue) ask(ctx context.Context, subject string, body []byte) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, publishLimit)
	defer cancel()
	for {
		m, err := q.request(ctx, subject, body)
		if err == nil {
			return m, nil
		}
		if errors.Is(err, nats.ErrConnectionClosed) {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		select {
		case <-time.After(restTime):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
}

// serveWorkers answers both.
func (q *Queue) serveWorkers() error {
	for subject, answer := range map[string]func(context.Context, string) (any, error){
		subjectSync: func(ctx context.Context, stream string) (any, error) { return true, q.flush(ctx, stream) },
		subjectSettled: func(ctx context.Context, body string) (any, error) {
			root, at, _ := strings.Cut(body, " ")
			return q.settled(ctx, root, at)
		},
	} {
		if err := q.service.add(subject, publishLimit, answer); err != nil {
			return err
		}
	}
	return nil
}
