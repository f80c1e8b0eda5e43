package queue

import "fmt"

// A call reaches a slot of its own process without a way through the server: an idle slot offers itself, the caller
// runs the function in its place and gives it back. The call is recorded first, on a subject that no consumer reads:
// nobody but this caller waits for the reply, so there is nothing that another worker could do later.

// lent waits until the caller gives the slot back, and gives back what the parked pull brings meanwhile.
func (s *slot) lent() {
	for {
		select {
		case <-s.returned:
			return
		case m := <-s.got:
			s.refuse(m)
		}
	}
}

// callHere runs a call on an idle slot of this process. ok is false when there is none: then any worker may have it.
func (q *Queue) callHere(e *Event, subject string) (body []byte, ok bool, err error) {
	v, _ := q.feeds.Load(e.Function)
	f, here := v.(*Feed)
	if !here {
		return nil, false, nil
	}
	select {
	case s := <-f.idle:
		body, err := q.runHere(s, e, subject)
		return body, true, err
	default:
		return nil, false, nil
	}
}

func (q *Queue) runHere(s *slot, e *Event, subject string) ([]byte, error) {
	defer func() { s.returned <- struct{}{} }()
	if err := q.nc.PublishMsg(encode(e, subject)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	r := run(s.handle, e)
	q.logOutcome(e, r, "")
	if r.Outcome != OutcomeOK {
		return nil, &CallError{r.Code, r.Message}
	}
	return r.Reply, nil
}
