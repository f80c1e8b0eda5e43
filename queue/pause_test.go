package queue

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// tally counts what ran, by event.
type tally struct {
	mu  sync.Mutex
	all map[string]int
}

func (r *tally) handle(e *Event) Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[string]int{}
	}
	r.all[e.ID]++
	return Result{Outcome: OutcomeOK, Reply: []byte("1")}
}

func (r *tally) count() int { r.mu.Lock(); defer r.mu.Unlock(); return len(r.all) }

// once fails the test unless each of these events has run, and runs once.
func (r *tally) once(t *testing.T, ids []string) {
	t.Helper()
	within(t, patience, "all have run", func() bool { return r.count() >= len(ids) })
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if r.all[id] != 1 {
			t.Errorf("event %s has run %d times", id, r.all[id])
		}
	}
}

// pausedFeed opens slots of a function that is paused, until the test ends or stop is called.
func pausedFeed(t *testing.T, q *Queue, function string, slots int, handle Handler) (f *Feed, stop func()) {
	t.Helper()
	f, err := q.Feed(function, Retry{})
	if err != nil {
		t.Fatal(err)
	}
	f.SetPaused(true)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for range slots {
		running.Go(func() {
			if err := f.Slot(ctx, handle); err != nil {
				t.Errorf("slot: %v", err)
			}
		})
	}
	stop = sync.OnceFunc(func() { cancel(); running.Wait(); f.Close() })
	t.Cleanup(stop)
	return f, stop
}

func publishMany(t *testing.T, q *Queue, function string, n int) (ids []string) {
	t.Helper()
	for i := range n {
		r, err := q.Publish(t.Context(), &Event{Source: "s", Function: function, Body: fmt.Appendf(nil, "%d", i)})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.ID)
	}
	return ids
}

// rests fails the test unless a function with events has waited with all of them for some looks of its slots.
func (r *tally) rests(t *testing.T, q *Queue, events int) {
	t.Helper()
	select {
	case <-time.After(3 * recheck):
	case <-t.Context().Done():
	}
	b, err := q.Balance(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := r.count(); n > 0 || b.Waiting != int64(events) || b.Running != 0 || b.Drift != 0 {
		t.Errorf("%d have run; balance %+v", n, b)
	}
}

func TestPause_EventsWaitAndRunOnceAfterResume(t *testing.T) {
	t.Parallel()
	q := open(t, "Calm")
	var r tally
	f, _ := pausedFeed(t, q, "Calm", 3, r.handle)
	ids := publishMany(t, q, "Calm", 40)
	replayed, err := q.Replay(t.Context(), ids[0], "")
	if err != nil {
		t.Fatal(err)
	}
	r.rests(t, q, 41)
	f.SetPaused(false)
	within(t, patience, "all have ended", func() bool {
		b, err := q.Balance(t.Context())
		return err == nil && b.Succeeded == 41
	})
	r.once(t, ids[1:])
	if got, err := q.Get(t.Context(), replayed.ID); err != nil || got.State != State(OutcomeOK) {
		t.Errorf("replayed: %+v, %v", got, err)
	}
}

func TestPause_OutlastsARestartOfTheGateway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var r tally
	q, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.AddFunction(t.Context(), "Calm", Retry{}); err != nil {
		t.Fatal(err)
	}
	_, stop := pausedFeed(t, q, "Calm", 2, r.handle)
	ids := publishMany(t, q, "Calm", 20)
	stop()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q = openIn(t, dir, "Calm")
	f, _ := pausedFeed(t, q, "Calm", 2, r.handle)
	within(t, patience, "the index is built", func() bool { _, err := q.Balance(t.Context()); return err == nil })
	ids = append(ids, publishMany(t, q, "Calm", 5)...)
	r.rests(t, q, 25)
	f.SetPaused(false)
	r.once(t, ids)
}

func TestPause_HoldsAWorkerOnAnotherConnection(t *testing.T) {
	t.Parallel()
	q, remote := openListening(t, "Far")
	var r tally
	f, _ := pausedFeed(t, remote, "Far", 2, r.handle)
	ids := publishMany(t, q, "Far", 20)
	r.rests(t, q, 20)
	_, err := q.Call(t.Context(), &Event{Source: "s", Function: "Far", Body: []byte("1")})
	refused(t, err, CodePaused)
	f.SetPaused(false)
	r.once(t, ids)
	if _, err := q.Call(t.Context(), &Event{Source: "s", Function: "Far", Body: []byte("1")}); err != nil {
		t.Errorf("call after resume: %v", err)
	}
}

func refused(t *testing.T, err error, code string) {
	t.Helper()
	var called *CallError
	if !errors.As(err, &called) || called.Code != code {
		t.Errorf("got %v, want the code %s", err, code)
	}
}

