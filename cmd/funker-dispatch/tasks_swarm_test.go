//go:build swarm

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// taskNode is a manager of a swarm of one node with a gateway that has a worker, both in a container on the network of the
// functions. The gateway makes the service of the one-shot function.
type taskNode struct {
	*testing.T
	once string // ID of the image of testdata/once
}

const taskGateway = "http://127.0.0.1:3000"

func newTaskNode(t *testing.T, replicas int) taskNode {
	t.Helper()
	socket, ok := strings.CutPrefix(os.Getenv("DOCKER_HOST"), "unix://")
	if !ok {
		t.Fatal("DOCKER_HOST names no socket of an engine for tests: run .ci/dockerd go test …")
	}
	n := taskNode{T: t}
	if n.docker("info", "--format", "{{.Swarm.ControlAvailable}}") == "false" {
		n.docker("swarm", "init", "--advertise-addr", os.Getenv("DOCKERD_ADDR"))
	}
	n.once = n.image("./testdata/once")
	n.docker("network", "create", "--driver", "overlay", "--attachable", "--subnet", "10.77.0.0/16", "funker")
	t.Cleanup(func() { removeNetwork(t) })
	manifest := write(t, t.TempDir(), "functions.yaml", fmt.Sprintf("functions:\n  Once: {image: %q, timeout: 60s, replicas: {min: %d, max: %d}}\n", n.once, replicas, replicas))
	n.docker("run", "--detach", "--name", "gateway", "--network", "funker", "--label", "funker.role=gateway", "--publish", "3000:3000",
		"--sysctl", "net.ipv4.tcp_tw_reuse=1", "--volume", socket+":/var/run/docker.sock", "--volume", manifest+":/functions.yaml",
		n.image("."), "/program", "serve", "--functions", "--manifest", "/functions.yaml", "--data", "/data")
	t.Cleanup(func() {
		if out, err := exec.Command("docker", "logs", "gateway").CombinedOutput(); err == nil && t.Failed() {
			t.Logf("end of the log of the gateway:\n%s", tail(string(out), 40))
		}
		n.clean("rm", "--force", "--volumes", "gateway")
		n.clean("service", "rm", "Once")
	})
	within(t, "the gateway answers", func() bool {
		res, err := http.Get(taskGateway + "/healthz")
		if err == nil {
			res.Body.Close()
		}
		return err == nil
	})
	return n
}

func (n taskNode) docker(args ...string) string {
	n.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(n.Context(), "docker", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		n.Fatalf("docker %v: %v: %s", args, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// clean runs docker when the test has ended, again while something is still in use.
func (n taskNode) clean(args ...string) {
	within(n.T, "docker "+strings.Join(args, " "), func() bool { return exec.Command("docker", args...).Run() == nil })
}

// removeNetwork takes the network away, from the swarm and then from its node, which is a moment later.
func removeNetwork(t *testing.T) {
	within(t, "the network is removed", func() bool {
		_ = exec.Command("docker", "network", "rm", "funker").Run() // in vain while something uses it
		return exec.Command("docker", "network", "inspect", "funker").Run() != nil
	})
}

// image makes one of a program alone, and returns its ID.
func (n taskNode) image(folder string) string {
	n.Helper()
	dir := n.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "program"), folder)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		n.Fatalf("build %s: %v: %s", folder, err, out)
	}
	out, err := exec.Command("sh", "-c", "tar -C "+dir+" -c program | docker import --change 'CMD [\"/program\"]' -").CombinedOutput()
	if err != nil {
		n.Fatalf("import: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func (n taskNode) invoke(prefer string) (int, []byte) {
	n.Helper()
	r, err := http.NewRequestWithContext(n.Context(), http.MethodPost, taskGateway+"/functions/Once", strings.NewReader("1"))
	if err != nil {
		n.Fatal(err)
	}
	r.Header.Set("Prefer", prefer)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		n.Fatal(err)
	}
	defer res.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(res.Body); err != nil {
		n.Fatal(err)
	}
	return res.StatusCode, body.Bytes()
}

// What the gateway and its worker add is from the moment in which a task listens to the answer: the rest of the time from
// one answer to the next is Swarm's.
func TestSwarm_TheNextCallIsAnsweredAsSoonAsTheNextOneShotTaskListens(t *testing.T) {
	n := newTaskNode(t, 1)
	const calls = 12
	var dial, added, cycle []time.Duration
	last := time.Now()
	for range calls {
		code, body := n.invoke("")
		now := time.Now()
		var at struct{ Listening, Called int64 }
		if err := json.Unmarshal(body, &at); code != 200 || err != nil {
			t.Fatalf("got %d %s", code, body)
		}
		dial = append(dial, time.Duration(at.Called-at.Listening))
		added = append(added, now.Sub(time.Unix(0, at.Listening)))
		cycle = append(cycle, now.Sub(last))
		last = now
	}
	for _, d := range [][]time.Duration{dial, added, cycle} {
		slices.Sort(d)
	}
	t.Logf("from answer to answer: p50 %s, max %s", cycle[calls/2], cycle[calls-1])
	t.Logf("task listens → it is called: p50 %s, max %s", dial[calls/2], dial[calls-1])
	t.Logf("task listens → answered: p50 %s, max %s", added[calls/2], added[calls-1])
	// The first quartile, because the whole of it is swarm's and ours on two cores: looking every 100 ms would show in it.
	if added[calls/4] > 20*time.Millisecond {
		t.Errorf("the dispatcher adds %s", added[calls/4])
	}
}

func TestSwarm_ABurstForFourOneShotReplicasSucceedsWithoutAFailedAttempt(t *testing.T) {
	n := newTaskNode(t, 4)
	const burst = 200
	begin := time.Now()
	for range burst {
		if code, body := n.invoke("respond-async"); code != 202 {
			t.Fatalf("got %d %s", code, body)
		}
	}
	var records []queue.Record
	deadline := time.Now().Add(10 * time.Minute)
	for done := 0; done < burst; {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d events have ended", done, burst)
		}
		<-time.After(time.Second)
		text := n.docker("exec", "gateway", "/program", "events", "list", "--data", "/data", "--limit", "500", "-o", "json")
		if err := json.Unmarshal([]byte(text), &records); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		done = 0
		for _, r := range records {
			if r.State == queue.StateOK {
				done++
			}
			for _, a := range r.Attempts {
				if a.Outcome != queue.OutcomeOK || a.Number != 1 {
					t.Fatalf("an attempt failed: %+v", r)
				}
			}
		}
	}
	t.Logf("%d events on 4 one-shot replicas took %s", burst, time.Since(begin).Round(time.Millisecond))
}
