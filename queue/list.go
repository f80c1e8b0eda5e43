package queue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Filter chooses records. The zero value of a field chooses all.
type Filter struct {
	Kind     string // "event" or "call"
	Function string
	Source   string
	State    State
	Since    time.Time
	Until    time.Time
	Limit    int // newest first; DefaultLimit
}

// readLimit is how long a temporary consumer lives without a reader.
const readLimit = 10 * time.Second

const (
	// DefaultLimit is how many records List returns when the filter names no limit.
	DefaultLimit = 20
	// MaxLimit is how many records List returns at most.
	MaxLimit  = 1000
	clockSkew = 2 * time.Second // between who made an id and who stored the message
)

// List returns the newest records that match, newest first.
func (q *Queue) List(ctx context.Context, f Filter) ([]Record, error) {
	if f.Limit <= 0 {
		f.Limit = DefaultLimit
	}
	f.Limit = min(f.Limit, MaxLimit)
	var all []Record
	for _, kind := range []string{"event", "call"} {
		if f.Kind != "" && f.Kind != kind {
			continue
		}
		records, err := q.newest(ctx, kind, f)
		if err != nil {
			return nil, err
		}
		all = append(all, records...)
	}
	slices.SortStableFunc(all, func(a, b Record) int { return b.Time.Compare(a.Time) })
	return all[:min(len(all), f.Limit)], nil
}

// newest reads ever larger windows from the end of a stream, until enough records match.
func (q *Queue) newest(ctx context.Context, kind string, f Filter) ([]Record, error) {
	stream, subjects, err := place(kind, f)
	if err != nil {
		return nil, err
	}
	state, err := q.state(ctx, stream)
	if err != nil {
		return nil, err
	}
	var found []Record
	end := state.LastSeq + 1
	first := max(state.FirstSeq, 1)
	for window := uint64(f.Limit) * 2; end > first && len(found) < f.Limit; window *= 4 {
		start := max(first, end-min(end, window))
		part, err := q.between(ctx, stream, subjects, start, end)
		if err != nil {
			return nil, err
		}
		matching, err := q.matching(ctx, part, f)
		if err != nil {
			return nil, err
		}
		found = append(matching, found...)
		if end = start; len(part) > 0 && part[0].Time.Before(f.Since) {
			break
		}
	}
	return found[max(0, len(found)-f.Limit):], nil
}

// matching adds the attempts to the records and keeps those that the filter chooses.
func (q *Queue) matching(ctx context.Context, records []Record, f Filter) ([]Record, error) {
	records = slices.DeleteFunc(records, func(r Record) bool {
		return !f.Since.IsZero() && r.Time.Before(f.Since) || !f.Until.IsZero() && r.Time.After(f.Until)
	})
	if len(records) == 0 {
		return nil, nil
	}
	if err := q.addAttempts(ctx, records); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(records, func(r Record) bool { return f.State != "" && r.State != f.State }), nil
}

func place(kind string, f Filter) (stream string, subjects []string, err error) {
	source, function := "*", "*"
	if f.Source != "" {
		if source, err = Token(f.Source); err != nil {
			return "", nil, err
		}
	}
	if f.Function != "" {
		if function, err = Token(f.Function); err != nil {
			return "", nil, err
		}
	}
	if kind == "call" {
		subject := callSubject(source, function)
		return streamCalls, []string{subject, calledSubject(subject)}, nil
	}
	return streamEvents, []string{eventSubject(source, function)}, nil
}

// between reads the records of a subject with start <= sequence < end, without their bodies.
func (q *Queue) between(ctx context.Context, stream string, subjects []string, start, end uint64) ([]Record, error) {
	var records []Record
	err := q.read(ctx, stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: subjects, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: start, HeadersOnly: true,
	}, func(m *nats.Msg, meta *jetstream.MsgMetadata) bool {
		if meta.Sequence.Stream >= end {
			return false
		}
		records = append(records, newRecord(m, meta.Stream, meta.Sequence.Stream, meta.Timestamp))
		return meta.Sequence.Stream < end-1
	})
	return records, err
}

// read gives the messages that a temporary consumer sees to f, until f returns false or all are read.
func (q *Queue) read(ctx context.Context, stream string, cfg jetstream.OrderedConsumerConfig, f func(*nats.Msg, *jetstream.MsgMetadata) bool) error {
	cfg.InactiveThreshold = readLimit
	c, err := q.js.OrderedConsumer(ctx, stream, cfg)
	if err != nil {
		return fmt.Errorf("read %s: %w", stream, err)
	}
	defer func() {
		// The server forgets the consumer by itself after readLimit.
		_ = q.js.DeleteConsumer(context.WithoutCancel(ctx), stream, c.CachedInfo().Name)
	}()
	if c.CachedInfo().NumPending == 0 {
		return nil
	}
	it, err := c.Messages()
	if err != nil {
		return fmt.Errorf("read %s: %w", stream, err)
	}
	defer it.Stop()
	for {
		m, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("read %s: %w", stream, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read %s: %w", stream, err)
		}
		if !f(&nats.Msg{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()}, meta) || meta.NumPending == 0 {
			return nil
		}
	}
}
