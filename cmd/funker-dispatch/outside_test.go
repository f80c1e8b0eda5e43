package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	ready := "worker ready"
	if slices.Contains(args, "--no-worker") {
		ready = "msg=ready"
	}
	g.process = newProcess(t, name, ready, append(args, login...)...)
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

// documentedServer returns a configuration of docs/nats.md, the first one or the second.
func documentedServer(t *testing.T, n int) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/nats.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(text), "```conf\n")
	if len(parts) <= n {
		t.Fatalf("docs/nats.md has %d configurations", len(parts)-1)
	}
	config, _, _ := strings.Cut(parts[n], "```")
	return config
}

func TestServe_TakesCredentialsAndATLSAddressAsDocumented(t *testing.T) {
	tls, ca := natstest.TLS(t)
	o := natstest.NewOperator(t)
	a := o.Account("acme", natstest.Rented)
	gateway, worker := a.User("gateway"), a.User("worker")
	s := natstest.Start(t, "jetstream {}\n"+tls+o.Config())
	url := strings.Replace(s.URL(), "nats://", "tls://", 1)
	g := serveOutside(t, "gateway", url, []string{"--nats-creds", gateway, "--nats-ca", ca}, "--no-worker")
	w := newProcess(t, "worker", "functions of the gateway", "worker", "--nats-url", url, "--nats-creds", worker, "--nats-ca", ca)
	w.start()
	w.awaitReady()
	g.mustWork()
	w.terminate()
	g.terminate()
}

func TestServe_FindsADomainBehindALeafNode(t *testing.T) {
	port := natstest.FreePort(t)
	natstest.Start(t, fmt.Sprintf("server_name: hub\njetstream {domain: hub}\nleafnodes {listen: \"127.0.0.1:%d\"}\n", port))
	leaf := natstest.Start(t, fmt.Sprintf("server_name: leaf\nleafnodes {remotes: [{url: \"nats-leaf://127.0.0.1:%d\"}]}\n", port))
	within(t, "the leaf node is connected", func() bool { return leaf.NumLeafNodes() == 1 })
	g := serveOutside(t, "gateway", leaf.URL(), []string{"--nats-domain", "hub"}, "--no-worker")
	w := newProcess(t, "worker", "functions of the gateway", "worker", "--nats-url", leaf.URL(), "--nats-domain", "hub")
	w.start()
	w.awaitReady()
	g.mustWork()
	w.terminate()
	g.terminate()
}

func TestServe_TakesTurnsWithAnotherGatewayAtANATSServer(t *testing.T) {
	s := natstest.Start(t, "jetstream {}\n")
	a := serveOutside(t, "a", s.URL(), nil, "--cluster-name", "a")
	within(t, "a leads", func() bool { return strings.Contains(a.text(0), "looks after the streams") })
	b := serveOutside(t, "b", s.URL(), nil, "--cluster-name", "b")
	a.kill()
	within(t, "b leads", func() bool { return strings.Contains(b.text(0), "looks after the streams") })
	b.mustWork()
	b.terminate()
}

func TestServe_SaysWhatIsWrongWithANATSServer(t *testing.T) {
	o := natstest.NewOperator(t)
	creds := o.Account("acme", natstest.Plain).User("gateway")
	operated, plain, secured := natstest.Start(t, "jetstream {}\n"+o.Config()), natstest.Start(t, "jetstream {}\n"), natstest.Start(t, documentedServer(t, 1))
	user := strings.Replace(secured.URL(), "://", "://worker:choose%20another@", 1)
	dir := t.TempDir()
	serves := []string{"serve", "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}
	for want, args := range map[string][]string{
		"there is no JetStream in this account":                   {"--nats-url", operated.URL(), "--nats-creds", creds},
		"Authorization Violation":                                 {"--nats-url", operated.URL()},
		"credentials: stat ":                                      {"--nats-url", operated.URL(), "--nats-creds", filepath.Join(dir, "none")},
		"certificates: stat ":                                     {"--nats-url", plain.URL(), "--nats-ca", filepath.Join(dir, "none")},
		"is the server running, and the address right?":           {"--nats-url", fmt.Sprintf("nats://127.0.0.1:%d", natstest.FreePort(t))},
		"there is no JetStream in the domain hub":                 {"--nats-url", plain.URL(), "--nats-domain", "hub"},
		"the user may not subscribe to _INBOX_dispatch.>":         {"--nats-url", user},
		"replicas > 1 not supported":                              {"--nats-url", plain.URL(), "--nats-replicas", "3"},
		"2 replicas: take 1, 3 or 5":                              {"--nats-url", plain.URL(), "--nats-replicas", "2"},
		"--nats-creds goes with --nats-url":                       {"--nats-creds", creds},
		"--durability is about the NATS server of this process":   {"--nats-url", plain.URL(), "--durability", "always"},
		"--nats-listen is about the NATS server of this process":  {"--nats-url", plain.URL(), "--nats-listen", "127.0.0.1:0"},
		"--cluster-peers is about the NATS server of this proces": {"--nats-url", plain.URL(), "--cluster-peers", "a=h:1"},
	} {
		code, _, stderr := cli(t, append(serves, args...)...)
		if code == exitOK || !strings.Contains(stderr, want) || strings.Contains(stderr, "choose") && strings.Contains(stderr, "another@") {
			t.Errorf("%v: exit code %d, %s", args, code, stderr)
		}
	}
}

func TestDocs_AnAccountImportsAGatewayUnderAnotherName(t *testing.T) {
	need(t, "nats")
	s := natstest.Start(t, "jetstream {}\n"+documentedServer(t, 2))
	g := serveOutside(t, "gateway", strings.Replace(s.URL(), "://", "://gateway:choose%20one@", 1), nil)
	acme := strings.Replace(s.URL(), "://", "://acme:choose%20another@", 1)
	out, err := exec.CommandContext(t.Context(), "nats", "--server", acme, "req", "acme.funker.stats", "", "--raw").CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"function":"Hello"`) {
		t.Errorf("nats req: %v, %s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), "nats", "--server", acme, "req", "funker.stats", "", "--raw", "--timeout", "1s").CombinedOutput(); err == nil && strings.Contains(string(out), "Hello") {
		t.Errorf("the account sees more than it imports: %s", out)
	}
	g.terminate()
}
