package main

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// pagedMove does what docs/cluster-move.md says, with events that wait.
type pagedMove struct {
	pagedTrio
	events    uint64
	old, home *process
	side      []string // how the command line reaches who serves: its address, and its folder
	steps     strings.Builder
}

const (
	toTheCluster = "To the cluster"
	backToOne    = "Back to one gateway"
)

// newPagedMove starts the gateway whose events move. FUNKER_TEST_MOVE is how many they are.
func newPagedMove(t *testing.T) *pagedMove {
	t.Helper()
	m := &pagedMove{pagedTrio: pagedTrio{newLoopbackTrio(t), documents(t)["docs/cluster-move.md"]}, events: number(t, "FUNKER_TEST_MOVE", 1000)}
	nats := fixedAddress(t)
	m.old = newProcess(t, "old", "msg=ready", "serve", "--no-worker", "--data", filepath.Join(m.dir, "old"), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--nats-listen", nats,
		"--manifest", write(t, m.dir, "functions.yaml", `functions: {Waits: {addresses: ["127.0.0.1:1"]}}`))
	m.serve(m.old, nats)
	return m
}

// serve starts a gateway that stands alone.
func (m *pagedMove) serve(p *process, nats string) {
	m.t.Helper()
	p.start()
	p.awaitReady()
	m.side = []string{"--nats-url", nats, "--data", flagOf(p.args, "--data")}
}

// flagOf returns the value of a flag in a command line.
func flagOf(args []string, flag string) string {
	for i := range args {
		if args[i] == flag {
			return args[i+1]
		}
	}
	return ""
}

// line is the only command of a section that begins so, with folders and addresses of this machine.
func (m *pagedMove) line(section, begin string) []string {
	m.t.Helper()
	found := m.lines(section, begin)
	if len(found) != 1 {
		m.t.Fatalf("%q has other commands: %q", section, found)
	}
	a := m.gateway("a")
	return strings.Fields(strings.NewReplacer("/backup/", m.dir+"/", "/var/lib/funker-a", a.data, "/var/lib/funker-new", filepath.Join(m.dir, "home"),
		"/var/lib/funker", flagOf(m.old.args, "--data"), "127.0.0.1:4222", a.nats).Replace(found[0]))[1:]
}

// run runs a command of a section, and notes how long it took.
func (m *pagedMove) run(section, begin string) {
	m.t.Helper()
	begun, line := time.Now(), m.line(section, begin)
	out := mustCLI(m.t, line...)
	if !strings.Contains(out, "nothing is wrong") {
		m.t.Errorf("%v: %s", line, out)
	}
	took := time.Since(begun).Seconds()
	fmt.Fprintf(&m.steps, "\n%-20s %-34s %6.1f s, %4.0f s for 1 GB", section, begin, took, took*1e6/float64(m.events))
}

// looks runs the commands that look at who serves now, which are told its address alone, and checks that it has all events.
func (m *pagedMove) looks(section string, begins ...string) {
	m.t.Helper()
	for _, begin := range begins {
		mustCLI(m.t, append(m.line(section, begin), m.side[:2]...)...)
	}
	want := fmt.Sprintf("%d accepted + 0 replays = %[1]d waiting + 0 running + 0 scheduled + 0 succeeded + 0 dead", m.events)
	got := ""
	withinLimit(m.t, time.Minute, func() string { return "it has all events: " + got }, func() bool {
		_, got, _ = cli(m.t, append([]string{"stats"}, m.side...)...)
		return strings.Contains(got, want)
	})
}

// fill stores events of 1 KB.
func (m *pagedMove) fill() {
	m.t.Helper()
	q, err := queue.Dial(m.side[1], filepath.Join(m.side[3], queue.AdminKey), queue.RoleAdmin, slog.New(slog.DiscardHandler))
	if err != nil {
		m.t.Fatal(err)
	}
	var senders errgroup.Group
	senders.SetLimit(backlogClients)
	for i := range m.events {
		senders.Go(func() error {
			body := fmt.Sprintf(`{"n":%d,"text":%q}`, i, strings.Repeat("x", 1000))
			_, err := q.Publish(m.t.Context(), &queue.Event{Source: "test", Function: "Waits", Body: []byte(body)})
			return err
		})
	}
	if err := errors.Join(senders.Wait(), q.Close()); err != nil {
		m.t.Fatal(err)
	}
}

// hold starts the gateways with --hold, as the page says.
func (m *pagedMove) hold() {
	m.t.Helper()
	line := m.lines(toTheCluster, "funker-dispatch serve --hold")[0]
	for _, name := range []string{"a", "b", "c"} {
		m.gateway(name).ready = "msg=\"held: "
		m.startAs(name, strings.NewReplacer("/var/lib/funker-a", "/var/lib/funker", "--cluster-name a", "--cluster-name "+name).Replace(line))
	}
	for _, g := range m.gateways {
		m.within(g.name+" is held", g.isReady)
	}
}

// stop ends the gateways side by side.
func (m *pagedMove) stop() {
	m.t.Helper()
	for _, g := range m.gateways {
		g.ending.Store(true)
	}
	for _, g := range m.gateways {
		g.terminate()
	}
}

// startTrio starts the gateways without --hold.
func (m *pagedMove) startTrio() {
	m.t.Helper()
	for _, g := range m.gateways {
		g.ready, g.args = "msg=ready", without(g.args, []string{"--hold"})
		g.start()
	}
	for _, g := range m.gateways {
		m.within(g.name+" serves", g.isReady)
	}
	m.side = []string{"--nats-url", m.gateway("a").nats, "--data", m.gateway("a").data}
}

func TestDocs_AMoveIntoAClusterAndBackGoesAsItsPageSays(t *testing.T) {
	t.Parallel()
	m := newPagedMove(t)
	m.fill()
	m.looks(toTheCluster)
	m.old.terminate()
	m.run(toTheCluster, "funker-dispatch verify --offline")
	m.run(toTheCluster, "funker-dispatch backup")
	m.hold()
	for _, path := range []string{healthPath, "/functions/Waits"} {
		if status, body := fetchWith(t, "http://"+m.gateway("b").public+path, ""); status != 503 {
			t.Errorf("%s of a held gateway: %d %s", path, status, body)
		}
	}
	m.run(toTheCluster, "funker-dispatch restore")
	m.stop()
	m.startTrio()
	m.looks(toTheCluster, "funker-dispatch cluster status", "funker-dispatch verify --data")
	m.stop()
	m.hold()
	m.run(backToOne, "funker-dispatch backup")
	if got := mustCLI(t, m.line("To think better of it", "funker-dispatch backup --reopen --nats-url")...); got != "" {
		t.Errorf("got %q", got)
	}
	m.stop()
	m.startTrio()
	m.looks(toTheCluster)
	m.stop()
	m.run(backToOne, "funker-dispatch restore")
	nats := fixedAddress(t)
	m.home = newProcess(t, "home", "msg=ready", append(m.line(backToOne, "funker-dispatch serve"), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--nats-listen", nats)...)
	m.serve(m.home, nats)
	m.looks(backToOne, "funker-dispatch verify")
	mustCLI(t, m.line("To think better of it", "funker-dispatch backup --reopen --offline")...)
	t.Logf("%d events of 1 KB:%s", m.events, m.steps.String())
}
