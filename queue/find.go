package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
)

// find resolves what a person calls an event.
func (q *Queue) find(ctx context.Context, ref string) (stream string, seq uint64, err error) {
	ref = strings.TrimSpace(ref)
	if stream, text, ok := strings.Cut(ref, "/"); ok && (stream == streamEvents || stream == streamCalls || stream == streamRetry) {
		seq, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return "", 0, fmt.Errorf("%w: %q has no sequence number", ErrNotFound, shorten(ref, 80))
		}
		return stream, seq, nil
	}
	if seq, err := strconv.ParseUint(ref, 10, 64); err == nil {
		return streamEvents, seq, nil
	}
	id, err := ulid.ParseStrict(ref)
	if err != nil {
		return "", 0, fmt.Errorf("%w: %q is neither an event id (26 letters and digits) nor a sequence number", ErrNotFound, shorten(ref, 80))
	}
	return q.findID(ctx, id)
}

// findID looks for an id from the time on that it carries: events first, then calls.
func (q *Queue) findID(ctx context.Context, id ulid.ULID) (string, uint64, error) {
	since := ulid.Time(id.Time()).Add(-clockSkew)
	want := id.String()
	for _, stream := range []string{streamEvents, streamCalls} {
		var seq uint64
		err := q.read(ctx, stream, jetstream.OrderedConsumerConfig{
			DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since, HeadersOnly: true,
		}, func(m *nats.Msg, meta *jetstream.MsgMetadata) bool {
			if m.Header.Get(headerID) == want {
				seq = meta.Sequence.Stream
			}
			return seq == 0
		})
		if err != nil {
			return "", 0, err
		}
		if seq > 0 {
			return stream, seq, nil
		}
	}
	return "", 0, fmt.Errorf("%w: %s", ErrNotFound, want)
}

func (q *Queue) message(ctx context.Context, stream string, seq uint64) (*jetstream.RawStreamMsg, error) {
	s, err := q.js.Stream(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", stream, err)
	}
	m, err := s.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fmt.Errorf("%w: %s/%d", ErrNotFound, stream, seq)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s/%d: %w", stream, seq, err)
	}
	return m, nil
}

func (q *Queue) state(ctx context.Context, stream string) (jetstream.StreamState, error) {
	s, err := q.js.Stream(ctx, stream)
	if err != nil {
		return jetstream.StreamState{}, fmt.Errorf("open %s: %w", stream, err)
	}
	return s.CachedInfo().State, nil
}
