package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/funker"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// namespace is a thread with a network of its own, and does what it is told there.
type namespace struct {
	t    *testing.T
	todo chan func()
	path string
}

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	n := &namespace{t: t, todo: make(chan func())}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		n.path = fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
		made <- err
		for f := range n.todo {
			f()
		}
	}()
	t.Cleanup(func() { close(n.todo) })
	if err := <-made; err != nil && os.Getenv("CI") != "true" {
		t.Skipf("NOT TESTED: a network of its own needs root: %v", err)
	} else if err != nil {
		t.Fatalf("CI must be able to do this, as root: %v", err)
	}
	n.ip("link", "set", "lo", "up")
	return n
}

func (n *namespace) do(f func()) {
	done := make(chan struct{})
	n.todo <- func() { f(); close(done) }
	<-done
}

func (n *namespace) ip(args ...string) {
	n.t.Helper()
	n.do(func() {
		if out, err := exec.CommandContext(n.t.Context(), "ip", args...).CombinedOutput(); err != nil {
			n.t.Errorf("ip %v: %v: %s", args, err, out)
		}
	})
}

func (n *namespace) set(sysctl, value string) {
	n.t.Helper()
	n.do(func() {
		if err := os.WriteFile(filepath.Join(sysctls, sysctl), []byte(value), 0o600); err != nil {
			n.t.Error(err)
		}
	})
}

// neighbours are two networks joined by a cable, with a function in the second one.
func neighbours(t *testing.T) (caller *namespace, address string) {
	t.Helper()
	caller, callee := newNamespace(t), newNamespace(t)
	caller.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", callee.path)
	for n, a := range map[*namespace]string{caller: "10.99.0.1/24", callee: "10.99.0.2/24"} {
		n.ip("addr", "add", a, "dev", "eth0")
		n.ip("link", "set", "eth0", "up")
	}
	var c *container
	callee.do(func() { c = run(t, "10.99.0.2:9999", replies(0)) })
	within(t, "the cable works", func() (refused bool) { // a refused connection leaves no port behind
		caller.do(func() {
			_, err := (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", "10.99.0.2:1")
			refused = errors.Is(err, unix.ECONNREFUSED)
		})
		return refused
	})
	return caller, c.address()
}

// calls makes calls one after the other, as a slot does, and counts what came of them.
func (n *namespace) calls(count int, address string) map[string]int {
	client := funker.Client{DialTimeout: withinLimit} // a busy machine is no fault
	w := New(Options{Catalog: deploy.NewCatalog(nil), Client: client, Log: testLog(), Payload: func(e *queue.Event, _ *deploy.Function) ([]byte, error) { return e.Body, nil }})
	pool, codes := newTasks(w.Lookup), map[string]int{}
	fn := function("Near", address)
	fn.Timeout = withinLimit
	n.do(func() {
		for range count {
			r := w.share(context.Background(), fn, pool, &queue.Event{Function: "Near", Body: []byte("1")})
			codes[string(r.Outcome)+" "+r.Code]++
		}
	})
	return codes
}

func TestPorts_DoNotRunOutWhenTheyMayBeTakenAgain(t *testing.T) {
	const count = 100_000
	caller, address := neighbours(t)
	caller.set("tcp_tw_reuse", "1")
	begin := time.Now()
	if got := caller.calls(count, address); got["ok "] != count {
		t.Errorf("got %v, want %d successes", got, count)
	}
	t.Logf("%d calls to one address took %s", count, time.Since(begin).Round(time.Millisecond))
}

func TestPorts_ThatRanOutAreAReasonOfTheirOwnAndNoAttempt(t *testing.T) {
	caller, address := neighbours(t)
	caller.set("tcp_tw_reuse", "0")
	caller.set("ip_local_port_range", "40000 40099")
	got := caller.calls(150, address)
	if got["ok "] != 100 || got["not-started "+queue.CodeNoPorts] != 50 {
		t.Errorf("with 100 ports, of 150 calls: %v", got)
	}
}

func TestPorts_AdviceNamesTheSettings(t *testing.T) {
	n := newNamespace(t)
	advice := func() (a string) {
		n.do(func() { a = portAdvice(sysctls) })
		return a
	}
	n.set("tcp_tw_reuse", "2")
	if a := advice(); a != "set the sysctl net.ipv4.tcp_tw_reuse=1" {
		t.Errorf("got %q", a)
	}
	n.set("tcp_tw_reuse", "1")
	if a := advice(); a != "" {
		t.Errorf("got %q", a)
	}
	n.set("ip_local_port_range", "40000 41000")
	if a := advice(); !strings.Contains(a, "ip_local_port_range") {
		t.Errorf("got %q", a)
	}
	if a := portAdvice(t.TempDir()); a != "" {
		t.Errorf("of another system: got %q", a)
	}
}

func TestPorts_OfLoopbackNeedNoAdvice(t *testing.T) {
	for address, want := range map[string]bool{"127.0.0.1:9999": true, "localhost:9999": true, "[::1]:9999": true, "10.0.1.2:9999": false, "host:9999": false} {
		if got := allLoopback(function("F", address)); got != want {
			t.Errorf("%s: got %v", address, got)
		}
	}
}
