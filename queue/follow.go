package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// followAhead is how many lines of the log are read before they are asked for.
const followAhead = 64

// Tail gives every attempt that ends from now on to f, until ctx is cancelled.
func (q *Queue) Tail(ctx context.Context, f func(Attempt)) error {
	end, err := q.LogEnd(ctx)
	if err != nil {
		return unlessOver(ctx, err)
	}
	return q.Follow(ctx, end, func(_ uint64, a Attempt) { f(a) })
}

// LogEnd returns the number of the last line of the log, 0 when there is none.
func (q *Queue) LogEnd(ctx context.Context) (uint64, error) {
	s, err := q.state(ctx, streamLog)
	return s.LastSeq, err
}

// Follow gives every line of the log behind one to f, with its number, until ctx is cancelled. f may take its time: the
// lines stay in the log. Numbers are without gaps, except where old lines have made room for new ones.
func (q *Queue) Follow(ctx context.Context, after uint64, f func(line uint64, a Attempt)) error {
	c, err := q.js.OrderedConsumer(ctx, streamLog, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
	})
	if err != nil {
		return unlessOver(ctx, fmt.Errorf("read %s: %w", streamLog, err))
	}
	it, err := c.Messages(jetstream.PullMaxMessages(followAhead))
	if err != nil {
		return fmt.Errorf("read %s: %w", streamLog, err)
	}
	defer it.Stop()
	for {
		m, err := it.Next(jetstream.NextContext(ctx))
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", streamLog, err)
		}
		at, line := time.Now(), uint64(0)
		if meta, err := m.Metadata(); err == nil {
			at, line = meta.Timestamp, meta.Sequence.Stream
		}
		f(line, newAttempt(&nats.Msg{Header: m.Headers(), Data: m.Data()}, at))
	}
}

// unlessOver returns an error of what goes on until ctx is cancelled, or nil when that is all it says.
func unlessOver(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
