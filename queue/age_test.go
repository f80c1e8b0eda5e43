package queue

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

const shortLife = 2 * time.Minute

// addShortLived is AddFunction for events with a short life.
func addShortLived(t *testing.T, q *Queue, function string) Retry {
	t.Helper()
	r := Retry{MaxAge: shortLife}
	if err := q.AddFunction(t.Context(), function, r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAge_AnEventThatNobodyTakesIsDeadAtItsMaxAge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := open(t)
		addShortLived(t, q, "Gone")
		r := publish(t, q, "Gone")
		time.Sleep(shortLife - time.Second)
		if dead := stored(t, q, streamDead); len(dead) != 0 {
			t.Fatal("dead before its time")
		}
		later := publish(t, q, "Gone")
		time.Sleep(time.Second + 2*expireEvery)
		dead := stored(t, q, streamDead)
		if len(dead) != 1 {
			t.Fatalf("%d dead letters, want 1", len(dead))
		}
		h := dead[0].Header
		if h.Get(headerID) != r.ID || h.Get(headerReason) != string(ReasonExpired) || h.Get(headerCode) != CodeTooOld || h.Get(headerRoot) != "FUNKER_EVENTS/1" ||
			h.Get(headerAttempt) != "" || string(dead[0].Data) != `{"n":1}` {
			t.Errorf("got %v %s", h, dead[0].Data)
		}
		if got := outcomes(t, q, r.ID); got != "0 dead" {
			t.Errorf("the log says %s", got)
		}
		time.Sleep(shortLife)
		settledAll(t, q, "Gone")
		if got := outcomes(t, q, later.ID); got != "0 dead" {
			t.Errorf("the log says %s of the younger one", got)
		}
		balanced(t, q)
	})
}

func TestAge_TheFunctionNeedNotBeKnownAnyMore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		q, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		addShortLived(t, q, "my fn.v2")
		r := publish(t, q, "my fn.v2")
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24*time.Hour - time.Minute) // nothing keeps this time from passing at once
		q = openIn(t, dir)
		if dead := stored(t, q, streamDead); len(dead) != 0 {
			t.Fatal("its policy was that of a manifest that names it no more")
		}
		time.Sleep(time.Minute + 2*expireEvery)
		if got := outcomes(t, q, r.ID); got != "0 dead" {
			t.Errorf("the log says %q", got)
		}
	})
}

func TestAge_OfAReplayBeginsWithTheReplay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := open(t)
		retry := addShortLived(t, q, "Again")
		stop := workAs(t, q, "Again", retry, 1, ok("1"))
		r := publish(t, q, "Again")
		settledAll(t, q, "Again")
		stop()
		time.Sleep(2 * shortLife)
		if _, err := q.Replay(t.Context(), r.ID, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(shortLife)
		if dead := stored(t, q, streamDead); len(dead) != 0 {
			t.Fatal("dead before its time")
		}
		time.Sleep(2 * expireEvery)
		settledAll(t, q, "Again")
		dead := stored(t, q, streamDead)
		if len(dead) != 1 || dead[0].Header.Get(headerRoot) != "FUNKER_RETRY/1" || dead[0].Header.Get(headerReplayOf) != "FUNKER_EVENTS/1" {
			t.Errorf("got %+v", dead)
		}
	})
}

// In all of this no event is taken out of its turn: that would put it behind those that came later.
func TestAge_WhileWorkersAreBusyOnlyWhatWaitsTooLongIsGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := open(t)
		retry := addShortLived(t, q, "Slow")
		stop := workAs(t, q, "Slow", retry, 1, func(e *Event) Result {
			time.Sleep(3 * shortLife / 2)
			return Result{Outcome: OutcomeOK, Reply: []byte("1")}
		})
		running := publish(t, q, "Slow")
		time.Sleep(shortLife / 10)
		stuck := publish(t, q, "Slow")
		time.Sleep(9 * shortLife / 10)
		young := publish(t, q, "Slow")
		time.Sleep(4 * shortLife / 10)
		if got := outcomes(t, q, running.ID) + outcomes(t, q, stuck.ID) + outcomes(t, q, young.ID); got != "0 dead" {
			t.Errorf("the log says %s", got)
		}
		time.Sleep(16 * shortLife / 10)
		settledAll(t, q, "Slow")
		stop()
		if a, b := outcomes(t, q, running.ID), outcomes(t, q, young.ID); a != "1 ok" || b != "1 ok" {
			t.Errorf("the log says %s of what ran long, and %s of what waited less than its max-age", a, b)
		}
		if moved := stored(t, q, streamRetry); len(moved) != 0 {
			t.Errorf("%d events were taken out of their turn", len(moved))
		}
	})
}

