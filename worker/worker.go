// Package worker takes work from the queue and calls the functions' tasks. It pulls only what an idle task can take at
// once, so no task ever gets more connections than it has slots, and too much load makes the queue longer.
//
// Where something watches the tasks of this node, slots follow them: each living task has slots of its own, bound to its
// address, from its start to the moment in which it is told to stop. A one-shot task has one, which is used once.
// Otherwise the slots of a function share the tasks that its fixed addresses or DNS name.
package worker

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/funker"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// Watch tells update the tasks of this node, all of them at once and again after each change, or why they are not
// known, until ctx ends. It calls update from one goroutine.
type Watch func(ctx context.Context, update func(tasks []deploy.Task, err error))

// Options of New. The zero value of a field means its default.
type Options struct {
	Queue   *queue.Queue    // required
	Catalog *deploy.Catalog // required; may change while the worker runs
	// Payload makes the JSON that a function gets from a stored event; required.
	Payload func(*queue.Event, *deploy.Function) ([]byte, error)
	Watch   Watch         // finds the tasks of functions without fixed addresses; nil: Lookup does
	Lookup  Lookup        // LookupDNS
	Client  funker.Client // its zero value is fine; replies are limited to queue.MaxMessage
	Node    string        // name of this node, for people; its host name
	Log     *slog.Logger  // slog.Default
	Tracer  trace.Tracer  // makes spans of attempts; nil: none are made
}

// Worker calls functions.
type Worker struct {
	Options
	ready chan struct{}
	waits *waits
}

// New returns a worker that does nothing until Run.
func New(o Options) *Worker {
	if o.Lookup == nil {
		o.Lookup = LookupDNS
	}
	if o.Client.MaxReply == 0 {
		o.Client.MaxReply = queue.MaxMessage
	}
	if o.Node == "" {
		o.Node, _ = os.Hostname() // without one it is "unknown"
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Worker{o, make(chan struct{}), newWaits()}
}

// Ready is closed when callers know of every function that Run serves at its start: when the catalog has a manifest, and
// the server, once there is a connection, has confirmed that its functions have a worker.
func (w *Worker) Ready() <-chan struct{} { return w.ready }

// errStopping ends the calls that still run when the grace period is over.
var errStopping = errors.New("the worker is stopping")

// Run works until ctx is cancelled; it is called once. It follows the manifest and the tasks. In the end it pulls no
// more, lets what runs finish until kill is cancelled too, hands back the rest, and returns nil.
func (w *Worker) Run(ctx, kill context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := newCrew(ctx, kill, w)
	w.warnOfPorts()
	var beside sync.WaitGroup
	defer beside.Wait()
	sights := w.watch(ctx, &beside)
	announce := sync.OnceFunc(func() {
		functions := len(c.runners)
		beside.Go(func() { w.announce(ctx, functions) })
	})
	ticker := time.NewTicker(queue.HeartbeatTime)
	defer ticker.Stop()
	for last := (sight{}); ctx.Err() == nil; {
		changed, known := w.Catalog.Changed(), w.Catalog.Known()
		c.arrange(w.Catalog.Manifest(), last)
		if known {
			announce()
		}
		c.beat()
		select {
		case <-ctx.Done():
		case <-changed:
		case last = <-sights:
			c.tell(last)
		case <-ticker.C:
		}
	}
	c.stop()
	w.Log.Info("worker stopped")
	return nil
}

// announce says that the worker is ready, when it is.
func (w *Worker) announce(ctx context.Context, functions int) {
	if err := w.Queue.Announced(ctx); err != nil {
		if ctx.Err() == nil {
			w.Log.Error("callers do not know of this worker", "error", err)
		}
		return
	}
	close(w.ready)
	w.Log.Info("worker ready", "functions", functions, "node", w.Node)
}

// sight is what is known of the tasks of this node.
type sight struct {
	tasks []deploy.Task
	err   error // why nothing is known
}

// watch returns the newest sight; older ones that nobody took are dropped.
func (w *Worker) watch(ctx context.Context, beside *sync.WaitGroup) <-chan sight {
	sights := make(chan sight, 1)
	if w.Watch == nil {
		return sights
	}
	beside.Go(func() {
		w.Watch(ctx, func(tasks []deploy.Task, err error) {
			select {
			case <-sights:
			default:
			}
			sights <- sight{tasks, err}
		})
	})
	return sights
}
