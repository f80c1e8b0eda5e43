package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// DeadLetter is an event that was given up.
type DeadLetter struct {
	ID       string    `json:"id"`                // of the event
	Origin   string    `json:"origin"`            // where it is stored: "FUNKER_DEAD/3"
	Record   string    `json:"record,omitempty"`  // the event, which may be gone by now: "FUNKER_EVENTS/42"
	Root     string    `json:"root,omitempty"`    // first message of the run that ended
	Time     time.Time `json:"time"`              // when it was given up
	First    time.Time `json:"accepted,omitzero"` // when the event was accepted
	Source   string    `json:"source"`
	Function string    `json:"function"` // that the run was for
	Reason   Reason    `json:"reason"`
	Code     string    `json:"code,omitempty"`  // of the last failure
	Error    string    `json:"error,omitempty"` // likewise
	Attempts int       `json:"attempts"`        // made in this run
	ReplayOf string    `json:"replay_of,omitempty"`
	Size     int       `json:"size"`  // of the body, in bytes
	State    State     `json:"state"` // of the event: StateDead until it is replayed or dropped
}

// DeadFilter chooses dead letters. The zero value of a field chooses all, except that letters which have been replayed
// or dropped are left out unless All is set.
type DeadFilter struct {
	Function string    `json:"function,omitempty"`
	Source   string    `json:"source,omitempty"`
	Reason   Reason    `json:"reason,omitempty"`
	Since    time.Time `json:"since,omitzero"` // when it was given up, to the millisecond
	Until    time.Time `json:"until,omitzero"`
	All      bool      `json:"all,omitempty"`
	Limit    int       `json:"limit,omitempty"`  // newest first; DefaultLimit, at most MaxLimit
	Before   string    `json:"before,omitempty"` // where a page ends, see Next
}

// sealed is what the index knows of a dead letter.
type sealed struct {
	ref   ref
	bulky bool
	root  ref
	of    ref
	state State
}

// DeadLetters returns the newest dead letters that match, newest first. Errors: ErrIndexing, ErrName.
func (q *Queue) DeadLetters(ctx context.Context, f DeadFilter) ([]DeadLetter, error) {
	f.Limit = limitOf(f.Limit)
	if err := (Filter{Function: f.Function, Source: f.Source}).check(); err != nil {
		return nil, err
	}
	ends, err := readEnds(f.Before, shelfDead)
	if err != nil {
		return nil, err
	}
	if q.index == nil {
		return ask[[]DeadLetter](ctx, q, "dead", f)
	}
	p, err := q.freshPositions(ctx)
	if err != nil {
		return nil, err
	}
	before := ends[shelfDead]
	var all []DeadLetter
	for wanted := f.Limit; wanted > 0; wanted = f.Limit - len(all) { // some are gone, and others come in their place
		found := q.index.letters(f, before, wanted, p)
		letters, err := q.letters(ctx, found)
		if all = append(all, letters...); err != nil || len(found) < wanted {
			return all, err
		}
		before = found[len(found)-1].ref.seq()
	}
	return all, nil
}

