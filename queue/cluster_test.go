package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// fleet is the gateways of a cluster, by name.
type fleet struct {
	t     *testing.T
	dir   string
	key   ClusterKey
	peers map[string]string
	mu    sync.Mutex
	open  map[string]*Queue
}

// newFleet starts three gateways in this process.
func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := emptyFleet(t)
	f.start("a", "b", "c")
	return f
}

// emptyFleet starts none.
func emptyFleet(t *testing.T) *fleet {
	t.Helper()
	key, err := ParseClusterKey(NewClusterKey())
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, dir: t.TempDir(), key: key, peers: map[string]string{}, open: map[string]*Queue{}}
	for _, name := range []string{"a", "b", "c"} {
		f.peers[name] = freePort(t)
	}
	t.Cleanup(f.close)
	return f
}

// electionLimit is how long a machine with much else to do may take until all leaders are elected.
const electionLimit = 3 * time.Minute

// freePort returns an address that no connection of the kernel's own choice takes meanwhile.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.N(22000))); err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port between 10000 and 32000")
	return ""
}

func (f *fleet) options(name string) Options {
	return Options{Dir: filepath.Join(f.dir, name), Log: testLog(f.t), Listen: "127.0.0.1:0",
		Cluster: &Cluster{Node: name, Peers: f.peers, Listen: f.peers[name], Key: f.key, Patience: DefaultPatience / 2, Version: "1.2"}}
}

// start starts gateways side by side, and returns when all have joined.
func (f *fleet) start(names ...string) {
	f.t.Helper()
	f.startWith(f.all(names)...)
}

func (f *fleet) all(names []string) (all []Options) {
	for _, name := range names {
		all = append(all, f.options(name))
	}
	return all
}

// startWith is start with other options.
func (f *fleet) startWith(all ...Options) {
	f.t.Helper()
	f.each(Open, all)
}

// hold starts gateways that are held.
func (f *fleet) hold(names ...string) {
	f.t.Helper()
	f.each(Hold, f.all(names))
}

