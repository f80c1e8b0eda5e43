package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

const moveFunctions = `functions:
  Alpha: {addresses: [%q], concurrency: 4, timeout: 5s, retry: {attempts: 3, initial: 50ms, max: 200ms}}
  Later: {addresses: [%[1]q], concurrency: 4, timeout: 5s, retry: {attempts: 3, initial: 20s, max: 20s}}
triggers:
  - {github: alpha, path: /alpha, secret-file: secret, function: Alpha}
  - {github: later, path: /later, secret-file: secret, function: Later}
`

// mover is a gateway whose events move to a cluster and back, with the functions' own record of what ran.
type mover struct {
	*swarm
	j    *journal
	from *sender
	trio *loopbackTrio
}

// newMover starts nothing yet. The worker has no task of the function Waits.
func newMover(t *testing.T) *mover {
	t.Helper()
	j := newJournal(t)
	some := fmt.Sprintf(moveFunctions, j.task(t))
	all := strings.Replace(some, "functions:\n", fmt.Sprintf("functions:\n  Waits: {addresses: [%q], concurrency: 4, timeout: 5s}\n", j.task(t)), 1) +
		"  - {github: waits, path: /waits, secret-file: secret, function: Waits}\n"
	m := &mover{swarm: newSwarm(t, all, some), j: j, trio: newLoopbackTrio(t)}
	m.gateway.args = append(m.gateway.args, "--max-body", "16777216")
	for _, g := range m.trio.gateways {
		g.args = append(g.args, "--max-body", "16777216", "--manifest", m.manifest)
	}
	m.from = newSender(t, m.public)
	m.from.client.Timeout = 20 * time.Second
	return m
}

// at makes a gateway the one that is asked and sent to.
func (m *mover) at(public, nats, data string) {
	m.public, m.nats, m.data = public, nats, data
	m.from.public = public
}

// worker starts one that has all functions.
func (m *mover) worker(name, nats string) *process {
	m.t.Helper()
	p := newProcess(m.t, name, "connected to the queue", "worker", "--nats-url", nats, "--key", filepath.Join(m.data, queue.WorkerKey), "--manifest", m.manifest)
	p.start()
	p.awaitReady()
	return p
}

// fill makes events of every kind.
func (m *mover) fill() {
	m.t.Helper()
	for i := range 3 {
		m.from.mustDeliver(work{ID: fmt.Sprint("ok", i), Plan: planOK}, "Alpha")
		m.from.mustDeliver(work{ID: fmt.Sprint("waits", i), Plan: planOK}, "Waits")
	}
	m.from.mustDeliver(work{ID: "dead", Plan: planRefuse}, "Alpha")
	m.from.mustDeliver(work{ID: "again", Plan: planFail1}, "Alpha")
	m.from.mustDeliver(work{ID: "large", Plan: planOK, Pad: strings.Repeat("x", 9<<20)}, "Waits")
	m.from.mustDeliver(work{ID: "later", Plan: planFail1}, "Later")
	if code, body, _ := post(m.t, "http://"+m.public+"/functions/Alpha", `{"id":"call1","plan":"ok"}`); code != http.StatusOK {
		m.t.Fatalf("call: got %d %s", code, body)
	}
	var records map[string]queue.Record
	withinLimit(m.t, time.Minute, func() string { return fmt.Sprintf("the events stand where they should: %+v", records) }, func() bool {
		var err error
		records, err = m.records()
		return err == nil && records["ok2"].State == queue.StateOK && records["dead"].State == queue.StateDead && records["again"].State == queue.StateOK &&
			records["later"].State == queue.StateRetry
	})
}

