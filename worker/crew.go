package worker

import (
	"context"
	"sync"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// seenTime is how long after the end of its last task a function that nothing deploys from here is still taken to be
// served: its next task may be on its way. Meanwhile calls wait.
const seenTime = time.Minute

// crew are the runners of all functions that this worker serves. Only Run uses it.
type crew struct {
	worker  *Worker
	id      string          // of this run
	ctx     context.Context // until the worker stops
	kill    context.Context // until the grace period is over
	runners map[string]*runner
	ending  map[string]chan struct{} // functions that were dropped; closed when nothing of them runs any more
	refused map[string]bool          // functions that cannot be served
	closing sync.WaitGroup
	trouble string // why the tasks are not known, as it was last logged
}

func newCrew(ctx, kill context.Context, w *Worker) *crew {
	return &crew{
		worker: w, id: queue.NewID(), ctx: ctx, kill: kill,
		runners: map[string]*runner{}, ending: map[string]chan struct{}{}, refused: map[string]bool{},
	}
}

// tell logs whether the tasks of the node are known, when that changes.
func (c *crew) tell(s sight) {
	switch {
	case s.err != nil && s.err.Error() != c.trouble:
		c.trouble = s.err.Error()
		c.worker.Log.Warn("tasks of this node are not known: trying again", "error", s.err)
	case s.err == nil && c.trouble != "":
		c.trouble = ""
		c.worker.Log.Info("tasks of this node are known again", "tasks", len(s.tasks))
	}
}

// arrange makes the runners match the manifest and the tasks.
func (c *crew) arrange(m *deploy.Manifest, s sight) {
	tasks := map[string][]deploy.Task{}
	for _, t := range s.tasks {
		tasks[t.Function] = append(tasks[t.Function], t)
	}
	wanted := make(map[string]*deploy.Function, len(m.Functions))
	for _, fn := range m.Functions {
		wanted[fn.Name] = fn
	}
	for name := range tasks { // found by their tasks alone
		if wanted[name] == nil {
			wanted[name] = deploy.NewFunction(name)
		}
	}
	for name, r := range c.runners {
		if wanted[name] == nil && r.seenLately() {
			wanted[name] = r.function.Load()
		}
	}
	for name, fn := range wanted {
		if c.serves(fn, tasks[name]) {
			c.run(fn, tasks[name], s.err == nil)
		} else {
			delete(wanted, name)
		}
	}
	for name, r := range c.runners {
		if wanted[name] == nil {
			delete(c.runners, name)
			c.close(name, r)
		}
	}
}

// serves reports whether this worker can run a function, or soon may.
func (c *crew) serves(fn *deploy.Function, tasks []deploy.Task) bool {
	r := c.runners[fn.Name]
	return !c.follows(fn) || len(tasks) > 0 || fn.Image != "" || r != nil && r.seenLately()
}

// follows reports whether the slots of a function follow its tasks.
func (c *crew) follows(fn *deploy.Function) bool {
	return c.worker.Watch != nil && len(fn.Addresses) == 0
}

func (c *crew) run(fn *deploy.Function, tasks []deploy.Task, known bool) {
	r := c.runners[fn.Name]
	if r == nil {
		if r = c.open(fn); r == nil {
			return
		}
		c.runners[fn.Name] = r
	}
	r.adapt(fn)
	if c.follows(fn) {
		r.shared.resize(r.ctx, 0)
		r.follow(tasks, known)
	} else {
		r.shared.resize(r.ctx, fn.Slots())
		r.follow(nil, true)
	}
}

// open returns nil for a function that cannot be served, or that is still finishing what it ran before it was dropped:
// its tasks would get more connections than they take.
func (c *crew) open(fn *deploy.Function) *runner {
	if done := c.ending[fn.Name]; done != nil {
		select {
		case <-done:
			delete(c.ending, fn.Name)
		default:
			return nil
		}
	}
	if c.refused[fn.Name] {
		return nil
	}
	r, err := newRunner(c, fn)
	if err != nil {
		c.refused[fn.Name] = true
		c.worker.Log.Error("function not served", "function", fn.Name, "error", err)
		return nil
	}
	return r
}

func (c *crew) close(name string, r *runner) {
	done := make(chan struct{})
	c.ending[name] = done
	c.closing.Go(func() {
		defer close(done)
		r.close()
	})
}

// stop returns when nothing runs any more.
func (c *crew) stop() {
	for _, r := range c.runners {
		r.withdraw()
	}
	for _, r := range c.runners {
		c.closing.Go(r.close)
	}
	c.closing.Wait()
}
