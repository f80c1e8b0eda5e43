package queue

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue/natstest"
)

// plainServer lets everybody in.
const plainServer = "jetstream {}\n"

// openOutsideAt opens a gateway that keeps its streams at a server of somebody else's.
func openOutsideAt(t testing.TB, o Outside, functions ...string) *Queue {
	t.Helper()
	return openWith(t, Options{Dir: filepath.Join(t.TempDir(), "data"), Outside: &o}, functions...)
}

func TestOutside_RunsEventsAndCalls(t *testing.T) {
	s := natstest.Start(t, plainServer)
	q := openOutsideAt(t, Outside{URL: s.URL()}, "Hello")
	work(t, q, "Hello", 1, ok(`1`))
	r := publish(t, q, "Hello")
	within(t, time.Minute, "it has succeeded", func() bool {
		record, err := q.Get(t.Context(), r.ID)
		return err == nil && record.State == StateOK
	})
	reply, err := q.Call(t.Context(), &Event{Source: "s", Function: "Hello", Body: []byte(`1`)})
	if err != nil || string(reply) != "1" {
		t.Errorf("call: %s, %v", reply, err)
	}
	b, err := q.Balance(t.Context())
	if err != nil || b.Accepted != 1 || b.Succeeded != 1 || b.Drift != 0 {
		t.Errorf("balance %+v, %v", b, err)
	}
}