// A pause comes between two events of a backlog: what runs ends, and no other one begins.
func TestPause_LetsEndWhatRuns(t *testing.T) {
	t.Parallel()
	q := open(t, "Busy")
	var r tally
	begun, release := make(chan string, 100), make(chan struct{})
	f, err := q.Feed("Busy", Retry{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var slots sync.WaitGroup
	for range 2 {
		slots.Go(func() {
			err := f.Slot(ctx, func(e *Event) Result {
				begun <- e.ID
				await(t, release)
				return r.handle(e)
			})
			if err != nil {
				t.Errorf("slot: %v", err)
			}
		})
	}
	t.Cleanup(func() { cancel(); slots.Wait(); f.Close() })
	ids := publishMany(t, q, "Busy", 10)
	first := []string{<-begun, <-begun}
	f.SetPaused(true)
	close(release)
	r.once(t, first)
	within(t, patience, "the others wait", func() bool {
		b, err := q.Balance(t.Context())
		return err == nil && b.Waiting == 8 && b.Succeeded == 2 && b.Drift == 0
	})
	if n := r.count(); n != 2 {
		t.Errorf("%d have run, want the two that ran already", n)
	}
	f.SetPaused(false)
	r.once(t, ids)
}

// An event that a slot holds because no task takes it goes back to the others.
func TestPause_HandsBackWhatCouldNotStart(t *testing.T) {
	t.Parallel()
	q := open(t, "Idle")
	var r tally
	tried := make(chan struct{}, 100)
	var mu sync.Mutex
	there := false
	f, err := q.Feed("Idle", Retry{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- f.Slot(ctx, func(e *Event) Result {
			mu.Lock()
			defer mu.Unlock()
			if !there {
				tried <- struct{}{}
				return Result{Outcome: OutcomeNotStarted, Code: CodeNoTask, Message: "refused"}
			}
			return r.handle(e)
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("slot: %v", err)
		}
		f.Close()
	})
	ids := publishMany(t, q, "Idle", 1)
	await(t, tried)
	f.SetPaused(true)
	mu.Lock()
	there = true
	mu.Unlock()
	within(t, patience, "it waits", func() bool {
		s, err := q.Stats(t.Context())
		return err == nil && s[0].Replays.Waiting+s[0].Events.Waiting == 1 && s[0].Paused
	})
	f.SetPaused(false)
	r.once(t, ids)
	if got, err := q.Get(t.Context(), ids[0]); err != nil || len(got.Attempts) > 1 {
		t.Errorf("got %+v, %v: what did not start is no attempt", got, err)
	}
}

func TestPause_RefusesCallsAtOnceAndRecordsThem(t *testing.T) {
	t.Parallel()
	q := open(t, "Shy", "Absent")
	var r tally
	pausedFeed(t, q, "Shy", 1, r.handle)
	q.PausedBy(func(function string) bool { return function == "Absent" })
	for _, function := range []string{"Shy", "Absent"} { // paused at its worker, and at the gateway; nobody has the latter
		e := &Event{Source: "s", Function: function, Body: []byte("1"), Patient: true, Deadline: time.Now().Add(time.Minute)}
		_, err := q.Call(t.Context(), e)
		refused(t, err, CodePaused)
		within(t, patience, "it is on record", func() bool {
			got, err := q.Get(t.Context(), e.ID)
			return err == nil && got.State == State(OutcomeNotStarted) && len(got.Attempts) == 1 && got.Attempts[0].Code == CodePaused
		})
	}
	if n := r.count(); n != 0 {
		t.Errorf("%d have run", n)
	}
}

// A call that waits when the pause comes is refused then, by the worker: the caller of another process knows of no pause.
func TestPause_RefusesACallThatWaits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	q, err := Open(t.Context(), Options{Dir: dir, Listen: "127.0.0.1:0", Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	if err := q.AddFunction(t.Context(), "One", Retry{}); err != nil {
		t.Fatal(err)
	}
	caller, err := Dial(q.URL(), filepath.Join(dir, AdminKey), RoleAdmin, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { caller.Close() })
	answered := make(chan error, 1)
	go func() {
		_, err := caller.Call(t.Context(), &Event{Source: "s", Function: "One", Body: []byte("1"), Patient: true, Deadline: time.Now().Add(time.Minute)})
		answered <- err
	}()
	within(t, patience, "the call waits", func() bool { return counted(t, q, streamCalls) == 1 })
	var r tally
	pausedFeed(t, q, "One", 1, r.handle)
	select {
	case err := <-answered:
		refused(t, err, CodePaused)
	case <-time.After(45 * time.Second):
		t.Error("the caller waits for its deadline")
	}
	if n := r.count(); n != 0 {
		t.Errorf("%d have run", n)
	}
}
