package worker

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// isReady does not wait.
func isReady(w *Worker) bool {
	select {
	case <-w.Ready():
		return true
	default:
		return false
	}
}

// runWorker runs a worker until the test ends.
func runWorker(t *testing.T, q *queue.Queue, c *deploy.Catalog) *Worker {
	t.Helper()
	w := New(Options{Queue: q, Catalog: c, Log: testLog(), Payload: func(e *queue.Event, _ *deploy.Function) ([]byte, error) { return e.Body, nil }})
	runUntilEnd(t, w)
	return w
}

func runUntilEnd(t *testing.T, w *Worker) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// gatewayWith is a gateway that listens, with one function.
func gatewayWith(t *testing.T, function string) (q *queue.Queue, dir string) {
	t.Helper()
	dir = t.TempDir()
	q, err := queue.Open(t.Context(), queue.Options{Dir: dir, Listen: "127.0.0.1:0", Log: testLog()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	addFunction(t, q, function)
	return q, dir
}

func TestReady_OnlyOnceTheServerKnowsOfTheFunctions(t *testing.T) {
	q, dir := gatewayWith(t, "Echo")
	var reached atomic.Bool
	var tried atomic.Int64
	remote, err := queue.DialWith(queue.DialOptions{
		URL: q.URL(), KeyFile: filepath.Join(dir, queue.WorkerKey), Role: queue.RoleWorker, Log: testLog(),
		Dialer: func() (net.Conn, error) {
			if tried.Add(1); !reached.Load() {
				return nil, errors.New("the gateway is not there yet")
			}
			return new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(q.URL(), "nats://"))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = remote.Close() }) // the worker has stopped
	w := runWorker(t, remote, deploy.NewCatalog(&deploy.Manifest{Functions: []*deploy.Function{function("Echo", listen(t, echo))}}))
	before := tried.Load()
	within(t, "the worker has tried to connect", func() bool { return tried.Load() > before+1 })
	if isReady(w) || q.Present("Echo") {
		t.Error("ready without a connection")
	}
	reached.Store(true)
	within(t, "the worker is ready", func() bool { return isReady(w) })
	if got, code := call(t, q, "Echo"); got != `{"n":1}` || code != "" {
		t.Errorf("a call of a worker that is ready: %s %s", got, code)
	}
}

func TestReady_OnlyOnceThereIsAManifest(t *testing.T) {
	q, _ := gatewayWith(t, "Echo")
	catalog := deploy.NewCatalog(nil)
	w := runWorker(t, q, catalog)
	within(t, "the worker is heard", func() bool { return len(q.Workers()) == 1 })
	if isReady(w) {
		t.Error("ready without a manifest")
	}
	catalog.Set(&deploy.Manifest{Functions: []*deploy.Function{function("Echo", listen(t, echo))}})
	within(t, "the worker is ready", func() bool { return isReady(w) })
	if got, code := call(t, q, "Echo"); got != `{"n":1}` || code != "" {
		t.Errorf("a call of a worker that is ready: %s %s", got, code)
	}
}

func TestReady_NeedsNoFunction(t *testing.T) {
	q, _ := gatewayWith(t, "Echo")
	w := runWorker(t, q, deploy.NewCatalog(&deploy.Manifest{}))
	within(t, "the worker is ready", func() bool { return isReady(w) })
}
