package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestSlot_TakesCallsBeforeReplaysBeforeEvents(t *testing.T) {
	q := open(t, "One")
	first, err := q.Publish(t.Context(), &Event{Source: "s", Function: "One", Body: []byte("event0")})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var order []string
	begun, release := make(chan struct{}, 1), make(chan struct{})
	work(t, q, "One", 1, func(e *Event) Result {
		mu.Lock()
		kind := string(e.Body)
		if e.ReplayOf != "" {
			kind = "replay"
		}
		order = append(order, kind)
		n := len(order)
		mu.Unlock()
		if n == 1 {
			begun <- struct{}{}
			<-release
		}
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	})
	<-begun
	for i := range 3 {
		if _, err := q.Publish(t.Context(), &Event{Source: "s", Function: "One", Body: fmt.Appendf(nil, "event%d", i+1)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := q.Replay(t.Context(), first.ID, ""); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "the pull for calls has ended", func() bool {
		c, err := q.js.Consumer(t.Context(), streamCalls, consumerName("One"))
		return err == nil && c.CachedInfo().NumWaiting == 0
	})
	called := make(chan error, 1)
	go func() {
		_, err := q.Call(t.Context(), &Event{Source: "s", Function: "One", Body: []byte("call")})
		called <- err
	}()
	within(t, 5*time.Second, "the call is stored", func() bool {
		st, err := q.state(t.Context(), streamCalls)
		return err == nil && st.Msgs == 1
	})
	close(release)
	if err := <-called; err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "all have run", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(order) == 6
	})
	if got := fmt.Sprint(order); got != "[event0 call replay event1 event2 event3]" {
		t.Errorf("got %s", got)
	}
}

// raise makes most at least n.
func raise(most *atomic.Int64, n int64) {
	for {
		if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
			return
		}
	}
}

func TestSlot_NeverHoldsMoreThanOnePieceOfWork(t *testing.T) {
	q := open(t, "Busy")
	var now, most, events atomic.Int64
	work(t, q, "Busy", 3, func(e *Event) Result {
		raise(&most, now.Add(1))
		<-time.After(time.Millisecond)
		now.Add(-1)
		if e.Deadline.IsZero() {
			events.Add(1)
		}
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				if _, err := q.Call(t.Context(), &Event{Source: "s", Function: "Busy", Body: []byte("1")}); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 25 {
				if _, err := q.Publish(t.Context(), &Event{Source: "s", Function: "Busy", Body: []byte("1")}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	within(t, 20*time.Second, "all events have run", func() bool { return events.Load() == 200 })
	if most.Load() > 3 {
		t.Errorf("%d at a time, want at most 3", most.Load())
	}
}

func TestSlot_AnEventThatDidNotStartWaitsAndIsNoAttempt(t *testing.T) {
	q := open(t, "Restarting")
	var tries atomic.Int64
	work(t, q, "Restarting", 1, func(*Event) Result {
		if tries.Add(1) < 3 {
			return Result{Outcome: OutcomeNotStarted, Code: CodeNoTask, Message: "refused"}
		}
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	})
	r, err := q.Publish(t.Context(), &Event{Source: "s", Function: "Restarting", Body: []byte("1")})
	if err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "it has run", func() bool {
		rec, err := q.Get(t.Context(), r.ID)
		return err == nil && rec.State == State(OutcomeOK) && len(rec.Attempts) == 1
	})
}

func TestSlot_AnotherWorkerTakesAnInterruptedEvent(t *testing.T) {
	q := open(t, "Moves")
	ran := make(chan struct{}, 1)
	stop := work(t, q, "Moves", 1, func(*Event) Result {
		ran <- struct{}{}
		return Result{Outcome: OutcomeInterrupted, Code: CodeStopping, Message: "stopping"}
	})
	if _, err := q.Publish(t.Context(), &Event{Source: "s", Function: "Moves", Body: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	<-ran
	go stop() // it may take the event a few more times before it ends
	done := make(chan string, 1)
	work(t, q, "Moves", 1, func(e *Event) Result {
		select {
		case done <- e.ID:
		default:
		}
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	})
	for {
		select {
		case <-done:
			return
		case <-ran:
		}
	}
}

func TestCall_PastItsDeadlineNeverRuns(t *testing.T) {
	q := open(t, "Slow")
	begun, release := make(chan string, 10), make(chan struct{})
	work(t, q, "Slow", 1, func(e *Event) Result {
		begun <- string(e.Body)
		<-release
		return Result{Outcome: OutcomeOK, Reply: e.Body}
	})
	first := make(chan error, 1)
	go func() {
		_, err := q.Call(t.Context(), &Event{Source: "s", Function: "Slow", Body: []byte("1")})
		first <- err
	}()
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var failed *CallError
	if _, err := q.Call(ctx, &Event{Source: "s", Function: "Slow", Body: []byte("2")}); !errors.As(err, &failed) || failed.Code != CodeTimeout {
		t.Fatalf("got %v, want %s", err, CodeTimeout)
	}
	close(release)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if got, err := q.Call(t.Context(), &Event{Source: "s", Function: "Slow", Body: []byte("3")}); err != nil || string(got) != "3" {
		t.Fatalf("got %s, %v", got, err)
	}
	if got := <-begun; got != "3" {
		t.Errorf("ran %s, want only 3", got)
	}
	within(t, 5*time.Second, "the expired call is in the log", func() bool {
		list, err := q.List(t.Context(), Filter{Kind: "call", State: State(OutcomeExpired)})
		return err == nil && len(list) == 1
	})
}

func TestCall_ManyCallersEachGetTheirOwnReply(t *testing.T) {
	q := open(t, "Echo")
	work(t, q, "Echo", 4, func(e *Event) Result { return Result{Outcome: OutcomeOK, Reply: e.Body} })
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for k := range 20 {
				want := fmt.Sprintf("%d.%d", i, k)
				got, err := q.Call(t.Context(), &Event{Source: "s", Function: "Echo", Body: []byte(want)})
				if err != nil || string(got) != want {
					t.Errorf("got %s, %v; want %s", got, err, want)
				}
			}
		})
	}
	wg.Wait()
}

func TestPublish_AnEventReachesAnIdleSlotAtOnce(t *testing.T) {
	q := open(t, "Idle")
	ran := make(chan time.Time, 1)
	work(t, q, "Idle", 1, func(*Event) Result { ran <- time.Now(); return Result{Outcome: OutcomeOK, Reply: []byte("1")} })
	if _, err := q.Call(t.Context(), &Event{Source: "s", Function: "Idle", Body: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	<-ran
	if _, err := q.Publish(t.Context(), &Event{Source: "s", Function: "Idle", Body: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	stored := time.Now()
	if d := (<-ran).Sub(stored); d > parkTime/2 {
		t.Errorf("ran %s after it was stored: the hint did not wake the slot", d)
	}
}
