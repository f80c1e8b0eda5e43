package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/funker"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

func TestURL_InvokesFunctions(t *testing.T) {
	w := newWorkshop(t, "Saw")
	if got := mustCLI(t, w.far("invoke", "Saw", "-d", `{"secret":"plank"}`)...); got != "\"sawn\"\n" {
		t.Errorf("got %q", got)
	}
	id := strings.TrimSpace(mustCLI(t, w.far("invoke", "Saw", "--async", "-d", `{"n":1}`)...))
	w.ranOften("Saw", 2)
	var list []queue.Record
	if err := json.Unmarshal([]byte(mustCLI(t, w.far("events", "list", "--source", "api", "-o", "json")...)), &list); err != nil || len(list) != 2 || list[0].ID != id {
		t.Errorf("got %v, %+v, want %s first", err, list, id)
	}
	want := id + " is not dead: it is ok now; see `events show " + id + "`, or name a letter by its place from `dead list --all`\n"
	within(t, "the event has succeeded, and dead show says so", func() bool {
		code, _, stderr := cli(t, w.far("dead", "show", id)...)
		return code == exitFailed && strings.HasSuffix(stderr, want)
	})
	w.fault.Store(&funker.Failure{Message: "the blade is broken"})
	if code, _, stderr := cli(t, w.far("invoke", "Saw")...); code != exitFailed || !strings.Contains(stderr, "the blade is broken") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	log := w.log.String()
	for _, want := range []string{`action="POST /api/v1/functions/Saw/call" status=200 event=` + list[1].ID, `action="POST /api/v1/functions/Saw/event" status=202 event=` + id, `/call" status=502`} {
		if !strings.Contains(log, want) {
			t.Errorf("no %s in the log:\n%s", want, log)
		}
	}
	if strings.Contains(log, "plank") {
		t.Errorf("a body is in the log:\n%s", log)
	}
}

func TestURL_VerifiesAndTestsFiltersAsOverNATS(t *testing.T) {
	w := newFilterShop(t)
	w.ranOften("Saw", 3)
	for _, line := range []string{"verify", "verify -o json", `events test-filter body.ref=="refs/heads/main"`, "events test-filter body.ref>5 -o json", "events test-filter true --limit 1",
		"events test-filter --trigger github-acme --manifest " + w.manifest} {
		code, stdout, stderr := cli(t, w.args(strings.Fields(line))...)
		farCode, farStdout, farStderr := cli(t, w.far(strings.Fields(line)...)...)
		if code != farCode || stdout != farStdout || stderr != farStderr {
			t.Errorf("%s: exit codes %d and %d, got\n%s%swant\n%s%s", line, code, farCode, farStdout, farStderr, stdout, stderr)
		}
	}
}

// cable is between a client and a gateway, and can be cut.
type cable struct {
	net.Listener
	mu    sync.Mutex
	to    string
	conns []net.Conn
}

func newCable(t *testing.T, to string) *cable {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{Listener: l, to: to}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := new(net.Dialer).DialContext(context.Background(), "tcp", c.to)
			if err != nil {
				near.Close()
				continue
			}
			c.mu.Lock()
			c.conns = append(c.conns, near, far)
			c.mu.Unlock()
			for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
				all.Go(func() {
					_, _ = io.Copy(pair[0], pair[1]) // until it is cut
					pair[0].Close()
				})
			}
		}
	})
	t.Cleanup(func() { l.Close(); c.cut(); all.Wait() })
	return c
}

// cut cuts all connections; new ones can be made.
func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}

func TestURL_TailGoesOnWhereItWasWhenTheConnectionIsLost(t *testing.T) {
	w := newWorkshop(t, "Saw")
	c := newCable(t, strings.TrimPrefix(w.admin, "http://"))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out, stderr buffer
	ended := make(chan int, 1)
	args := []string{"events", "tail", "-o", "json", "--url", "http://" + c.Addr().String(), "--token-file", filepath.Join(w.data, tokenFile)}
	go func() { ended <- run(ctx, args, &out, &stderr) }()
	within(t, "it is connected", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return len(c.conns) > 0 })
	sent := map[string]int{}
	within(t, "it has seen an attempt", func() bool { // some may come before it reads
		w.send("Saw", `{"n":0}`)
		return strings.Contains(out.String(), `"attempt":1`)
	})
	w.sendMany("Saw", 3)
	for round := range 3 {
		c.cut()
		for n := range 5 {
			sent[w.send("Saw", fmt.Sprintf(`{"round":%d,"n":%d}`, round, n))] = 0
		}
		within(t, "all attempts are seen", func() bool {
			for id := range sent {
				if !strings.Contains(out.String(), id) {
					return false
				}
			}
			return true
		})
	}
	stop()
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
	for line := range strings.Lines(out.String()) {
		var a queue.Attempt
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatal(err)
		}
		sent[a.Event]++
	}
	for id, n := range sent {
		if n != 1 {
			t.Errorf("%s came %d times", id, n)
		}
	}
	if text := stderr.String(); strings.Count(text, "the connection is lost, and tried again in 1s") != 3 || strings.Count(text, "connected again") != 3 {
		t.Errorf("got %s", text)
	}
}

func TestURL_TailOutlivesARestartOfTheGateway(t *testing.T) {
	w := newWorkshop(t, "Saw")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out, stderr buffer
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, w.far("events", "tail", "-o", "json"), &out, &stderr) }()
	within(t, "it has seen an attempt", func() bool {
		w.send("Saw", `{"n":0}`)
		return strings.Contains(out.String(), `"attempt":1`)
	})
	address := strings.TrimPrefix(w.admin, "http://")
	if code := w.stop(); code != exitOK {
		t.Fatalf("exit code %d: %s", code, w.log)
	}
	w.gatewayUnderTest = serve(t, filepath.Dir(w.data), w.manifest, "--admin", address)
	id := w.send("Saw", `{"n":1}`)
	within(t, "it sees what the new process does", func() bool { return strings.Contains(out.String(), id) })
	write(t, w.data, tokenFile, "another")
	if code := w.stop(); code != exitOK {
		t.Fatalf("exit code %d: %s", code, w.log)
	}
	w.gatewayUnderTest = serve(t, filepath.Dir(w.data), w.manifest, "--admin", address)
	select {
	case code := <-ended:
		if code != exitFailed || !strings.Contains(stderr.String(), "does not know this token") {
			t.Errorf("exit code %d: %s", code, &stderr)
		}
	case <-time.After(time.Minute):
		t.Errorf("a token that does not count any more is tried for ever: %s", &stderr)
	}
}

func TestTail_LeavesAGatewayThatSaysNothing(t *testing.T) {
	w := newWorkshop(t, "Saw")
	r, err := (&remoteFlags{api: w.admin, tokenFile: filepath.Join(w.data, tokenFile)}).open()
	if err != nil {
		t.Fatal(err)
	}
	var stderr buffer
	reader := r.tail(&stderr)
	reader.silence, reader.pause = 500*time.Millisecond, time.Millisecond // the gateway says something every 15 s
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- reader.run(ctx, func(queue.Attempt) {}) }()
	within(t, "it connects again", func() bool { return strings.Contains(stderr.String(), errSilent.Error()) })
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
