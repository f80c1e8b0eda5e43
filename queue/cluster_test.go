package queue

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// fleet is the gateways of a cluster, by name.
type fleet struct {
	t     *testing.T
	dir   string
	key   ClusterKey
	peers map[string]string
	mu    sync.Mutex
	open  map[string]*Queue
}

// newFleet starts three gateways in this process.
func newFleet(t *testing.T) *fleet {
	t.Helper()
	key, err := ParseClusterKey(NewClusterKey())
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, dir: t.TempDir(), key: key, peers: map[string]string{}, open: map[string]*Queue{}}
	for _, name := range []string{"a", "b", "c"} {
		f.peers[name] = freePort(t)
	}
	t.Cleanup(f.close)
	f.start("a", "b", "c")
	return f
}

// freePort returns an address that no connection of the kernel's own choice takes meanwhile.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.N(22000))); err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port between 10000 and 32000")
	return ""
}

func (f *fleet) options(name string) Options {
	return Options{Dir: filepath.Join(f.dir, name), Log: testLog(f.t), Listen: "127.0.0.1:0",
		Cluster: &Cluster{Node: name, Peers: f.peers, Listen: f.peers[name], Key: f.key, Patience: MinPatience}}
}

// start starts gateways side by side, and returns when all have joined.
func (f *fleet) start(names ...string) {
	f.t.Helper()
	var wg sync.WaitGroup
	for _, name := range names {
		wg.Go(func() {
			q, err := Open(f.t.Context(), f.options(name))
			if err != nil {
				f.t.Errorf("open %s: %v", name, err)
				return
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			f.open[name] = q
		})
	}
	wg.Wait()
	if f.t.Failed() {
		f.t.FailNow()
	}
}

func (f *fleet) stop(name string) {
	f.t.Helper()
	q := f.open[name]
	delete(f.open, name)
	if err := q.Close(); err != nil {
		f.t.Errorf("close %s: %v", name, err)
	}
}

func (f *fleet) close() {
	var wg sync.WaitGroup
	for _, name := range slices.Sorted(maps.Keys(f.open)) {
		q := f.open[name]
		wg.Go(func() {
			if err := q.Close(); err != nil {
				f.t.Errorf("close %s: %v", name, err)
			}
		})
	}
	wg.Wait()
}

func TestCluster_WhatOneGatewayAcceptedRunsAtAnotherOne(t *testing.T) {
	f := newFleet(t)
	a, b := f.open["a"], f.open["b"]
	if err := a.AddFunction(t.Context(), "Hello", Retry{}); err != nil {
		t.Fatal(err)
	}
	ran := make(chan string, 10)
	work(t, b, "Hello", 1, func(e *Event) Result {
		ran <- e.ID
		return Result{Outcome: OutcomeOK, Reply: []byte(`1`)}
	})
	r := publish(t, a, "Hello")
	if id := await(t, ran); id != r.ID {
		t.Errorf("ran %s, accepted %s", id, r.ID)
	}
	for name, q := range f.open {
		within(t, time.Minute, name+" knows that it has succeeded", func() bool {
			record, err := q.Get(t.Context(), r.ID)
			return err == nil && record.State == StateOK
		})
	}
	reply, err := f.open["c"].Call(t.Context(), &Event{Source: "s", Function: "Hello", Body: []byte(`1`)})
	if err != nil || string(reply) != "1" {
		t.Errorf("call through c: %s, %v", reply, err)
	}
}
