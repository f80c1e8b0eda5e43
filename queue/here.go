package queue

import (
	"context"
	"fmt"

	"github.com/oklog/ulid/v2"
)

// A call reaches a slot of its own process without a way through the server: an idle slot offers itself, the caller
// runs the function in its place and gives it back. The call is recorded first, on a subject that no consumer reads:
// nobody but this caller waits for the reply, so there is nothing that another worker could do later. When the slot's
// task is gone before the function could start, another slot of this process has it; without one the record is taken
// back, and the call goes to the workers.
//
// In a cluster every call goes through the servers. There the order of two messages to two streams is nobody's: what came
// of a call could be stored before its record, and the record not at all while there is no leader.

// lent waits until the caller gives the slot back, and gives back what the parked pull brings meanwhile.
func (s *slot) lent(ctx context.Context) {
	for {
		select {
		case s.over = <-s.returned:
			return
		case m := <-s.got:
			s.refuse(ctx, m)
		}
	}
}

// callHere runs a call on an idle slot of this process. ok is false when there is none: then any worker may have it.
func (q *Queue) callHere(ctx context.Context, e *Event, subject string) (body []byte, ok bool, err error) {
	v, _ := q.feeds.Load(e.Function)
	f, here := v.(*Feed)
	if !here || q.clustered() {
		return nil, false, nil
	}
	for recorded := false; ; recorded = true {
		var s *slot
		select {
		case s = <-f.idle:
		default:
			return nil, false, q.unrecord(ctx, e, recorded)
		}
		r, err := q.runHere(s, e, subject, recorded)
		if err != nil {
			return nil, true, err
		}
		if r.Outcome == OutcomeNotStarted && r.Last {
			continue
		}
		q.logOutcome(line{event: e, result: r, outcome: r.Outcome})
		if r.Outcome != OutcomeOK {
			return nil, true, &CallError{r.Code, r.Message}
		}
		return r.Reply, true, nil
	}
}

// runHere runs a call in the place of a slot, and records it first unless that is done.
func (q *Queue) runHere(s *slot, e *Event, subject string, recorded bool) (r Result, err error) {
	defer func() { s.returned <- r.Last }()
	if !recorded {
		if err := q.nc.PublishMsg(encode(e, subject)); err != nil {
			return Result{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	return run(s.handle, e), nil
}

// unrecord deletes the record of a call that is about to get another one.
func (q *Queue) unrecord(ctx context.Context, e *Event, recorded bool) error {
	if !recorded {
		return nil
	}
	ctx, cancel := context.WithDeadline(ctx, e.Deadline)
	defer cancel()
	id, err := ulid.ParseStrict(e.ID)
	if err != nil {
		return fmt.Errorf("id of a call: %w", err)
	}
	if err := q.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	at, err := q.findID(ctx, id)
	if err != nil {
		return fmt.Errorf("find the record of a call: %w", err)
	}
	s, err := q.js.Stream(ctx, streamCalls)
	if err == nil {
		err = s.DeleteMsg(ctx, at.seq())
	}
	if err != nil {
		return fmt.Errorf("take back the record of a call: %w", err)
	}
	return nil
}
