package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
)

// find resolves what a person calls an event to a message that is stored.
func (q *Queue) find(ctx context.Context, text string) (stream string, seq uint64, err error) {
	r, err := q.resolve(ctx, text)
	if err != nil {
		return "", 0, err
	}
	return r.shelf().String(), r.seq(), nil
}

// resolve reads an id, a sequence number of FUNKER_EVENTS, or a stream and a sequence.
func (q *Queue) resolve(ctx context.Context, text string) (ref, error) {
	text = strings.TrimSpace(text)
	if stream, _, ok := strings.Cut(text, "/"); ok && shelfOf(stream) != 0 && shelfOf(stream) != shelfLog {
		if r := parseRef(text); r != 0 {
			return r, nil
		}
		return 0, fmt.Errorf("%w: %q has no sequence number", ErrNotFound, shorten(text, 80))
	}
	if seq, err := strconv.ParseUint(text, 10, seqBits); err == nil {
		return newRef(shelfEvents, seq), nil
	}
	id, err := ulid.ParseStrict(text)
	if err != nil {
		return 0, fmt.Errorf("%w: %q is neither an event id (26 letters and digits) nor a sequence number", ErrNotFound, shorten(text, 80))
	}
	if q.index == nil {
		return q.askRef(ctx, text)
	}
	return q.findID(ctx, id)
}

// findID looks up an id: among events, then among calls, then among what is left of those that are gone.
func (q *Queue) findID(ctx context.Context, id ulid.ULID) (ref, error) {
	if err := q.index.fresh(ctx); err != nil {
		return 0, err
	}
	for _, r := range q.index.withID(id) {
		m, err := q.message(ctx, r.shelf().String(), r.seq())
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return 0, err
		case strings.EqualFold(m.Header.Get(headerID), id.String()):
			return r, nil
		}
	}
	return 0, fmt.Errorf("%w: %s", ErrNotFound, id)
}

// withID returns the messages that may have an id, in the order of findID.
func (x *index) withID(id ulid.ULID) (found []ref) {
	text, err := id.MarshalText()
	if err != nil {
		return nil
	}
	key, _ := keyOf(text, 0)
	x.mu.RLock()
	defer x.mu.RUnlock()
	l := &x.ledger
	for _, s := range []shelf{shelfEvents, shelfCalls} {
		for seq, r := range l.records(s).all(0, span{key, key}) {
			if r.key == key {
				found = append(found, newRef(s, seq))
			}
		}
	}
	for seq, v := range l.letters.back(noEnd, span{key, key}) {
		if v.key == key {
			found = append(found, newRef(shelfDead, seq))
		}
	}
	for _, s := range []shelf{shelfEvents, shelfCalls} {
		for seq, r := range l.records(s).kept {
			if at, _ := l.message(l.newestRun(newRef(s, seq), r)); r.key == key && !r.shown.ended() {
				found = append(found, at)
			}
		}
	}
	return found
}

// message reads a stored message.
func (q *Queue) message(ctx context.Context, stream string, seq uint64) (*jetstream.RawStreamMsg, error) {
	request := fmt.Appendf(nil, `{"seq":%d}`, seq)
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	var m *nats.Msg
	err := q.persist(ctx, func(ctx context.Context) (err error) { m, err = q.get(ctx, stream, request); return err })
	switch {
	case unavailable(err):
		return nil, fmt.Errorf("%w: read %s/%d: %w", ErrUnavailable, stream, seq, err)
	case err != nil:
		return nil, fmt.Errorf("read %s/%d: %w", stream, seq, err)
	case m.Header.Get("Status") == "404":
		return nil, fmt.Errorf("%w: %s/%d", ErrNotFound, stream, seq)
	case m.Header.Get(jetstream.TimeStampHeaer) == "":
		return nil, fmt.Errorf("read %s/%d: %s %s", stream, seq, m.Header.Get("Status"), m.Header.Get("Description"))
	}
	return rawMessage(m, seq)
}

func rawMessage(m *nats.Msg, seq uint64) (*jetstream.RawStreamMsg, error) {
	at, err := time.Parse(time.RFC3339Nano, m.Header.Get(jetstream.TimeStampHeaer))
	if err != nil {
		return nil, fmt.Errorf("read message %d: %w", seq, err)
	}
	return &jetstream.RawStreamMsg{Subject: m.Header.Get(jetstream.SubjectHeader), Sequence: seq, Header: m.Header, Data: m.Data, Time: at}, nil
}

// head reads a stored message without its body, and how large that is.
func (q *Queue) head(ctx context.Context, at ref) (*jetstream.RawStreamMsg, error) {
	c, err := q.js.CreateConsumer(ctx, at.shelf().String(), jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, InactiveThreshold: publishLimit, HeadersOnly: true,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: at.seq(),
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", at, err)
	}
	defer func() {
		// The server forgets the consumer by itself.
		_ = q.js.DeleteConsumer(context.WithoutCancel(ctx), at.shelf().String(), c.CachedInfo().Name)
	}()
	m, err := c.Next(jetstream.FetchMaxWait(time.Second))
	if errors.Is(err, nats.ErrTimeout) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, at)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", at, err)
	}
	meta, err := m.Metadata()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", at, err)
	}
	if meta.Sequence.Stream != at.seq() {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, at)
	}
	return &jetstream.RawStreamMsg{Subject: m.Subject(), Sequence: at.seq(), Header: m.Headers(), Time: meta.Timestamp}, nil
}

func (q *Queue) state(ctx context.Context, stream string) (jetstream.StreamState, error) {
	s, err := q.js.Stream(ctx, stream)
	if err != nil {
		return jetstream.StreamState{}, fmt.Errorf("open %s: %w", stream, err)
	}
	return s.CachedInfo().State, nil
}

// readPause is how long a reader waits for the next message before it asks whether there is one.
const readPause = time.Second

// readIdle is how long a temporary consumer lives without a reader.
const readIdle = 10 * time.Second

// read gives the messages that a temporary consumer sees to f, until f returns false or all are read.
func (q *Queue) read(ctx context.Context, stream string, cfg jetstream.OrderedConsumerConfig, f func(*nats.Msg, *jetstream.MsgMetadata) bool) error {
	cfg.InactiveThreshold = readIdle
	c, err := q.js.OrderedConsumer(ctx, stream, cfg)
	if err != nil {
		return fmt.Errorf("read %s: %w", stream, err)
	}
	defer func() {
		// The server forgets the consumer by itself after readIdle.
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
		m, err := it.Next(jetstream.NextMaxWait(readPause))
		if errors.Is(err, nats.ErrTimeout) && ctx.Err() == nil { // what was left may be gone, or cannot be read
			if info, err := c.Info(ctx); err != nil || info.NumPending == 0 {
				return err
			}
			continue
		}
		if err == nil {
			err = ctx.Err()
		}
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
