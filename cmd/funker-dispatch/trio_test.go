package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// loopbackTrio is three gateways with one store, each in a process of its own, and no worker yet.
type loopbackTrio struct {
	t        *testing.T
	dir      string
	key      string // file
	peers    string
	gateways []*member // a, b, c
}

// member is a gateway of a loopbackTrio.
type member struct {
	*process
	data, public, admin, nats string // folder and addresses
}

// newLoopbackTrio starts nothing yet.
func newLoopbackTrio(t *testing.T) *loopbackTrio {
	t.Helper()
	forCluster(t)
	c := &loopbackTrio{t: t, dir: t.ArtifactDir()}
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
func (c *loopbackTrio) start() {
	c.t.Helper()
	for _, m := range c.gateways {
		m.start()
	}
	for _, m := range c.gateways {
		m.awaitReady()
	}
}

// nats are the addresses at which workers and the command line reach the gateways.
func (c *loopbackTrio) nats() string {
	var all []string
	for _, m := range c.gateways {
		all = append(all, "nats://"+m.nats)
	}
	return strings.Join(all, ",")
}

// args makes a command line that reaches any of the gateways.
func (c *loopbackTrio) args(line ...string) []string {
	return append(line, "--nats-url", c.nats(), "--data", c.gateways[0].data)
}

// health is what a gateway says of itself.
func (m *member) health() (status int, body string) {
	return fetchWith(m.t, "http://"+m.public+healthPath, "")
}

// metrics are what a gateway serves to Prometheus.
func (m *member) metrics() string {
	_, body := m.look("/metrics")
	return body
}

// look fetches something of the admin side, with the token for looking.
func (m *member) look(path string) (status int, body string) {
	return fetchWith(m.t, "http://"+m.admin+path, strings.TrimSpace(string(fileText(m.t, filepath.Join(m.data, readTokenFile)))))
}

// within is within, for what may take as long as starting a process on a busy machine, or the election of a leader.
func (c *loopbackTrio) within(what string, condition func() bool) {
	c.t.Helper()
	withinLimit(c.t, time.Minute, func() string { return what }, condition)
	if c.t.Failed() {
		c.t.FailNow()
	}
}

// forCluster leaves a test to .ci/run cluster: three gateways need minutes of a small machine.
func forCluster(t *testing.T) {
	t.Helper()
	if os.Getenv("FUNKER_TEST_CLUSTER") == "" {
		t.Skip("NOT TESTED: it takes minutes: .ci/run cluster runs it, or FUNKER_TEST_CLUSTER=1")
	}
}

func TestTrio_AGatewayThatWaitsForTheOthersIsAliveAndSendsAway(t *testing.T) {
	c := newLoopbackTrio(t)
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
	c := newLoopbackTrio(t)
	a := c.gateways[0]
	a.start()
	within(t, "a waits", func() bool { status, _ := a.health(); return status == http.StatusServiceUnavailable })
	code, _, stderr := cli(t, "serve", "--data", filepath.Join(c.dir, "other"), "--listen", a.public, "--admin", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0",
		"--cluster-name", "b", "--cluster-peers", c.peers, "--cluster-key", c.key)
	if code != exitFailed || !strings.Contains(stderr, "--listen: ") || !strings.Contains(stderr, "address already in use") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestTrio_ClusterStatusSaysWhatAnOperatorLooksFor(t *testing.T) {
	c := newLoopbackTrio(t)
	c.start()
	a, last := c.gateways[0], c.gateways[2]
	text := mustCLI(t, c.args("cluster", "status", "--wait", "50s")...)
	for _, want := range []string{"GATEWAY  REACHED  LEADS  VERSION\n", "\nSTREAM ", "\nFUNKER_EVENTS ", " leads", " current", version} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if n := strings.Count(text, " yes "); n != 4 { // three are reached, one leads
		t.Errorf("%d times yes in\n%s", n, text)
	}
	var far, near queue.ClusterState
	status := func(where ...string) string {
		return mustCLI(t, append([]string{"cluster", "status", "--wait", "50s", "-o", "json"}, where...)...)
	}
	remote := []string{"--url", "http://" + a.admin, "--token-file", filepath.Join(a.data, tokenFile)}
	if err := errors.Join(json.Unmarshal([]byte(status(remote...)), &far), json.Unmarshal([]byte(status("--nats-url", a.nats, "--data", a.data)), &near)); err != nil || far.Node != "a" || !reflect.DeepEqual(far.Gateways, near.Gateways) {
		t.Errorf("over HTTP %+v, over NATS %+v, %v", far, near, err)
	}
	if fault := description(t).SchemaFault("Cluster", []byte(status(remote...))); fault != nil {
		t.Error(fault)
	}
	last.kill()
	c.within("status says that c is away, and fails", func() bool {
		code, stdout, stderr := cli(t, append([]string{"cluster", "status"}, remote...)...)
		return code == exitFailed && strings.Contains(stdout, "\nthe gateway c is not reached from a: its copies fall behind\n") && strings.Contains(stdout, " away") &&
			strings.Contains(stderr, "the cluster is not as it should be")
	})
	c.within("the metrics say so", func() bool {
		m := a.metrics()
		return strings.Contains(m, "\nfunker_cluster_gateways{state=\"missing\"} 1\n") && strings.Contains(m, "\nfunker_stream_copies{state=\"behind\",stream=\"FUNKER_EVENTS\"} 1\n") &&
			strings.Contains(m, "\nfunker_leader ")
	})
	_, page := a.look("/")
	for _, want := range []string{"Cluster: the gateway c is not reached from a", "2 of 3 gateways are there: a (this one), b."} {
		if !strings.Contains(page, want) {
			t.Errorf("the overview does not say %q", want)
		}
	}
	last.start()
	mustCLI(t, append([]string{"cluster", "status", "--wait", "50s"}, remote...)...)
	c.within("the metrics say that all is well", func() bool {
		m := a.metrics()
		return strings.Contains(m, "\nfunker_cluster_gateways{state=\"missing\"} 0\n") && strings.Contains(m, "\nfunker_stream_copies{state=\"current\",stream=\"FUNKER_EVENTS\"} 3\n")
	})
}

func TestTrio_WhileAGatewayStandsStillTheOthersTellWithinFiveSecondsWhatIsBehind(t *testing.T) {
	c := newLoopbackTrio(t)
	c.start()
	function, _ := startFunction(t, "echo")
	mustCLI(t, c.args("apply", write(t, c.dir, "functions.yaml", fmt.Sprintf("functions: {Echo: {addresses: [%q]}}", function)))...)
	mustCLI(t, c.args("cluster", "status", "--wait", "50s")...)
	tell := func(which string, text ...string) {
		for _, m := range c.gateways[:2] {
			c.within(m.name+" tells in time "+which, func() bool {
				begin := time.Now()
				got := m.metrics()
				took := time.Since(begin)
				return took < 5*time.Second && !slices.ContainsFunc(text, func(line string) bool { return !strings.Contains(got, "\n"+line+"\n") })
			})
		}
	}
	behind := `funker_stream_copies{state="behind",stream="FUNKER_EVENTS"} 1`
	c.gateways[2].freeze()
	tell("at once", behind, `funker_scheduled{function="Echo"} 0`)
	tell("everything", behind, `funker_cluster_gateways{state="missing"} 1`, `funker_waiting{function="Echo",lane="events"} 0`, "funker_conservation_drift 0")
	c.gateways[2].signal(syscall.SIGCONT)
	tell("that it is back", `funker_cluster_gateways{state="missing"} 0`, `funker_stream_copies{state="current",stream="FUNKER_EVENTS"} 3`)
}

func TestClusterStatus_OfAGatewayThatStandsAloneSaysSo(t *testing.T) {
	dir := t.TempDir()
	g := serve(t, dir, write(t, dir, "functions.yaml", healthManifest), "--no-worker")
	if got := mustCLI(t, "cluster", "status", "--nats-url", g.nats, "--data", g.data); !strings.HasPrefix(got, "This gateway is in no cluster") {
		t.Errorf("got %q", got)
	}
	if got := mustCLI(t, "cluster", "status", "-o", "json", "--nats-url", g.nats, "--data", g.data); !strings.Contains(got, `"node": ""`) {
		t.Errorf("got %q", got)
	}
	token := strings.TrimSpace(string(fileText(t, filepath.Join(g.data, readTokenFile))))
	for _, path := range []string{"/metrics", "/"} {
		if _, body := fetchWith(t, g.admin+path, token); strings.Contains(body, "funker_leader") || strings.Contains(body, "gateways are there") {
			t.Errorf("%s tells of a cluster", path)
		}
	}
}