func TestAge_WhatADeadWorkerHadIsGivenUpToo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := open(t)
		addShortLived(t, q, "Alone")
		take(t, another(t, q), "Alone", publish(t, q, "Alone").ID).Close()
		time.Sleep(shortLife / 2)
		young := publish(t, q, "Alone")
		time.Sleep(shortLife/2 + 2*expireEvery)
		if dead := stored(t, q, streamDead); len(dead) != 1 {
			t.Fatalf("%d dead letters, want that of the event which the worker had", len(dead))
		}
		if got := outcomes(t, q, young.ID); got != "" {
			t.Errorf("the log says %s of the younger one", got)
		}
		if moved := stored(t, q, streamRetry); len(moved) != 0 {
			t.Errorf("%d events were taken out of their turn", len(moved))
		}
	})
}

func TestAge_WhatADeadWorkerHadIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := open(t)
		addShortLived(t, q, "Alone")
		old := publish(t, q, "Alone")
		w := another(t, q)
		if _, err := w.nc.Subscribe(hereSubject("Alone"), func(m *nats.Msg) { _ = m.Respond(nil) }); err != nil { // it is there
			t.Fatal(err)
		}
		m := pullOne(t, w, streamEvents, "Alone")
		for range 3 * shortLife / DefaultAckWait {
			time.Sleep(DefaultAckWait / 2)
			if err := w.nc.Publish(m.Reply, progress); err != nil {
				t.Fatal(err)
			}
		}
		young := publish(t, q, "Alone")
		w.nc.Close()
		time.Sleep(2 * DefaultAckWait)
		if a, b := outcomes(t, q, old.ID), outcomes(t, q, young.ID); a != "0 dead" || b != "" {
			t.Errorf("the log says %s of the old one, and %s of the young one", a, b)
		}
		if moved := stored(t, q, streamRetry); len(moved) != 0 {
			t.Errorf("%d events were taken out of their turn", len(moved))
		}
	})
}

func TestAge_AWorkerThatTakesTheEventFirstDecides(t *testing.T) {
	q := open(t, "Race")
	young := publish(t, q, "Race")
	old, err := q.expireNext(t.Context(), streamEvents, "Race", Retry{}.withDefaults())
	if err != nil || old {
		t.Fatalf("got %v, %v of an event that is young", old, err)
	}
	var runs atomic.Int32
	work(t, q, "Race", 1, func(e *Event) Result {
		runs.Add(1)
		if e.ID != young.ID || e.Attempt != 0 {
			t.Errorf("got %+v", e)
		}
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	})
	settledAll(t, q, "Race")
	if got := outcomes(t, q, young.ID); got != "1 ok" || runs.Load() != 1 {
		t.Errorf("%d runs; the log says %s", runs.Load(), got)
	}
	if old, err := q.expireNext(t.Context(), streamEvents, "Race", Retry{}.withDefaults()); err != nil || old {
		t.Errorf("got %v, %v of a function without events", old, err)
	}
}

func TestAge_ABacklogIsGivenUpInOneGo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := open(t)
		addShortLived(t, q, "Many")
		for range 50 {
			publish(t, q, "Many")
		}
		time.Sleep(shortLife + 2*expireEvery)
		dead := stored(t, q, streamDead)
		ids := map[string]bool{}
		for _, m := range dead {
			ids[m.Header.Get(headerID)] = true
		}
		if len(dead) != 50 || len(ids) != 50 {
			t.Errorf("%d dead letters of %d events, want 50", len(dead), len(ids))
		}
	})
}

// take pulls the next event of a function, as a worker does, and returns the connection that has it.
func take(t *testing.T, w *Queue, function, want string) *nats.Conn {
	t.Helper()
	if m := pullOne(t, w, streamEvents, function); m.Header.Get(headerID) != want {
		t.Fatalf("got %+v", m)
	}
	return w.nc
}

// pullOne pulls a message that is there.
func pullOne(t *testing.T, q *Queue, stream, function string) (m *nats.Msg) {
	t.Helper()
	within(t, patience, "the server gives out a message", func() bool {
		var err error
		m, err = q.pull(t.Context(), stream, function)
		return err == nil && m.Header.Get("Status") == ""
	})
	return m
}
