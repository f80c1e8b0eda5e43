package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// scenario is a trio under load, and what goes wrong with it. All of it follows from a seed.
type scenario struct {
	*trio
	random *rand.Rand
	faults []*fault
}

// fault is something that goes wrong for a while.
type fault struct {
	kind
	length     time.Duration
	what       string   // and whom it has struck
	gateways   []string // what they were asked may be late
	begin, end time.Time
	heal       func()
}

// kind is a kind of fault.
type kind struct {
	name     string
	from, to time.Duration // how long it lasts
	strike   func(*scenario, *fault)
	second   bool // it may strike beside another one: it stops no process, and needs no worker
}

const (
	brief = 300 * time.Millisecond
	some  = 2 * time.Second
	long  = 5 * time.Second
	// lasting is longer than a lease, and than a worker is waited for.
	lasting = 7 * time.Second
)

// kinds are what seeds choose from. The first fault of a seed is the one of its number.
var kinds = []kind{
	{"a gateway is killed", brief, long, func(s *scenario, f *fault) { s.kill(f, s.victim()) }, false},
	{"the gateway that looks after the streams is killed", brief, long, func(s *scenario, f *fault) { s.kill(f, s.newest(logHolder)) }, false},
	{"the gateway that leads the events is killed", brief, long, func(s *scenario, f *fault) { s.kill(f, s.newest(logLeader)) }, false},
	{"all gateways are killed", brief, some, (*scenario).killAll, false},
	{"a worker is killed", brief, long, (*scenario).killWorker, false},
	{"a gateway stands still for a moment", brief, some, func(s *scenario, f *fault) { s.freeze(f, s.victim()) }, false},
	{"a gateway stands still for long", lasting, lasting + some, func(s *scenario, f *fault) { s.freeze(f, s.victim()) }, false},
	{"the gateway that looks after the streams stands still for long", lasting, lasting + some, func(s *scenario, f *fault) { s.freeze(f, s.newest(logHolder)) }, false},
	{"the gateway that leads the events stands still", some, long, func(s *scenario, f *fault) { s.freeze(f, s.newest(logLeader)) }, false},
	{"a worker stands still for long", shortAckWait + brief, long, (*scenario).freezeWorker, false},
	{"a gateway is cut off", some, lasting, func(s *scenario, f *fault) { s.cut(f, s.victim(), 1, incoming, outgoing) }, true},
	{"the gateway that leads the events is cut off", some, lasting, func(s *scenario, f *fault) { s.cut(f, s.newest(logLeader), 1, incoming, outgoing) }, true},
	{"a gateway is cut off from the other gateways", some, lasting, (*scenario).cutPeers, true},
	{"a gateway hears nothing", some, lasting, func(s *scenario, f *fault) { s.cut(f, s.victim(), 1, incoming) }, true},
	{"a gateway is not heard", some, lasting, func(s *scenario, f *fault) { s.cut(f, s.victim(), 1, outgoing) }, true},
	{"a gateway does not hear another one", some, lasting, (*scenario).cutOneWay, true},
	{"two gateways do not reach each other", some, lasting, (*scenario).cutPair, true},
	{"no gateway reaches another one", some, long, (*scenario).cutAll, false},
	{"a gateway loses packets", some, lasting, func(s *scenario, f *fault) { s.cut(f, s.victim(), 0.3, incoming, outgoing) }, true},
	{"a gateway is slow to speak", some, lasting, (*scenario).slow, true},
	{"a worker is cut off", some, lasting, (*scenario).cutWorker, false},
	{"a disk is full", some, long, (*scenario).fillDisk, false},
	{rolling, brief, brief, (*scenario).roll, false},
}

// rolling is a kind beside which nothing else may strike: it waits for each gateway.
const rolling = "the gateways are restarted one after the other"

// What a gateway logs when it gets the lease, and when its server leads the stream of events.
const (
	logHolder = "this gateway looks after the streams"
	logLeader = "new stream leader for '$G > FUNKER_EVENTS'"
)

func (f *fault) struck(g *clusterGateway) {
	f.what += " (" + g.name + ")"
	f.gateways = append(f.gateways, g.name)
}