// list is what the gateway says of all events, calls and dead letters, without the bodies.
func (m *mover) list() string {
	m.t.Helper()
	var all []queue.Record
	err := m.ask(func(ctx context.Context, q *queue.Queue) error {
		for _, kind := range []string{"event", "call"} {
			some, err := q.List(ctx, queue.Filter{Kind: kind, Limit: queue.MaxLimit})
			if err != nil {
				return err
			}
			all = append(all, some...)
		}
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	var b strings.Builder
	for _, r := range all {
		fmt.Fprintf(&b, "%s %s %s %s %s %d %s\n", r.ID, r.Origin, r.Time.UTC(), r.Function, r.DeadAs, r.Size, r.Header["X-GitHub-Delivery"])
	}
	return b.String()
}

// held starts the gateways of the cluster with --hold.
func (m *mover) held() []*process {
	m.t.Helper()
	var all []*process
	for _, g := range m.trio.gateways {
		p := newProcess(m.t, g.name+"-held", `msg="held: `, append(g.args, "--hold")...)
		p.start()
		all = append(all, p)
	}
	for _, p := range all {
		m.trio.within(p.name+" is held", p.isReady)
	}
	return all
}

func terminate(all []*process) {
	for _, p := range all {
		p.ending.Store(true)
	}
	for _, p := range all {
		p.terminate()
	}
}

// killed runs a command line again and again and kills it, each time later than the last time, until it ends well. Every
// third time disturb is called while it runs, whose result is called afterwards: then it may also fail.
func killed(t *testing.T, random *rand.Rand, limit time.Duration, disturb func() (calm func()), line ...string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; ; n, limit = n+1, limit*3/2 {
		var out strings.Builder
		cmd := exec.Command(program, line...)
		cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), asProgram+"=1"), &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended, calm := make(chan error, 1), func() {}
		go func() { ended <- cmd.Wait() }()
		if n%3 == 0 {
			wait(t.Context(), time.Duration(random.Int64N(int64(limit/2))))
			calm = disturb()
		}
		select {
		case err = <-ended:
			if err != nil && n%3 > 0 {
				t.Fatalf("%v: %v\n%s", line, err, out.String())
			}
		case <-time.After(limit/2 + time.Duration(random.Int64N(int64(limit/2)))):
			_ = cmd.Process.Kill() // it may have ended
			err = <-ended
		}
		if calm(); err == nil {
			t.Logf("%d kills of %s", n-1, line[0])
			return
		}
	}
}

func declined(t *testing.T, text string, line ...string) {
	t.Helper()
	if code, _, stderr := cli(t, line...); code != exitFailed || !strings.Contains(stderr, text) {
		t.Errorf("%v: exit code %d, %s; want %q", line, code, stderr, text)
	}
}

// notServed starts a gateway whose events have moved, which ends by itself.
func (m *mover) notServed(name string, args ...string) {
	m.t.Helper()
	p := newProcess(m.t, name+"-moved", "msg=ready", args...)
	p.mayEnd = true
	p.start()
	m.trio.within(p.name+" has ended", p.hasEnded)
	if code := p.cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(p.text(0), "not to be served: its last backup") {
		m.t.Errorf("%s: exit code %d: %s", p.name, code, p.text(0))
	}
}

