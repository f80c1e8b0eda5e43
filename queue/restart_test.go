package queue

import (
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fixedAddress returns a free loopback address for a listener that comes and goes. Its port is none of those which the
// kernel gives to connections: one of these could take it while the listener is away.
func fixedAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.N(22000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port between 10000 and 32000")
	return ""
}

// bearable is a lot for a machine that has nothing else to do, and not for one that runs the race detector.
const bearable = 3 * time.Second

// A gateway stops and starts again while a worker of another node is at work.
func TestRestart_TheWorkersOfOtherNodesGoOn(t *testing.T) {
	dir := t.TempDir()
	start := func(listen string) *Queue {
		q, err := Open(t.Context(), Options{Dir: dir, Listen: listen, AckWait: MinAckWait, Log: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		if err := q.AddFunction(t.Context(), "Busy", Retry{}); err != nil {
			t.Fatal(err)
		}
		return q
	}
	address := fixedAddress(t)
	q := start(address)
	w, err := Dial(q.URL(), filepath.Join(dir, WorkerKey), RoleWorker, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var runs sync.Map
	var last, count atomic.Int64
	stop := work(t, w, "Busy", 4, func(e *Event) Result {
		<-time.After(2 * time.Millisecond)
		runs.Store(e.ID, true)
		count.Add(1)
		last.Store(time.Now().UnixNano())
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	})
	var accepted []string
	for range 2 {
		before := count.Load()
		for range 60 {
			accepted = append(accepted, publish(t, q, "Busy").ID)
		}
		within(t, patience, "events run", func() bool { return count.Load() > before })
		begin := time.Now()
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		stopping := time.Since(begin)
		q = start(address)
		begin = time.Now()
		accepted = append(accepted, publish(t, q, "Busy").ID)
		within(t, patience, "the worker goes on", func() bool { return last.Load() > begin.UnixNano() })
		resting := time.Since(begin)
		t.Logf("stopping took %s, and the worker went on after %s", stopping, resting)
		if stopping > bearable || resting > bearable {
			t.Errorf("that is more than %s", bearable)
		}
	}
	defer q.Close()
	settledAll(t, q, "Busy")
	stop()
	for _, id := range accepted {
		if _, ran := runs.Load(id); !ran {
			t.Errorf("event %s was accepted and has not run", id)
		}
	}
	t.Logf("%d events, %d runs", len(accepted), count.Load())
}
