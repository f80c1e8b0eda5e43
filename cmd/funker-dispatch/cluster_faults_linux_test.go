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
	{"a gateway is killed", brief, long, func(s *scenario, f *fault) { s.kill(f, s.victim()) }},
	{"the gateway that looks after the streams is killed", brief, long, func(s *scenario, f *fault) { s.kill(f, s.newest(logHolder)) }},
	{"the gateway that leads the events is killed", brief, long, func(s *scenario, f *fault) { s.kill(f, s.newest(logLeader)) }},
	{"all gateways are killed", brief, some, (*scenario).killAll},
	{"a worker is killed", brief, long, (*scenario).killWorker},
	{"a gateway stands still for a moment", brief, some, func(s *scenario, f *fault) { s.freeze(f, s.victim()) }},
	{"a gateway stands still for long", lasting, lasting + some, func(s *scenario, f *fault) { s.freeze(f, s.victim()) }},
	{"the gateway that looks after the streams stands still for long", lasting, lasting + some, func(s *scenario, f *fault) { s.freeze(f, s.newest(logHolder)) }},
	{"the gateway that leads the events stands still", some, long, func(s *scenario, f *fault) { s.freeze(f, s.newest(logLeader)) }},
	{"a worker stands still for long", shortAckWait + brief, long, (*scenario).freezeWorker},
	{"a gateway is cut off", some, lasting, func(s *scenario, f *fault) { s.cut(f, s.victim(), 1, incoming, outgoing) }},
	{"the gateway that leads the events is cut off", some, lasting, func(s *scenario, f *fault) { s.cut(f, s.newest(logLeader), 1, incoming, outgoing) }},
	{"a gateway is cut off from the other gateways", some, lasting, (*scenario).cutPeers},
	{"a gateway hears nothing", some, lasting, func(s *scenario, f *fault) { s.cut(f, s.victim(), 1, incoming) }},
	{"a gateway is not heard", some, lasting, func(s *scenario, f *fault) { s.cut(f, s.victim(), 1, outgoing) }},
	{"a gateway does not hear another one", some, lasting, (*scenario).cutOneWay},
	{"two gateways do not reach each other", some, lasting, (*scenario).cutPair},
	{"no gateway reaches another one", some, long, (*scenario).cutAll},
	{"a gateway loses packets", some, lasting, func(s *scenario, f *fault) { s.cut(f, s.victim(), 0.3, incoming, outgoing) }},
	{"a gateway is slow to speak", some, lasting, (*scenario).slow},
	{"a worker is cut off", some, lasting, (*scenario).cutWorker},
	{"a disk is full", some, long, (*scenario).fillDisk},
	{"the gateways are restarted one after the other", brief, brief, (*scenario).roll},
}

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
	s.faults = []*fault{s.fault(kinds[int(seed)%len(kinds)])}
	workers := []int{2, 2, 0}[s.random.IntN(3)]
	if strings.Contains(s.faults[0].name, "worker") {
		workers = 2
	}
	s.trio = newTrio(t, workers)
	return s
}

func (s *scenario) fault(k kind) *fault {
	return &fault{kind: k, length: s.between(k.from, k.to), what: k.name}
}

func (s *scenario) between(low, high time.Duration) time.Duration {
	return low + time.Duration(s.random.Int64N(int64(high-low)+1))
}

// run lets the faults strike while clients send, and checks what became of it.
func (s *scenario) run(seed uint64) result {
	s.t.Helper()
	x := newClients(s.trio)
	stop := x.load(seed)
	s.pass(s.between(time.Second, 2*time.Second))
	for _, f := range s.faults {
		f.begin = time.Now()
		f.strike(s, f)
		s.pass(f.length)
		f.heal()
		f.end = time.Now()
	}
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

func TestCluster_WhateverGoesWrongNothingAcceptedIsLost(t *testing.T) {
	first, count := number(t, "FUNKER_FAULT_SEED", 0), uint64(1)
	if os.Getenv("FUNKER_FAULT_SEED") == "" {
		first, count = 1, number(t, "FUNKER_FAULT_SEEDS", 4)
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
