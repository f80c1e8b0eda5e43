package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// trio is three gateways with one store, each on a machine of its own, and workers.
type trio struct {
	t        *testing.T
	network  *network
	j        *journal
	gateways []*clusterGateway
	workers  []*process // on machines of their own; none when the gateways run the functions
}

// clusterGateway is one of them.
type clusterGateway struct {
	*process
	machine *machine
	data    string
	revived time.Time
}

// Where a gateway listens on its machine.
const (
	trioPublic = 3000
	trioNATS   = 4222
	trioPeers  = 6222
	trioTask   = 9999
	trioAdmin  = "127.0.0.1:3001"
)

const trioFunctions = `functions:
  Alpha: {addresses: [%q], concurrency: 4, timeout: 2s, retry: {attempts: 3, initial: 100ms, max: 400ms}}
  Beta: {addresses: [%q], concurrency: 4, timeout: 2s, retry: {attempts: 3, initial: 100ms, max: 400ms}}
triggers:
  - {github: alpha, path: /alpha, secret-file: secret, function: Alpha}
  - {github: beta, path: /beta, secret-file: secret, function: Beta}
`

// trioCall is how long a call of trioFunctions may take, from its arrival on.
const trioCall = 2 * time.Second

// newTrio starts three gateways. Without workers they run the functions themselves. The disk of the last one is small.
func newTrio(t *testing.T, workers int) *trio {
	t.Helper()
	names := []string{"a", "b", "c"}
	machines := slices.Clone(names)
	for i := range workers {
		machines = append(machines, fmt.Sprint("w", i+1))
	}
	c := &trio{t: t, network: newNetwork(t, machines...), j: newJournal(t)}
	dir := t.ArtifactDir()
	write(t, dir, "secret", hookSecret)
	key := write(t, dir, "cluster.key", queue.NewClusterKey())
	var peers, nats []string
	for _, name := range names {
		m := c.network.machines[name]
		peers = append(peers, fmt.Sprintf("%s=%s:%d", name, m.address, trioPeers))
		nats = append(nats, fmt.Sprintf("nats://%s:%d", m.address, trioNATS))
	}
	for i, name := range names {
		g := &clusterGateway{machine: c.network.machines[name], data: filepath.Join(dir, "data-"+name)}
		if err := os.Mkdir(g.data, 0o700); err != nil {
			t.Fatal(err)
		}
		if i == len(names)-1 {
			smallDisk(t, g.data)
			t.Cleanup(func() { keepDisk(t, g.data) })
		}
		g.process = newProcess(t, name, "msg=ready", "serve", "--functions", "--log-level", "debug", "--data", g.data, "--manifest", c.manifest(dir, g.machine),
			"--listen", fmt.Sprintf("%s:%d", g.machine.address, trioPublic), "--admin", trioAdmin, "--nats-listen", fmt.Sprintf("%s:%d", g.machine.address, trioNATS),
			"--cluster-name", name, "--cluster-peers", strings.Join(peers, ","), "--cluster-key", key, "--ack-wait", shortAckWait.String(), "--max-events", "32MiB")
		if workers > 0 {
			g.args = append(g.args, "--no-worker")
		}
		g.launch, g.mayEnd = g.machine.launch, true
		c.gateways = append(c.gateways, g)
	}
	for _, name := range machines[len(names):] {
		m := c.network.machines[name]
		w := newProcess(t, name, "connected to the queue", "worker", "--nats-url", strings.Join(nats, ","), "--log-level", "debug",
			"--key", filepath.Join(c.gateways[0].data, queue.WorkerKey), "--manifest", c.manifest(dir, m))
		w.launch = m.launch
		c.workers = append(c.workers, w)
	}
	c.start()
	return c
}

// keepDisk saves the small disk of a test that failed, for -artifacts.
func keepDisk(t *testing.T, dir string) {
	if !t.Failed() {
		return
	}
	if err := os.CopyFS(dir+"-copy", os.DirFS(dir)); err != nil {
		t.Errorf("keep %s: %v", dir, err)
	}
}

// manifest has functions with a task on a machine.
func (c *trio) manifest(dir string, m *machine) string {
	c.t.Helper()
	l, err := m.listen(trioTask)
	if err != nil {
		c.t.Fatal(err)
	}
	task := c.j.taskAt(l)
	return write(c.t, dir, "functions-"+m.name+".yaml", fmt.Sprintf(trioFunctions, task, task))
}

func (m *machine) launch(cmd *exec.Cmd) error { return m.do(cmd.Start) }

func (c *trio) start() {
	c.t.Helper()
	for _, g := range c.gateways {
		g.start()
	}
	c.await("the gateways are ready", func() bool {
		return !slices.ContainsFunc(c.gateways, func(g *clusterGateway) bool { return !g.isReady() })
	})
	for _, w := range c.workers {
		w.start()
	}
	c.await("the workers are ready", func() bool { return !slices.ContainsFunc(c.workers, func(w *process) bool { return !w.isReady() }) })
}

// trioPatience is how long a cluster may take to come back to order, on a machine that does other things as well.
const trioPatience = time.Minute

// await fails the test at once when a condition does not come true.
func (c *trio) await(what string, condition func() bool) {
	c.t.Helper()
	c.awaitText(func() string { return what }, condition)
}

// awaitText is await with a text that says what is wrong in the end.
func (c *trio) awaitText(what func() string, condition func() bool) {
	c.t.Helper()
	met := false
	withinLimit(c.t, trioPatience, what, func() bool {
		c.revive()
		met = condition()
		return met
	})
	if !met {
		c.t.FailNow()
	}
}

// revive starts gateways again that have ended by themselves, as whoever runs them does: one whose disk has failed has to.
func (c *trio) revive() {
	for _, g := range c.gateways {
		if g.cmd != nil && g.hasEnded() && !g.ending.Load() && time.Since(g.revived) > time.Second {
			g.revived = time.Now()
			c.t.Logf("%s has ended by itself and is started again: %s", g.name, tail(g.text(g.from), 2))
			g.start()
		}
	}
}

// pass lets time pass.
func (c *trio) pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		c.revive()
		wait(c.t.Context(), min(time.Until(end), 50*time.Millisecond))
	}
}

// api is the admin API of a gateway, which is reached whatever is wrong with the network.
func (g *clusterGateway) api() (*remote, error) {
	token, err := os.ReadFile(filepath.Join(g.data, tokenFile))
	if err != nil {
		return nil, err
	}
	return &remote{
		base: &url.URL{Scheme: "http", Host: trioAdmin}, token: strings.TrimSpace(string(token)),
		client: &http.Client{Transport: &http.Transport{DialContext: g.machine.dial, DisableKeepAlives: true}},
	}, nil
}

// last is when a gateway logged something last.
func (g *clusterGateway) last(message string) (at time.Time) {
	text := g.text(0)
	i := strings.LastIndex(text, message)
	if i < 0 {
		return at
	}
	line := text[strings.LastIndexByte(text[:i], '\n')+1:]
	if _, stamp, found := strings.Cut(line, "time="); found {
		stamp, _, _ = strings.Cut(stamp, " ")
		at, _ = time.Parse(time.RFC3339Nano, stamp) // a test fails over its victim if that is no time
	}
	return at
}

// newest is the gateway that was the last to say something.
func (c *trio) newest(message string) *clusterGateway {
	return slices.MaxFunc(c.gateways, func(a, b *clusterGateway) int { return a.last(message).Compare(b.last(message)) })
}
