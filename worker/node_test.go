package worker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// node is a node whose tasks a test starts and ends. Its watch is what an engine tells.
type node struct {
	mu      sync.Mutex
	tasks   []deploy.Task
	err     error
	changed chan struct{}
	started atomic.Int64
}

func newNode() *node { return &node{changed: make(chan struct{}, 1)} }

func (n *node) watch(ctx context.Context, update func([]deploy.Task, error)) {
	for {
		n.mu.Lock()
		tasks, err := slices.Clone(n.tasks), n.err
		n.mu.Unlock()
		if err != nil {
			tasks = nil
		}
		update(tasks, err)
		select {
		case <-n.changed:
		case <-ctx.Done():
			return
		}
	}
}

func (n *node) change(f func()) {
	n.mu.Lock()
	f()
	n.mu.Unlock()
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

// start tells of a task that has started, and returns it.
func (n *node) start(t deploy.Task) deploy.Task {
	t.ID, t.Started = "task"+strconv.FormatInt(n.started.Add(1), 10), time.Now()
	n.change(func() { n.tasks = append(n.tasks, t) })
	return t
}

// leave tells that a task was told to stop.
func (n *node) leave(id string) {
	n.change(func() {
		for i := range n.tasks {
			n.tasks[i].Leaving = n.tasks[i].Leaving || n.tasks[i].ID == id
		}
	})
}

func (n *node) die(id string) {
	n.change(func() { n.tasks = slices.DeleteFunc(n.tasks, func(t deploy.Task) bool { return t.ID == id }) })
}

func (n *node) fail(err error) { n.change(func() { n.err = err }) }

// follow runs a worker that follows a node's tasks, on a queue of its own, until the test ends.
func follow(t testing.TB, n *node, functions ...*deploy.Function) (*queue.Queue, *deploy.Catalog) {
	t.Helper()
	q, c, stop := followUntil(t, n, functions...)
	t.Cleanup(stop)
	return q, c
}

func followUntil(t testing.TB, n *node, functions ...*deploy.Function) (*queue.Queue, *deploy.Catalog, func()) {
	t.Helper()
	q, err := queue.Open(t.Context(), queue.Options{Dir: t.TempDir(), Log: testLog()})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range functions {
		addFunction(t, q, f.Name)
	}
	c := deploy.NewCatalog(&deploy.Manifest{Functions: functions})
	w := New(Options{Queue: q, Catalog: c, Log: testLog(), Watch: n.watch, Payload: func(e *queue.Event, _ *deploy.Function) ([]byte, error) { return e.Body, nil }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, ctx) }()
	waitForWorker(t, q, functions)
	return q, c, func() {
		cancel()
		if err := errors.Join(<-done, q.Close()); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
}

func addFunction(t testing.TB, q *queue.Queue, name string) {
	t.Helper()
	if err := q.AddFunction(t.Context(), name, queue.Retry{}); err != nil {
		t.Fatal(err)
	}
}

func testLog() *slog.Logger {
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return slog.New(slog.DiscardHandler)
}

// deployed is a function with an image: its calls wait for a task.
func deployed(name string, lifecycle deploy.Lifecycle, concurrency int) *deploy.Function {
	f := deploy.NewFunction(name)
	f.Image, f.Lifecycle, f.Concurrency = "img", lifecycle, concurrency
	return f
}

// container is a real function that a node runs, and counts its connections.
type container struct {
	t        testing.TB
	listener net.Listener
	handle   func(net.Conn)
	now      atomic.Int64
	most     atomic.Int64
	all      atomic.Int64
	conns    sync.WaitGroup
}

// run listens at an address, and takes any number of connections until it is stopped.
func run(t testing.TB, address string, handle func(net.Conn)) *container {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c := &container{t: t, listener: l, handle: handle}
	c.conns.Go(c.accept)
	t.Cleanup(c.stop)
	return c
}

func (c *container) accept() {
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.conns.Go(func() { c.serve(conn) })
	}
}

// serve counts a connection until the function begins to answer: its caller may be gone before the handler returns.
func (c *container) serve(conn net.Conn) {
	defer conn.Close()
	c.all.Add(1)
	raise(&c.most, c.now.Add(1))
	over := sync.OnceFunc(func() { c.now.Add(-1) })
	defer over()
	c.handle(answering{conn.(*net.TCPConn), over})
}

// answering calls begun before the first byte is written.
type answering struct {
	*net.TCPConn
	begun func()
}

func (a answering) Write(b []byte) (int, error) {
	a.begun()
	return a.TCPConn.Write(b)
}

func (c *container) address() string { return c.listener.Addr().String() }

func (c *container) stop() {
	if err := c.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		c.t.Error(err)
	}
	c.conns.Wait()
}

// replies answers after some work.
func replies(work time.Duration) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := io.Copy(io.Discard, conn); err != nil {
			return
		}
		<-time.After(work)
		_, _ = io.WriteString(conn, `"done"`)
	}
}

// replica is a one-shot function as a supervisor runs it: it takes connections until the first one is answered, as the
// classic libraries do, goes away a little later, and starts again at another address.
type replica struct {
	n        *node
	task     deploy.Task
	bootTime time.Duration // from the start to the first connection
	exitTime time.Duration // from the reply to the death
	lives    atomic.Int64
	crowded  atomic.Int64 // lives that got more than one connection
	lingered atomic.Int64 // lives that were there for so long after their reply that they passed for servers
}

// keep starts the replica again and again until the test ends.
func (r *replica) keep(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			r.live(ctx, t)
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
}

func (r *replica) live(ctx context.Context, t testing.TB) {
	task := r.task
	task.Address = free(t)
	task = r.n.start(task)
	var replied time.Time
	defer func() {
		r.n.die(task.ID)
		if !replied.IsZero() && time.Since(replied) > exitTime/2 {
			r.lingered.Add(1)
		}
	}()
	rest(ctx, r.bootTime, nil)
	l, err := net.Listen("tcp", task.Address)
	if err != nil {
		t.Error(err)
		return
	}
	context.AfterFunc(ctx, func() { l.Close() })
	r.lives.Add(1)
	var answered sync.WaitGroup
	first := make(chan time.Time, 100)
	var taken atomic.Int64
	answered.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if taken.Add(1) == 2 {
				r.crowded.Add(1)
			}
			at := time.Now() // not later than the reply
			replies(time.Millisecond)(conn)
			conn.Close()
			first <- at
		}
	})
	select {
	case replied = <-first:
		rest(ctx, r.exitTime, nil)
	case <-ctx.Done():
	}
	l.Close()
	answered.Wait()
}

// free returns an address at which nobody listens, of a port that the kernel gives to no connection and to no listener.
func free(t testing.TB) string {
	for range 100 {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(10000+rand.IntN(20000))))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Error("no free port")
	return ""
}
