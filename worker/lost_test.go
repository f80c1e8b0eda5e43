package worker

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// gate is a function that holds each connection until it is let go.
type gate struct {
	*container
	pass chan struct{}
}

func newGate(t *testing.T) *gate {
	t.Helper()
	g := &gate{pass: make(chan struct{})}
	g.container = run(t, "127.0.0.1:0", func(conn net.Conn) {
		_, _ = io.Copy(io.Discard, conn)
		<-g.pass
		_, _ = io.WriteString(conn, "1")
	})
	t.Cleanup(sync.OnceFunc(func() { close(g.pass) })) // before the container stops
	return g
}

// holds waits until so many connections are held.
func (g *gate) holds(n int64) {
	g.t.Helper()
	within(g.t, "the connections are held", func() bool { return g.now.Load() == n })
}

func (g *gate) release(n int) {
	for range n {
		g.pass <- struct{}{}
	}
}

// blink loses the engine and finds it again, a few times.
func blink(t *testing.T, n *node, q *queue.Queue) {
	t.Helper()
	for range 3 {
		n.fail(errors.New("no engine"))
		untilTasks(t, q, 0)
		n.fail(nil)
		untilTasks(t, q, 1)
	}
}

// isFull demands that a call makes no connection within its time.
func (g *gate) isFull(q *queue.Queue, function string) {
	g.t.Helper()
	had := g.all.Load()
	if err := callBy(g.t, q, function, time.Second); err == nil || g.all.Load() != had {
		g.t.Errorf("%d connections more: %v", g.all.Load()-had, err)
	}
}

func TestLost_ATaskThatMayBeAOneShotOneGetsNoSecondConnection(t *testing.T) {
	for _, lifecycle := range []deploy.Lifecycle{deploy.LifecycleOneShot, deploy.LifecycleAuto} {
		t.Run(string(lifecycle), func(t *testing.T) {
			n := newNode()
			q, _ := follow(t, n, deployed("Once", lifecycle, 2))
			g := newGate(t)
			task := n.start(deploy.Task{Function: "Once", Address: g.address(), Image: "once"})
			called := make(chan error, 1)
			go func() { called <- callBy(t, q, "Once", time.Minute) }()
			g.holds(1)
			blink(t, n, q)
			g.isFull(q, "Once")
			g.release(1)
			if err := <-called; err != nil {
				t.Error(err)
			}
			n.die(task.ID)
			untilTasks(t, q, 0)
			if all := g.all.Load(); all != 1 {
				t.Errorf("%d connections, want one", all)
			}
		})
	}
}

func TestLost_AServerTaskKeepsToItsConnections(t *testing.T) {
	n := newNode()
	q, _ := follow(t, n, deployed("Serves", deploy.LifecycleServer, 2))
	g := newGate(t)
	n.start(deploy.Task{Function: "Serves", Address: g.address()})
	ended := make(chan error, 10)
	call := func(count int) {
		for range count {
			go func() { ended <- callBy(t, q, "Serves", time.Minute) }()
		}
	}
	end := func(count int) {
		t.Helper()
		g.release(count)
		for range count {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	call(1)
	g.holds(1)
	end(1) // now it is known that the task listens
	call(1)
	g.holds(1)
	blink(t, n, q)
	call(1)
	g.holds(2) // what is left of its slots is used
	g.isFull(q, "Serves")
	end(2)
	call(2)
	g.holds(2) // and later all of them
	g.isFull(q, "Serves")
	end(2)
	if most := g.most.Load(); most != 2 {
		t.Errorf("%d connections at a time, want 2", most)
	}
}
