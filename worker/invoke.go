package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/funker"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// attempt runs one event or call: payload, invoke, log line.
func (w *Worker) attempt(kill context.Context, fn *deploy.Function, e *queue.Event, invoke func(t attemptTrace, payload []byte) queue.Result) queue.Result {
	start := time.Now()
	t, traced := w.startAttempt(e)
	var r queue.Result
	if payload, err := w.Payload(traced, fn); err == nil {
		r = invoke(t, payload)
	} else {
		r = queue.Result{Outcome: queue.OutcomeFailed, Code: queue.CodeBadPayload, Message: err.Error(), Final: true}
	}
	if r.Code == queue.CodeTimeout {
		r.Message = fmt.Sprintf("no answer within %s", deadline(start, fn.Timeout, e.Deadline).Sub(start).Round(time.Millisecond))
	}
	if kill.Err() != nil && r.Outcome != queue.OutcomeOK && r.Outcome != queue.OutcomeNotStarted {
		r.Outcome, r.Code, r.Message = queue.OutcomeInterrupted, queue.CodeStopping, errStopping.Error()
	}
	r.Duration = time.Since(start)
	t.end(r)
	w.line(e, r)
	return r
}

func deadline(start time.Time, timeout time.Duration, caller time.Time) time.Time {
	d := start.Add(timeout)
	if !caller.IsZero() && caller.Before(d) {
		return caller
	}
	return d
}

// share runs one event or call on whichever task of a pool is idle. A task that provably did not start the function costs
// nothing: the next one is tried.
func (w *Worker) share(kill context.Context, fn *deploy.Function, pool *tasks, e *queue.Event) queue.Result {
	ctx, cancel := context.WithDeadline(kill, deadline(time.Now(), fn.Timeout, e.Deadline))
	defer cancel()
	return w.attempt(kill, fn, e, func(t attemptTrace, payload []byte) queue.Result {
		var tried map[*task]bool
		var last error
		for {
			chosen, err := pool.acquire(ctx, fn, tried)
			if err != nil {
				return noTask(fn.Name, err, last)
			}
			reply, err := t.call(fn.Name, chosen.address, func() ([]byte, error) { return w.Client.Call(ctx, chosen.address, payload) })
			pool.release(chosen, neverStarted(err))
			if err == nil {
				return queue.Result{Outcome: queue.OutcomeOK, Reply: reply}
			}
			if !neverStarted(err) || ctx.Err() != nil {
				return classify(err)
			}
			if tried == nil {
				tried = map[*task]bool{}
			}
			tried[chosen], last = true, err
		}
	})
}

func noTask(function string, err, last error) queue.Result {
	if last != nil && errors.Is(err, errNoTask) {
		err = last
	}
	if errors.Is(err, funker.ErrNoPorts) {
		return noPorts(function, err)
	}
	return notStarted(function, err)
}

// notStarted is the result of a call that no task took.
func notStarted(function string, err error) queue.Result {
	return queue.Result{
		Outcome: queue.OutcomeNotStarted, Code: queue.CodeNoTask,
		Message: fmt.Sprintf("no task of function %s takes the call: %v", function, err),
	}
}

// line is the one line of an attempt.
func (w *Worker) line(e *queue.Event, r queue.Result) {
	ctx, level, skipped := context.Background(), slog.LevelWarn, 0
	switch {
	case r.Outcome == queue.OutcomeOK, r.Outcome == queue.OutcomeNotStarted && r.Last: // a task that ends is no news
		level = slog.LevelDebug
	case r.Outcome == queue.OutcomeNotStarted && e.Deadline.IsZero(): // an event, which waits
		var due bool
		if skipped, due = w.waits.due(e, r); !due {
			level = slog.LevelDebug
		}
	}
	if !w.Log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("event", e.ID), slog.String("function", e.Function), slog.String("source", e.Source),
		slog.String("outcome", string(r.Outcome)), slog.Duration("duration", r.Duration),
	}
	if e.ReplayOf != "" {
		attrs = append(attrs, slog.String("replay_of", e.ReplayOf))
	}
	if id := e.TraceID(); id != "" {
		attrs = append(attrs, slog.String("trace_id", id))
	}
	if r.Code != "" {
		attrs = append(attrs, slog.String("code", r.Code), slog.String("reason", r.Message))
	}
	if skipped > 0 {
		attrs = append(attrs, slog.Int("not_logged", skipped))
	}
	w.Log.LogAttrs(ctx, level, "attempt", attrs...)
}