func (f *fleet) each(open func(context.Context, Options) (*Queue, error), all []Options) {
	f.t.Helper()
	var wg sync.WaitGroup
	for _, o := range all {
		wg.Go(func() {
			q, err := open(f.t.Context(), o)
			if err != nil {
				f.t.Errorf("open %s: %v", o.Cluster.Node, err)
				return
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			f.open[o.Cluster.Node] = q
		})
	}
	wg.Wait()
	if f.t.Failed() {
		f.t.FailNow()
	}
}

func (f *fleet) stop(name string) {
	f.t.Helper()
	q := f.open[name]
	delete(f.open, name)
	if err := q.Close(); err != nil {
		f.t.Errorf("close %s: %v", name, err)
	}
}

// kill ends a gateway without a word: its server is gone, and nothing is given back.
func (f *fleet) kill(name string) {
	f.t.Helper()
	q := f.open[name]
	delete(f.open, name)
	q.server.Shutdown()
	q.server.WaitForShutdown()
	if q.lease != nil {
		q.lease.mine.Store(0) // nothing is given back
	}
	q.nc.Close()
	if err := q.Close(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		f.t.Errorf("kill %s: %v", name, err)
	}
}

// leader returns the gateway that looks after the streams, as soon as there is one.
func (f *fleet) leader() string {
	f.t.Helper()
	var found []string
	within(f.t, electionLimit, "one gateway leads", func() bool {
		found = nil
		for name, q := range f.open {
			if q.Leads() {
				found = append(found, name)
			}
		}
		return len(found) > 0
	})
	if len(found) != 1 {
		f.t.Fatalf("%v lead at the same time", found)
	}
	return found[0]
}

// any returns one of the gateways that run.
func (f *fleet) any() *Queue {
	for _, q := range f.open {
		return q
	}
	f.t.Fatal("no gateway runs")
	return nil
}

func (f *fleet) close() {
	var wg sync.WaitGroup
	for _, name := range slices.Sorted(maps.Keys(f.open)) {
		q := f.open[name]
		wg.Go(func() {
			if err := q.Close(); err != nil {
				f.t.Errorf("close %s: %v", name, err)
			}
		})
	}
	wg.Wait()
}

func TestCluster_WhatOneGatewayAcceptedRunsAtAnotherOne(t *testing.T) {
	f := newFleet(t)
	a, b := f.open["a"], f.open["b"]
	if err := a.AddFunction(t.Context(), "Hello", Retry{}); err != nil {
		t.Fatal(err)
	}
	ran := make(chan string, 10)
	work(t, b, "Hello", 1, func(e *Event) Result {
		ran <- e.ID
		return Result{Outcome: OutcomeOK, Reply: []byte(`1`)}
	})
	r := publish(t, a, "Hello")
	if id := await(t, ran); id != r.ID {
		t.Errorf("ran %s, accepted %s", id, r.ID)
	}
	for name, q := range f.open {
		within(t, electionLimit, name+" knows that it has succeeded", func() bool {
			record, err := q.Get(t.Context(), r.ID)
			return err == nil && record.State == StateOK
		})
	}
	reply, err := f.open["c"].Call(t.Context(), &Event{Source: "s", Function: "Hello", Body: []byte(`1`)})
	if err != nil || string(reply) != "1" {
		t.Errorf("call through c: %s, %v", reply, err)
	}
}

func TestCluster_OneGatewayLeadsAndAnotherOneTakesItsPlace(t *testing.T) {
	f := newFleet(t)
	first := f.leader()
	within(t, electionLimit, "all know who leads", func() bool {
		for _, q := range f.open {
			if q.Leader() != first {
				return false
			}
		}
		return true
	})
	led, lost := make(chan struct{}), make(chan struct{})
	go f.open[first].WhileLeading(t.Context(), func(ctx context.Context) {
		close(led)
		<-ctx.Done()
		close(lost)
	})
	<-led
	f.stop(first) // gives the lease back
	<-lost
	second := f.leader()
	f.start(first)
	f.kill(second) // gives nothing back
	if third := f.leader(); third == second {
		t.Errorf("%s leads, which is gone", third)
	}
}

func TestCluster_GoesOnWithoutOneOfItsGateways(t *testing.T) {
	f := newFleet(t)
	if err := f.open["a"].AddFunction(t.Context(), "Hello", Retry{}); err != nil {
		t.Fatal(err)
	}
	before := publish(t, f.open["a"], "Hello")
	f.kill("a")
	// The leader of the stream may be gone: it takes an election.
	after := publish(t, f.open["b"], "Hello")
	ran := make(chan string, 10)
	work(t, f.open["c"], "Hello", 1, func(e *Event) Result {
		ran <- e.ID
		return Result{Outcome: OutcomeOK}
	})
	got := []string{await(t, ran), await(t, ran)} // one may have been given out by the leader that died
	if !slices.Contains(got, before.ID) || !slices.Contains(got, after.ID) {
		t.Errorf("ran %v, accepted %s and %s", got, before.ID, after.ID)
	}
	settledAll(t, f.open["b"], "Hello")
	f.start("a")
	for name, q := range f.open {
		within(t, electionLimit, name+" has the balance", func() bool {
			b, err := q.Balance(t.Context())
			return err == nil && b.Accepted == 2 && b.Succeeded == 2 && b.Drift == 0
		})
	}
}

func TestCluster_WithoutAMajorityNothingIsAccepted(t *testing.T) {
	f := newFleet(t)
	if err := f.open["a"].AddFunction(t.Context(), "Hello", Retry{}); err != nil {
		t.Fatal(err)
	}
	f.kill("b")
	f.kill("c")
	e := &Event{Source: "s", Function: "Hello", Body: []byte(`1`)}
	if _, err := f.open["a"].Publish(t.Context(), e); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	f.start("b")
	within(t, electionLimit, "the sender's next try is accepted", func() bool {
		r, err := f.any().Publish(t.Context(), e)
		return err == nil && r.ID == e.ID
	})
}

func TestCluster_ARestartOfAllLosesNothing(t *testing.T) {
	f := newFleet(t)
	if err := f.open["a"].AddFunction(t.Context(), "Hello", Retry{}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.open["a"].PutConfig(t.Context(), []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	large := &Event{Source: "s", Function: "Hello", Body: bytes.Repeat([]byte("1"), MaxMessage+1)}
	if _, err := f.open["b"].Publish(t.Context(), large); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		f.kill(name)
	}
	f.start("a", "b", "c")
	ran := make(chan *Event, 1)
	work(t, f.open["c"], "Hello", 1, func(e *Event) Result {
		ran <- e
		return Result{Outcome: OutcomeOK}
	})
	if e := await(t, ran); e == nil || e.ID != large.ID || !bytes.Equal(e.Body, large.Body) {
		t.Errorf("ran another event than %s", large.ID)
	}
	if c, err := f.open["b"].Config(t.Context()); err != nil || string(c.Text) != "x" {
		t.Errorf("configuration: %q, %v", c.Text, err)
	}
}

func TestCluster_TheIDIsTheSameForAll(t *testing.T) {
	f := newFleet(t)
	ids := map[string]string{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, q := range f.open {
		wg.Go(func() {
			id, err := q.ID(t.Context())
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			ids[id] = name
		})
	}
	wg.Wait()
	if len(ids) != 1 {
		t.Errorf("ids: %v", ids)
	}
}

func TestCluster_AWorkerConnectsToAnyGatewayWithTheKeyOfTheCluster(t *testing.T) {
	f := newFleet(t)
	if err := f.open["a"].AddFunction(t.Context(), "Hello", Retry{}); err != nil {
		t.Fatal(err)
	}
	urls := f.open["b"].URL() + "," + f.open["c"].URL()
	w, err := Dial(urls, filepath.Join(f.dir, "a", WorkerKey), RoleWorker, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	work(t, w, "Hello", 1, ok("1"))
	within(t, electionLimit, "a knows that there is a worker", func() bool { return f.open["a"].Present("Hello") })
	connected := "b"
	if w.nc.ConnectedUrl() == f.open["c"].URL() {
		connected = "c"
	}
	f.kill(connected)
	within(t, electionLimit, "the worker takes calls through the other gateway", func() bool {
		_, err := f.open["a"].Call(t.Context(), &Event{Source: "s", Function: "Hello", Body: []byte(`1`)})
		return err == nil
	})
}

func TestCluster_WhoHasAnotherKeyStaysOutside(t *testing.T) {
	f := newFleet(t)
	f.stop("c")
	var log logBuffer
	o := f.options("c")
	o.Dir, o.Log = t.TempDir(), slog.New(slog.NewTextHandler(&log, nil))
	key, err := ParseClusterKey(NewClusterKey())
	if err != nil {
		t.Fatal(err)
	}
	o.Cluster.Key = key
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if q, err := Open(ctx, o); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
		if err == nil {
			err = q.Close()
		}
		t.Log(err)
	}
	if text := log.String(); !strings.Contains(text, "TLS route handshake error") {
		t.Errorf("the log does not say why: %s", text)
	}
}

func TestCluster_AGatewayThatIsNotToldTheSizeOfTheStreamsTakesWhatTheyHave(t *testing.T) {
	f := newFleet(t)
	f.stop("c")
	o := f.options("c")
	o.MaxEvents = MinEvents
	f.startWith(o)
	sizes := func() (all []int64) {
		for _, cfg := range streamConfigs(Options{}) {
			s, err := f.open["c"].js.Stream(t.Context(), cfg.Name)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, s.CachedInfo().Config.MaxBytes)
		}
		return all
	}
	told := sizes()
	if told[0] != MinEvents {
		t.Fatalf("sizes of the streams: %d", told)
	}
	f.well("c")
	f.stop("b") // a change may need all
	f.stop("a")
	changes, err := f.open["c"].nc.SubscribeSync("$JS.API.STREAM.*.*")
	if err != nil {
		t.Fatal(err)
	}
	var log logBuffer
	o = f.options("a")
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	f.startWith(o)
	if got := sizes(); !slices.Equal(got, told) {
		t.Errorf("sizes of the streams: %d, were %d", got, told)
	}
	n, _, err := changes.Pending()
	if n == 0 || err != nil {
		t.Errorf("%d requests are seen, %v", n, err)
	}
	for range n {
		if m, err := changes.NextMsg(time.Second); err != nil || !strings.HasPrefix(m.Subject, "$JS.API.STREAM.INFO.") && !strings.HasPrefix(m.Subject, "$JS.API.STREAM.MSG") {
			t.Errorf("asked for %s, %v", m.Subject, err)
		}
	}
	if text := log.String(); !strings.Contains(text, "events may take as much as the cluster has for them") || !strings.Contains(text, `cluster="16 MiB"`) {
		t.Errorf("the log does not say so: %s", text)
	}
	if got := f.open["a"].house.history.events; got != MinEvents {
		t.Errorf("history is trimmed as if events had %d bytes", got)
	}
}

// logBuffer is a log that a test reads.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
