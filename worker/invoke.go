package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// attempt runs one event or call: task, dial, call, log line. A task that provably did not start the function costs
// nothing: the next one is tried.
func (w *Worker) attempt(kill context.Context, t *tasks, e *queue.Event) queue.Result {
	start := time.Now()
	ctx, cancel := context.WithDeadline(kill, deadline(start, t.function.Timeout, e.Deadline))
	defer cancel()
	r := w.invoke(ctx, t, e)
	if kill.Err() != nil && r.Outcome != queue.OutcomeOK {
		r.Outcome, r.Code, r.Message = queue.OutcomeInterrupted, queue.CodeStopping, errStopping.Error()
	}
	r.Duration = time.Since(start)
	w.line(ctx, e, r)
	return r
}

func deadline(start time.Time, timeout time.Duration, caller time.Time) time.Time {
	d := start.Add(timeout)
	if !caller.IsZero() && caller.Before(d) {
		return caller
	}
	return d
}

func (w *Worker) invoke(ctx context.Context, t *tasks, e *queue.Event) queue.Result {
	payload, err := w.Payload(e.ContentType, e.Body)
	if err != nil {
		return queue.Result{Outcome: queue.OutcomeFailed, Code: queue.CodeBadPayload, Message: err.Error()}
	}
	var tried map[*task]bool
	var last error
	for {
		chosen, err := t.acquire(ctx, tried)
		if err != nil {
			return noTask(t.function.Name, err, last)
		}
		reply, err := w.Client.Call(ctx, chosen.address, payload)
		t.release(chosen, neverStarted(err))
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
}

func noTask(function string, err, last error) queue.Result {
	if last != nil && errors.Is(err, errNoTask) {
		err = last
	}
	return queue.Result{
		Outcome: queue.OutcomeNotStarted, Code: queue.CodeNoTask,
		Message: fmt.Sprintf("no task of function %s takes the call: %v", function, err),
	}
}

// line is the one line of an attempt.
func (w *Worker) line(ctx context.Context, e *queue.Event, r queue.Result) {
	level := slog.LevelDebug
	if r.Outcome != queue.OutcomeOK {
		level = slog.LevelWarn
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
	if r.Code != "" {
		attrs = append(attrs, slog.String("code", r.Code), slog.String("reason", r.Message))
	}
	w.Log.LogAttrs(ctx, level, "attempt", attrs...)
}
