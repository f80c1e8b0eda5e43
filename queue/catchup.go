package queue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	pullBatch   = 1000             // messages that are on their way at a time
	readerIdle  = 10 * time.Minute // after which the server forgets the consumer of a reader
	readerTries = 3                // consumers made in vain

	earlyLimit     = 30 * time.Second   // until a message is taken although one that it follows from is not there
	readerPatience = 20                 // looks at a consumer that does not have what is stored, until there is another one
	readerWaits    = 3 * readerPatience // in all
	catchUpLimit   = time.Minute        // until the next message, of a server that is busy recovering
	memberLimit    = 2 * time.Second    // likewise, of one of several servers, which may have died with the question
)

// reader is how far the index has read a stream.
type reader struct {
	shelf    shelf
	consumer string    // "" when it must be made
	next     uint64    // sequence
	order    uint64    // how many messages of the consumer have come
	missing  time.Time // since when the next one is not found; zero when it is
}

// ends are the first and the last messages of the streams.
type ends [shelves]jetstream.StreamState

// catchUp reads what the streams hold, and drops what they have dropped.
func (x *index) catchUp(ctx context.Context) error {
	now, err := x.readAll(ctx)
	if err != nil {
		return err
	}
	x.mu.Lock()
	x.trim(x.noted[0])
	x.mu.Unlock()
	x.noted, x.early = [2]ends{x.noted[1], now}, time.Time{}
	x.built.Store(true)
	return x.prune(ctx, now[shelfEvents])
}

