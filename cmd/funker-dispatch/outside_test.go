package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/queue/natstest"
)

// outsideGateway is a process of `serve` at a NATS server of somebody else's.
type outsideGateway struct {
	*process
	data, public string
	login        []string // for the command line
}

// serveOutside starts a gateway with the function Hello. login are flags that every command takes.
func serveOutside(t *testing.T, name, url string, login []string, args ...string) outsideGateway {
	t.Helper()
	dir := t.ArtifactDir()
	hello, _ := startFunction(t, "hello")
	manifest := write(t, dir, "functions.yaml", fmt.Sprintf("functions: {Hello: {addresses: [%q], retry: {attempts: 1}}}\n", hello))
	g := outsideGateway{data: filepath.Join(dir, name), public: fixedAddress(t), login: login}
	args = append([]string{"serve", "--nats-url", url, "--data", g.data, "--manifest", manifest, "--functions", "--listen", g.public, "--admin", "127.0.0.1:0"}, args...)
	g.process = newProcess(t, name, "worker ready", append(args, login...)...)
	g.start()
	g.awaitReady()
	return g
}

// ask runs a command that finds the gateway by its data folder.
func (g outsideGateway) ask(args ...string) string {
	g.t.Helper()
	return mustCLI(g.t, append(append(args, "--data", g.data), g.login...)...)
}

func (g outsideGateway) mustWork() {
	t := g.t
	t.Helper()
	if got := g.ask("invoke", "Hello", "-d", "{}"); !strings.Contains(got, "Hello from") {
		t.Errorf("invoke: %s", got)
	}
	code, _, header := post(t, "http://"+g.public+"/functions/Hello", "{}", "Prefer", "respond-async")
	id := header.Get("Funker-Event-Id")
	if code != 202 || id == "" {
		t.Fatalf("event: %d, %v", code, header)
	}
	within(t, "the event has succeeded", func() bool { return strings.Contains(g.ask("events", "show", id), "ok") })
	if got := g.ask("events", "list"); !strings.Contains(got, id) {
		t.Errorf("events list: %s", got)
	}
	if got := g.ask("stats"); !strings.Contains(got, "drift 0") {
		t.Errorf("stats: %s", got)
	}
	if got := g.ask("verify"); !strings.Contains(got, "FUNKER_EVENTS") {
		t.Errorf("verify: %s", got)
	}
}

func TestServe_KeepsEventsAtANATSServerOfItsOwn(t *testing.T) {
	s := natstest.Start(t, "jetstream {}\n")
	g := serveOutside(t, "gateway", s.URL(), nil)
	g.mustWork()
	if got := g.text(0); !strings.Contains(got, "sync_interval") {
		t.Errorf("the log does not say how durable it is:\n%s", got)
	}
	g.terminate()
}
