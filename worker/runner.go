package worker

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// runner runs one function: on the tasks that it follows, or on slots that share what addresses or DNS name.
type runner struct {
	worker   *Worker
	kill     context.Context
	ctx      context.Context // until the function is served no longer
	end      context.CancelFunc
	feed     *queue.Feed
	function atomic.Pointer[deploy.Function]
	shared   slots
	busy     atomic.Int64 // shared slots that run something
	seen     time.Time    // when a task that it follows was there last

	mu       sync.Mutex
	lives    map[lifeID]*life
	learnt   map[string]deploy.Lifecycle // by image, for lifecycle: auto
	tending  sync.WaitGroup
	withdraw func()
}

func newRunner(c *crew, fn *deploy.Function) (*runner, error) {
	feed, err := c.worker.Queue.Feed(fn.Name, queue.Retry(fn.Retry))
	if err != nil {
		return nil, fmt.Errorf("open work of %s: %w", fn.Name, err)
	}
	r := &runner{worker: c.worker, kill: c.kill, feed: feed, lives: map[lifeID]*life{}, learnt: map[string]deploy.Lifecycle{}}
	feed.SetPaused(fn.Paused)
	r.ctx, r.end = context.WithCancel(c.ctx)
	r.function.Store(fn)
	pool := newTasks(c.worker.Lookup)
	r.shared.run = func(ctx context.Context) {
		r.slot(ctx, func(e *queue.Event) queue.Result {
			r.busy.Add(1)
			defer r.busy.Add(-1)
			return r.worker.share(r.kill, r.function.Load(), pool, e)
		})
	}
	r.withdraw = sync.OnceFunc(func() {
		if err := feed.Withdraw(); err != nil {
			r.worker.Log.Warn("worker stopping", "function", fn.Name, "error", err)
		}
	})
	return r, nil
}

// slot is one slot of the feed.
func (r *runner) slot(ctx context.Context, handle queue.Handler) {
	if err := r.feed.Slot(ctx, handle); err != nil {
		r.worker.Log.Error("slot ended", "function", r.function.Load().Name, "error", err)
	}
}

// adapt takes over the settings of the manifest. What runs goes on with those with which it began.
func (r *runner) adapt(fn *deploy.Function) {
	if old := r.function.Swap(fn); reflect.DeepEqual(old, fn) {
		return
	}
	r.feed.SetRetry(queue.Retry(fn.Retry))
	r.feed.SetPaused(fn.Paused)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lives {
		l.poke()
	}
}

func (r *runner) seenLately() bool { return time.Since(r.seen) < seenTime }

// follow makes the lives match the tasks. While the tasks are not known, none gets work; what is known of those that
// come back is kept.
func (r *runner) follow(tasks []deploy.Task, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	here := make(map[lifeID]bool, len(tasks))
	for _, t := range tasks {
		id := lifeID{t.ID, t.Started.UnixNano(), t.Address}
		here[id] = true
		r.seen = time.Now()
		l := r.lives[id]
		switch {
		case t.Leaving && l != nil:
			l.leave()
		case !t.Leaving && (l == nil || l.lost):
			r.lives[id] = r.begin(t, l)
		}
	}
	for id, l := range r.lives {
		switch {
		case here[id]:
		case known:
			delete(r.lives, id)
			l.die()
		default:
			l.lose()
		}
	}
}

// close ends the slots, waits for what they run, and closes the feed.
func (r *runner) close() {
	r.withdraw()
	r.end()
	r.shared.wait()
	r.tending.Wait()
	r.feed.Close()
}

// hasRoom reports whether a task that has answered before, other than l, can take a connection now.
func (r *runner) hasRoom(l *life) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, other := range r.lives {
		if other != l && other.hasRoom() {
			return true
		}
	}
	return false
}

// maxLearnt bounds the images whose lifecycle is remembered.
const maxLearnt = 16

func (r *runner) learn(l *life, kind deploy.Lifecycle) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.learnLocked(l, kind)
}

func (r *runner) learnLocked(l *life, kind deploy.Lifecycle) {
	if r.learnt[l.task.Image] == kind {
		return
	}
	if len(r.learnt) >= maxLearnt {
		clear(r.learnt)
	}
	r.learnt[l.task.Image] = kind
	for _, other := range r.lives {
		if kind == deploy.LifecycleOneShot && other.task.Image == l.task.Image {
			other.suspect()
		}
	}
	r.worker.Log.Info("lifecycle learnt", "function", l.task.Function, "lifecycle", kind, "image", l.task.Image)
}
