package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/worker"
)

// drainRate makes the backlog whose end is timed as long as a figure of the table takes, at this rate, or longer;
// drainSlots is how many events are run at a time.
const (
	drainRate  = 50_000
	drainSlots = 64
)

// drain measures how fast a backlog is worked off by a worker in the process of the gateway.
func (b *bench) drain(ctx context.Context) (row, error) {
	log := slog.New(slog.DiscardHandler)
	q, err := queue.Open(ctx, queue.Options{Dir: filepath.Join(b.dir, "drain"), Log: log})
	if err != nil {
		return row{}, err
	}
	r, err := b.drainThrough(ctx, q, log)
	return r, errors.Join(err, q.Close())
}

func (b *bench) drainThrough(ctx context.Context, q *queue.Queue, log *slog.Logger) (row, error) {
	m, err := deploy.Parse("bench", fmt.Appendf(nil, "functions: {Drain: {addresses: [%q], concurrency: %d}}", b.address, drainSlots), b.dir)
	if err != nil {
		return row{}, err
	}
	if err := q.AddFunction(ctx, "Drain", queue.Retry{}); err != nil {
		return row{}, err
	}
	events := int(drainRate * b.time.Seconds())
	if err := fill(ctx, q, "Drain", events); err != nil {
		return row{}, err
	}
	w := worker.New(worker.Options{Queue: q, Catalog: deploy.NewCatalog(m), Payload: payloadOf, Log: log})
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	begin := time.Now()
	go func() { done <- w.Run(running, after(running, time.Second)) }()
	err = empty(ctx, q, "Drain")
	took := time.Since(begin)
	stop()
	return row{What: drained, Clients: drainSlots, Rate: float64(events) / took.Seconds()}, errors.Join(err, <-done)
}

// fill stores events of 1 KB for a function.
func fill(ctx context.Context, q *queue.Queue, function string, events int) error {
	const publishers = 256
	body := payload()
	group, ctx := errgroup.WithContext(ctx)
	for i := range publishers {
		group.Go(func() error {
			for n := i; n < events; n += publishers {
				if _, err := q.Publish(ctx, &queue.Event{Source: "bench", Function: function, Body: body}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// empty waits until a function has no events left.
func empty(ctx context.Context, q *queue.Queue, function string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		all, err := q.Stats(ctx)
		if err != nil {
			return err
		}
		left := uint64(0)
		for _, s := range all {
			if s.Function == function {
				left = s.Events.Waiting + uint64(s.Events.Running) //nolint:gosec // a count
			}
		}
		if left == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
