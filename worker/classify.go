package worker

import (
	"context"
	"errors"
	"syscall"

	"github.com/funker-dispatch/funker-dispatch/funker"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// neverStarted reports whether err proves that the function did not run, so that another task may be tried.
//
// A classic function serves one connection and exits; Swarm starts the next one. Meanwhile its port refuses, its
// address times out or answers with a reset: normal, and safe to try elsewhere, because a function reads its request
// up to the caller's FIN, which never went out. A reply that got lost is another matter: the function may have done
// its work.
func neverStarted(err error) bool {
	var e *funker.Error
	return errors.As(err, &e) && e.Started == funker.StartedNo
}

// maxResets bounds how often an event may go elsewhere because its connection was reset: a function that does so each time
// it is called fails.
const maxResets = 3

// mostProbablyNot reports whether a function has next to certainly not run: a task that goes away resets the connections
// that it had not read yet. Nothing proves it, so it holds for events alone, which may run twice.
func mostProbablyNot(event *queue.Event, err error) bool {
	var e *funker.Error
	return event.Deadline.IsZero() && event.Resets < maxResets && errors.As(err, &e) &&
		e.Phase == funker.PhaseRead && e.Started == funker.StartedPerhaps && errors.Is(err, syscall.ECONNRESET)
}

// classify turns the error of a call into its outcome.
func classify(err error) queue.Result {
	r := queue.Result{Outcome: queue.OutcomeFailed, Code: queue.CodeFunctionDied, Message: err.Error()}
	var failure *funker.Failure
	switch {
	case errors.As(err, &failure):
		r.Code, r.Final, r.RetryAfter = queue.CodeFunctionFailed, !failure.Retry, failure.RetryAfter
	case errors.Is(err, funker.ErrReplyTooLarge):
		r.Code = queue.CodeReplyTooLarge
	case errors.Is(err, funker.ErrBadReply):
		r.Code = queue.CodeBadReply
	case timedOut(err):
		r.Code = queue.CodeTimeout
	}
	return r
}

func timedOut(err error) bool {
	var e *funker.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &e) && e.Timeout()
}
