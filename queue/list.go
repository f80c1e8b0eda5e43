package queue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// Filter chooses records. The zero value of a field chooses all.
type Filter struct {
	Kind     string    `json:"kind,omitempty"` // "event" or "call"
	Function string    `json:"function,omitempty"`
	Source   string    `json:"source,omitempty"`
	State    State     `json:"state,omitempty"`
	Since    time.Time `json:"since,omitzero"` // when it was accepted, to the millisecond
	Until    time.Time `json:"until,omitzero"`
	Limit    int       `json:"limit,omitempty"`  // of List: newest first; DefaultLimit
	Before   string    `json:"before,omitempty"` // of List: where a page ends, see Next
}

const (
	// DefaultLimit is how many records List returns when the filter names no limit.
	DefaultLimit = 20
	// MaxLimit is how many records List returns at most.
	MaxLimit = 1000
)

// describers bounds how many records of a list are read at a time.
const describers = 8

// List returns the newest records that match, newest first. It returns ErrIndexing when the state of the events is not
// known yet.
func (q *Queue) List(ctx context.Context, f Filter) ([]Record, error) {
	f.Limit = limitOf(f.Limit)
	if err := f.check(); err != nil {
		return nil, err
	}
	if _, err := readEnds(f.Before, shelfEvents, shelfCalls); err != nil {
		return nil, err
	}
	if q.index == nil {
		return ask[[]Record](ctx, q, "events", newListRequest(f))
	}
	for {
		p, err := q.freshPositions(ctx)
		if err != nil {
			return nil, err
		}
		found := q.index.newest(f, p)
		records, err := q.records(ctx, found, true)
		if err != nil || len(records) == len(found) {
			return records, err
		}
	} // some are gone, and others come in their place
}

// check refuses names that nothing can have.
func (f Filter) check() error {
	for _, name := range []string{f.Function, f.Source} {
		if _, err := Token(name); name != "" && err != nil {
			return err
		}
	}
	return nil
}

// freshPositions catches up. The positions are taken before: what was acknowledged by then has a record by now.
func (q *Queue) freshPositions(ctx context.Context) (positions, error) {
	p, err := positionsOf(ctx, q.js, shelfRetry, shelfEvents)
	if err != nil {
		return p, err
	}
	return p, q.index.fresh(ctx)
}

// sieve is a filter in the terms of a ledger.
type sieve struct {
	kinds    []shelf
	function int // number, or -1 for any
	source   int
	state    State
	keys     span
}

// sieve returns false when nothing can match.
func (l *ledger) sieve(f Filter) (v sieve, ok bool) {
	v = sieve{state: f.State, keys: keysBetween(f.Since, f.Until)}
	if f.Kind != "call" {
		v.kinds = append(v.kinds, shelfEvents)
	}
	if f.Kind != "event" {
		v.kinds = append(v.kinds, shelfCalls)
	}
	function, known := l.named(f.Function)
	source, knownSource := l.named(f.Source)
	v.function, v.source = function, source
	return v, known && knownSource
}

// named returns the number of a name, -1 for none.
func (l *ledger) named(name string) (number int, ok bool) {
	if name == "" {
		return -1, true
	}
	n, ok := l.numbers[tokenOr(name)]
	return int(n), ok
}

// keysBetween is the range of the keys of ids that were made between two times.
func keysBetween(since, until time.Time) span {
	keys := everything
	if !since.IsZero() {
		keys.low = keyFrom(since.UnixMilli())
	}
	if !until.IsZero() {
		keys.high = keyFrom(until.UnixMilli()+1) - 1
	}
	return keys
}

// chosen reports whether the sieve lets a record through.
func (l *ledger) chosen(v *sieve, of ref, r *record, s *stands) bool {
	if r.key < v.keys.low || r.key > v.keys.high ||
		v.function >= 0 && int(r.function) != v.function || v.source >= 0 && int(r.source) != v.source {
		return false
	}
	if v.state == "" || r.shown != runWaiting {
		return v.state == "" || runStateNames[r.shown] == v.state
	}
	state, _ := l.stateOf(of, r, s)
	return state == v.state
}

// newest finds the newest records that match.
func (x *index) newest(f Filter, p positions) []finding {
	x.mu.RLock()
	defer x.mu.RUnlock()
	l, s := &x.ledger, x.ledger.stands(p)
	v, ok := l.sieve(f)
	if !ok {
		return nil
	}
	ends, err := readEnds(f.Before)
	if err != nil {
		return nil // List has checked it
	}
	lists := make([][]finding, len(v.kinds))
	for i, kind := range v.kinds {
		for seq, r := range l.records(kind).back(ends[kind], v.keys) {
			of := newRef(kind, seq)
			if !l.chosen(&v, of, r, &s) {
				continue
			}
			if lists[i] = append(lists[i], l.find(of, r, &s)); len(lists[i]) == f.Limit {
				break
			}
		}
	}
	return mergeNewest(lists, f.Limit)
}

