package queue

import (
	"path/filepath"
	"testing"
	"time"
)

func TestHeartbeat_TheGatewayKnowsItsWorkersAndWhatTheyFound(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(t.Context(), Options{Dir: dir, Listen: "127.0.0.1:0", Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	w, err := Dial(q.URL(), filepath.Join(dir, WorkerKey), RoleWorker, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if q.Served("Found") || len(q.Workers()) > 0 {
		t.Error("there is a worker before there is one")
	}
	beat := Heartbeat{Worker: "1", Node: "node 1", Functions: []FunctionLoad{{Function: "Found", Tasks: 2, Slots: 2, Idle: 1}}}
	within(t, patience, "the gateway hears the worker", func() bool {
		if err := w.Beat(beat); err != nil {
			t.Fatal(err)
		}
		return q.Served("Found")
	})
	if got := q.Workers(); len(got) != 1 || got[0].Node != "node 1" || got[0].Functions[0] != beat.Functions[0] {
		t.Errorf("got %+v", got)
	}
	work(t, w, "Found", 1, ok("1"))
	within(t, patience, "the function can be called", func() bool {
		_, err := q.Call(t.Context(), &Event{Source: "s", Function: "Found", Body: []byte("1")})
		return err == nil
	})
}

func TestHeartbeat_AWorkerThatIsSilentIsForgotten(t *testing.T) {
	b := beats{last: map[string]Heartbeat{}, clocks: map[string]*clock{}}
	b.keep(Heartbeat{Worker: "old", Heard: time.Now().Add(-2 * beatLife)})
	if got := b.all(); len(got) != 0 {
		t.Errorf("got %+v", got)
	}
	b.keep(Heartbeat{Worker: "new", Heard: time.Now()})
	if _, there := b.last["old"]; there || len(b.all()) != 1 {
		t.Errorf("got %+v", b.last)
	}
}
