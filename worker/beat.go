package worker

import (
	"cmp"
	"slices"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// beat tells the gateway what this worker has.
func (c *crew) beat() {
	h := queue.Heartbeat{Worker: c.id, Node: c.worker.Node, Trouble: c.trouble}
	for _, r := range c.runners {
		h.Functions = append(h.Functions, r.load())
	}
	slices.SortFunc(h.Functions, func(a, b queue.FunctionLoad) int { return cmp.Compare(a.Function, b.Function) })
	if err := c.worker.Queue.Beat(h); err != nil {
		c.worker.Log.Warn("worker not heard", "error", err)
	}
}

// load counts the slots of a function.
func (r *runner) load() queue.FunctionLoad {
	fn := r.function.Load()
	shared := len(r.shared.stops)
	load := queue.FunctionLoad{
		Function: fn.Name, Lifecycle: string(fn.Lifecycle), Slots: shared, Idle: max(0, shared-int(r.busy.Load())),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lives {
		if l.open.Err() != nil {
			continue
		}
		slots := l.slotsLocked()
		load.Tasks++
		load.Slots += slots
		load.Lifecycle = string(l.lifecycleLocked())
		if !l.spent.Load() {
			load.Idle += max(0, slots-l.busy)
		}
	}
	return load
}

// slotsLocked is how many connections the task takes at a time. It is called with the lock.
func (l *life) slotsLocked() int {
	if l.lifecycleLocked() == deploy.LifecycleServer {
		return l.concurrency()
	}
	return 1
}
