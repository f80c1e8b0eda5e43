package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
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
		if p[s], err = positionsIn(ctx, js, s.String()); err != nil {
			return p, err
		}
	}
	return p, nil
}

func positionsIn(ctx context.Context, js jetstream.JetStream, name string) (found map[string]position, err error) {
	ctx, cancel := context.WithTimeout(ctx, publishLimit)
	defer cancel()
	var stream jetstream.Stream
	err = insist(ctx, func(ctx context.Context) (err error) { stream, err = js.Stream(ctx, name); return err })
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	if c := stream.CachedInfo().Cluster; c != nil && len(c.Replicas) > 0 {
		found, err = eachPosition(ctx, stream)
	} else {
		found, err = listPositions(ctx, stream)
	}
	if err != nil {
		return nil, fmt.Errorf("list consumers of %s: %w", name, err)
	}
	return found, nil
}

func listPositions(ctx context.Context, stream jetstream.Stream) (map[string]position, error) {
	found := map[string]position{}
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		if token, ok := strings.CutPrefix(info.Name, consumerName("")); ok {
			found[token] = newPosition(info)
		}
	}
	return found, list.Err()
}

// positionsAtOnce bounds the questions that wait for an answer.
const positionsAtOnce = 16

// eachPosition asks the server that leads each. For a list a cluster waits four seconds while it has lost a server, with which
// are gone the consumers that it had alone, such as those by which gateways read; and then leaves out what is not known.
func eachPosition(ctx context.Context, stream jetstream.Stream) (map[string]position, error) {
	names, err := functionConsumers(ctx, stream)
	if err != nil {
		return nil, err
	}
	found := map[string]position{}
	var mu sync.Mutex
	var asked errgroup.Group
	asked.SetLimit(positionsAtOnce)
	for _, name := range names {
		asked.Go(func() error {
			return insist(ctx, func(ctx context.Context) error {
				c, err := stream.Consumer(ctx, name)
				if errors.Is(err, jetstream.ErrConsumerNotFound) {
					return nil // it has gone meanwhile
				}
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				found[strings.TrimPrefix(name, consumerName(""))] = newPosition(c.CachedInfo())
				return nil
			})
		})
	}
	return found, asked.Wait()
}

// functionConsumers are the names of those of functions.
func functionConsumers(ctx context.Context, stream jetstream.Stream) (found []string, err error) {
	err = insist(ctx, func(ctx context.Context) error {
		found = nil
		names := stream.ConsumerNames(ctx)
		for name := range names.Name() {
			if strings.HasPrefix(name, consumerName("")) {
				found = append(found, name)
			}
		}
		return names.Err()
	})
	return found, err
}
