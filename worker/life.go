package worker

import (
	"cmp"
	"context"
	"sync/atomic"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

const (
	// exitTime is how soon after its reply a one-shot task is gone; 36 to 54 ms were seen. A task of which nothing is
	// known gets no second connection before.
	exitTime = 250 * time.Millisecond
	// outliveTime is how long after its reply a task lives that was taken for a one-shot one and is none.
	outliveTime = 5 * time.Second

	shortRest = 10 * time.Millisecond // before a task that refused is tried again, at first
	longRest  = time.Second           // and later
)

// lifeID names one life of a container.
type lifeID struct {
	id      string
	started int64
	address string
}

// life is one task from its start to its end, and the slots that are bound to it.
type life struct {
	runner *runner
	task   deploy.Task
	open   context.Context // until the task gets no more connections
	leave  context.CancelFunc
	pokes  chan struct{} // the settings of the function have changed, or a lost life of the task has a connection less
	since  time.Time     // when it was first seen
	lost   bool          // nobody knows whether it lives; guarded by runner.mu
	*record
}

// record is what is known of a task. A life that is lost leaves it to the one that begins when the task is found again:
// what the first one runs goes on meanwhile.
type record struct {
	proven  atomic.Bool  // it has taken a connection
	spent   atomic.Bool  // it has taken one, and may be a one-shot task
	replies atomic.Int64 // that it gave
	busy    int          // connections that it has; guarded by runner.mu
	strays  int          // those of them that lost lives have; guarded by runner.mu
}

// begin takes a task that has just come, or that has come back from before. It is called with the lock.
func (r *runner) begin(t deploy.Task, before *life) *life {
	l := &life{runner: r, task: t, pokes: make(chan struct{}, 1), since: time.Now(), record: &record{}}
	l.open, l.leave = context.WithCancel(r.ctx)
	if before != nil {
		l.since, l.record = before.since, before.record
	}
	if t.Fault != "" && before == nil {
		r.worker.Log.Warn("label of a task ignored", "function", t.Function, "task", t.ID, "error", t.Fault)
	}
	r.tending.Go(l.tend)
	return l
}

// die ends the life: the container is gone. It is called with the lock. A task that went by itself after its only reply
// is a one-shot task, whatever it was taken for.
func (l *life) die() {
	told := l.open.Err() != nil
	l.leave()
	if !told && l.replies.Load() == 1 && l.setLifecycle() == deploy.LifecycleAuto {
		l.runner.learnLocked(l, deploy.LifecycleOneShot)
	}
}

// lose gives the task no work until it is known again whether it lives. It is called with the lock.
func (l *life) lose() {
	l.lost = true
	l.leave()
	l.strays = l.busy
}

// enter counts one more connection, unless the task gets no more.
func (l *life) enter() bool {
	l.runner.mu.Lock()
	defer l.runner.mu.Unlock()
	if l.open.Err() != nil {
		return false
	}
	l.busy++
	return true
}

// exit counts one less. The life that goes on with the task may have waited for it.
func (l *life) exit() {
	l.runner.mu.Lock()
	defer l.runner.mu.Unlock()
	l.busy--
	if !l.lost {
		return
	}
	l.strays--
	for _, other := range l.runner.lives {
		if other.record == l.record {
			other.poke()
		}
	}
}

// straying is how many connections lost lives of the task still have.
func (l *life) straying() int {
	l.runner.mu.Lock()
	defer l.runner.mu.Unlock()
	return l.strays
}

// suspect takes a task that has answered once for a one-shot one after all.
func (l *life) suspect() {
	if l.proven.Load() && l.replies.Load() <= 1 {
		l.spent.Store(true)
		l.poke()
	}
}

func (l *life) poke() {
	select {
	case l.pokes <- struct{}{}:
	default:
	}
}

// setLifecycle is that of its label, else of its function.
func (l *life) setLifecycle() deploy.Lifecycle {
	return cmp.Or(l.task.Lifecycle, l.runner.function.Load().Lifecycle, deploy.LifecycleAuto)
}

// lifecycle is also what was learnt of its image. It stays LifecycleAuto until then.
func (l *life) lifecycle() deploy.Lifecycle {
	l.runner.mu.Lock()
	defer l.runner.mu.Unlock()
	return l.lifecycleLocked()
}

func (l *life) lifecycleLocked() deploy.Lifecycle {
	set := l.setLifecycle()
	if set == deploy.LifecycleAuto {
		return cmp.Or(l.runner.learnt[l.task.Image], set)
	}
	return set
}

func (l *life) concurrency() int {
	return max(1, cmp.Or(l.task.Concurrency, l.runner.function.Load().Concurrency))
}

// hasRoom does not ask for the lifecycle: a task that is spent has none. It is called with the lock.
func (l *life) hasRoom() bool {
	return l.open.Err() == nil && l.proven.Load() && !l.spent.Load() && l.busy < l.concurrency()
}

// tend gives the task work until it leaves: one connection at first, to see whether it listens, and for a one-shot task
// no other one; as many as it takes for a server task.
func (l *life) tend() {
	for pause := shortRest; l.open.Err() == nil; {
		straying := l.straying() // asked first: whatever is over by now has left its mark in the record
		switch {
		case l.spent.Load():
			l.judge()
		case l.proven.Load() && l.lifecycle() == deploy.LifecycleServer:
			l.serve()
		case straying > 0: // one of them is the first, and it may be a one-shot task
			l.idle(l.open)
		case l.offer():
			pause = shortRest
		default:
			rest(l.open, pause, nil)
			pause = min(2*pause, longRest)
		}
	}
}

// offer offers the task for one connection. It reports whether it took one.
func (l *life) offer() bool {
	took := make(chan bool, 1)
	l.runner.tending.Go(func() {
		l.runner.slot(l.open, func(e *queue.Event) queue.Result {
			r, connected := l.attempt(e, true)
			if r.Last = r.Last || connected; r.Last {
				took <- connected
			}
			return r
		})
	})
	select {
	case connected := <-took:
		return connected
	case <-l.open.Done():
		return false
	}
}

// judge decides whether a task that has taken a connection gets another one.
func (l *life) judge() {
	switch l.lifecycle() {
	case deploy.LifecycleServer:
		l.spent.Store(false)
	case deploy.LifecycleOneShot:
		if l.setLifecycle() == deploy.LifecycleOneShot {
			l.idle(l.open) // it gets no other one
			return
		}
		l.outlive(outliveTime)
	default:
		if !rest(l.open, exitTime, l.pokes) {
			return
		}
		if l.lifecycle() == deploy.LifecycleOneShot { // another task was quicker
			l.outlive(outliveTime - exitTime)
			return
		}
		l.passed()
	}
}

func (l *life) outlive(d time.Duration) {
	if rest(l.open, d, l.pokes) {
		l.passed()
	}
}

// passed means that the task lives on after its connection. When it has replied it is a server task; otherwise nothing
// is known.
func (l *life) passed() {
	if l.replies.Load() > 0 {
		l.runner.learn(l, deploy.LifecycleServer)
	}
	l.spent.Store(false)
}

// serve runs the slots of a server task, until it refuses a connection or leaves.
func (l *life) serve() {
	ctx, stop := context.WithCancel(l.open)
	defer stop()
	s := slots{run: func(ctx context.Context) {
		l.runner.slot(ctx, func(e *queue.Event) queue.Result {
			r, _ := l.attempt(e, false)
			if r.Last {
				stop()
			}
			return r
		})
	}}
	for ctx.Err() == nil && l.lifecycle() == deploy.LifecycleServer {
		s.resize(ctx, max(0, l.concurrency()-l.straying()))
		l.idle(ctx)
	}
	stop()
	s.wait()
	if l.open.Err() == nil { // not for want of news
		l.proven.Store(false)
	}
}

// idle returns when there is a poke, or when ctx ends.
func (l *life) idle(ctx context.Context) {
	select {
	case <-l.pokes:
	case <-ctx.Done():
	}
}

// rest returns after d, and reports so; or earlier, when ctx ends or there is a poke.
func rest(ctx context.Context, d time.Duration, pokes <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-pokes:
	case <-ctx.Done():
	}
	return false
}
