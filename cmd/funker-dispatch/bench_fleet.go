package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// fleet is the three gateways of a cluster, each in a process and a data folder of its own, and workers for them.
type fleet struct {
	b       *bench
	nodes   []*gatewayProcess
	flags   []string // of all gateways
	workers []*served
}

// node is one gateway, at the same addresses whenever it starts.
type gatewayProcess struct {
	*served // nil while it is down
	name    string
	peer    string // address for the others
	public  string
	nats    string
}

func (n *gatewayProcess) url() string { return "http://" + n.public }

// newFleet starts nothing yet.
func (b *bench) newFleet(ctx context.Context) (*fleet, error) {
	f := &fleet{b: b}
	var peers []string
	for _, name := range []string{"a", "b", "c"} {
		n := &gatewayProcess{name: name}
		for _, at := range []*string{&n.peer, &n.public, &n.nats} {
			var err error
			if *at, err = steadyAddress(ctx); err != nil {
				return nil, err
			}
		}
		f.nodes = append(f.nodes, n)
		peers = append(peers, name+"="+n.peer)
	}
	key := filepath.Join(b.dir, "cluster.key")
	if err := os.WriteFile(key, []byte(queue.NewClusterKey()+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write key: %w", err)
	}
	f.flags = []string{"--cluster-peers", strings.Join(peers, ","), "--cluster-key", key}
	return f, nil
}

// steadyAddress returns a loopback address for a listener that comes and goes: its port is none of those which the kernel
// gives to connections.
func steadyAddress(ctx context.Context) (string, error) {
	var err error
	for range 100 {
		var l net.Listener
		if l, err = new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.N(22000))); err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", fmt.Errorf("find a free port: %w", err)
}

// start starts those gateways that are down, with more flags, and returns when they are ready.
func (f *fleet) start(ctx context.Context, more ...string) error {
	var group errgroup.Group
	for _, n := range f.nodes {
		if n.served == nil {
			group.Go(func() (err error) {
				n.served, err = f.b.serve(ctx, n.name, slices.Concat(f.flags, []string{"--cluster-name", n.name, "--cluster-listen", n.peer,
					"--listen", n.public, "--nats-listen", n.nats}, more)...)
				return err
			})
		}
	}
	return group.Wait()
}

// stop stops all, workers first.
func (f *fleet) stop() error {
	var errs []error
	for _, w := range f.workers {
		errs = append(errs, w.stop())
	}
	f.workers = nil
	f.b.client.CloseIdleConnections()
	var group errgroup.Group
	for _, n := range f.nodes {
		if s := n.served; s != nil {
			n.served = nil
			group.Go(s.stop)
		}
	}
	return errors.Join(append(errs, group.Wait())...)
}

// startWorker starts a worker on a manifest, which may connect to any gateway.
func (f *fleet) startWorker(ctx context.Context, manifest string) error {
	var urls []string
	for _, n := range f.nodes {
		urls = append(urls, "nats://"+n.nats)
	}
	s, log, err := startSelf(ctx, "worker", "--nats-url", strings.Join(urls, ","), "--key", filepath.Join(f.b.dir, f.nodes[0].name, queue.WorkerKey),
		"--manifest", manifest, "--docker", engineOff, "--grace", "1s")
	if err != nil {
		return err
	}
	f.workers = append(f.workers, s)
	lines := bufio.NewScanner(log)
	for last := ""; !strings.Contains(last, `"worker ready"`); last = lines.Text() {
		if !lines.Scan() {
			return fmt.Errorf("the worker has ended: %s", last)
		}
	}
	go func() { _, _ = io.Copy(io.Discard, log) }() // a full pipe would stop the worker; it ends with it
	return nil
}

// gateways are the processes of the gateways.
func (f *fleet) gateways() (all []*served) {
	for _, n := range f.nodes {
		all = append(all, n.served)
	}
	return all
}

// healthy waits until every gateway has all that is stored and one of them looks after it. It returns who leads the
// events, and who holds the lease.
func (f *fleet) healthy(ctx context.Context) (leader, keeper *gatewayProcess, err error) {
	for {
		var s queue.ClusterState
		if s, err = f.nodes[0].queue.ClusterState(ctx); err == nil && len(s.Problems) == 0 {
			events := slices.IndexFunc(s.Streams, func(c queue.StreamCopies) bool { return c.Stream == "FUNKER_EVENTS" })
			if keeper = f.node(s.Leader); keeper != nil && events >= 0 {
				if leader = f.node(s.Streams[events].Leader); leader != nil {
					return leader, keeper, nil
				}
			}
		}
		if rest(ctx, lookEvery) != nil {
			return nil, nil, errors.Join(fmt.Errorf("the cluster does not become whole: %s", strings.Join(s.Problems, "; ")), err)
		}
	}
}

// lookEvery is how often what is waited for is looked at.
const lookEvery = 100 * time.Millisecond

// node returns nil for a name that is none.
func (f *fleet) node(name string) *gatewayProcess {
	for _, n := range f.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

// end stops a gateway and returns when it is gone. Its connection as an admin goes first: it would look for the gateway.
func (n *gatewayProcess) end(sig syscall.Signal) (at time.Time, err error) {
	s := n.served
	n.served = nil
	err = s.queue.Close()
	at = time.Now()
	err = errors.Join(err, s.cmd.Process.Signal(sig))
	if failed := s.cmd.Wait(); sig != syscall.SIGKILL {
		err = errors.Join(err, failed)
	}
	return at, err
}
