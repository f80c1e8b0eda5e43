package queue

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// position is how far the workers of a function have come in a stream.
type position struct {
	known     bool   // the function has a consumer
	delivered uint64 // sequence of the last message that a worker was given
	floor     uint64 // sequence up to which all are acknowledged
	waiting   uint64 // messages that nobody has pulled
	running   int    // messages given to a worker and not settled
}

func newPosition(info *jetstream.ConsumerInfo) position {
	return position{
		known: true, delivered: info.Delivered.Stream, floor: info.AckFloor.Stream, waiting: info.NumPending, running: info.NumAckPending,
	}
}

// positions are those of the functions in each stream, by their tokens.
type positions [shelves]map[string]position

// positionsOf asks for those of all functions in some streams.
func positionsOf(ctx context.Context, js jetstream.JetStream, streams ...shelf) (p positions, err error) {
	for _, s := range streams {
		stream, err := js.Stream(ctx, s.String())
		if err != nil {
			return p, fmt.Errorf("open %s: %w", s, err)
		}
		p[s] = map[string]position{}
		list := stream.ListConsumers(ctx)
		for info := range list.Info() {
			if token, ok := strings.CutPrefix(info.Name, consumerName("")); ok {
				p[s][token] = newPosition(info)
			}
		}
		if err := list.Err(); err != nil {
			return p, fmt.Errorf("list consumers of %s: %w", s, err)
		}
	}
	return p, nil
}
