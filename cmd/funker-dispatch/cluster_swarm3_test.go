//go:build swarm3

package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// cluster is a swarm of three nodes with the stack on it. The gateway is on the first one, the only manager.
type cluster struct {
	node
	dir     string
	publics []string // URLs of the gateways

	accepted atomic.Int64
	repeated atomic.Int64 // deliveries that were sent again, because there was no answer
	slowest  atomic.Int64 // delivery until it was accepted, with all that were sent again, in nanoseconds
}

const clusterManifest = `functions:
  HelloIntent: {image: funker-dispatch, command: [function, hello], lifecycle: server, concurrency: 4, timeout: 5s, replicas: {min: %[1]d, max: %[1]d}, env: {VERSION: "%[2]s"}}
  Echo: {image: funker-dispatch, command: [function, echo], lifecycle: server, concurrency: 2, timeout: 5s, replicas: {min: %[1]d, max: %[1]d}, retry: {initial: 100ms, max: 1s}}
triggers:
  - {alexa: amzn1.ask.skill.5a3b1c0e-0000-4000-8000-000000000001, verify: id-only}
  - {github: nodes, secret-file: /run/secrets/github, function: Echo}
`

// withSecret gives the gateway the secret of the trigger, as the comments in the stack file say.
const withSecret = `version: "3.9"
services: {gateway: {secrets: [github]}}
secrets: {github: {external: true}}
`

// lostAfter is when the queue has noticed that a node is gone, and its workers get no more work: see PingInterval.
const lostAfter = 10 * time.Second

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := newSwarm3(t, "1")
	c.docker("stack", "deploy", "--compose-file", filepath.Join(rootDir, "deploy", "stack.yml"),
		"--compose-file", write(t, c.dir, "secret.yml", withSecret), "funker")
	c.apply(6, "one")
	return c
}

// newSwarm3 has the images on all nodes and the secret of the trigger, and no stack yet. Senders try the gateways of these
// nodes.
func newSwarm3(t *testing.T, gateways ...string) *cluster {
	t.Helper()
	c := &cluster{node: newNode(t), dir: t.TempDir()}
	t.Chdir(c.dir)
	c.docker("tag", c.image, "funker-dispatch")
	images := filepath.Join(c.dir, "images.tar")
	c.docker("save", "--output", images, "funker-dispatch")
	c.swarm3("load", images)
	for _, n := range gateways {
		c.publics = append(c.publics, "http://"+c.swarm3("address", n)+":3000")
	}
	t.Cleanup(c.clear)
	if out, err := c.try(strings.NewReader(hookSecret), "secret", "create", "github", "-"); err != nil {
		t.Fatalf("create secret: %v: %s", err, out)
	}
	return c
}

// clear leaves nothing of the stack, of its functions and secrets to the next test, but the volumes.
func (c *cluster) clear() {
	c.clean("service", "rm", "Echo", "HelloIntent")
	withinLimit(c.T, 3*time.Minute, func() string { return "nothing is left of the stack" }, func() bool {
		_ = exec.Command("docker", "stack", "rm", "funker").Run() // until its networks are gone
		return exec.Command("docker", "network", "inspect", "funker").Run() != nil && exec.Command("docker", "network", "inspect", "funker-control").Run() != nil
	})
	c.clean("secret", "rm", "github")
	_ = exec.Command("docker", "secret", "rm", "funker-cluster").Run() // where there was a cluster
}

// rootDir is root, whatever the working folder is.
var rootDir = func() string {
	dir, err := filepath.Abs(root)
	if err != nil {
		panic(err)
	}
	return dir
}()

// swarm3 works on the nodes.
func (c *cluster) swarm3(args ...string) string {
	c.Helper()
	out, err := exec.CommandContext(c.Context(), os.Getenv("SWARM3"), args...).CombinedOutput()
	if err != nil {
		c.Fatalf("%s %v: %v: %s", os.Getenv("SWARM3"), args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// apply returns when the services are as the manifest says.
func (c *cluster) apply(replicas int, version string) {
	c.Helper()
	file := write(c.T, c.dir, "functions.yaml", fmt.Sprintf(clusterManifest, replicas, version))
	var stderr string
	withinLimit(c.T, 2*time.Minute, func() string { return "the manifest is applied: " + stderr }, func() bool {
		var code int
		code, _, stderr = cli(c.T, "apply", file, "--wait", "50s")
		return code == exitOK
	})
}

// send delivers pushes, each until it is accepted, until stop is called.
func (c *cluster) send() (stop func()) {
	ctx, cancel := context.WithCancel(c.Context())
	var senders sync.WaitGroup
	before := c.accepted.Load()
	for s := range 4 {
		senders.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				c.deliver(fmt.Sprintf("%d-%d-%d", before, s, i)) // what was sent before would be known
				wait(ctx, 20*time.Millisecond)
			}
		})
	}
	return func() { cancel(); senders.Wait() }
}

// deliveries go to the next gateway as soon as a proxy would send them there.
var deliveries = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: time.Second}).DialContext}}

// deliver goes on after the senders were told to stop: what may have been stored has to be known.
func (c *cluster) deliver(id string) {
	body := `{"zen":"` + id + `"}`
	sum := hmac.New(sha256.New, []byte(hookSecret))
	sum.Write([]byte(body))
	header := http.Header{
		"Content-Type": {"application/json"}, "X-Github-Event": {"push"}, "X-Github-Delivery": {id},
		"X-Hub-Signature-256": {"sha256=" + hex.EncodeToString(sum.Sum(nil))},
	}
	begin := time.Now()
	for try := rand.N(len(c.publics)); c.Context().Err() == nil; try++ {
		r, err := http.NewRequestWithContext(c.Context(), http.MethodPost, c.publics[try%len(c.publics)]+"/github/nodes", strings.NewReader(body))
		if err != nil {
			c.Error(err)
			return
		}
		r.Header = header
		if res, err := deliveries.Do(r); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusAccepted {
				c.accepted.Add(1)
				c.took(time.Since(begin))
				return
			}
		}
		c.repeated.Add(1)
		wait(c.Context(), 100*time.Millisecond)
	}
}