func (s *scenario) victim() *clusterGateway { return s.gateways[s.random.IntN(len(s.gateways))] }

func (s *scenario) kill(f *fault, g *clusterGateway) {
	f.struck(g)
	g.kill()
	f.heal = g.start
}

func (s *scenario) killAll(f *fault) {
	for _, g := range s.gateways {
		f.struck(g)
		g.kill()
	}
	f.heal = func() {
		for _, i := range s.random.Perm(len(s.gateways)) {
			s.gateways[i].start()
		}
	}
}

func (s *scenario) worker() *process { return s.workers[s.random.IntN(len(s.workers))] }

func (s *scenario) killWorker(f *fault) {
	w := s.worker()
	f.what += " (" + w.name + ")"
	w.kill()
	f.heal = w.start
}

func (s *scenario) freeze(f *fault, g *clusterGateway) {
	f.struck(g)
	g.freeze()
	f.heal = func() { g.signal(syscall.SIGCONT) }
}

func (s *scenario) freezeWorker(f *fault) {
	w := s.worker()
	f.what += " (" + w.name + ")"
	w.freeze()
	f.heal = func() { w.signal(syscall.SIGCONT) }
}

func (s *scenario) cut(f *fault, g *clusterGateway, share float64, ways ...string) {
	f.struck(g)
	for _, way := range ways {
		g.machine.lose(way, nil, share)
	}
	f.heal = g.machine.heal
}

// cutPeers leaves it to clients and workers.
func (s *scenario) cutPeers(f *fault) {
	g := s.victim()
	f.struck(g)
	for _, other := range s.gateways {
		g.machine.lose(incoming, other.machine, 1)
		g.machine.lose(outgoing, other.machine, 1)
	}
	f.heal = g.machine.heal
}

func (s *scenario) cutOneWay(f *fault) {
	pair := s.random.Perm(len(s.gateways))
	deaf, other := s.gateways[pair[0]], s.gateways[pair[1]]
	f.struck(deaf)
	f.struck(other)
	deaf.machine.lose(incoming, other.machine, 1)
	f.heal = deaf.machine.heal
}

func (s *scenario) cutPair(f *fault) {
	s.cutOneWay(f)
	pair := f.gateways
	s.gateway(pair[0]).machine.lose(outgoing, s.gateway(pair[1]).machine, 1)
}

func (s *scenario) gateway(name string) *clusterGateway {
	return s.gateways[slices.IndexFunc(s.gateways, func(g *clusterGateway) bool { return g.name == name })]
}

func (s *scenario) cutAll(f *fault) {
	for _, g := range s.gateways {
		f.struck(g)
		for _, other := range s.gateways {
			g.machine.lose(incoming, other.machine, 1)
		}
	}
	f.heal = func() {
		for _, g := range s.gateways {
			g.machine.heal()
		}
	}
}

func (s *scenario) slow(f *fault) {
	g := s.victim()
	f.struck(g)
	g.machine.slow(300_000)
	f.heal = g.machine.heal
}

func (s *scenario) cutWorker(f *fault) {
	w := s.worker()
	f.what += " (" + w.name + ")"
	m := s.network.machines[w.name]
	m.lose(incoming, nil, 1)
	m.lose(outgoing, nil, 1)
	f.heal = m.heal
}

// fillDisk takes all that is left of the small disk.
func (s *scenario) fillDisk(f *fault) {
	g := s.gateways[len(s.gateways)-1]
	f.struck(g)
	file := filepath.Join(g.data, "full")
	full, err := os.Create(file)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer full.Close()
	f.heal = func() {
		if err := os.Remove(file); err != nil {
			s.t.Error(err)
		}
	}
	for chunk := make([]byte, 4096); ; {
		if _, err := full.Write(chunk); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			s.t.Error(err)
			return
		}
	}
}

// roll is what an update of the stack does.
func (s *scenario) roll(f *fault) {
	for _, g := range s.gateways {
		f.struck(g)
		g.terminate()
		g.start()
		s.await(g.name+" is ready again", g.isReady)
	}
	f.heal = func() {}
}

