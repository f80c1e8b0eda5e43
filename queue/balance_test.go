package queue

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

func (b Balance) sum() int64 {
	return b.Waiting + b.Running + b.Scheduled + b.Succeeded + b.Dead + b.Dropped + b.Unrecorded + b.Drift
}

func balanceOf(t testing.TB, q *Queue) Balance {
	t.Helper()
	b, err := q.Balance(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if b.sum() != b.Accepted+b.Replays {
		t.Fatalf("%+v does not add up", b)
	}
	return b
}

func TestBalance_NeverDriftsUnderLoad(t *testing.T) {
	q := open(t, "F", "G")
	r := Retry{Attempts: 3, Initial: 20 * time.Millisecond, Max: 30 * time.Millisecond}
	for _, function := range []string{"F", "G"} {
		workAs(t, q, function, r, 3, func(*Event) Result {
			switch n := rand.IntN(10); {
			case n < 3:
				return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "no"}
			case n < 4:
				return Result{Outcome: OutcomeInterrupted, Code: CodeStopping}
			}
			return Result{Outcome: OutcomeOK, Reply: []byte("1")}
		})
	}
	const events, replays = 120, 10
	var load sync.WaitGroup
	for i := range 4 {
		load.Go(func() {
			var id string
			for k := range events / 4 {
				r, err := q.Publish(t.Context(), &Event{Source: "s", Function: []string{"F", "G"}[(i+k)%2], Body: fmt.Append(nil, k)})
				if err != nil {
					t.Error(err)
					return
				}
				if id = r.ID; i == 0 && k%3 == 2 {
					if _, err := q.Replay(t.Context(), id, ""); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	looks := 0
	within(t, patience, "everything has ended", func() bool {
		looks++
		b := balanceOf(t, q)
		if b.Drift != 0 || b.Unrecorded != 0 {
			t.Fatalf("look %d: %+v", looks, b)
		}
		return b.Succeeded+b.Dead == events+replays
	})
	load.Wait()
	if looks < 5 {
		t.Errorf("%d looks while it was under way", looks)
	}
}

func TestBalance_TellsWhatIsLost(t *testing.T) {
	dir := t.TempDir()
	q := openIn(t, dir, "Fetch")
	for range 3 {
		publish(t, q, "Fetch")
	}
	if b := balanceOf(t, q); b.Drift != 0 || b.Waiting != 3 {
		t.Errorf("waiting: got %+v", b)
	}
	taken := abandon(t, q, streamEvents, "Fetch")
	if b := balanceOf(t, q); b.Drift != 0 || b.Running != 1 {
		t.Errorf("running: got %+v", b)
	}
	if _, err := q.nc.Request(taken.Reply, ackPlain, time.Second); err != nil {
		t.Fatal(err)
	}
	if b := balanceOf(t, q); b.Drift != 1 || b.Running != 0 || b.Waiting != 2 {
		t.Errorf("acknowledged without a record: got %+v", b)
	}
	if r, err := q.Get(t.Context(), "1"); err != nil || r.State != StateOK || r.Note == "" {
		t.Errorf("acknowledged without a record: got %+v, %v", r, err)
	}
	remove(t, q, streamEvents, 3)
	if b := balanceOf(t, q); b.Drift != 2 || b.Waiting != 1 {
		t.Errorf("deleted while it waited: got %+v", b)
	}
	second := newDelivery(&slot{feed: &Feed{q: q}}, abandon(t, q, streamEvents, "Fetch"))
	second.slot.feed.SetRetry(Retry{Initial: time.Hour, Max: time.Hour})
	second.slot.feed.wait.Store(int64(time.Minute))
	second.settleEvent(t.Context(), Result{Outcome: OutcomeFailed, RetryAfter: time.Hour})
	second.end()
	if b := balanceOf(t, q); b.Drift != 2 || b.Scheduled != 1 {
		t.Errorf("scheduled: got %+v", b)
	}
	purge(t, q, streamRetry)
	if b := balanceOf(t, q); b.Drift != 3 || b.Scheduled != 0 {
		t.Errorf("schedule purged: got %+v", b)
	}
}

func TestBalance_DoesNotTakeForLostWhatWasNotRecordedBeforeTheStart(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.AddFunction(t.Context(), "Fetch", Retry{}); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		publish(t, q, "Fetch")
	}
	for range 2 {
		if _, err := q.nc.Request(abandon(t, q, streamEvents, "Fetch").Reply, ackPlain, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q = openIn(t, dir, "Fetch")
	if b := balanceOf(t, q); b.Unrecorded != 2 || b.Drift != 0 || b.Waiting != 2 {
		t.Errorf("got %+v", b)
	}
	if _, err := q.nc.Request(abandon(t, q, streamEvents, "Fetch").Reply, ackPlain, time.Second); err != nil {
		t.Fatal(err)
	}
	if b := balanceOf(t, q); b.Unrecorded != 2 || b.Drift != 1 || b.Waiting != 1 {
		t.Errorf("lost afterwards: got %+v", b)
	}
	purge(t, q, streamEvents)
	q.index.trimmed(t)
	if b := balanceOf(t, q); b.Drift != 2 || b.Accepted != 2 {
		t.Errorf("purged while it waited: got %+v", b)
	}
}

func TestStats_AnEventThatWaitsForATaskIsTheOldest(t *testing.T) {
	q := open(t, "Absent")
	begun := time.Now().Truncate(time.Millisecond)
	publish(t, q, "Absent")
	asked := make(chan struct{}, 100)
	work(t, q, "Absent", 1, func(*Event) Result {
		asked <- struct{}{}
		return Result{Outcome: OutcomeNotStarted, Code: CodeNoTask}
	})
	<-asked // a slot holds it
	stats, err := q.Stats(t.Context())
	if err != nil || len(stats) != 1 || stats[0].Oldest.Before(begun) || stats[0].Events.Running != 1 {
		t.Errorf("got %+v, %v", stats, err)
	}
}

func TestStats_CountWhatWaitsAndWhatIsDead(t *testing.T) {
	q := open(t, "Broken", "Idle")
	begun := time.Now().Truncate(time.Millisecond)
	publish(t, q, "Idle")
	stop := workAs(t, q, "Broken", Retry{Attempts: 3, Initial: time.Hour, Max: time.Hour}, 2, func(e *Event) Result {
		return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Final: e.Header["X-Kind"] == "push", RetryAfter: time.Hour}
	})
	for range 2 {
		publish(t, q, "Broken")
		if _, err := q.Publish(t.Context(), &Event{Source: "s", Function: "Broken", Body: []byte("1")}); err != nil {
			t.Fatal(err)
		}
	}
	within(t, patience, "all have failed", func() bool {
		b := balanceOf(t, q)
		return b.Scheduled == 2 && b.Dead == 2
	})
	stop()
	if _, err := q.Replay(t.Context(), "2", ""); err != nil {
		t.Fatal(err)
	}
	stats, err := q.Stats(t.Context())
	if err != nil || len(stats) != 2 {
		t.Fatalf("got %+v, %v", stats, err)
	}
	broken, idle := stats[0], stats[1]
	if broken.Scheduled != 2 || broken.Dead[ReasonRefused] != 1 || broken.Replays.Waiting != 1 || broken.Oldest.Before(begun) {
		t.Errorf("broken: got %+v", broken)
	}
	if idle.Events.Waiting != 1 || idle.Oldest.Before(begun) || idle.Oldest.After(broken.Oldest) || idle.Scheduled != 0 || idle.Dead != nil {
		t.Errorf("idle: got %+v", idle)
	}
}