// letters reads what was found. What is gone is left out.
func (q *Queue) letters(ctx context.Context, found []sealed) ([]DeadLetter, error) {
	all := make([]DeadLetter, len(found))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(describers)
	for i, s := range found {
		g.Go(func() error {
			m, err := q.headers(ctx, s.ref, s.bulky)
			if err == nil {
				all[i] = newDeadLetter(m, s)
			}
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(d DeadLetter) bool { return d.Origin == "" }), nil
}

func (x *index) letters(f DeadFilter, before uint64, limit int, p positions) (found []sealed) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	l, s := &x.ledger, x.ledger.stands(p)
	function, known := l.named(f.Function)
	source, knownSource := l.named(f.Source)
	if !known || !knownSource {
		return nil
	}
	for seq, v := range l.letters.back(before, everything) {
		at := time.UnixMilli(v.stored)
		if function >= 0 && int(v.function) != function || source >= 0 && int(v.source) != source ||
			f.Reason != "" && l.token(v.reason) != string(f.Reason) ||
			at.Before(f.Since.Truncate(time.Millisecond)) || !f.Until.IsZero() && at.After(f.Until) || !f.All && !l.unanswered(v) {
			continue
		}
		if found = append(found, l.seal(newRef(shelfDead, seq), v, &s)); len(found) == limit {
			break
		}
	}
	return found
}

// unanswered reports whether nobody has replayed or dropped a dead letter.
func (l *ledger) unanswered(v *letter) bool {
	state, _, known := l.run(v.root)
	if l.edited[v.root] != 0 {
		return false
	}
	if r := l.record(v.record); r != nil {
		return r.shown == runDead && (l.newestRun(v.record, r) == v.root || !known)
	}
	return !known || state == runDead
}

func (l *ledger) seal(at ref, v *letter, s *stands) sealed {
	d := sealed{ref: at, bulky: v.bulky, root: v.root, of: v.record, state: StateDead}
	if r := l.record(v.record); r != nil {
		d.state, _ = l.stateOf(v.record, r, s)
	} else if state, _, known := l.run(v.root); known {
		d.state = runStateNames[l.seen(v.root, state)]
	}
	return d
}

func newDeadLetter(m *jetstream.RawStreamMsg, s sealed) DeadLetter {
	r, h := newRecord(m, s.ref), m.Header
	attempts, _ := strconv.Atoi(h.Get(headerAttempt)) // absent when there was none
	d := DeadLetter{
		ID: r.ID, Origin: r.Origin, Record: s.of.String(), Root: s.root.String(), Time: r.Time, Source: r.Source, Function: r.Function,
		Reason: Reason(h.Get(headerReason)), Code: h.Get(headerCode), Error: h.Get(headerError), Attempts: attempts,
		ReplayOf: h.Get(headerReplayOf), Size: r.Size, State: s.state,
	}
	if _, made := keyOf([]byte(r.ID), 0); made > 0 {
		d.First = time.UnixMilli(made).UTC()
	}
	return d
}

// DeadLetter returns the dead letter that ref names: "FUNKER_DEAD/3", or what Get takes for an event that is dead. Errors:
// ErrNotFound, ErrIndexing.
func (q *Queue) DeadLetter(ctx context.Context, ref string) (DeadLetter, error) {
	if q.index == nil {
		return ask[DeadLetter](ctx, q, "letter", ref)
	}
	at, err := q.letterOf(ctx, ref)
	if err != nil {
		return DeadLetter{}, err
	}
	s, ok, err := q.sealed(ctx, at)
	if err != nil {
		return DeadLetter{}, err
	}
	if !ok {
		return DeadLetter{}, fmt.Errorf("%w: %s", ErrNotFound, at)
	}
	m, err := q.headers(ctx, at, s.bulky)
	if err != nil {
		return DeadLetter{}, err
	}
	return newDeadLetter(m, s), nil
}

// letterOf finds the dead letter of an event that is dead.
func (q *Queue) letterOf(ctx context.Context, text string) (ref, error) {
	at, err := q.resolve(ctx, text)
	if err != nil || at.shelf() == shelfDead {
		return at, err
	}
	f, err := q.finding(ctx, at)
	if err != nil {
		return 0, err
	}
	if f.place.shelf() != shelfDead {
		text = shorten(text, 80)
		return 0, &answerError{fmt.Sprintf("%s is not dead: it is %s now; see `events show %s`, or name a letter by its place from `dead list --all`",
			text, f.state, text), ErrNotFound}
	}
	return f.place, nil
}

func (q *Queue) sealed(ctx context.Context, at ref) (s sealed, ok bool, err error) {
	p, err := q.freshPositions(ctx)
	if err != nil {
		return s, false, err
	}
	x := q.index
	x.mu.RLock()
	defer x.mu.RUnlock()
	v := x.ledger.letters.at(at.seq())
	if v == nil {
		return s, false, nil
	}
	stands := x.ledger.stands(p)
	return x.ledger.seal(at, v, &stands), true, nil
}

// Drop deletes the dead letter that ref names, as in DeadLetter, and records that a person did so. The event itself stays
// and can be replayed. Errors: ErrNotFound, ErrIndexing, ErrUnavailable.
func (q *Queue) Drop(ctx context.Context, ref string) error {
	if q.index == nil {
		_, err := ask[string](ctx, q, "drop", ref)
		return err
	}
	at, err := q.letterOf(ctx, ref)
	if err != nil {
		return err
	}
	m, err := q.message(ctx, at.shelf().String(), at.seq())
	if err != nil {
		return err
	}
	// A line without a deletion can be made good by dropping again; a deletion without a line would show a dead event
	// that has no dead letter.
	if _, err := q.store(ctx, droppedLine(m)); err != nil {
		return fmt.Errorf("record the drop of %s: %w", at, err)
	}
	s, err := q.js.Stream(ctx, streamDead)
	if err == nil {
		err = s.DeleteMsg(ctx, at.seq())
	}
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("drop %s: %w", at, err)
	}
	return nil
}

func droppedLine(m *jetstream.RawStreamMsg) *nats.Msg {
	h := nats.Header{headerOutcome: {string(OutcomeDropped)}}
	for _, name := range []string{headerID, headerSource, headerFunction, headerRoot, headerReplayOf, headerRunID, headerReplaces, headerReason, headerAttempt} {
		set(h, name, m.Header.Get(name))
	}
	return &nats.Msg{Subject: logSubject(tokenOr(h.Get(headerSource)), tokenOr(h.Get(headerFunction))), Header: h}
}
