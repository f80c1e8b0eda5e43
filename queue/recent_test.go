package queue

import (
	"testing"
	"time"
)

func TestRecent_CountsWhatWasAcceptedByFunctionAndOutcome(t *testing.T) {
	q := open(t, "Good", "Bad", "Idle")
	workAs(t, q, "Good", Retry{}, 1, func(*Event) Result { return Result{Outcome: OutcomeOK} })
	workAs(t, q, "Bad", Retry{}, 1, func(*Event) Result {
		return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "no", Final: true}
	})
	for range 3 {
		become(t, q, publish(t, q, "Good").ID, StateOK)
	}
	become(t, q, publish(t, q, "Bad").ID, StateDead)
	publish(t, q, "Idle")
	recent := func() map[string]Recent {
		all, within, err := q.Recent(t.Context(), time.Hour, 4)
		if err != nil || within != time.Hour {
			t.Fatalf("got %s, %v", within, err)
		}
		return all
	}
	within(t, patience, "all is recorded", func() bool { return recent()["Good"].Succeeded == 3 && recent()["Bad"].Failed == 1 })
	all := recent()
	if good := all["Good"]; good.Accepted != 3 || good.Failed != 0 || good.Parts[3] != 3 || good.Parts[0] != 0 || len(good.Parts) != 4 {
		t.Errorf("got %+v", good)
	}
	if idle := all["Idle"]; len(all) != 3 || idle.Accepted != 1 || idle.Succeeded != 0 || idle.Failed != 0 {
		t.Errorf("got %+v", all)
	}
	if all, _, err := q.Recent(t.Context(), time.Nanosecond, 1); err != nil || len(all) != 0 {
		t.Errorf("nothing is that recent: got %+v, %v", all, err)
	}
}

func TestRecent_CountsAShorterTimeWhenThereIsMuch(t *testing.T) {
	q := open(t, "Good")
	for range 5 {
		publish(t, q, "Good")
	}
	if _, _, err := q.Recent(t.Context(), time.Hour, 1); err != nil { // the index has read them
		t.Fatal(err)
	}
	all, counted := q.index.recent(time.Now(), time.Hour, 1, 3)
	if all["Good"].Accepted != 3 || counted > time.Minute {
		t.Errorf("got %+v in %s", all, counted)
	}
}
