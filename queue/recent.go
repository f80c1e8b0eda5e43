package queue

import (
	"context"
	"time"
)

// recentMost bounds how many records Recent looks at: a busy gateway counts a shorter time.
const recentMost = 200_000

// Recent is what was accepted lately, of one function.
type Recent struct {
	Accepted  int   `json:"accepted"`  // events and calls
	Succeeded int   `json:"succeeded"` // of those
	Failed    int   `json:"failed"`    // of those: given up or, of calls, without a reply; retries are neither
	Parts     []int `json:"parts"`     // Accepted, by parts of the time, the oldest first
}

// Recent counts what was accepted within a time up to now, by function, and in how many parts of that time. It returns
// the time that was counted, which is shorter when there was very much. Only the process with the embedded server knows
// it. Errors: ErrIndexing.
func (q *Queue) Recent(ctx context.Context, within time.Duration, parts int) (map[string]Recent, time.Duration, error) {
	if q.index == nil {
		return nil, 0, ErrUnavailable
	}
	if err := q.index.fresh(ctx); err != nil {
		return nil, 0, err
	}
	all, counted := q.index.recent(time.Now(), within, parts, recentMost)
	return all, counted, nil
}

func (x *index) recent(now time.Time, within time.Duration, parts, most int) (map[string]Recent, time.Duration) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	l, begin := &x.ledger, now.Add(-within)
	keys, looked := keysBetween(begin, time.Time{}), 0
	found := map[uint16]*Recent{}
	for _, kind := range []shelf{shelfEvents, shelfCalls} {
		for _, r := range l.records(kind).back(noEnd, keys) {
			at := time.UnixMilli(keyMade(r.key))
			if at.Before(begin) {
				continue
			}
			if looked++; looked > most {
				begin = at
				break
			}
			f := found[r.function]
			if f == nil {
				f = &Recent{Parts: make([]int, parts)}
				found[r.function] = f
			}
			f.add(r.shown, int(at.Sub(now.Add(-within))*time.Duration(parts)/within))
		}
	}
	all := make(map[string]Recent, len(found))
	for n, f := range found {
		all[untoken(l.token(n))] = *f
	}
	return all, now.Sub(begin)
}

func (f *Recent) add(state runState, part int) {
	f.Accepted++
	f.Parts[min(max(part, 0), len(f.Parts)-1)]++
	switch {
	case runStateNames[state] == StateOK:
		f.Succeeded++
	case state.ended():
		f.Failed++
	}
}