func TestMove_IntoAClusterAndBackLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	random, m := seeded(t), newMover(t)
	m.startGateway()
	m.workers[1].start()
	m.trio.within("the worker is ready", func() bool { return strings.Contains(m.workers[1].text(0), "worker ready") })
	declined(t, "is held", "backup", filepath.Join(m.trio.dir, "early"), "--final", "--nats-url", "nats://"+m.nats, "--data", m.data)
	m.fill()
	before := m.list()
	last, data := filepath.Join(m.trio.dir, "last"), m.data
	declined(t, "in use", "backup", last, "--final", "--offline", "--data", data)
	m.workers[1].terminate()
	m.gateway.terminate()

	nothing := func() (calm func()) { return func() {} }
	killed(t, random, 150*time.Millisecond, nothing, "backup", last, "--final", "--offline", "--data", data)
	m.notServed("gateway", m.gateway.args...)
	mustCLI(t, "backup", last, "--final", "--offline", "--data", data) // once more does no harm
	mustCLI(t, "backup", "--reopen", "--offline", "--data", data)
	declined(t, "nothing to reopen", "backup", "--reopen", "--offline", "--data", data)
	declined(t, "choose a new folder", "backup", last, "--final", "--offline", "--data", data)
	if err := os.RemoveAll(last); err != nil {
		t.Fatal(err)
	}
	mustCLI(t, "backup", last, "--final", "--offline", "--data", data)
	mustCLI(t, "verify", "--offline", "--data", data)

	held := m.held()
	nats, key := m.trio.nats(), filepath.Join(m.trio.gateways[1].data, queue.AdminKey)
	fill := []string{"restore", last, "--cluster", nats, "--key", key}
	declined(t, "uthorization", "restore", last, "--cluster", nats, "--key", filepath.Join(m.trio.gateways[1].data, queue.WorkerKey))
	held[2].kill()
	m.trio.within("the command misses c", func() bool {
		code, _, stderr := cli(t, fill...)
		return code == exitFailed && strings.Contains(stderr, "no answer from: c")
	})
	held[2].start()
	m.trio.within("c is held", held[2].isReady)
	gateway := func() (calm func()) {
		g := held[random.IntN(3)]
		g.kill()
		g.start()
		return func() { m.trio.within(g.name+" is held again", g.isReady) }
	}
	killed(t, random, 500*time.Millisecond, gateway, fill...)
	if out := mustCLI(t, fill...); !strings.Contains(out, "nothing is wrong") {
		t.Errorf("the same again: %s", out)
	}
	terminate(held)

	m.trio.start()
	a := m.trio.gateways[0]
	m.at(a.public, a.nats, a.data)
	m.sameAs(before)
	w := m.worker("cluster-worker", nats)
	m.ends()
	for _, g := range m.trio.gateways {
		mustCLI(t, "verify", "--nats-url", "nats://"+g.nats, "--data", g.data)
	}
	m.from.mustDeliver(work{ID: "late", Plan: planOK}, "Waits")
	m.ends()
	w.terminate()
	m.from.mustDeliver(work{ID: "back", Plan: planOK}, "Waits")
	before = m.list()
	for _, g := range m.trio.gateways {
		g.ending.Store(true)
	}
	for _, g := range m.trio.gateways {
		g.terminate()
	}

	last = filepath.Join(m.trio.dir, "back")
	held = m.held()
	declined(t, "are not empty", fill...)
	killed(t, random, 300*time.Millisecond, gateway, "backup", last, "--final", "--nats-url", nats, "--key", key)
	terminate(held[:1])
	m.notServed("a", a.args...)
	terminate(held[1:])
	data = filepath.Join(m.trio.dir, "home")
	mustCLI(t, "restore", last, "--data", data)
	home := newProcess(t, "home", "msg=ready", append(m.gateway.args, "--data", data)...)
	home.start()
	home.awaitReady()
	m.at(strings.TrimPrefix(flagOf(m.gateway.args, "--listen"), "http://"), flagOf(m.gateway.args, "--nats-listen"), data)
	m.sameAs(before)
	m.worker("home-worker", "nats://"+m.nats)
	m.ends()
	mustCLI(t, "verify", "--nats-url", "nats://"+m.nats, "--data", data)
}

// sameAs checks that everything is at its place, and that a delivery which is sent again is known.
func (m *mover) sameAs(before string) {
	m.t.Helper()
	if got := m.list(); got != before {
		m.t.Errorf("after the move there is\n%snot\n%s", got, before)
	}
	p := m.from.pushes["ok1"]
	event := p.event
	m.trio.within("a repeat is accepted", func() bool { return m.from.try(m.t.Context(), p) })
	if p.event != event {
		m.t.Errorf("a repeat of %s is %s", event, p.event)
	}
}

// ends waits until everything has ended, and checks that each event ran as often as it should.
func (m *mover) ends() {
	m.t.Helper()
	records := m.awaitEnds(2 * time.Minute)
	c := m.audit(m.from, m.j, records)
	if c.again > 0 || c.unanswered > 0 {
		m.t.Errorf("some events ran again: %s", c)
	}
	m.t.Log(c)
}