func (c *cluster) took(d time.Duration) {
	for {
		if old := c.slowest.Load(); int64(d) <= old || c.slowest.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// call makes Alexa's calls one after the other until stop is called, which returns how many were answered and those that
// failed.
func (c *cluster) call() (stop func() (answered int, failed []string)) {
	ctx, cancel := context.WithCancel(c.Context())
	var answered int
	var failed []string
	var calls sync.WaitGroup
	alexa := write(c.T, c.dir, "alexa.yaml", "functions: {HelloIntent: }\ntriggers: [{alexa: amzn1.ask.skill.5a3b1c0e-0000-4000-8000-000000000001, verify: id-only}]\n")
	calls.Go(func() {
		for ctx.Err() == nil {
			code, stdout, stderr := cli(c.T, "sign", "alexa", "--send", c.publics[0], "--manifest", alexa)
			if code == exitOK && strings.Contains(stdout, "Hello from your own swarm") {
				answered++
			} else {
				failed = append(failed, stdout+stderr)
			}
		}
	})
	return func() (int, []string) { cancel(); calls.Wait(); return answered, failed }
}

func (c *cluster) awaitAccepted(n int64) {
	c.Helper()
	withinLimit(c.T, time.Minute, func() string { return fmt.Sprintf("%d of %d pushes are accepted", c.accepted.Load(), n) },
		func() bool { return c.accepted.Load() >= n })
}

func (c *cluster) balance() (b queue.Balance) {
	code, stdout, _ := cli(c.T, "stats", "-o", "json")
	var s struct{ Balance queue.Balance }
	if code != exitOK || json.Unmarshal([]byte(stdout), &s) != nil {
		return queue.Balance{Waiting: -1}
	}
	return s.Balance
}

// nodes counts the tasks of a function by node, as the workers say.
func (c *cluster) nodes(function string) map[string]int {
	var states []functionState
	if _, stdout, _ := cli(c.T, "functions", "-o", "json"); json.Unmarshal([]byte(stdout), &states) != nil {
		return nil
	}
	tasks := map[string]int{}
	for _, s := range states {
		for _, n := range s.Nodes {
			if s.Function == function {
				tasks[n.Node] = n.Tasks
			}
		}
	}
	return tasks
}

func TestCluster_UpdatesAndTheCrashOfANodeCostNoEventAndUpdatesNoCall(t *testing.T) {
	c := newCluster(t)
	var before map[string]int
	withinLimit(t, time.Minute, func() string { return fmt.Sprintf("each node has tasks: %v", before) }, func() bool {
		before = c.nodes("Echo")
		return before["node1"] > 0 && before["node2"] > 0 && before["node3"] > 0
	})
	t.Logf("tasks by node: %v", before)
	stop := c.send()
	c.awaitAccepted(100)

	calls := c.call()
	c.apply(6, "two")
	answered, failed := calls()
	t.Logf("%d calls were answered while their function was updated", answered)
	if len(failed) > 0 || answered < 10 {
		t.Errorf("%d calls failed while their function was updated: %s", len(failed), failed)
	}

	begin := time.Now()
	c.docker("service", "update", "--detach", "--force", "funker_gateway")
	accepted := c.accepted.Load()
	withinLimit(t, time.Minute, func() string { return "the gateway is another one" }, func() bool {
		return c.docker("service", "inspect", "--format", "{{.UpdateStatus.State}}", "funker_gateway") == "completed" && c.accepted.Load() > accepted
	})
	t.Logf("the update of the gateway took %s; %d deliveries were sent again", time.Since(begin).Round(time.Millisecond), c.repeated.Load())

	calls = c.call()
	c.swarm3("kill", "3")
	crashed := time.Now()
	c.awaitAccepted(c.accepted.Load() + 200)
	wait(t.Context(), time.Until(crashed.Add(lostAfter)))
	answered, failed = calls()
	t.Logf("%d calls were answered and %d failed while a node crashed and was given up: %s", answered, len(failed), failed)
	stop()
	calls = c.call()
	wait(t.Context(), time.Second)
	if answered, failed = calls(); answered == 0 || len(failed) > 0 {
		t.Errorf("%s after the crash %d calls were answered, and %d failed: %s", time.Since(crashed), answered, len(failed), failed)
	}
	var b queue.Balance
	withinLimit(t, 3*time.Minute, func() string { return fmt.Sprintf("all %d events have ended: %+v", c.accepted.Load(), b) }, func() bool {
		b = c.balance()
		return b.Succeeded == c.accepted.Load()
	})
	t.Logf("all ended %s after the crash: %+v", time.Since(crashed).Round(time.Millisecond), b)
	if b.Accepted != c.accepted.Load() || b.Dead != 0 || b.Drift != 0 {
		t.Errorf("%d events were accepted: %+v", c.accepted.Load(), b)
	}
	mustCLI(t, "events", "replay", "1")
	within(t, "the replay has succeeded", func() bool { b = c.balance(); return b.Replays == 1 && b.Succeeded == b.Accepted+1 })

	c.swarm3("start", "3")
	began := time.Now()
	c.apply(12, "two")
	withinLimit(t, time.Minute, func() string { return fmt.Sprintf("node3 is used again: %v", c.nodes("Echo")) }, func() bool { return c.nodes("Echo")["node3"] > 0 })
	t.Logf("node3 was used again %s after its start", time.Since(began).Round(time.Millisecond))
}
