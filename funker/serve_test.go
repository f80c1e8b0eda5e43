package funker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/funker"
)

// startServe runs Serve on an address until the test ends or stop is called, which
// returns what Serve does.
func startServe[In, Out any](t testing.TB, fn func(context.Context, In) (Out, error), o funker.Options) (addr string, stop func() error) {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := listen(t)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	served := make(chan error, 1)
	go func() { served <- funker.Serve(ctx, l, fn, o) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-served
	})
	t.Cleanup(func() { _ = stop() })
	return l.Addr().String(), stop
}

func TestServe_AnswersManyCallsAtTheSameTime(t *testing.T) {
	t.Parallel()
	const callers = 8
	var arrived sync.WaitGroup
	arrived.Add(callers)
	addr, _ := startServe(t, func(_ context.Context, p point) (int, error) {
		arrived.Done()
		arrived.Wait() // nobody is answered before all are here
		return p.X + p.Y, nil
	}, funker.Options{Concurrency: callers})
	var calls sync.WaitGroup
	for range callers {
		calls.Go(func() {
			reply, err := new(funker.Client).Call(t.Context(), addr, []byte(`{"x":1,"y":2}`))
			if got, want := string(reply), "3"; got != want || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		})
	}
	calls.Wait()
}

func TestServe_RunsNoMoreCallsThanItsConcurrency(t *testing.T) {
	t.Parallel()
	const limit, callers = 3, 30
	var running atomic.Int64
	var over atomic.Bool
	gate := make(chan struct{}, callers)
	addr, _ := startServe(t, func(_ context.Context, in json.RawMessage) (json.RawMessage, error) {
		if running.Add(1) > limit {
			over.Store(true)
		}
		defer running.Add(-1)
		<-gate
		return in, nil
	}, funker.Options{Concurrency: limit})
	var calls sync.WaitGroup
	for range callers {
		calls.Go(func() {
			if _, err := new(funker.Client).Call(t.Context(), addr, []byte(`1`)); err != nil {
				t.Error(err)
			}
		})
	}
	within(t, func() bool { return running.Load() == limit })
	for range callers {
		gate <- struct{}{}
	}
	calls.Wait()
	if over.Load() {
		t.Errorf("more than %d calls ran at the same time", limit)
	}
}

// within waits until condition holds, for 10 seconds at most.
func within(t testing.TB, condition func() bool) {
	t.Helper()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for end := time.Now().Add(10 * time.Second); !condition(); <-poll.C {
		if time.Now().After(end) {
			t.Fatal("the condition did not come true within 10s")
		}
	}
}

