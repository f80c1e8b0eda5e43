package worker

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/funker"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type answer func(ctx context.Context, in json.RawMessage) (json.RawMessage, error)

// listen starts a server function on loopback and returns its address.
func listen(t *testing.T, fn answer) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- funker.Serve(ctx, l, fn) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

func raw(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); handle(c) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

func function(name string, addresses ...string) *deploy.Function {
	f := deploy.NewFunction(name)
	f.Addresses = addresses
	return f
}

// start runs a worker for the functions on a queue of its own; stop ends it.
func start(t *testing.T, functions ...*deploy.Function) (q *queue.Queue, stop func()) {
	t.Helper()
	return startWith(t, queue.Options{}, withinLimit, functions...)
}

// startWith lets what runs go on for grace when the worker stops.
func startWith(t *testing.T, o queue.Options, grace time.Duration, functions ...*deploy.Function) (q *queue.Queue, stop func()) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	o.Dir, o.Log = t.TempDir(), log
	q, err := queue.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	for _, f := range functions {
		if err := q.AddFunction(t.Context(), f.Name, queue.Retry{}); err != nil {
			t.Fatal(err)
		}
	}
	w := New(Options{
		Queue: q, Catalog: deploy.NewCatalog(&deploy.Manifest{Functions: functions}), Log: log,
		Payload: func(e *queue.Event, _ *deploy.Function) ([]byte, error) { return e.Body, nil },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	kill, cancelKill := context.WithCancel(context.Background())
	t.Cleanup(cancelKill)
	context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancelKill) })
	go func() { done <- w.Run(ctx, kill) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	waitForWorker(t, q, functions)
	return q, stop
}

// waitForWorker calls until presence is known; a function that answers no_task is present too.
func waitForWorker(t testing.TB, q *queue.Queue, functions []*deploy.Function) {
	t.Helper()
	for _, f := range functions {
		within(t, "worker is there", func() bool { return q.Present(f.Name) })
	}
}

// withinLimit is generous: a busy machine is no fault.
const withinLimit = time.Minute

func within(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(withinLimit)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", withinLimit, what)
		}
	}
}

func call(t *testing.T, q *queue.Queue, function string) (string, string) {
	t.Helper()
	reply, err := q.Call(t.Context(), &queue.Event{Source: "test", Function: function, Body: []byte(`{"n":1}`)})
	if failed, ok := errors.AsType[*queue.CallError](err); ok {
		return "", failed.Code
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(reply), ""
}

func echo(_ context.Context, in json.RawMessage) (json.RawMessage, error) { return in, nil }

func TestWorker_CallsTheFunctionWithTheBody(t *testing.T) {
	q, _ := start(t, function("Echo", listen(t, echo)))
	if got, code := call(t, q, "Echo"); got != `{"n":1}` || code != "" {
		t.Errorf("got %s %s", got, code)
	}
}

func TestWorker_TriesTheNextTaskWhenOneRefuses(t *testing.T) {
	q, _ := start(t, function("Echo", free(t), listen(t, echo)))
	for range 5 {
		if got, code := call(t, q, "Echo"); got != `{"n":1}` || code != "" {
			t.Errorf("got %s %s", got, code)
		}
	}
}

func TestWorker_CallToAFunctionWithoutTaskFailsAtOnce(t *testing.T) {
	q, _ := start(t, function("Gone", free(t)))
	begin := time.Now()
	if _, code := call(t, q, "Gone"); code != queue.CodeNoTask {
		t.Errorf("got %s, want %s", code, queue.CodeNoTask)
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("took %s of the 30s that it has", d)
	}
}

func TestWorker_EveryWayOfFailingHasItsCode(t *testing.T) {
	slow := function("Slow", raw(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c); _, _ = c.Read(make([]byte, 1)); <-t.Context().Done() }))
	slow.Timeout = 100 * time.Millisecond
	functions := map[string]*deploy.Function{
		queue.CodeFunctionFailed: function("Refuses", listen(t, func(context.Context, json.RawMessage) (json.RawMessage, error) {
			return nil, &funker.Failure{Message: "no such city"}
		})),
		queue.CodeFunctionDied: function("Dies", raw(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })),
		queue.CodeBadReply:     function("Garbles", raw(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c); _, _ = io.WriteString(c, "{nope") })),
		queue.CodeReplyTooLarge: function("Babbles", raw(t, func(c net.Conn) {
			_, _ = io.Copy(io.Discard, c)
			_, _ = io.WriteString(c, `"`+strings.Repeat("x", queue.MaxBody+1)+`"`)
		})),
		queue.CodeTimeout: slow,
	}
	var all []*deploy.Function
	for _, f := range functions {
		all = append(all, f)
	}
	q, _ := start(t, all...)
	for code, f := range functions {
		if _, got := call(t, q, f.Name); got != code {
			t.Errorf("%s: got %q, want %q", f.Name, got, code)
		}
	}
	_, err := q.Call(t.Context(), &queue.Event{Source: "test", Function: slow.Name, Body: []byte("1")})
	if err == nil || !strings.Contains(err.Error(), "no answer within 100ms") {
		t.Errorf("got %v, want how long it was waited for", err)
	}
}

