package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// outage is a gateway whose data folder is on a disk that loses its power. Its worker and the functions are on machines
// that do not.
type outage struct {
	*swarm
	disk    *disk
	journal *journal
	from    *sender
	cuts    int
}

func newOutage(t *testing.T, durability string) *outage {
	t.Helper()
	o := &outage{disk: newDisk(t), journal: newJournal(t)}
	o.swarm = &swarm{t: t, data: filepath.Join(o.disk.mount, "data"), public: fixedAddress(t), nats: fixedAddress(t)}
	dir := t.ArtifactDir()
	write(t, dir, "secret", hookSecret)
	manifest := write(t, dir, "functions.yaml", fmt.Sprintf(siegeFunctions, o.journal.task(t), o.journal.task(t), o.journal.task(t)))
	o.gateway = newProcess(t, "gateway", "msg=ready", "serve", "--durability", durability, "--manifest", manifest, "--data", o.data,
		"--listen", o.public, "--admin", "127.0.0.1:0", "--nats-listen", o.nats, "--ack-wait", shortAckWait.String())
	o.from = newSender(t, o.public)
	o.startGateway()
	worker := newProcess(t, "worker", "worker ready", o.workerArgs(manifest, o.nats)...)
	worker.start()
	worker.awaitReady()
	o.workers = []*process{worker}
	return o
}

// seeded prints the seed, so that a failure can be tried again.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := number(t, "FUNKER_TEST_SEED_CRASH", uint64(time.Now().UnixNano()))
	t.Logf("FUNKER_TEST_SEED_CRASH=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// cut kills the gateway while senders are at it, cuts the power, and starts the gateway with what is left.
func (o *outage) cut(r *rand.Rand) {
	o.t.Helper()
	o.cuts++
	quiet, stop := o.disk.noise(), o.send(r.Uint64())
	wait(o.t.Context(), 200*time.Millisecond+time.Duration(r.Int64N(int64(300*time.Millisecond))))
	o.gateway.kill()
	quiet()
	o.disk.cut()
	stop()
	o.startGateway()
}

// send starts 32 senders.
func (o *outage) send(seed uint64) (stop func()) {
	ctx, cancel := context.WithCancel(o.t.Context())
	var wg sync.WaitGroup
	for i := range 32 {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				id := fmt.Sprintf("cut%d-%d-%d", o.cuts, i, n)
				w := work{ID: id, Plan: quickPlan(r), Pad: strings.Repeat("x", r.IntN(4000))}
				path := []string{"Alpha", "Beta", "Pair"}[n%3]
				if path == "Pair" {
					w.Plan = planOK // both functions run it
				}
				o.from.deliver(ctx, w, path)
				wait(ctx, time.Duration(r.Int64N(int64(10*time.Millisecond))))
			}
		})
	}
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	o.t.Cleanup(stop)
	return stop
}

// quickPlan keeps the retries and the dead letters busy.
func quickPlan(r *rand.Rand) plan {
	all := []plan{planOK, planOK, planOK, planOK, planOK, planFail1, planFail1, planFail2, planRefuse, planAlways}
	return all[r.IntN(len(all))]
}

// fulfilled reports whether the functions have done with an event what its plan says, at least.
func (j *journal) fulfilled(w work) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	runs := j.runs[w.ID]
	return len(runs) >= w.Plan.runs() && runs[len(runs)-1].reply == w.Plan.reply(w.Plan.runs())
}

// awaitEnds waits until every stored event has ended. It asks the gateway, which has work to do, only when the functions
// have done with the accepted ones what their plans say, or the time is over.
func (o *outage) awaitEnds(limit time.Duration) map[string]queue.Record {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), limit)
	defer cancel()
	for ctx.Err() == nil && o.open() {
		wait(ctx, 50*time.Millisecond)
	}
	return o.swarm.awaitEnds(limit)
}

// open reports whether the functions have not done yet with every accepted event what its plan says.
func (o *outage) open() bool {
	for _, p := range o.from.pushes {
		if !p.acked.IsZero() && !o.journal.fulfilled(p.work) {
			return true
		}
	}
	return false
}