// records reads what was found. What is gone is left out, and not found again.
func (q *Queue) records(ctx context.Context, found []finding, attempts bool) ([]Record, error) {
	all := make([]Record, len(found))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(describers)
	for i, f := range found {
		if !attempts {
			f.lines = nil
		}
		g.Go(func() error {
			m, err := q.headers(ctx, f.record, f.bulky)
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			all[i] = newRecord(m, f.record)
			all[i].Body = nil
			return q.describe(ctx, &all[i], f)
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var gone []ref
	for i, r := range all {
		if r.Origin == "" {
			gone = append(gone, found[i].record)
		}
	}
	q.index.forget(gone)
	return slices.DeleteFunc(all, func(r Record) bool { return r.Origin == "" }), nil
}

// headers reads a message for its headers, with the body only when that is small.
func (q *Queue) headers(ctx context.Context, at ref, bulky bool) (*jetstream.RawStreamMsg, error) {
	if bulky {
		return q.head(ctx, at)
	}
	return q.message(ctx, at.shelf().String(), at.seq())
}

// selectPage is how many records Select reads at a time.
const selectPage = 200

// Select gives every record that matches to visit, the oldest first and events before calls, without bodies and attempts,
// until visit returns false. It begins behind the record with the given Origin, "" from the start; f.Limit does not count.
func (q *Queue) Select(ctx context.Context, f Filter, after string, visit func(Record) bool) error {
	if err := f.check(); err != nil {
		return err
	}
	f.Limit = selectPage
	for {
		page, err := q.oldest(ctx, f, after)
		if err != nil {
			return err
		}
		for _, r := range page.Records {
			if !visit(r) {
				return nil
			}
		}
		if after = page.Next; after == "" {
			return nil
		}
	}
}

// page is a part of a selection.
type page struct {
	Records []Record `json:"records"`
	Next    string   `json:"next,omitempty"` // the last one that was looked at; "" when there are no more
}

// oldest returns the oldest records behind one.
func (q *Queue) oldest(ctx context.Context, f Filter, after string) (page, error) {
	if q.index == nil {
		request := newListRequest(f)
		request.After, request.Oldest = after, true
		return ask[page](ctx, q, "events", request)
	}
	from, err := originOf(after)
	if err != nil {
		return page{}, err
	}
	p, err := q.freshPositions(ctx)
	if err != nil {
		return page{}, err
	}
	found := q.index.oldest(f, from, p)
	records, err := q.records(ctx, found, false)
	if len(found) < f.Limit {
		return page{Records: records}, err
	}
	return page{Records: records, Next: found[len(found)-1].record.String()}, err
}

// originOf reads where a selection goes on.
func originOf(after string) (ref, error) {
	if after == "" {
		return 0, nil
	}
	r := parseRef(after)
	if s := r.shelf(); s != shelfEvents && s != shelfCalls {
		return 0, fmt.Errorf("%w: %q is no place in a list: take the origin of a record", ErrArgument, shorten(after, 80))
	}
	return r, nil
}

// oldest finds the oldest records behind one that match, f.Limit at most.
func (x *index) oldest(f Filter, after ref, p positions) (found []finding) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	l, s := &x.ledger, x.ledger.stands(p)
	for of, r := range l.selected(f, after, &s) {
		if found = append(found, l.find(of, r, &s)); len(found) == f.Limit {
			break
		}
	}
	return found
}

// selected are the records behind one that match, the oldest first and events before calls.
func (l *ledger) selected(f Filter, after ref, s *stands) iter.Seq2[ref, *record] {
	return func(yield func(ref, *record) bool) {
		v, ok := l.sieve(f)
		if !ok {
			return
		}
		for _, kind := range v.kinds {
			var from uint64
			switch {
			case kind < after.shelf():
				continue
			case kind == after.shelf():
				from = after.seq() + 1
			}
			for seq, r := range l.records(kind).all(from, v.keys) {
				if of := newRef(kind, seq); l.chosen(&v, of, r, s) && !yield(of, r) {
					return
				}
			}
		}
	}
}

// Count returns how many records Select would visit.
func (q *Queue) Count(ctx context.Context, f Filter, after string) (int, error) {
	if q.index == nil {
		request := newListRequest(f)
		request.After = after
		return ask[int](ctx, q, "count", request)
	}
	from, err := originOf(after)
	if err != nil {
		return 0, err
	}
	p, err := q.freshPositions(ctx)
	if err != nil {
		return 0, err
	}
	return q.index.count(f, from, p), nil
}

func (x *index) count(f Filter, after ref, p positions) (n int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	s := x.ledger.stands(p)
	for range x.ledger.selected(f, after, &s) {
		n++
	}
	return n
}
