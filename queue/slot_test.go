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
			await(t, release)
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
	within(t, patience, "the pull for calls has ended", func() bool {
		c, err := q.js.Consumer(t.Context(), streamCalls, consumerName("One"))
		return err == nil && c.CachedInfo().NumWaiting == 0
	})
	called := make(chan error, 1)
	go func() {
		_, err := q.Call(t.Context(), &Event{Source: "s", Function: "One", Body: []byte("call")})
		called <- err
	}()
	within(t, patience, "the call is stored", func() bool {
		st, err := q.state(t.Context(), streamCalls)
		return err == nil && st.Msgs == 1
	})
	close(release)
	if err := <-called; err != nil {
		t.Fatal(err)
	}
	within(t, patience, "all have run", func() bool {
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
	within(t, patience, "all events have run", func() bool { return events.Load() == 200 })
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
	within(t, patience, "it has run", func() bool {
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
		await(t, release)
		return Result{Outcome: OutcomeOK, Reply: e.Body}
	})
	q.feeds.Delete("Slow") // so that calls take the way through the server
	first := make(chan error, 1)
	go func() {
		_, err := q.Call(t.Context(), &Event{Source: "s", Function: "Slow", Body: []byte("1")})
		first <- err
	}()
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	// A server that is slow to say whether a worker has it leaves that open: then it is a timeout.
	outcome, failed := OutcomeNotStarted, new(CallError)
	_, err := q.Call(ctx, &Event{Source: "s", Function: "Slow", Body: []byte("2")})
	switch {
	case !errors.As(err, &failed) || failed.Code != CodeNoTask && failed.Code != CodeTimeout:
		t.Errorf("got %v, want %s", err, CodeNoTask)
	case failed.Code == CodeTimeout:
		outcome = OutcomeExpired
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
	within(t, patience, "the call that did not run is in the log", func() bool {
		list, err := q.List(t.Context(), Filter{Kind: "call", State: State(outcome)})
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

// once runs a slot that ends after one piece of work, as that of a one-shot task does.
func once(t *testing.T, f *Feed, handle Handler) <-chan struct{} {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := f.Slot(t.Context(), func(e *Event) Result {
			r := handle(e)
			r.Last = true
			return r
		})
		if err != nil {
			t.Errorf("slot: %v", err)
		}
	}()
	t.Cleanup(func() { <-ended })
	return ended
}

func feed(t *testing.T, q *Queue, function string) *Feed {
	t.Helper()
	f, err := q.Feed(function, Retry{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func TestSlot_EndsAfterItsLastPieceOfWork(t *testing.T) {
	for name, send := range map[string]func(q *Queue) error{
		"event": func(q *Queue) error {
			_, err := q.Publish(t.Context(), &Event{Source: "s", Function: "OneShot", Body: []byte("1")})
			return err
		},
		"call": func(q *Queue) error {
			_, err := q.Call(t.Context(), &Event{Source: "s", Function: "OneShot", Body: []byte("1")})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			q := open(t, "OneShot")
			f := feed(t, q, "OneShot")
			for range 3 {
				var ran atomic.Int64
				ended := once(t, f, func(*Event) Result { ran.Add(1); return Result{Outcome: OutcomeOK, Reply: []byte("1")} })
				for range 2 {
					go func() { _ = send(q) }()
				}
				<-ended
				if n := ran.Load(); n != 1 {
					t.Errorf("ran %d pieces, want 1", n)
				}
			}
		})
	}
}

func TestSlot_WorkWhoseTaskIsGoneGoesToAnotherSlotAtOnce(t *testing.T) {
	const gone = 2 * handBacks
	for _, remote := range []bool{false, true} {
		t.Run(fmt.Sprintf("remote %v", remote), func(t *testing.T) {
			q := open(t, "Moves")
			f := feed(t, q, "Moves")
			if remote {
				q.feeds.Delete("Moves") // a call takes the long way, as from another process
			}
			for range gone {
				once(t, f, func(*Event) Result { return Result{Outcome: OutcomeNotStarted, Code: CodeNoTask, Message: "gone"} })
			}
			called := make(chan error, 1)
			go func() {
				_, err := q.Call(t.Context(), &Event{Source: "s", Function: "Moves", Body: []byte("1"), Deadline: time.Now().Add(10 * time.Second)})
				called <- err
			}()
			r, err := q.Publish(t.Context(), &Event{Source: "s", Function: "Moves", Body: []byte("1")})
			if err != nil {
				t.Fatal(err)
			}
			work(t, q, "Moves", 1, func(*Event) Result { return Result{Outcome: OutcomeOK, Reply: []byte("1")} })
			if err := <-called; err != nil {
				t.Errorf("call: %v", err)
			}
			within(t, patience, "the event has run once", func() bool {
				rec, err := q.Get(t.Context(), r.ID)
				return err == nil && rec.State == State(OutcomeOK) && len(rec.Attempts) == 1
			})
			within(t, patience, "the call is recorded once", func() bool {
				list, err := q.List(t.Context(), Filter{Kind: "call"})
				return err == nil && len(list) == 1 && list[0].State == State(OutcomeOK)
			})
		})
	}
}

func TestCall_ThatIsPatientWaitsForAWorker(t *testing.T) {
	q := open(t, "Zero")
	call := func(limit time.Duration) (string, error) {
		reply, err := q.Call(t.Context(), &Event{Source: "s", Function: "Zero", Body: []byte("1"), Patient: true, Deadline: time.Now().Add(limit)})
		return string(reply), err
	}
	begin := time.Now()
	var failed *CallError
	if _, err := call(200 * time.Millisecond); !errors.As(err, &failed) || failed.Code != CodeNoTask {
		t.Errorf("got %v, want %s", err, CodeNoTask)
	}
	if d := time.Since(begin); d < 100*time.Millisecond || d > 5*time.Second {
		t.Errorf("the answer took %s, want it shortly before the deadline of 200ms", d)
	}
	type answer struct {
		reply string
		err   error
	}
	called := make(chan answer, 1)
	go func() {
		reply, err := call(10 * time.Second)
		called <- answer{reply, err}
	}()
	within(t, patience, "the call waits", func() bool {
		s, err := q.Stats(t.Context())
		return err == nil && len(s) == 1 && s[0].Calls.Waiting == 1
	})
	work(t, q, "Zero", 1, ok("2"))
	if a := <-called; a.reply != "2" || a.err != nil {
		t.Errorf("got %s, %v", a.reply, a.err)
	}
}
