package queue

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// pruneMost is how many events may be gone from among those that are stored before the index notices.
const pruneMost = 1000

// prune drops events that are gone although older ones are stored: history is trimmed function by function when one is
// stuck. So of each function all are gone that come before the first which is stored.
func (x *index) prune(ctx context.Context, events jetstream.StreamState) error {
	holes := events.LastSeq + 1 - min(events.FirstSeq, events.LastSeq+1) - events.Msgs
	if holes < x.holes+pruneMost {
		x.holes = min(x.holes, holes)
		return nil
	}
	firsts, err := x.firstEvents(ctx, events)
	if err != nil {
		return err
	}
	for range 2 { // where their runs went on is known then, see trim
		if _, err := x.readAll(ctx); err != nil {
			return err
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	gone := func(seq uint64, r *record) bool { return seq < firsts[r.function] }
	x.ledger.events.prune(gone, x.ledger.forgetting(x.waited).event)
	x.holes = holes
	return nil
}

// firstEvents returns the first message that is stored of each function, by its number.
func (x *index) firstEvents(ctx context.Context, events jetstream.StreamState) (map[uint16]uint64, error) {
	stream, err := x.js.Stream(ctx, streamEvents)
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", streamEvents, err)
	}
	firsts := map[uint16]uint64{}
	for number, token := range x.functions() {
		m, err := firstFrom(ctx, stream, events.FirstSeq, eventSubject("*", token))
		switch {
		case err != nil:
			return nil, fmt.Errorf("look up the first event of %s: %w", token, err)
		case m == nil:
			firsts[number] = events.LastSeq + 1
		default:
			firsts[number] = m.Sequence
		}
	}
	return firsts, nil
}

// functions are those that the index knows an event of.
func (x *index) functions() map[uint16]string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	found := map[uint16]string{}
	for _, r := range x.ledger.events.all(0, everything) {
		if _, known := found[r.function]; !known && r.function != 0 {
			found[r.function] = x.ledger.token(r.function)
		}
	}
	return found
}

// forget drops records that turned out to be gone.
func (x *index) forget(gone []ref) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f := x.ledger.forgetting(x.waited)
	for _, of := range gone {
		t, keep := &f.events, f.event
		if of.shelf() == shelfCalls {
			t, keep = &f.calls, f.call
		}
		if v := t.at(of.seq()); v != nil && of.seq() >= t.first {
			t.drop(of.seq(), v, keep)
		}
	}
}
