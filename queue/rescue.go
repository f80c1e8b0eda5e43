package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"
)

// When a retry becomes due, the server stores it on its function's subject and deletes the schedule. A power cut between
// the two reaching the disk can take both, and the last lines of the log with them. Then the message before it is left,
// acknowledged, and nothing says what came of its run: neither a copy nor an end. Such a run is given out again. It may
// have succeeded, and only its line be lost: then it runs twice.

const (
	rescueAfter = 2 * expireEvery // the start: by then the log and the advisories have been read
	rescueMost  = 1000            // in one go
)

// rescue looks for them.
func (h *housekeeper) rescue(ctx context.Context) {
	if h.q.index.built.Load() && time.Since(h.started) > rescueAfter {
		h.complain(ctx, h.q.rescue(ctx))
	}
}

func (q *Queue) rescue(ctx context.Context) error {
	recorded, err := q.recordedSince(ctx)
	if err != nil {
		return err
	}
	p, err := q.freshPositions(ctx)
	if err != nil {
		return err
	}
	var errs error
	for _, s := range q.index.stranded(p) {
		if err := q.rescueRun(ctx, s, recorded); err != nil {
			errs = errors.Join(errs, fmt.Errorf("rescue the run of %s: %w", s.root, err))
		}
	}
	return errs
}

// recordedSince is the time from which on no line of the log has made room for another.
func (q *Queue) recordedSince(ctx context.Context) (time.Time, error) {
	state, err := q.state(ctx, streamLog)
	if err != nil || state.FirstSeq <= 1 {
		return time.Time{}, err
	}
	return state.FirstTime, nil
}

// strand is a run of which nothing says how it went on.
type strand struct {
	root ref
	at   ref    // the message where it stands
	line uint64 // newest line of its record; 0 when there is none
}

// stranded returns the runs that have not ended and whose message was acknowledged before the index was begun, at most
// rescueMost.
func (x *index) stranded(p positions) (found []strand) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	l := &x.ledger
	now, begun := l.stands(p), l.stands(x.started)
	for root := range l.open() {
		at, function := l.message(root)
		s := at.shelf()
		if at.seq() > min(now[s][function].floor, begun[s][function].delivered) {
			continue
		}
		if state, place, _ := l.run(root); state == runRetry && place > 0 { // scheduled
			continue
		}
		if found = append(found, strand{root, at, l.newestLine(root)}); len(found) == rescueMost {
			break
		}
	}
	return found
}

// open gives the first message of every run that has not ended, calls apart.
func (l *ledger) open() iter.Seq[ref] {
	return func(yield func(ref) bool) {
		for seq, r := range l.events.each() {
			if s := r.state(); s != runNone && !s.ended() && !yield(newRef(shelfEvents, seq)) {
				return
			}
		}
		for seq, p := range l.replays.each() {
			if !p.state.ended() && !yield(newRef(shelfRetry, seq)) {
				return
			}
		}
	}
}

// newestLine is that of the record which a run belongs to.
func (l *ledger) newestLine(root ref) uint64 {
	if p := l.replay(root); p != nil {
		root = p.record
	}
	if r := l.record(root); r != nil {
		return r.last.get()
	}
	return 0
}

// rescueRun leaves alone what was stored before recorded: its line may have been there.
func (q *Queue) rescueRun(ctx context.Context, s strand, recorded time.Time) error {
	raw, err := q.message(ctx, s.at.shelf().String(), s.at.seq())
	if err != nil || raw.Time.Before(recorded) {
		return err
	}
	e, err := readEvent(raw.Subject, raw.Header, raw.Data, s.at.String())
	if err != nil && !errors.Is(err, ErrCorrupt) { // a copy is as damaged, and gives it up
		return err
	}
	e.Root = s.root.String()
	if e.Attempt, err = q.attemptsOf(ctx, e, s.line); err != nil {
		return err
	}
	m := encode(e, redoSubject(tokenOr(e.Function)))
	m.Header[headerMsgID] = []string{e.run() + "." + strconv.Itoa(e.Attempt) + ".rescued." + s.at.String()}
	q.logOf(e).Warn("what became of a run was lost with the power: it runs again", "function", e.Function)
	_, err = q.store(ctx, m)
	return err
}

// attemptsOf is how many attempts a run has had, by its message or by a line of the log that says more.
func (q *Queue) attemptsOf(ctx context.Context, e *Event, line uint64) (int, error) {
	if line == 0 {
		return e.Attempt, nil
	}
	last, err := q.message(ctx, streamLog, line)
	if errors.Is(err, ErrNotFound) {
		return e.Attempt, nil
	}
	if err != nil || cmp.Or(last.Header.Get(headerRoot), e.Root) != e.Root || last.Header.Get(headerOutcome) != string(OutcomeRetry) {
		return e.Attempt, err
	}
	n, _ := strconv.Atoi(last.Header.Get(headerAttempt)) // written by us, or 0
	return max(e.Attempt, n), nil
}
