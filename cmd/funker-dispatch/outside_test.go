package main

import (
	"fmt"
	"os/exec"
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

// natsConfig returns a configuration of docs/nats.md.
func natsConfig(t *testing.T, n int) string {
	t.Helper()
	return blocks(documents(t)["docs/nats.md"], "conf")[n]
}

// natsCommands returns the command lines in a block of docs/nats.md, with some words replaced by others.
func natsCommands(t *testing.T, n int, oldnew ...string) (all [][]string) {
	t.Helper()
	block := strings.NewReplacer(oldnew...).Replace(blocks(documents(t)["docs/nats.md"], "sh")[n])
	for line := range strings.Lines(block) {
		all = append(all, strings.Fields(line)[1:])
	}
	return all
}

// mustWorkAsDocumented runs the commands of a block: serve, worker, and one that asks the gateway.
func mustWorkAsDocumented(t *testing.T, n int, login []string, oldnew ...string) {
	t.Helper()
	dir := t.ArtifactDir()
	data, public := filepath.Join(dir, "data"), fixedAddress(t)
	commands := natsCommands(t, n, append(oldnew, "/var/lib/funker", data)...)
	hello, _ := startFunction(t, "hello")
	manifest := write(t, dir, "functions.yaml", fmt.Sprintf("functions: {Hello: {addresses: [%q], retry: {attempts: 1}}}\n", hello))
	g := outsideGateway{data: data, public: public, login: login}
	g.process = newProcess(t, "gateway", "msg=ready", append(commands[0], "--manifest", manifest, "--functions", "--no-worker", "--listen", public, "--admin", "127.0.0.1:0")...)
	w := newProcess(t, "worker", "functions of the gateway", commands[1]...)
	for _, p := range []*process{g.process, w} {
		p.start()
		p.awaitReady()
	}
	g.mustWork()
	if got := mustCLI(t, commands[2]...); !strings.Contains(got, "Hello") {
		t.Errorf("%v: %s", commands[2], got)
	}
	w.terminate()
	g.terminate()
}

func TestDocs_ANATSServerOfYourOwnTakesCredentialsOverTLS(t *testing.T) {
	tls, ca := natstest.TLS(t)
	t.Setenv("FUNKER_NATS_CA", ca)
	o := natstest.NewOperator(t)
	a := o.Account("acme", natstest.Rented)
	gateway, worker := a.User("gateway"), a.User("worker")
	s := natstest.Start(t, "jetstream {}\n"+tls+o.Config())
	url := strings.Replace(s.URL(), "nats://", "tls://", 1)
	mustWorkAsDocumented(t, 0, []string{"--nats-creds", gateway}, "tls://nats.example.org:4222", url, "gateway.creds", gateway, "worker.creds", worker)
}

func TestDocs_ADomainIsFoundBehindALeafNode(t *testing.T) {
	port := natstest.FreePort(t)
	natstest.Start(t, fmt.Sprintf("server_name: hub\njetstream {domain: hub}\nleafnodes {listen: \"127.0.0.1:%d\"}\n", port))
	leaf := natstest.Start(t, fmt.Sprintf("server_name: leaf\nleafnodes {remotes: [{url: \"nats-leaf://127.0.0.1:%d\"}]}\n", port))
	within(t, "the leaf node is connected", func() bool { return leaf.NumLeafNodes() == 1 })
	mustWorkAsDocumented(t, 1, []string{"--nats-domain", "hub"}, "nats://127.0.0.1:4222", leaf.URL())
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
	operated, plain, secured := natstest.Start(t, "jetstream {}\n"+o.Config()), natstest.Start(t, "jetstream {}\n"), natstest.Start(t, natsConfig(t, 0))
	user := strings.Replace(secured.URL(), "://", "://worker:choose%20another@", 1)
	dir := t.TempDir()
	serves := []string{"serve", "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}
	for want, args := range map[string][]string{
		"there is no JetStream in this account":                    {"--nats-url", operated.URL(), "--nats-creds", creds},
		"Authorization Violation":                                  {"--nats-url", operated.URL()},
		"credentials: stat ":                                       {"--nats-url", operated.URL(), "--nats-creds", filepath.Join(dir, "none")},
		"certificates: stat ":                                      {"--nats-url", plain.URL(), "--nats-ca", filepath.Join(dir, "none")},
		"is the server running, and the address right?":            {"--nats-url", fmt.Sprintf("nats://127.0.0.1:%d", natstest.FreePort(t))},
		"there is no JetStream in the domain hub":                  {"--nats-url", plain.URL(), "--nats-domain", "hub"},
		"the user may not subscribe to _INBOX_dispatch.>":          {"--nats-url", user},
		"replicas > 1 not supported":                               {"--nats-url", plain.URL(), "--nats-replicas", "3"},
		"2 replicas: take 1, 3 or 5":                               {"--nats-url", plain.URL(), "--nats-replicas", "2"},
		"--nats-creds goes with --nats-url":                        {"--nats-creds", creds},
		"--durability is about the NATS server of this process":    {"--nats-url", plain.URL(), "--durability", "always"},
		"--nats-listen is about the NATS server of this process":   {"--nats-url", plain.URL(), "--nats-listen", "127.0.0.1:0"},
		"--cluster-peers is about the NATS server of this process": {"--nats-url", plain.URL(), "--cluster-peers", "a=h:1"},
	} {
		code, _, stderr := cli(t, append(serves, args...)...)
		if code == exitOK || !strings.Contains(stderr, want) || strings.Contains(stderr, "choose") && strings.Contains(stderr, "another@") {
			t.Errorf("%v: exit code %d, %s", args, code, stderr)
		}
	}
}

func TestDocs_AnAccountImportsAGatewayUnderAnotherName(t *testing.T) {
	need(t, "nats")
	s := natstest.Start(t, "jetstream {}\n"+natsConfig(t, 1))
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
