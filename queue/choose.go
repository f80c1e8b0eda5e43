package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// ErrNotDead means that the event of a dead letter was replayed or dropped since.
var ErrNotDead = errors.New("not dead any more")

// SelectEnded is Select for whoever replays what it chooses: what will still run by itself (waiting, running, retry) and
// what was dropped or replaced is passed over, and counted in left, unless f asks for such a state. It returns the first error of visit.
func (q *Queue) SelectEnded(ctx context.Context, f Filter, after string, visit func(Record) error) (left int, err error) {
	passed := []State{StateWaiting, StateRunning, StateRetry, StateDropped, StateReplaced}
	var stopped error
	err = q.Select(ctx, f, after, func(r Record) bool {
		if f.State == "" && slices.Contains(passed, r.State) {
			left++
			return true
		}
		stopped = visit(r)
		return stopped == nil
	})
	return left, cmp.Or(stopped, err)
}

// SelectDead returns all dead letters that match, the oldest first, behind the one with the given Origin, "" from the
// start; f.Limit does not count.
func (q *Queue) SelectDead(ctx context.Context, f DeadFilter, after string) ([]DeadLetter, error) {
	from := parseRef(after)
	if after != "" && from.shelf() != shelfDead {
		return nil, fmt.Errorf("%w: %q is no place in a list: take the origin of a dead letter", ErrArgument, shorten(after, 80))
	}
	var all []DeadLetter
	for more := true; more; {
		f.Limit = MaxLimit
		page, err := q.DeadLetters(ctx, f)
		if err != nil {
			return nil, err
		}
		f, more = f.Next(page)
		for _, d := range page {
			if parseRef(d.Origin) <= from {
				more = false
				break
			}
			all = append(all, d)
		}
	}
	slices.Reverse(all)
	return all, nil
}

// ReplayDead replays the event of a dead letter, as Replay does, if nobody has replayed or dropped it since. Errors:
// ErrNotDead, those of DeadLetter and of Replay.
func (q *Queue) ReplayDead(ctx context.Context, ref, to string) (Replayed, error) {
	d, err := q.DeadLetter(ctx, ref)
	if err != nil {
		return Replayed{}, err
	}
	if d.State != StateDead {
		return Replayed{}, &answerError{fmt.Sprintf("%s is not dead any more: it is %s", ref, d.State), ErrNotDead}
	}
	r, err := q.Replay(ctx, d.Origin, to)
	if err != nil {
		return r, fmt.Errorf("replay %s: %w", ref, err)
	}
	return r, nil
}
