package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// machine is a network namespace: a machine of its own, as far as the network goes. It is gone with the test, however
// that ends.
type machine struct {
	t       *testing.T
	name    string
	address string   // in the network of its tests; the hub has one too
	handle  *os.File // of the namespace
}

// network is machines at one switch, with a hub, which is the machine of those who send requests.
type network struct {
	hub      *machine
	machines map[string]*machine
}

// newNetwork needs root.
func newNetwork(t *testing.T, names ...string) *network {
	t.Helper()
	need(t, "ip")
	need(t, "iptables")
	need(t, "tc")
	n := &network{hub: newMachine(t, "hub"), machines: map[string]*machine{}}
	n.hub.address = "10.9.0.254"
	n.hub.must("ip", "link", "add", "switch", "type", "bridge")
	n.hub.must("ip", "address", "add", n.hub.address+"/24", "dev", "switch")
	n.hub.must("ip", "link", "set", "switch", "up")
	for i, name := range names {
		m := newMachine(t, name)
		m.address = fmt.Sprintf("10.9.0.%d", i+1)
		n.hub.must("ip", "link", "add", "name", name, "type", "veth", "peer", "name", "net0", "netns", m.file())
		n.hub.must("ip", "link", "set", "dev", name, "master", "switch", "up")
		m.must("ip", "address", "add", m.address+"/24", "dev", "net0")
		m.must("ip", "link", "set", "net0", "up")
		n.machines[name] = m
	}
	return n
}

func newMachine(t *testing.T, name string) *machine {
	t.Helper()
	m := &machine{t: t, name: name}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // and the thread ends with this goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			m.handle, err = os.Open(threadNetwork)
		}
		made <- err
	}()
	if err := <-made; err != nil {
		unable(t, "make a network namespace: "+err.Error())
	}
	t.Cleanup(func() { m.handle.Close() })
	m.must("ip", "link", "set", "lo", "up")
	return m
}

const threadNetwork = "/proc/thread-self/ns/net"

// file is a path to the namespace, for the programs that this process starts.
func (m *machine) file() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), m.handle.Fd()) }

// do calls f on this machine: sockets that f opens and processes that it starts are there.
func (m *machine) do(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // see above
		err := unix.Setns(int(m.handle.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

func (m *machine) must(args ...string) {
	m.t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err := m.do(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		m.t.Errorf("%s: %s: %v: %s", m.name, strings.Join(args, " "), err, out.String())
	}
}

func (m *machine) dial(ctx context.Context, _, address string) (c net.Conn, err error) {
	err = m.do(func() error {
		c, err = new(net.Dialer).DialContext(ctx, "tcp4", address)
		return err
	})
	return c, err
}

func (m *machine) listen(port int) (l net.Listener, err error) {
	err = m.do(func() error {
		l, err = net.Listen("tcp4", fmt.Sprintf("%s:%d", m.address, port))
		return err
	})
	return l, err
}

// The ways in which packets get lost. What a machine sends to itself always arrives.
const (
	incoming = "INPUT"
	outgoing = "OUTPUT"
)

// lose drops a share of the packets that the machine hears or speaks, from or to another machine; nil: any.
func (m *machine) lose(way string, other *machine, share float64) {
	m.t.Helper()
	args := []string{"iptables", "-A", way, map[string]string{incoming: "-i", outgoing: "-o"}[way], "net0"}
	if other != nil {
		args = append(args, map[string]string{incoming: "-s", outgoing: "-d"}[way], other.address)
	}
	if share < 1 {
		args = append(args, "-m", "statistic", "--mode", "random", "--probability", fmt.Sprint(share))
	}
	m.must(append(args, "-j", "DROP")...)
}

// slow lets the machine speak no faster than so many bits per second: what it says arrives up to half a second later, or not
// at all. (A delay alone would be the work of netem, which not every kernel has.)
func (m *machine) slow(bits int) {
	m.t.Helper()
	m.must("tc", "qdisc", "replace", "dev", "net0", "root", "tbf", "rate", fmt.Sprint(bits), "burst", "16kb", "latency", "500ms")
}

// heal puts the network of the machine in order. Most of the time some of it is in order already.
func (m *machine) heal() {
	m.t.Helper()
	m.must("iptables", "-F")
	m.must("sh", "-c", "tc qdisc del dev net0 root 2>/dev/null || true")
}

func TestNetwork_AMachineHearsAndSpeaksAsTold(t *testing.T) {
	n := newNetwork(t, "a", "b", "c")
	a, b, c := n.machines["a"], n.machines["b"], n.machines["c"]
	reaches := func(from, to *machine) bool {
		l, err := to.listen(9000)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		conn, err := from.dial(ctx, "tcp", l.Addr().String())
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	if !reaches(a, b) || !reaches(n.hub, a) {
		t.Fatal("a does not reach b, or the hub not a")
	}
	a.lose(outgoing, b, 1)
	if reaches(a, b) || !reaches(a, c) || !reaches(n.hub, a) || !reaches(a, a) {
		t.Error("a is not cut off from b alone")
	}
	a.heal()
	b.lose(incoming, nil, 1)
	if reaches(a, b) || reaches(n.hub, b) || !reaches(a, c) || !reaches(b, b) {
		t.Error("b is not deaf to all but itself")
	}
	b.heal()
	c.lose(incoming, nil, 0.3)
	c.slow(1_000_000)
	c.heal()
	if !reaches(a, b) || !reaches(b, c) {
		t.Error("the network is not healed")
	}
}
