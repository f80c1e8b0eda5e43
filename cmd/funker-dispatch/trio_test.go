package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// trio is three gateways with one store, each in a process of its own, and no worker yet.
type trio struct {
	t        *testing.T
	dir      string
	key      string // file
	peers    string
	gateways []*member // a, b, c
}

// member is a gateway of a trio.
type member struct {
	*process
	data, public, admin, nats string // folder and addresses
}

// newTrio starts nothing yet.
func newTrio(t *testing.T) *trio {
	t.Helper()
	c := &trio{t: t, dir: t.ArtifactDir()}
	c.key = write(t, c.dir, "cluster.key", mustCLI(t, "cluster", "key"))
	var peers []string
	for _, name := range []string{"a", "b", "c"} {
		peers = append(peers, name+"="+fixedAddress(t))
	}
	c.peers = strings.Join(peers, ",")
	for _, name := range []string{"a", "b", "c"} {
		m := &member{data: filepath.Join(c.dir, name), public: fixedAddress(t), admin: fixedAddress(t), nats: fixedAddress(t)}
		m.process = newProcess(t, name, "msg=ready", "serve", "--no-worker", "--functions", "--data", m.data, "--listen", m.public, "--admin", m.admin,
			"--nats-listen", m.nats, "--cluster-name", name, "--cluster-peers", c.peers, "--cluster-key", c.key, "--ack-wait", shortAckWait.String())
		m.env = []string{"GOMAXPROCS=2"}
		c.gateways = append(c.gateways, m)
	}
	return c
}

// start starts the gateways, and returns when all serve.
func (c *trio) start() {
	c.t.Helper()
	for _, m := range c.gateways {
		m.start()
	}
	for _, m := range c.gateways {
		m.awaitReady()
	}
}

// nats are the addresses at which workers and the command line reach the gateways.
func (c *trio) nats() string {
	var all []string
	for _, m := range c.gateways {
		all = append(all, "nats://"+m.nats)
	}
	return strings.Join(all, ",")
}

// args makes a command line that reaches any of the gateways.
func (c *trio) args(line ...string) []string {
	return append(line, "--nats-url", c.nats(), "--data", c.gateways[0].data)
}

// health is what a gateway says of itself.
func (m *member) health() (status int, body string) { return m.get(m.public + healthPath) }

func (m *member) get(address string) (status int, body string) {
	return fetchWith(m.t, "http://"+address, "")
}

// within is within, for what may take as long as starting a process on a busy machine, or the election of a leader.
func (c *trio) within(what string, condition func() bool) {
	c.t.Helper()
	withinLimit(c.t, time.Minute, func() string { return what }, condition)
	if c.t.Failed() {
		c.t.FailNow()
	}
}

func TestTrio_AGatewayThatWaitsForTheOthersIsAliveAndSendsAway(t *testing.T) {
	c := newTrio(t)
	a, b := c.gateways[0], c.gateways[1]
	serves := func(all ...*member) func() bool {
		return func() bool {
			return !slices.ContainsFunc(all, func(m *member) bool { status, _ := m.health(); return status != http.StatusOK })
		}
	}
	a.start()
	waiting := fmt.Sprintf(`{"status":%q}`, "waiting for the other gateways")
	within(t, "a says that it waits", func() bool {
		status, body := a.health()
		return status == http.StatusServiceUnavailable && body == waiting
	})
	if got := mustCLI(t, "healthcheck", "http://"+a.public+healthPath); got != waiting+"\n" {
		t.Errorf("got %q", got)
	}
	status, body, header := post(t, "http://"+a.public+"/functions/Echo", "1")
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" || header.Get("Funker-Error") != "unavailable" || !strings.Contains(body, `"code":"unavailable"`) {
		t.Errorf("got %d %v %s", status, header, body)
	}
	b.start()
	c.within("both wait for the third one, as their cluster is new", func() bool {
		return strings.Contains(a.text(a.from)+b.text(b.from), "a new cluster begins when")
	})
	c.gateways[2].start()
	c.within("all serve", serves(c.gateways...))
	c.gateways[2].kill()
	c.within("two go on", serves(a, b))
	b.kill()
	c.within("a sends senders away again", func() bool {
		status, body := a.health()
		return status == http.StatusServiceUnavailable && body == waiting
	})
	mustCLI(t, "healthcheck", "http://"+a.public+healthPath)
	b.start()
	c.within("both serve again", serves(a, b))
}

func TestTrio_AGatewayThatWaitsTakesItsAddressAndStopsWhenItIsTold(t *testing.T) {
	c := newTrio(t)
	a := c.gateways[0]
	a.start()
	within(t, "a waits", func() bool { status, _ := a.health(); return status == http.StatusServiceUnavailable })
	code, _, stderr := cli(t, "serve", "--data", filepath.Join(c.dir, "other"), "--listen", a.public, "--admin", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0",
		"--cluster-name", "b", "--cluster-peers", c.peers, "--cluster-key", c.key)
	if code != exitFailed || !strings.Contains(stderr, "--listen: ") || !strings.Contains(stderr, "address already in use") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