// disturbed reports whether something was wrong with a gateway at some time.
func (s *scenario) disturbed(gateway string, from, to time.Time) bool {
	return slices.ContainsFunc(s.faults, func(f *fault) bool {
		return slices.Contains(f.gateways, gateway) && f.begin.Before(to) && from.Before(f.end.Add(callSlack))
	})
}

// newScenario starts what it needs.
func newScenario(t *testing.T, seed uint64) *scenario {
	t.Helper()
	s := &scenario{random: rand.New(rand.NewPCG(seed, 0))}
	n := uint64(len(kinds))
	s.faults = []*fault{s.fault(kinds[seed%n])}
	if seed/n%2 == 1 && kinds[seed%n].name != rolling {
		s.faults = append(s.faults, s.fault(secondKinds()[s.random.IntN(len(secondKinds()))]))
	}
	workers := []int{2, 2, 0}[s.random.IntN(3)]
	if strings.Contains(s.faults[0].name, "worker") {
		workers = 2
	}
	s.trio = newTrio(t, workers)
	return s
}

// secondKinds are the kinds that may strike beside another one.
func secondKinds() []kind {
	return slices.DeleteFunc(slices.Clone(kinds), func(k kind) bool { return !k.second })
}

func (s *scenario) fault(k kind) *fault {
	return &fault{kind: k, length: s.between(k.from, k.to), what: k.name}
}

func (s *scenario) between(low, high time.Duration) time.Duration {
	return low + time.Duration(s.random.Int64N(int64(high-low)+1))
}

// strike has the faults of a scenario come one soon after the other, and go likewise.
func (s *scenario) strike() {
	var longest time.Duration
	for i, f := range s.faults {
		if i > 0 {
			s.pass(s.between(0, time.Second))
		}
		f.begin = time.Now()
		f.strike(s, f)
		longest = max(longest, f.length)
	}
	s.pass(longest)
	for _, f := range s.faults {
		f.heal()
		f.end = time.Now()
	}
}

// run lets the faults strike while clients send, and checks what became of it.
func (s *scenario) run(seed uint64) result {
	s.t.Helper()
	x := newClients(s.trio)
	stop := x.load(seed)
	s.pass(s.between(time.Second, 2*time.Second))
	s.strike()
	healed := time.Now()
	s.await("all gateways accept events", func() bool { return x.allAcceptedSince(healed) })
	recovered := time.Since(healed)
	s.pass(time.Second)
	stop()
	stopped := time.Now()
	told := s.drain()
	drained := time.Since(stopped)
	sum := s.check(x, told)
	s.verify()
	for _, f := range s.faults {
		s.t.Logf("%s for %s", f.what, f.end.Sub(f.begin).Round(time.Millisecond))
	}
	s.t.Logf("%d workers; %s; nothing accepted for %s at most; all gateways accepted again %s after it was over; the last event ended %s after it was sent", len(s.workers), sum,
		x.gaps.longest.Round(time.Millisecond), recovered.Round(time.Millisecond), drained.Round(time.Millisecond))
	return sum
}

// FUNKER_FAULT_SEEDS says how many seeds, from FUNKER_FAULT_SEED on; `make soak` runs many.
func TestFaults_WhateverGoesWrongNothingAcceptedIsLost(t *testing.T) {
	first, count := number(t, "FUNKER_FAULT_SEED", 1), number(t, "FUNKER_FAULT_SEEDS", 0)
	if count == 0 {
		t.Skip("NOT TESTED: it takes minutes: .ci/run cluster and make soak run it")
	}
	var all result
	t.Run("seeds", func(t *testing.T) {
		sums := make(chan result, count)
		for seed := first; seed < first+count; seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				t.Logf("FUNKER_FAULT_SEED=%d", seed)
				sums <- newScenario(t, seed).run(seed)
			})
		}
		t.Cleanup(func() {
			close(sums)
			for sum := range sums {
				all.add(sum)
			}
		})
	})
	t.Logf("%d scenarios: %s", count, all)
}
