// Package worker takes work from the queue and calls the functions' tasks. It pulls only what an idle task can take at
// once, so no task ever gets more connections than it has slots, and too much load makes the queue longer.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/funker"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// Options of New. The zero value of a field means its default.
type Options struct {
	Queue   *queue.Queue    // required
	Catalog *deploy.Catalog // required
	// Payload makes the JSON that a function gets from the stored body; required.
	Payload func(contentType string, body []byte) ([]byte, error)
	Lookup  Lookup        // finds the tasks of a function without fixed addresses; LookupDNS
	Client  funker.Client // its zero value is fine; replies are limited to queue.MaxBody
	Log     *slog.Logger  // slog.Default
}

// Worker calls functions.
type Worker struct {
	Options
}

// New returns a worker that does nothing until Run.
func New(o Options) *Worker {
	if o.Lookup == nil {
		o.Lookup = LookupDNS
	}
	if o.Client.MaxReply == 0 {
		o.Client.MaxReply = queue.MaxBody
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Worker{o}
}

// errStopping ends the calls that still run when the grace period is over.
var errStopping = errors.New("the worker is stopping")

// Run works until ctx is cancelled. Then it pulls no more, lets what runs finish until kill is cancelled too, hands
// back the rest, and returns nil.
func (w *Worker) Run(ctx, kill context.Context) error {
	var feeds []*queue.Feed
	defer func() {
		for _, f := range feeds {
			f.Close()
		}
	}()
	var slots sync.WaitGroup
	defer slots.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, fn := range w.Catalog.Manifest().Functions {
		feed, err := w.Queue.Feed(fn.Name)
		if err != nil {
			return fmt.Errorf("open work of %s: %w", fn.Name, err)
		}
		feeds = append(feeds, feed)
		w.start(ctx, kill, &slots, feed, fn)
	}
	w.Log.Info("worker ready", "functions", len(feeds))
	<-ctx.Done()
	for _, f := range feeds {
		if err := f.Withdraw(); err != nil {
			w.Log.Warn("worker stopping", "error", err)
		}
	}
	slots.Wait()
	w.Log.Info("worker stopped")
	return nil
}

// start runs the slots of one function.
func (w *Worker) start(ctx, kill context.Context, slots *sync.WaitGroup, feed *queue.Feed, fn *deploy.Function) {
	tasks := newTasks(fn, w.Lookup)
	for range fn.Slots() {
		slots.Go(func() {
			err := feed.Slot(ctx, func(e *queue.Event) queue.Result { return w.attempt(kill, tasks, e) })
			if err != nil {
				w.Log.Error("slot ended", "function", fn.Name, "error", err)
			}
		})
	}
}
