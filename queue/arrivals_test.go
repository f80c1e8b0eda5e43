package queue

import (
	"testing"
	"time"
)

func TestArrivals_TellOfEventsReplaysRetriesAndPatientCalls(t *testing.T) {
	q := open(t, "Asleep", "Other name")
	arrived := make(chan string, 100)
	if err := q.Arrivals(func(function string) { arrived <- function }); err != nil {
		t.Fatal(err)
	}
	next := func(want, of string) {
		t.Helper()
		select {
		case got := <-arrived:
			if got != want {
				t.Errorf("%s: got %q, want %q", of, got, want)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("nothing was told of %s", of)
		}
	}
	r := publish(t, q, "Other name")
	next("Other name", "an event")
	stop := workAs(t, q, "Other name", Retry{Attempts: 2, Initial: time.Millisecond}, 1, failOnce)
	next("Other name", "a due retry")
	wantOutcomes(t, q, r.ID, "1 retry, 2 dead")
	stop()
	if _, err := q.Replay(t.Context(), r.ID, "Asleep"); err != nil {
		t.Fatal(err)
	}
	next("Asleep", "a replay")
	e := &Event{Source: "s", Function: "Asleep", Body: []byte("1"), Patient: true, Deadline: time.Now().Add(100 * time.Millisecond)}
	if _, err := q.Call(t.Context(), e); err == nil {
		t.Error("a call of nobody was answered")
	}
	next("Asleep", "a patient call")
}
