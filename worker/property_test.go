package worker

import (
	"errors"
	"flag"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// swarmModel is a node whose tasks come and go at random while work arrives.
type swarmModel struct {
	t       *testing.T
	n       *node
	q       *queue.Queue
	tasks   map[string]*modelTask
	events  []string
	calling sync.WaitGroup
}

type modelTask struct {
	*container
	task  deploy.Task
	limit int64 // connections at a time
	once  bool
	left  bool
}

func (m *swarmModel) start(r *rapid.T) {
	limit := rapid.Int64Range(1, 3).Draw(r, "concurrency")
	task := deploy.Task{Function: "Any", Image: "model", Lifecycle: deploy.LifecycleServer, Concurrency: int(limit)}
	once := rapid.Bool().Draw(r, "one-shot")
	if once {
		limit, task.Lifecycle = 1, deploy.LifecycleOneShot
	}
	c := run(m.t, "127.0.0.1:0", replies(time.Duration(rapid.SampledFrom([]int{0, 1, 2, 4, 30}).Draw(r, "ms of work"))*time.Millisecond))
	task.Address = c.address()
	task = m.n.start(task)
	m.tasks[task.ID] = &modelTask{container: c, task: task, limit: limit, once: once}
}

func (m *swarmModel) pick(r *rapid.T) *modelTask {
	var ids []string
	for id, t := range m.tasks {
		if !t.left {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		r.Skip("no task")
	}
	return m.tasks[rapid.SampledFrom(ids).Draw(r, "task")]
}

func (m *swarmModel) leave(r *rapid.T) {
	t := m.pick(r)
	t.left = true
	m.n.leave(t.task.ID)
}

func (m *swarmModel) die(r *rapid.T) {
	t := m.pick(r)
	t.left = true
	m.n.die(t.task.ID)
}

// blink loses the engine for a moment.
func (m *swarmModel) blink(r *rapid.T) {
	m.n.fail(errors.New("no engine"))
	m.pause(r)
	m.n.fail(nil)
}

func (m *swarmModel) publish(*rapid.T) { m.events = append(m.events, publish(m.t, m.q, "Any")) }

func (m *swarmModel) call(*rapid.T) {
	m.calling.Go(func() { // none ends before its task is done: the task would have a connection that the worker has not
		if err := callBy(m.t, m.q, "Any", time.Minute); err != nil {
			m.t.Error(err)
		}
	})
}

// calls makes some at a time, and waits for them.
func (m *swarmModel) calls(count int) {
	for range count {
		m.call(nil)
	}
	m.calling.Wait()
}

func (m *swarmModel) pause(r *rapid.T) {
	<-time.After(time.Duration(rapid.IntRange(1, 30).Draw(r, "ms")) * time.Millisecond)
}

func (m *swarmModel) check(r *rapid.T) {
	for id, t := range m.tasks {
		if most := t.most.Load(); most > t.limit {
			r.Fatalf("%s had %d connections at a time, and takes %d", id, most, t.limit)
		}
		if all := t.all.Load(); t.once && all > 1 {
			r.Fatalf("%s is a one-shot task and had %d connections", id, all)
		}
	}
}

func TestFollow_WhateverTheTasksDoNoneGetsMoreThanItTakes(t *testing.T) {
	setRapid(t, "rapid.checks", "8") // each has a queue of its own
	rapid.Check(t, func(r *rapid.T) {
		m := &swarmModel{t: t, n: newNode(), tasks: map[string]*modelTask{}}
		q, _, stop := followUntil(t, m.n, deployed("Any", deploy.LifecycleAuto, 1))
		defer stop()
		m.q = q
		r.Repeat(map[string]func(*rapid.T){
			"start": m.start, "leave": m.leave, "die": m.die, "blink": m.blink, "publish": m.publish, "call": m.call, "pause": m.pause, "": m.check,
		})
		last := run(t, "127.0.0.1:0", replies(0))
		m.n.start(deploy.Task{Function: "Any", Address: last.address(), Lifecycle: deploy.LifecycleServer})
		m.calling.Wait()
		for _, id := range m.events {
			endsAtFirst(t, m.q, id)
		}
		// Who gives work to the last one has heard of all that left before it came, and nothing runs any more.
		within(t, "the last task gets work", func() bool { m.calls(8); return last.all.Load() > 0 })
		had := map[string]int64{}
		for id, t := range m.tasks {
			had[id] = t.all.Load()
		}
		m.calls(20)
		for id, t := range m.tasks {
			if t.left && t.all.Load() > had[id] {
				r.Fatalf("%s got a connection after it had left", id)
			}
		}
		m.check(r)
	})
}

func setRapid(t *testing.T, name, value string) {
	t.Helper()
	f := flag.Lookup(name)
	old := f.Value.String()
	if err := f.Value.Set(value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Value.Set(old); err != nil {
			t.Error(err)
		}
	})
}