// raise makes most at least n.
func raise(most *atomic.Int64, n int64) {
	for {
		if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
			return
		}
	}
}

func TestWorker_NoTaskGetsMoreConnectionsThanItTakes(t *testing.T) {
	var now, most atomic.Int64
	fn := func(context.Context, json.RawMessage) (json.RawMessage, error) {
		raise(&most, now.Add(1))
		<-time.After(5 * time.Millisecond)
		now.Add(-1)
		return json.RawMessage("1"), nil
	}
	f := function("Narrow", listen(t, fn))
	f.Concurrency = 2
	q, _ := start(t, f)
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if _, err := q.Call(t.Context(), &queue.Event{Source: "test", Function: "Narrow", Body: []byte("1")}); err != nil {
				t.Error(err)
			}
		})
	}
	for range 40 {
		if _, err := q.Publish(t.Context(), &queue.Event{Source: "test", Function: "Narrow", Body: []byte("1")}); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	within(t, "all events ended", func() bool {
		list, err := q.List(t.Context(), queue.Filter{Kind: "event", State: queue.State(queue.OutcomeOK), Limit: 100})
		return err == nil && len(list) == 40
	})
	if most.Load() != 2 {
		t.Errorf("%d connections at a time, want 2", most.Load())
	}
}

func TestWorker_AnEventWaitsUntilItsFunctionHasATask(t *testing.T) {
	address := free(t)
	q, _ := start(t, function("Late", address))
	r, err := q.Publish(t.Context(), &queue.Event{Source: "test", Function: "Late", Body: []byte(`"x"`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, code := call(t, q, "Late"); code != queue.CodeNoTask {
		t.Fatalf("got %s", code)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	go func() {
		err := funker.Handle(t.Context(), l, func(_ context.Context, in json.RawMessage) (int, error) { got <- string(in); return 1, nil })
		if err != nil {
			t.Errorf("handle: %v", err)
		}
	}()
	if s := <-got; s != `"x"` {
		t.Errorf("got %s", s)
	}
	within(t, "outcome is logged", func() bool {
		rec, err := q.Get(t.Context(), r.ID)
		outcomes := slices.Collect(func(yield func(queue.Outcome) bool) {
			for _, a := range rec.Attempts {
				if !yield(a.Outcome) {
					return
				}
			}
		})
		return err == nil && slices.Equal(outcomes, []queue.Outcome{queue.OutcomeOK})
	})
}

func TestWorker_StoppingFinishesWhatRunsAndHandsBackTheRest(t *testing.T) {
	begun, release := make(chan struct{}, 10), make(chan struct{})
	f := function("Slow", listen(t, func(_ context.Context, in json.RawMessage) (json.RawMessage, error) {
		begun <- struct{}{}
		<-release
		return in, nil
	}))
	q, stop := start(t, f)
	result := make(chan error, 1)
	go func() {
		_, err := q.Call(t.Context(), &queue.Event{Source: "test", Function: "Slow", Body: []byte("1")})
		result <- err
	}()
	<-begun
	r, err := q.Publish(t.Context(), &queue.Event{Source: "test", Function: "Slow", Body: []byte("2")})
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	within(t, "presence is withdrawn", func() bool { return !q.Present("Slow") })
	close(release)
	if err := <-result; err != nil {
		t.Errorf("call that ran: %v", err)
	}
	<-stopped
	if rec, err := q.Get(t.Context(), r.ID); err != nil || rec.State != queue.StateWaiting {
		t.Errorf("event that did not run: got %s, %v", rec.State, err)
	}
}

func TestWorker_StoppingEndsACallAfterTheGracePeriod(t *testing.T) {
	begun := make(chan struct{}, 1)
	hang := raw(t, func(c net.Conn) {
		_, _ = io.Copy(io.Discard, c)
		begun <- struct{}{}
		<-t.Context().Done()
	})
	q, stop := startWith(t, queue.Options{}, 200*time.Millisecond, function("Hangs", hang))
	result := make(chan error, 1)
	go func() {
		_, err := q.Call(t.Context(), &queue.Event{Source: "test", Function: "Hangs", Body: []byte("1")})
		result <- err
	}()
	<-begun
	stop()
	var failed *queue.CallError
	if err := <-result; !errors.As(err, &failed) || failed.Code != queue.CodeStopping {
		t.Errorf("got %v, want %s", err, queue.CodeStopping)
	}
}
