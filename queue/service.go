package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/micro"
)

// serve answers the stock nats CLI: `nats req funker.events 20`, `nats req funker.replay <id>`, `nats service info funker`.
func (q *Queue) serve() error {
	s, err := micro.AddService(q.nc, micro.Config{
		Name: "funker", Version: "1.0.0", Description: "look at and replay events and calls",
		ErrorHandler: func(_ micro.Service, e *micro.NATSError) {
			q.log.Error("service", "subject", e.Subject, "error", e.Description)
		},
	})
	if err != nil {
		return fmt.Errorf("register service: %w", err)
	}
	q.service = s
	for subject, answer := range map[string]func(context.Context, string) (any, error){
		"events": func(ctx context.Context, arg string) (any, error) { return q.recent(ctx, "event", arg) },
		"calls":  func(ctx context.Context, arg string) (any, error) { return q.recent(ctx, "call", arg) },
		"show":   func(ctx context.Context, arg string) (any, error) { return q.Get(ctx, arg) },
		"replay": func(ctx context.Context, arg string) (any, error) {
			ref, to, _ := strings.Cut(arg, " ")
			return q.Replay(ctx, ref, to)
		},
		"stats": func(ctx context.Context, _ string) (any, error) { return q.Stats(ctx) },
	} {
		if err := s.AddEndpoint(subject, endpoint(answer), micro.WithEndpointSubject("funker."+subject)); err != nil {
			return fmt.Errorf("register endpoint %s: %w", subject, err)
		}
	}
	return nil
}

// recent lists the newest records; arg is how many.
func (q *Queue) recent(ctx context.Context, kind, arg string) (any, error) {
	limit := DefaultLimit
	if arg != "" {
		n, err := strconv.Atoi(arg)
		if err != nil || n < 1 || n > MaxLimit {
			return nil, fmt.Errorf("%w: the body is how many to list, 1 to %d", errArgument, MaxLimit)
		}
		limit = n
	}
	return q.List(ctx, Filter{Kind: kind, Limit: limit})
}

var errArgument = errors.New("bad argument")

func endpoint(answer func(context.Context, string) (any, error)) micro.HandlerFunc {
	return func(r micro.Request) {
		ctx, cancel := context.WithTimeout(context.Background(), publishLimit)
		defer cancel()
		v, err := answer(ctx, strings.TrimSpace(string(r.Data())))
		if err == nil {
			var data []byte
			if data, err = json.Marshal(v); err == nil {
				err = r.Respond(data)
			}
		}
		if err != nil {
			// Only a closed connection keeps an error from being sent, and then nobody waits for it.
			_ = r.Error(statusOf(err), oneLine(err.Error()), nil)
		}
	}
}

func statusOf(err error) string {
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrNoFunction):
		return "404"
	case errors.Is(err, errArgument), errors.Is(err, ErrName):
		return "400"
	case errors.Is(err, ErrFull), errors.Is(err, ErrUnavailable):
		return "503"
	}
	return "500"
}
