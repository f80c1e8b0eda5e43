package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// oneTaskEach returns the manifests of two workers that have a task each for two events at a time.
func oneTaskEach(t *testing.T, j *journal) []string {
	t.Helper()
	const text = `functions: {Alpha: {addresses: [%q], concurrency: 2, timeout: 5m, retry: {attempts: 3, initial: 50ms, max: 200ms}}}
triggers: [{github: alpha, path: /alpha, secret-file: secret, function: Alpha}]
`
	return []string{fmt.Sprintf(text, j.task(t)), fmt.Sprintf(text, j.task(t))}
}

// stallTime is how long a worker stalls: a little longer than the gateway waits, or as FUNKER_TEST_STALL says.
func stallTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("FUNKER_TEST_STALL")
	if text == "" {
		return shortAckWait + 200*time.Millisecond
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("FUNKER_TEST_STALL: %v", err)
	}
	return max(d, shortAckWait)
}

// takeover is two events that the first worker runs when it stalls, and the second worker runs next.
type takeover struct {
	*swarm
	j    *journal
	from *sender
	wire *wire
}

// newTakeover returns when the first worker, which is connected by a wire, runs the events.
func newTakeover(t *testing.T, ids ...string) *takeover {
	t.Helper()
	j := newJournal(t)
	x := &takeover{swarm: newSwarm(t, oneTaskEach(t, j)...), j: j}
	x.from = newSender(t, x.public)
	x.wire = newWire(t, x.nats)
	x.workers[0].args = x.workerArgs(x.manifest, x.wire.address)
	x.startGateway()
	x.workers[0].start()
	x.workers[0].awaitReady()
	x.deliver(ids...)
	x.awaitRuns(1, ids...)
	return x
}

func (x *takeover) deliver(ids ...string) {
	x.t.Helper()
	for _, id := range ids {
		x.from.mustDeliver(work{ID: id, Plan: planHeld}, "Alpha")
	}
}

func (x *takeover) awaitRuns(n int, ids ...string) {
	x.t.Helper()
	for _, id := range ids {
		within(x.t, fmt.Sprintf("run %d of %s", n, id), func() bool { return x.j.count(id) == n })
	}
}

func (x *takeover) record(id string) queue.Record {
	x.t.Helper()
	records, err := x.records()
	if err != nil {
		x.t.Fatal(err)
	}
	return records[id]
}

// awaitEnd waits for the log too, which is written after the event has ended.
func (x *takeover) awaitEnd(id string) {
	x.t.Helper()
	within(x.t, id+" has ended", func() bool { r := x.record(id); return hasEnded(r) && len(endsOf(r)) > 0 })
}

// mustEnd checks that the second worker's result is the only end of an event.
func (x *takeover) mustEnd(id string, want queue.Outcome) {
	x.t.Helper()
	r := x.record(id)
	if ends := endsOf(r); len(ends) != 1 || ends[0].Outcome != want || r.State != queue.State(want) {
		x.t.Errorf("%s is %s, want %s as its only end%s%s", id, r.State, want, history(r), x.j.show(id))
	}
}

func (x *takeover) mustSay(p *process, text string, times int) {
	x.t.Helper()
	within(x.t, fmt.Sprintf("%s says %q %d times", p.name, text, times), func() bool { return strings.Count(p.text(0), text) == times })
}

const leftToAnother = "event left to another worker"

func TestCrash_AStalledWorkerLeavesItsEventsToAnother(t *testing.T) {
	t.Parallel()
	x := newTakeover(t, "ended", "running")
	stalled := x.workers[0]
	stalled.freeze()
	begin := time.Now()
	x.j.answer("ended", 1) <- replyRefuse // it will find this when it goes on
	x.j.answer("running", 1) <- replyOK
	x.workers[1].start()
	x.awaitRuns(2, "ended", "running")
	t.Logf("taken over after %s", time.Since(begin).Round(time.Millisecond))
	x.j.answer("ended", 2) <- replyOK
	x.awaitEnd("ended")
	wait(t.Context(), time.Until(begin.Add(stallTime(t))))
	stalled.signal(syscall.SIGCONT)
	x.mustSay(stalled, leftToAnother, 2)
	x.mustEnd("ended", queue.OutcomeOK)
	if r := x.record("running"); hasEnded(r) {
		t.Errorf("the worker that stalled has ended what another one runs%s", history(r))
	}
	x.j.answer("running", 2) <- replyRefuse
	x.awaitEnd("running")
	x.mustEnd("running", queue.OutcomeDead)
	for _, id := range []string{"ended", "running"} {
		within(t, id+": the late result is in the log", func() bool {
			return slices.ContainsFunc(x.record(id).Attempts, func(a queue.Attempt) bool { return a.Outcome == queue.OutcomeInterrupted })
		})
	}
}

// What the worker sent into the void was no sign of life, although nothing told it so.
func TestCrash_AWorkerBehindADeadConnectionLeavesItsEventToAnother(t *testing.T) {
	t.Parallel()
	x := newTakeover(t, "running")
	release := x.wire.hold(there, back)
	defer release()
	x.workers[1].start()
	x.awaitRuns(2, "running")
	x.j.answer("running", 1) <- replyRefuse
	x.mustSay(x.workers[0], "msg=attempt", 1)
	release()
	x.mustSay(x.workers[0], leftToAnother, 1)
	x.j.answer("running", 2) <- replyOK
	x.awaitEnd("running")
	x.mustEnd("running", queue.OutcomeOK)
}

// The event that arrives has long been given to another worker.
func TestCrash_AnEventThatWasLongUnderWayIsLeftToAnother(t *testing.T) {
	t.Parallel()
	x := newTakeover(t)
	caught, release := x.wire.trap(`"plan":"held"`)
	defer release()
	x.deliver("late")
	<-caught
	x.workers[1].start()
	x.awaitRuns(1, "late")
	release()
	x.j.answer("late", 1) <- replyOK
	x.awaitEnd("late")
	x.mustEnd("late", queue.OutcomeOK)
	x.workers[1].kill()
	x.deliver("next") // to the first worker, behind all that was under way to it
	x.awaitRuns(1, "next")
	x.j.answer("next", 1) <- replyOK
	x.awaitEnd("next")
	if n := x.j.count("late"); n != 1 {
		t.Errorf("%d runs%s", n, x.j.show("late"))
	}
}
