package worker

import (
	"testing"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

func TestTrace_OffCostsNothing(t *testing.T) {
	w, e := &Worker{}, &queue.Event{ID: queue.NewID(), Function: "Hello"}
	reply := []byte("1")
	allocations := testing.AllocsPerRun(100, func() {
		trace, traced := w.startAttempt(e)
		if traced != e {
			t.Fatal("the event is another one")
		}
		if _, err := trace.call("Hello", "127.0.0.1:9999", func() ([]byte, error) { return reply, nil }); err != nil {
			t.Fatal(err)
		}
		trace.end(queue.Result{Outcome: queue.OutcomeOK})
	})
	if allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}