// wornOut reports whether an event was under way at so many cuts that it was taken for one that kills workers: after its
// plan was fulfilled, its acknowledgement was lost again and again. A delivery that is cut short need not be a run.
func (o *outage) wornOut(r queue.Record, p *push) bool {
	var first int // cut that came after it
	if _, err := fmt.Sscanf(p.ID, "cut%d-", &first); err != nil {
		o.t.Fatalf("id %s: %v", p.ID, err)
	}
	return r.Reason == queue.ReasonCrashed && o.cuts-first+1 >= maxDeliveries
}

// audit counts the accepted events, and those of them that are lost: not stored any more, never run to their end, or
// ended otherwise than the functions said.
func (o *outage) audit(records map[string]queue.Record) (accepted, lost int) {
	o.t.Helper()
	for id, p := range o.from.pushes {
		if p.function == "Pair" {
			o.auditPair(records, p)
			continue
		}
		if p.acked.IsZero() {
			continue
		}
		accepted++
		r, stored := records[id]
		if stored && o.journal.fulfilled(p.work) && (o.wornOut(r, p) || p.Plan.ends(r.State, r.Reason, o.journal.count(id))) {
			continue
		}
		if lost++; lost <= 10 {
			o.t.Errorf("LOST: push %s (%s), accepted as %s: stored: %v, %s %s%s%s", id, p.Plan, p.event, stored, r.State, r.Reason, history(r), o.journal.show(id))
		}
	}
	return accepted, lost
}

// auditPair checks that the two events of a push are stored both, or neither when it was not accepted, and end well.
func (o *outage) auditPair(records map[string]queue.Record, p *push) {
	o.t.Helper()
	a, storedA := records[half(p.ID, "Alpha")]
	b, storedB := records[half(p.ID, "Beta")]
	if storedA != storedB || !storedA && !p.acked.IsZero() {
		o.t.Errorf("push %s to two functions, accepted at %s: stored for the first: %v, for the second: %v", p.ID, p.acked, storedA, storedB)
		return
	}
	for _, r := range []queue.Record{a, b} {
		if storedA && r.State != queue.StateOK && !o.wornOut(r, p) {
			o.t.Errorf("push %s to two functions: %s %s of %s%s", p.ID, r.State, r.Reason, r.Function, history(r))
		}
	}
}

func TestPowerCut_NothingAcceptedIsLost(t *testing.T) {
	for _, durability := range []queue.Durability{queue.DurabilityGroup, queue.DurabilityAlways} {
		t.Run(string(durability), func(t *testing.T) {
			r := seeded(t)
			o := newOutage(t, string(durability))
			begin := time.Now()
			for range number(t, "FUNKER_TEST_CUTS", 2) {
				o.cut(r)
			}
			t.Logf("%d power cuts in %s; answers to senders: %v", o.cuts, time.Since(begin).Round(time.Millisecond), o.from.codes)
			begin = time.Now()
			records := o.awaitEnds(time.Minute)
			t.Logf("all ended %s after the last cut", time.Since(begin).Round(time.Millisecond))
			accepted, lost := o.audit(records)
			t.Logf("%d accepted, %d lost; %d ran more often than their plan", accepted, lost, o.again())
			if lost > 0 || accepted < 20*o.cuts {
				t.Errorf("lost %d of %d accepted events", lost, accepted)
			}
			o.gateway.terminate()
		})
	}
}

// again counts the events that ran more often than their plan.
func (o *outage) again() (n int) {
	for id, p := range o.from.pushes {
		if p.function != "Pair" && o.journal.count(id) > p.Plan.runs() {
			n++
		}
	}
	return n
}

// The same cut must lose events when nothing is synced: otherwise it would not have noticed a loss either.
func TestPowerCut_WithoutSyncsAcceptedEventsAreLost(t *testing.T) {
	r := seeded(t)
	o := newOutage(t, string(queue.DurabilityNone))
	o.disk.sync() // streams and keys
	o.cut(r)
	records, err := o.records()
	if err != nil {
		t.Fatal(err)
	}
	accepted, lost := 0, 0
	for id, p := range o.from.pushes {
		if _, stored := records[id]; !p.acked.IsZero() && p.function != "Pair" {
			accepted++
			if !stored {
				lost++
			}
		}
	}
	t.Logf("%d accepted, %d lost", accepted, lost)
	if lost == 0 {
		t.Errorf("none of %d accepted events is lost: the power was not cut", accepted)
	}
}