// readAll reads what the streams hold. A message is stored after those it follows from: an event, its retries, its dead
// letter, the lines of its log. So their ends are noted against that order, and then they are read in it: whatever is
// read finds what it follows from.
func (x *index) readAll(ctx context.Context) (now ends, err error) {
	for s := shelfLog; s >= shelfEvents; s-- {
		if now[s], err = x.state(ctx, s); err != nil {
			return now, fmt.Errorf("look up %s: %w", s, err)
		}
	}
	if !x.built.Load() {
		if err := x.prepare(ctx, now); err != nil {
			return now, err
		}
	}
	for s := shelfEvents; s <= shelfLog; s++ {
		if err := x.readTo(ctx, s, now[s].LastSeq); err != nil {
			return now, err
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ledger.noteLate(time.Now().UnixMilli())
	return now, nil
}

// limit is how long the next answer to a question may take.
func (x *index) limit() time.Duration {
	if x.clustered {
		return memberLimit
	}
	return catchUpLimit
}

func (x *index) state(ctx context.Context, s shelf) (jetstream.StreamState, error) {
	ctx, cancel := context.WithTimeout(ctx, min(x.limit(), publishLimit))
	defer cancel()
	stream, err := x.js.Stream(ctx, s.String())
	if err != nil {
		return jetstream.StreamState{}, err
	}
	return stream.CachedInfo().State, nil
}

// prepare notes what is there before anything is read.
func (x *index) prepare(ctx context.Context, now ends) (err error) {
	var total int64
	for s := shelfEvents; s < shelves; s++ {
		total += int64(now[s].Msgs) //nolint:gosec // a count of messages
	}
	x.total.Store(total)
	if x.started[shelfEvents] == nil {
		if x.started, err = positionsOf(ctx, x.js, shelfRetry, shelfEvents); err != nil {
			return err
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.trim(now)
	x.noted = [2]ends{now, now}
	return nil
}

// readTo reads a stream up to a sequence, and perhaps some messages more.
func (x *index) readTo(ctx context.Context, s shelf, last uint64) error {
	r := &x.readers[s]
	for tries, waits := 0, 0; r.next <= last; {
		if err := x.open(ctx, r); err != nil {
			return err
		}
		got, known, err := x.pull(ctx, r, int(min(pullBatch, last-r.next+1))) //nolint:gosec // at most pullBatch
		switch {
		case err != nil:
			x.hangUp()
			return err
		case !known && tries == readerTries:
			return fmt.Errorf("read %s: the consumer is not there", s)
		case !known:
			r.consumer = ""
			tries++
		case got > 0:
			waits = 0
		case waits == readerWaits:
			return fmt.Errorf("read %s: the consumer does not have what is stored", s)
		default:
			if err := x.skip(ctx, r, last, waits); err != nil {
				return err
			}
			waits++
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ledger.ended(s, r.next)
	return nil
}

func (x *index) pull(ctx context.Context, r *reader, batch int) (got int, known bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	silence := time.AfterFunc(x.limit(), func() { cancel(context.DeadlineExceeded) })
	defer func() { silence.Stop(); cancel(nil) }()
	now, whole, early := time.Now().UnixMilli(), true, false
	got, known, err = x.tap.pull(ctx, r.shelf.String(), r.consumer, batch, func(m *tapMessage) {
		silence.Reset(x.limit())
		x.mu.Lock()
		defer x.mu.Unlock()
		if whole = whole && m.order == r.order+1; !whole {
			return
		}
		e := x.ledger.readEntry(newRef(r.shelf, m.seq), m.stored, m.subject, m.header)
		if early = x.isEarly(&e); early {
			whole = false
			return
		}
		x.ledger.note(&e, now)
		r.next, r.order, r.missing = m.seq+1, m.order, time.Time{}
		x.read.Add(1)
	})
	if err == nil && early {
		err = fmt.Errorf("read %s: what it follows from is not there yet", r.shelf)
	}
	if !whole { // the consumer is at another server, and a message was lost on its way
		r.consumer = ""
	}
	return got, known, err
}

// isEarly reports whether a message of a cluster was read before one that it follows from: a server that was the leader of that
// stream, and did not know yet that there is another one, has said too low an end. It has its limit, should that one be lost.
func (x *index) isEarly(e *entry) bool {
	if !x.clustered {
		return false
	}
	for _, r := range [...]ref{e.root, e.record, e.replaces} {
		if s := r.shelf(); s > 0 && s < e.ref.shelf() && r.seq() >= x.readers[s].next {
			return stillEarly(&x.early)
		}
	}
	return false
}

// stillEarly reports whether to go on waiting for what is not there, since the time that it notes.
func stillEarly(since *time.Time) bool {
	if since.IsZero() {
		*since = time.Now()
	}
	return time.Since(*since) < earlyLimit
}

// skip passes over messages that are gone, when a pull found none. A message that is there may not be there for the consumer
// yet: it may be at a server that is behind. Then it waits for a moment; when that was in vain often, there has to be another
// consumer, for the message may have been given out and lost on its way.
func (x *index) skip(ctx context.Context, r *reader, last uint64, waits int) error {
	ask, cancel := context.WithTimeout(ctx, min(x.limit(), publishLimit))
	defer cancel()
	m, err := x.stored(ask, r.shelf.String(), r.next)
	gone := m == nil || m.Sequence > last
	if err == nil && m == nil && x.clustered {
		gone, err = x.gone(ask, r, last)
	}
	switch {
	case err != nil:
		return fmt.Errorf("read %s/%d: %w", r.shelf, r.next, err)
	case gone:
		r.next, r.missing = last+1, time.Time{}
		return nil
	case waits > 0 && waits%readerPatience == 0:
		r.consumer = ""
	}
	select {
	case <-time.After(time.Duration(min(waits, 20)) * time.Millisecond):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// gone reports whether a server knows that all messages from the next one to another have been deleted. That it has none of
// them means nothing: it may just have become the leader, and not have taken all from its log yet. There is a limit, should
// they be lost.
func (x *index) gone(ctx context.Context, r *reader, last uint64) (bool, error) {
	stream, err := x.js.Stream(ctx, r.shelf.String())
	if err != nil {
		return false, err
	}
	info, err := stream.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return false, err
	}
	state := info.State
	known := state.LastSeq >= last
	for seq := max(r.next, state.FirstSeq); known && seq <= last; seq++ {
		_, known = slices.BinarySearch(state.Deleted, seq)
	}
	return known || !stillEarly(&r.missing), nil
}

// open makes sure that there is a connection, and a consumer that begins where the reader stands.
func (x *index) open(ctx context.Context, r *reader) error {
	if x.tap == nil {
		t, err := x.connect()
		if err != nil {
			return err
		}
		x.tap = t
	}
	if r.consumer != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, min(x.limit(), publishLimit))
	defer cancel()
	c, err := x.js.CreateConsumer(ctx, r.shelf.String(), jetstream.ConsumerConfig{
		Description: "index of the gateway", AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, InactiveThreshold: readerIdle,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.next,
		HeadersOnly: r.shelf != shelfLog, // a line has next to no body, and taking it off costs time
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", r.shelf, err)
	}
	r.consumer, r.order = c.CachedInfo().Name, 0
	return nil
}

// hangUp ends the connection. What was on its way is read again with new consumers.
func (x *index) hangUp() {
	if x.tap == nil {
		return
	}
	x.tap.close()
	x.tap = nil
	for s := range x.readers {
		x.readers[s].consumer = ""
	}
}

// trim drops what the streams have dropped. It is given what was noted two times before, so that it is known where those
// runs went on: a schedule may have gone before it was read the first time, and then the message that came of it is read
// the second time.
func (x *index) trim(noted ends) {
	for s := shelfEvents; s < shelves; s++ {
		x.ledger.forgetting(x.waited).trim(s, noted[s].FirstSeq)
	}
	if n := x.ledger.keptCount(); n > 2*x.kept+1000 {
		x.ledger.sweep()
		x.kept = x.ledger.keptCount()
	}
}

// waited reports whether a message had not been delivered when the index was begun.
func (x *index) waited(at ref, function string) bool {
	return at.seq() > x.started[at.shelf()][function].delivered
}
