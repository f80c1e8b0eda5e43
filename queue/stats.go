package queue

import (
	"context"
	"maps"
	"slices"
	"time"
)

// Lane counts the messages of a function in one stream.
type Lane struct {
	Waiting uint64 `json:"waiting"` // nobody has pulled them yet
	Running int    `json:"running"` // given to a worker and not settled
}

// FunctionStats counts the work of one function.
type FunctionStats struct {
	Function string `json:"function"`
	Paused   bool   `json:"paused"` // its events wait until somebody resumes it
	Calls    Lane   `json:"calls"`
	Replays  Lane   `json:"replays"` // with retries that are due
	Events   Lane   `json:"events"`

	// These are left out while the index is being built.
	Scheduled int64            `json:"scheduled"`               // retries that are not due yet
	Dead      map[Reason]int64 `json:"dead,omitempty"`          // dead letters that are neither replayed nor dropped
	Oldest    time.Time        `json:"oldest_waiting,omitzero"` // when the oldest that waits or runs was accepted or replayed, calls apart
}

// Stats returns the work of every function that has consumers, in the order of their names.
func (q *Queue) Stats(ctx context.Context) ([]FunctionStats, error) {
	if q.index == nil {
		return ask[[]FunctionStats](ctx, q, "stats", nil)
	}
	p, err := positionsOf(ctx, q.js, shelfCalls, shelfRetry, shelfEvents)
	if err != nil {
		return nil, err
	}
	tokens := map[string]bool{}
	for s := range p {
		for token := range p[s] {
			tokens[token] = true
		}
	}
	stats := make([]FunctionStats, 0, len(tokens))
	for _, token := range slices.Sorted(maps.Keys(tokens)) {
		stats = append(stats, FunctionStats{
			Function: untoken(token), Paused: q.halts(untoken(token)), Calls: p[shelfCalls][token].lane(), Replays: p[shelfRetry][token].lane(), Events: p[shelfEvents][token].lane(),
		})
	}
	if !q.index.built.Load() {
		return stats, nil
	}
	if err := q.index.fresh(ctx); err != nil {
		return nil, err
	}
	q.addWork(stats, p)
	return stats, nil
}

// statsHere is what is known without the server, of the functions that this gateway has: whether they are paused, and what the
// index counts, as far as it has read.
func (q *Queue) statsHere() (stats []FunctionStats) {
	for function := range q.policies.Range {
		name, _ := function.(string)
		stats = append(stats, FunctionStats{Function: name, Paused: q.halts(name)})
	}
	q.addWork(stats, positions{})
	return stats
}

func (p position) lane() Lane { return Lane{Waiting: p.waiting, Running: p.running} }

// addWork adds what the index knows.
func (q *Queue) addWork(stats []FunctionStats, p positions) {
	works := q.index.works(p)
	for i := range stats {
		w := works[stats[i].Function]
		stats[i].Scheduled, stats[i].Dead = w.scheduled, w.dead
		if w.oldest > 0 {
			stats[i].Oldest = time.UnixMilli(w.oldest).UTC()
		}
	}
}

// backlog is what the index knows of the work of a function.
type backlog struct {
	scheduled int64
	dead      map[Reason]int64
	oldest    int64 // see laneCount
}

// works returns that of each function, by name.
func (x *index) works(p positions) map[string]backlog {
	x.mu.RLock()
	defer x.mu.RUnlock()
	l := &x.ledger
	c := census{ends: [shelves]uint64{shelfEvents: ^uint64(0), shelfRetry: ^uint64(0)}}
	c.take(l, p, positions{})
	dead := map[uint16]map[Reason]int64{}
	for _, v := range l.letters.all(0, everything) {
		if !l.unanswered(v) {
			continue
		}
		if dead[v.function] == nil {
			dead[v.function] = map[Reason]int64{}
		}
		dead[v.function][Reason(l.token(v.reason))]++
	}
	all := map[string]backlog{}
	for i, token := range l.tokens {
		n := uint16(i) //nolint:gosec // below maxNames
		oldest := c.lanes[shelfEvents][n].oldest
		if redo := c.lanes[shelfRetry][n].oldest; oldest == 0 || redo > 0 && redo < oldest {
			oldest = redo
		}
		all[untoken(token)] = backlog{scheduled: c.retries[n], dead: dead[n], oldest: oldest}
	}
	return all
}
