package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// Serve adds an endpoint to the service of a gateway, next to those of the queue itself: funker.<name>. What answer
// returns is sent as JSON. Its context ends after limit. Requests are answered side by side.
func (q *Queue) Serve(name string, limit time.Duration, answer func(ctx context.Context, body string) (any, error)) error {
	if q.service == nil {
		return errors.New("only a gateway serves")
	}
	if err := q.service.add("funker."+name, limit, answer); err != nil {
		return err
	}
	return q.listening()
}

// Ask sends a request, a text or anything as JSON, to an endpoint of the gateway, funker.<name>, and decodes the answer.
// It waits until ctx ends. Errors: ErrUnavailable, and those of the endpoint by their text.
func Ask[T any](ctx context.Context, q *Queue, name string, request any) (T, error) {
	return askUntil[T](ctx, q, name, request)
}

const (
	subjectFunctions        = "funker.manifest"         // request: the functions, as JSON
	subjectFunctionsChanged = "funker.manifest.changed" // notice: they may be others now
	functionsRecheck        = 10 * time.Second          // for a notice that was lost
)

// ServeFunctions answers the workers that ask for the functions, with what get returns: JSON.
func (q *Queue) ServeFunctions(get func() ([]byte, error)) error {
	return q.Serve("manifest", publishLimit, func(context.Context, string) (any, error) {
		data, err := get()
		return json.RawMessage(data), err
	})
}

// AnnounceFunctions tells the workers that the functions have changed.
func (q *Queue) AnnounceFunctions() error {
	if err := q.nc.Publish(subjectFunctionsChanged, nil); err != nil {
		return fmt.Errorf("announce functions: %w", err)
	}
	return nil
}

// FollowFunctions calls changed with the functions of the gateway, as soon as it answers and whenever they have changed,
// until ctx is cancelled.
func (q *Queue) FollowFunctions(ctx context.Context, changed func([]byte)) error {
	notices := make(chan *nats.Msg, 1)
	sub, err := q.nc.Subscribe(subjectFunctionsChanged, func(m *nats.Msg) {
		select {
		case notices <- m:
		default: // one is waiting already
		}
	})
	if err != nil {
		return fmt.Errorf("subscribe to changes of the functions: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is closed
	var last string
	t := time.NewTicker(functionsRecheck)
	defer t.Stop()
	for {
		if data, err := q.functions(ctx); err != nil && ctx.Err() == nil {
			q.log.Warn("the gateway does not say which functions there are: asking again", "error", err)
		} else if err == nil && string(data) != last {
			last = string(data)
			changed(data)
		}
		select {
		case <-notices:
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// functions asks the gateway, as often as it takes within publishLimit.
func (q *Queue) functions(ctx context.Context) ([]byte, error) {
	m, err := q.ask(ctx, subjectFunctions, nil)
	if err != nil {
		return nil, err
	}
	return m.Data, answered(m)
}
