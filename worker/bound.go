package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/funker-dispatch/funker-dispatch/funker"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

const (
	// startLimit is how long after its start a task may refuse connections: an interpreter needs its time until it listens.
	startLimit = 30 * time.Second
	// refusedLimit is how long one that should listen may refuse them, and how long a call waits for one that does not yet:
	// a task of another node may be idle.
	refusedLimit = time.Second
	// replyTime is how long before its deadline a call is answered that no task has taken.
	replyTime = 50 * time.Millisecond

	firstDial = time.Millisecond // between two dials of a task that refuses, at first
	lastDial  = 5 * time.Millisecond
)

var errTaskGone = errors.New("the task is gone")

// attempt runs one event or call on the task. It reports whether the task took a connection. A task that refuses while
// it lives is still starting, and is dialled again. When it goes, or when another one of this node can take the work,
// nothing has started, and the result is the Last one. After a connection that was the only one, the task is spent.
func (l *life) attempt(e *queue.Event, only bool) (r queue.Result, connected bool) {
	if l.enter() {
		defer l.exit()
	}
	r = l.runner.worker.attempt(l.runner.kill, l.runner.function.Load(), e, func(t attemptTrace, payload []byte) (r queue.Result) {
		r, connected = l.invoke(t, e, payload)
		return r
	})
	if only && connected {
		l.spent.Store(true)
	}
	return r, connected
}

func (l *life) invoke(t attemptTrace, e *queue.Event, payload []byte) (r queue.Result, connected bool) {
	limit, last := l.patience(e), errTaskGone
	for pause := firstDial; l.open.Err() == nil; pause = min(2*pause, lastDial) {
		reply, err := l.call(t, e, payload)
		switch {
		case err == nil || !refused(err):
			return l.took(e, reply, err), true
		case errors.Is(err, funker.ErrNoPorts):
			return noPorts(l.task.Function, err), false
		}
		last = err
		if time.Now().After(limit) || l.runner.hasRoom(l) {
			break
		}
		rest(l.open, pause, nil)
	}
	r = notStarted(l.task.Function, last)
	r.Last = true
	return r, false
}

func (l *life) call(t attemptTrace, e *queue.Event, payload []byte) ([]byte, error) {
	fn, client := l.runner.function.Load(), &l.runner.worker.Client
	ctx, cancel := context.WithDeadline(l.runner.kill, deadline(time.Now(), fn.Timeout, e.Deadline))
	defer cancel()
	return t.call(fn.Name, l.task.Address, func() ([]byte, error) { return client.Call(ctx, l.task.Address, payload) })
}

// patience is until when the task is dialled.
func (l *life) patience(e *queue.Event) time.Time {
	limit := time.Now().Add(refusedLimit)
	if started := l.since.Add(startLimit); e.Deadline.IsZero() && !l.proven.Load() && started.After(limit) {
		return started
	}
	if answer := e.Deadline.Add(-replyTime); !e.Deadline.IsZero() && answer.Before(limit) {
		return answer
	}
	return limit
}

// refused reports whether there was no connection.
func refused(err error) bool {
	var e *funker.Error
	return errors.As(err, &e) && e.Phase == funker.PhaseDial
}

// took makes the result of a call for which the task took a connection.
func (l *life) took(e *queue.Event, reply []byte, err error) queue.Result {
	l.proven.Store(true)
	if err == nil {
		l.replies.Add(1)
		return queue.Result{Outcome: queue.OutcomeOK, Reply: reply}
	}
	reset := mostProbablyNot(e, err)
	if reset || neverStarted(err) {
		r := notStarted(l.task.Function, err)
		r.Last, r.Reset = true, reset
		return r
	}
	if replied(err) {
		l.replies.Add(1)
	}
	return classify(err)
}

// replied reports whether err is the function's own word, or what it took for one.
func replied(err error) bool {
	var failure *funker.Failure
	return errors.As(err, &failure) || errors.Is(err, funker.ErrBadReply) || errors.Is(err, funker.ErrReplyTooLarge)
}

func noPorts(function string, err error) queue.Result {
	return queue.Result{
		Outcome: queue.OutcomeNotStarted, Code: queue.CodeNoPorts,
		Message: fmt.Sprintf("function %s was not called: %v", function, err),
	}
}
