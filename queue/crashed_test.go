package queue

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// dieWith lets a worker of another node take events until it has one, and die with that one.
func dieWith(t *testing.T, q *Queue, function string) {
	t.Helper()
	w := another(t, q)
	f, err := w.Feed(function, Retry{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var died atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		// What the slot of a dead process returns is of no interest.
		_ = f.Slot(ctx, func(*Event) Result {
			w.nc.Close()
			died.Store(true)
			cancel()
			return Result{Outcome: OutcomeInterrupted}
		})
	})
	wg.Wait()
	if !died.Load() {
		t.Fatalf("the worker got no event: %v", ctx.Err())
	}
}

func TestCrashed_AnEventThatWorkersDieWithIsADeadLetter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := open(t, "Killer")
		r := publish(t, q, "Killer")
		for i := range maxDeliver {
			if got := outcomes(t, q, r.ID); got != "" {
				t.Errorf("after %d workers the log says %s", i, got)
			}
			dieWith(t, q, "Killer")
		}
		next := publish(t, q, "Killer")
		stop := work(t, q, "Killer", 1, ok("1")) // the server says nothing before somebody asks for work
		time.Sleep(2 * DefaultAckWait)
		if got := outcomes(t, q, r.ID); got != "5 lost, 5 dead" {
			t.Fatalf("the log says %s", got)
		}
		dead := stored(t, q, streamDead)[0]
		h := dead.Header
		if h.Get(headerID) != r.ID || h.Get(headerReason) != string(ReasonCrashed) || h.Get(headerRoot) != "FUNKER_EVENTS/1" || h.Get(headerAttempt) != "5" ||
			h.Get(headerError) != "workers died with it 5 times" || h.Get(headerCode) != CodeWorkerDied || h.Get("X-Kind") != "push" || string(dead.Data) != `{"n":1}` {
			t.Errorf("got %v %s", h, dead.Data)
		}
		stop()
		balanced(t, q)
		if got := outcomes(t, q, next.ID); got != "1 ok" {
			t.Errorf("the log says %s of the next event", got)
		}
	})
}

// crash makes an event whose first attempt failed, and with whose second workers died, and returns the queue with its
// housekeeping stopped: as if the gateway had died before it saw that. end closes the queue; the end of the test does so
// too.
func crash(t *testing.T, dir string) (q *Queue, a advisory, end func()) {
	t.Helper()
	q, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	if err := q.AddFunction(t.Context(), "Killer", Retry{}); err != nil {
		t.Fatal(err)
	}
	q.house.close()
	stop := work(t, q, "Killer", 1, func(*Event) Result {
		return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, RetryAfter: time.Minute}
	})
	publish(t, q, "Killer")
	time.Sleep(time.Second)
	stop()
	time.Sleep(2 * time.Minute)
	due := stored(t, q, streamRetry)
	if len(due) != 1 || due[0].Subject != redoSubject("Killer") {
		t.Fatalf("got %+v, want a retry that is due", due)
	}
	for range maxDeliver {
		pullOne(t, q, streamRetry, "Killer")
		time.Sleep(DefaultAckWait + time.Second)
	}
	if m, err := q.pull(t.Context(), streamRetry, "Killer"); err != nil || m.Header.Get("Status") == "" {
		t.Fatalf("got %+v, %v after %d deliveries", m, err, maxDeliver)
	}
	time.Sleep(time.Second)
	if advisories := stored(t, q, streamAdvisory); len(advisories) != 1 {
		t.Fatalf("%d advisories", len(advisories))
	}
	return q, advisory{Stream: streamRetry, Consumer: consumerName("Killer"), StreamSeq: due[0].Sequence, Deliveries: maxDeliver}, end
}

func TestCrashed_ARestartLosesNoneAndMakesNoneTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		q, a, end := crash(t, dir)
		if err := q.buryCrashed(t.Context(), a); err != nil { // and then it died: the advisory is not acknowledged
			t.Fatal(err)
		}
		end()
		time.Sleep(2 * duplicateWindow)
		q = openIn(t, dir)
		time.Sleep(time.Second)
		c, err := q.js.Consumer(t.Context(), streamAdvisory, crashedConsumer)
		if err != nil || c.CachedInfo().NumPending > 0 || c.CachedInfo().NumAckPending > 0 {
			t.Fatalf("the advisory is not done with: %v, %v", c, err)
		}
		dead := stored(t, q, streamDead)
		if len(dead) != 1 {
			t.Fatalf("%d dead letters, want 1", len(dead))
		}
		if h := dead[0].Header; h.Get(headerAttempt) != "6" || h.Get(headerRoot) != "FUNKER_EVENTS/1" {
			t.Errorf("got %v", h)
		}
	})
}

func TestCrashed_WhatIsGoneIsSkipped(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q, a, _ := crash(t, t.TempDir())
		s, err := q.js.Stream(t.Context(), a.Stream)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.DeleteMsg(t.Context(), a.StreamSeq), q.buryCrashed(t.Context(), a)); err != nil {
			t.Fatal(err)
		}
		if dead := stored(t, q, streamDead); len(dead) != 0 {
			t.Errorf("%d dead letters", len(dead))
		}
	})
}

func TestCrashed_IsNotTrimmedBeforeItIsADeadLetter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q, a, _ := crash(t, t.TempDir())
		if _, err := q.js.PublishMsg(t.Context(), encode(&Event{ID: NewID(), Source: "s", Function: "Killer"}, redoSubject("Killer"))); err != nil {
			t.Fatal(err)
		}
		if _, err := q.cut(t.Context(), q.house.history.archives()[1], 0); err != nil {
			t.Fatal(err)
		}
		if _, err := q.message(t.Context(), a.Stream, a.StreamSeq); err != nil {
			t.Errorf("%s: %v", a.Stream+"/"+strconv.FormatUint(a.StreamSeq, 10), err)
		}
	})
}