func TestServe_DrainsWhenItIsCancelled(t *testing.T) {
	t.Parallel()
	running, finish := make(chan struct{}), make(chan struct{})
	addr, stop := startServe(t, func(ctx context.Context, in json.RawMessage) (json.RawMessage, error) {
		close(running)
		<-finish
		return in, ctx.Err()
	}, funker.Options{})
	reply := make(chan string, 1)
	go func() { reply <- exchange(t, addr, `"last"`) }()
	<-running

	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	within(t, func() bool {
		conn, err := tryDial(t.Context(), addr)
		if err == nil {
			resetting(conn)
			conn.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	select {
	case err := <-stopped:
		t.Fatalf("Serve returned %v while a call was running", err)
	default:
	}
	close(finish)
	if got, want := <-reply, `"last"`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := <-stopped; err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

func TestServe_StopsWhileAllSlotsAreBusy(t *testing.T) {
	t.Parallel()
	running, finish := make(chan struct{}), make(chan struct{})
	addr, stop := startServe(t, func(_ context.Context, in json.RawMessage) (json.RawMessage, error) {
		close(running)
		<-finish
		return in, nil
	}, funker.Options{Concurrency: 1})
	reply := make(chan string, 1)
	go func() { reply <- exchange(t, addr, `1`) }()
	<-running
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	within(t, func() bool { _, err := tryDial(t.Context(), addr); return err != nil })
	close(finish)
	if err := <-stopped; err != nil || <-reply != `1` {
		t.Errorf("got %v or a wrong reply", err)
	}
}

func TestServe_CutsOffACallerThatNeverEndsItsRequest(t *testing.T) {
	t.Parallel()
	addr, _ := startServe(t, add, funker.Options{TransferTimeout: 50 * time.Millisecond})
	for _, begin := range []string{``, `{"x":1`, `{"x":1,"y":2}`} {
		conn := dial(t, addr)
		if _, err := io.WriteString(conn, begin); err != nil {
			t.Fatal(err)
		}
		want := `{"funkerError":{"message":"request did not end within 50ms: close the sending half after it","retry":false}}`
		if got := readAll(t, conn); got != want {
			t.Errorf("begun with %q: got %q, want %q", begin, got, want)
		}
		conn.Close()
	}
}

func TestServe_CutsOffACallerThatDripsItsRequest(t *testing.T) {
	t.Parallel()
	addr, _ := startServe(t, echo, funker.Options{TransferTimeout: 50 * time.Millisecond})
	conn := dial(t, addr)
	dripped := make(chan struct{})
	go func() {
		defer close(dripped)
		drip(conn, `"`+strings.Repeat("x", 60_000))
	}()
	if got, want := readAll(t, conn), "request did not end"; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	conn.Close()
	<-dripped
}

func TestServe_RefusesARequestOverTheLimitOnly(t *testing.T) {
	t.Parallel()
	addr, _ := startServe(t, echo, funker.Options{MaxRequest: 1000})
	if _, err := new(funker.Client).Call(t.Context(), addr, jsonString(1000)); err != nil {
		t.Error(err)
	}
	for _, size := range []int{1001, 5 << 20} {
		_, err := new(funker.Client).Call(t.Context(), addr, jsonString(size))
		if f := wantFailure(t, err); f.Retry || f.Message != "request is over 1000 bytes, the limit of this function" {
			t.Errorf("%d bytes: got %+v, want a refusal for good", size, f)
		}
	}
}

func TestServe_OutlivesPanicsAndLogsTheirStack(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	addr, stop := startServe(t, func(_ context.Context, in string) (string, error) {
		if in == "bad" {
			panic("bad day")
		}
		return in, nil
	}, funker.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	for range 3 {
		want := `{"funkerError":{"message":"function panicked: bad day","retry":true}}`
		if got := exchange(t, addr, `"bad"`); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got, want := exchange(t, addr, `"good"`), `"good"`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got := strings.Count(log.String(), "serve_test.go"); got < 3 {
		t.Errorf("got %d stacks in the log, want 3:\n%s", got, log.String())
	}
}

func TestServe_LogsNoRequestAndNoReply(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	addr, stop := startServe(t, add, funker.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	exchange(t, addr, `{"x":1,"y":"hunter2"}`)
	exchange(t, addr, `{"x":1,"y":hunter2}`)
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got := log.String(); !strings.Contains(got, "cannot unmarshal") || strings.Contains(got, "hunter2") {
		t.Errorf("got log %q, want the reason without the request", got)
	}
}

func TestServe_ReturnsTheErrorOfABrokenListener(t *testing.T) {
	t.Parallel()
	l := listen(t)
	l.Close()
	if err := funker.Serve(t.Context(), l, echo); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want %v", err, net.ErrClosed)
	}
}

func TestServe_TakesOneOptionsAtMost(t *testing.T) {
	t.Parallel()
	l := listen(t)
	defer l.Close()
	if err := funker.Serve(t.Context(), l, echo, funker.Options{}, funker.Options{}); err == nil {
		t.Error("got no error for two Options")
	}
}

// exhausted is a listener of a process that is out of file descriptors for a while.
type exhausted struct {
	net.Listener
	left atomic.Int64
}

func (l *exhausted) Accept() (net.Conn, error) {
	if l.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestServe_WaitsForFileDescriptors(t *testing.T) {
	t.Parallel()
	l := &exhausted{Listener: listen(t)}
	l.left.Store(3)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- funker.Serve(ctx, l, echo, funker.Options{Log: slog.New(slog.DiscardHandler)}) }()
	if got, want := exchange(t, l.Addr().String(), `1`), `1`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
