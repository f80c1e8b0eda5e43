package queue

import (
	"context"
	"fmt"
)

// settled reports whether a run has ended, or has moved on from the message that a worker was given again: then that one
// must not run. A message that is newer than all that the index knows of the run is not settled: a server of a cluster that
// does not know yet that it leads no more may have told the index too little.
func (q *Queue) settled(ctx context.Context, root, at string) (bool, error) {
	of, message := parseRef(root), parseRef(at)
	if of == 0 || message == 0 {
		return false, fmt.Errorf("%w: %q at %q is no run", ErrArgument, shorten(root, 80), shorten(at, 80))
	}
	x := q.index
	if err := x.fresh(ctx); err != nil {
		return false, err
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	state, _, known := x.ledger.run(of)
	if !known {
		return false, nil
	}
	now, _ := x.ledger.message(of)
	return state.ended() || now > message, nil
}

// stateOf returns where the newest run of an event or a call stands.
func (q *Queue) stateOf(ctx context.Context, stream string, seq uint64) (State, error) {
	f, err := q.finding(ctx, newRef(shelfOf(stream), seq))
	if err != nil {
		return "", err
	}
	if f.record == 0 {
		return "", fmt.Errorf("%w: %s/%d", ErrNotFound, stream, seq)
	}
	return f.state, nil
}
