package worker

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// A function that took its request and died may have done its work.
func TestWorker_WhatDiedIsTriedAgainForEventsOnly(t *testing.T) {
	var runs atomic.Int32
	died := raw(t, func(c net.Conn) {
		_, _ = io.Copy(io.Discard, c)
		runs.Add(1)
	})
	fn := function("Dies", died, died)
	fn.Retry.Attempts, fn.Retry.Initial = 2, time.Millisecond
	q, _ := start(t, fn)
	_, err := q.Call(t.Context(), &queue.Event{Source: "test", Function: "Dies", Body: []byte("1")})
	var failed *queue.CallError
	if !errors.As(err, &failed) || failed.Code != queue.CodeFunctionDied || runs.Load() != 1 {
		t.Errorf("call: %v after %d runs, want %s after one", err, runs.Load(), queue.CodeFunctionDied)
	}
	r, err := q.Publish(t.Context(), &queue.Event{Source: "test", Function: "Dies", Body: []byte("1")})
	if err != nil {
		t.Fatal(err)
	}
	within(t, "the event is dead", func() bool {
		record, err := q.Get(t.Context(), r.ID)
		return err == nil && record.State == queue.StateDead && record.Reason == queue.ReasonExhausted
	})
	if n := runs.Load(); n != 3 {
		t.Errorf("%d runs, want one of the call and two of the event", n)
	}
}

func TestFollow_AnEventWhoseConnectionIsResetIsNoAttemptAFewTimes(t *testing.T) {
	n := newNode()
	q, _ := follow(t, n, deployed("Resets", deploy.LifecycleServer, 1))
	var calls atomic.Int32
	resets := func(times int32) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = io.Copy(io.Discard, c)
			if calls.Add(1) <= times {
				_ = c.(interface{ SetLinger(int) error }).SetLinger(0) // closing it resets it
				return
			}
			_, _ = io.WriteString(c, "1")
		}
	}
	first := n.start(deploy.Task{Function: "Resets", Address: run(t, "127.0.0.1:0", resets(maxResets)).address()})
	endsAtFirst(t, q, publish(t, q, "Resets"))
	if got := calls.Load(); got != maxResets+1 {
		t.Errorf("%d calls, want %d", got, maxResets+1)
	}
	calls.Store(0)
	if err := callBy(t, q, "Resets", time.Minute); err == nil || calls.Load() != 1 {
		t.Errorf("a call may have run: got %v after %d calls, want an error after one", err, calls.Load())
	}
	n.die(first.ID)
	n.start(deploy.Task{Function: "Resets", Address: run(t, "127.0.0.1:0", resets(1000)).address()})
	calls.Store(0)
	id := publish(t, q, "Resets")
	within(t, "an attempt has failed", func() bool {
		r, err := q.Get(t.Context(), id)
		return err == nil && len(r.Attempts) > 0 && r.Attempts[0].Code == queue.CodeFunctionDied && calls.Load() > maxResets
	})
}
