package queue

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// runSome publishes events and waits until they have run. It returns up to which event the consumer said, at first, that
// they were acknowledged.
func runSome(t *testing.T, dir string, n int) (floor uint64) {
	t.Helper()
	q := openF(t, dir)
	consumer, err := q.js.Consumer(t.Context(), streamEvents, "fn-F")
	if err != nil {
		t.Fatal(err)
	}
	floor = consumer.CachedInfo().AckFloor.Stream
	stop := work(t, q, "F", 1, ok("{}"))
	var last Receipt
	for range n {
		if last, err = q.Publish(t.Context(), &Event{Source: "s", Function: "F", Body: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
	}
	within(t, patience, "the last event has run", func() bool {
		r, err := q.Get(t.Context(), last.ID)
		return err == nil && r.State == State(OutcomeOK)
	})
	stop()
	mustClose(t, q)
	return floor
}

// openF opens a data folder with the function F, for mustClose.
func openF(t *testing.T, dir string) *Queue {
	t.Helper()
	q, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.AddFunction(t.Context(), "F", Retry{}); err != nil {
		t.Fatal(err)
	}
	return q
}

func mustClose(t *testing.T, q *Queue) {
	t.Helper()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestKept_ATornStateOfAConsumerCostsTheLastSeconds(t *testing.T) {
	for name, tear := range map[string]func(state []byte) []byte{
		"zeros": func(state []byte) []byte { return make([]byte, len(state)) },
		"empty": func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			state := filepath.Join(serverFolder(dir), streamEvents, "obs", "fn-F", stateFile)
			copied := filepath.Join(filepath.Dir(state), keptFile)
			runSome(t, dir, 3)
			k := keeper{dir: serverFolder(dir)}
			if err := k.keep(t.Context()); err != nil {
				t.Fatal(err)
			}
			kept := readFile(t, copied)
			runSome(t, dir, 2)
			whole := readFile(t, state)
			if err := os.WriteFile(copied, kept, 0o600); err != nil { // the gateway has just kept a later one
				t.Fatal(err)
			}
			for _, want := range []uint64{3, 0} {
				if err := os.WriteFile(state, tear(whole), 0o600); err != nil {
					t.Fatal(err)
				}
				if floor := runSome(t, dir, 1); floor != want {
					t.Errorf("events up to %d are acknowledged, want %d", floor, want)
				}
				if err := os.Remove(copied); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestKept_WhatRanBeforeAConsumerForgotItDoesNotRunAgain(t *testing.T) {
	dir := t.TempDir()
	runSome(t, dir, 3)
	if err := os.Remove(filepath.Join(serverFolder(dir), streamEvents, "obs", "fn-F", stateFile)); err != nil {
		t.Fatal(err)
	}
	q := openF(t, dir)
	defer mustClose(t, q)
	var ran sync.Map
	stop := work(t, q, "F", 1, func(e *Event) Result {
		ran.Store(e.ID, true)
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	})
	defer stop()
	fresh := publish(t, q, "F").ID
	settledAll(t, q, "F")
	if _, ok := ran.LoadAndDelete(fresh); !ok {
		t.Error("the event that was published afterwards has not run")
	}
	ran.Range(func(id, _ any) bool {
		t.Errorf("event %s ran again", id)
		return true
	})
	if floor, err := q.js.Consumer(t.Context(), streamEvents, "fn-F"); err != nil || floor.CachedInfo().AckFloor.Stream != 4 {
		t.Errorf("got %+v, %v, want all four delivered anew and acknowledged", floor, err)
	}
}

func readFile(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestKept_CopiesWhatHasChanged(t *testing.T) {
	dir := t.TempDir()
	q := openIn(t, dir, "F")
	state := filepath.Join(serverFolder(dir), streamEvents, "obs", "fn-F", stateFile)
	k := keeper{dir: serverFolder(dir)}
	same := func() bool {
		if err := k.keep(t.Context()); err != nil {
			t.Fatal(err)
		}
		return bytes.Equal(readFile(t, state), readFile(t, filepath.Join(filepath.Dir(state), keptFile)))
	}
	within(t, patience, "the first state is kept", same)
	before := readFile(t, state)
	work(t, q, "F", 1, ok("{}"))
	if _, err := q.Publish(t.Context(), &Event{Source: "s", Function: "F", Body: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	within(t, patience, "the state after an event is kept", func() bool {
		return !bytes.Equal(before, readFile(t, state)) && same()
	})
}

func TestKept_AnIndexOfSchedulesThatIsAheadHidesNoRetry(t *testing.T) {
	index := func(dir string) string { return filepath.Join(serverFolder(dir), streamRetry, "msgs", "sched.db") }
	ahead := t.TempDir()
	q := openF(t, ahead)
	for range 10 {
		publishRaw(t, q, redoSubject("G"), nil)
	}
	mustClose(t, q)

	dir := t.TempDir()
	q = openF(t, dir)
	e := &Event{ID: NewID(), Source: "s", Function: "F", Root: streamEvents + "/1", Attempt: 1, Body: []byte("{}")}
	if _, err := q.js.PublishMsg(t.Context(), retryMessage(e, time.Now().Add(time.Second), "")); err != nil {
		t.Fatal(err)
	}
	mustClose(t, q)
	if err := os.WriteFile(index(dir), readFile(t, index(ahead)), 0o600); err != nil {
		t.Fatal(err)
	}

	q = openIn(t, dir, "F")
	ran := make(chan struct{}, 1)
	work(t, q, "F", 1, func(*Event) Result {
		ran <- struct{}{}
		return Result{Outcome: OutcomeOK}
	})
	select {
	case <-ran:
	case <-time.After(5 * time.Second):
		t.Error("the retry has not run")
	}
}
