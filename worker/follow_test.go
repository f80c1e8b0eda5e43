package worker

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

func callBy(t testing.TB, q *queue.Queue, function string, limit time.Duration) error {
	t.Helper()
	_, err := q.Call(t.Context(), &queue.Event{Source: "test", Function: function, Body: []byte("1"), Deadline: time.Now().Add(limit)})
	return err
}

func publish(t testing.TB, q *queue.Queue, function string) string {
	t.Helper()
	r, err := q.Publish(t.Context(), &queue.Event{Source: "test", Function: function, Body: []byte("1")})
	if err != nil {
		t.Fatal(err)
	}
	return r.ID
}

// endsAtFirst waits until an event has succeeded, and demands that it did so with its first attempt.
func endsAtFirst(t *testing.T, q *queue.Queue, id string) {
	t.Helper()
	within(t, "the event has ended", func() bool {
		r, err := q.Get(t.Context(), id)
		if err == nil && len(r.Attempts) > 0 && r.Attempts[0].Outcome != queue.OutcomeOK {
			t.Fatalf("first attempt: %+v", r.Attempts[0])
		}
		return err == nil && r.State == queue.StateOK
	})
}

// untilTasks waits until the worker has said how many tasks of its only function get connections.
func untilTasks(t *testing.T, q *queue.Queue, n int) {
	t.Helper()
	within(t, "the worker has the news of its tasks", func() bool {
		w := q.Workers()
		return len(w) == 1 && len(w[0].Functions) == 1 && w[0].Functions[0].Tasks == n
	})
}

func TestFollow_ACallReachesATaskThatStartsAndListensLater(t *testing.T) {
	n := newNode()
	q, _ := follow(t, n, deployed("Late", deploy.LifecycleServer, 1))
	called := make(chan error, 1)
	go func() { called <- callBy(t, q, "Late", time.Minute) }()
	id := publish(t, q, "Late")
	address := free(t)
	n.start(deploy.Task{Function: "Late", Address: address})
	<-time.After(100 * time.Millisecond) // it is dialled in vain
	run(t, address, replies(0))
	if err := <-called; err != nil {
		t.Error(err)
	}
	endsAtFirst(t, q, id)
}

func TestFollow_ATaskThatLeavesGetsNoNewConnection(t *testing.T) {
	n := newNode()
	q, _ := follow(t, n, deployed("Rolls", deploy.LifecycleServer, 2))
	for range 5 {
		c := run(t, "127.0.0.1:0", replies(0))
		task := n.start(deploy.Task{Function: "Rolls", Address: c.address()})
		for range 3 {
			if err := callBy(t, q, "Rolls", time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		untilTasks(t, q, 1)
		n.leave(task.ID)
		untilTasks(t, q, 0)
		had := c.all.Load()
		if err := callBy(t, q, "Rolls", 100*time.Millisecond); err == nil || c.all.Load() != had {
			t.Errorf("a task that leaves got a connection: %v", err)
		}
		n.die(task.ID)
	}
}

func TestFollow_WorkOfATaskThatDiesBeforeItListensGoesToAnother(t *testing.T) {
	n := newNode()
	q, _ := follow(t, n, deployed("Dies", deploy.LifecycleServer, 1))
	dead := n.start(deploy.Task{Function: "Dies", Address: free(t)})
	ids := []string{publish(t, q, "Dies"), publish(t, q, "Dies")}
	called := make(chan error, 1)
	go func() { called <- callBy(t, q, "Dies", time.Minute) }()
	<-time.After(50 * time.Millisecond)
	n.die(dead.ID)
	n.start(deploy.Task{Function: "Dies", Address: run(t, "127.0.0.1:0", replies(0)).address()})
	if err := <-called; err != nil {
		t.Error(err)
	}
	for _, id := range ids {
		endsAtFirst(t, q, id)
	}
}

func TestFollow_ATaskThatNeverListensHoldsUpNobody(t *testing.T) {
	n := newNode()
	q, _ := follow(t, n, deployed("Half", deploy.LifecycleServer, 1))
	n.start(deploy.Task{Function: "Half", Address: free(t)})
	n.start(deploy.Task{Function: "Half", Address: run(t, "127.0.0.1:0", replies(0)).address()})
	for range 50 {
		if err := callBy(t, q, "Half", time.Minute); err != nil {
			t.Fatal(err)
		}
		endsAtFirst(t, q, publish(t, q, "Half"))
	}
}

func TestFollow_NoTaskGetsMoreConnectionsThanItTakes(t *testing.T) {
	n := newNode()
	q, _ := follow(t, n, deployed("Narrow", deploy.LifecycleServer, 3))
	wide, narrow := run(t, "127.0.0.1:0", replies(5*time.Millisecond)), run(t, "127.0.0.1:0", replies(5*time.Millisecond))
	n.start(deploy.Task{Function: "Narrow", Address: wide.address()})
	n.start(deploy.Task{Function: "Narrow", Address: narrow.address(), Concurrency: 1}) // its label
	var calls sync.WaitGroup
	for range 60 {
		calls.Go(func() {
			if err := callBy(t, q, "Narrow", time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if wide.most.Load() != 3 || narrow.most.Load() != 1 {
		t.Errorf("got %d and %d connections at a time, want 3 and 1", wide.most.Load(), narrow.most.Load())
	}
}

func TestFollow_AFunctionThatNoManifestNamesIsFoundByItsTasks(t *testing.T) {
	n := newNode()
	q, _ := follow(t, n)
	if q.Present("Found") {
		t.Error("present before it has a task")
	}
	n.start(deploy.Task{Function: "Found", Address: run(t, "127.0.0.1:0", replies(0)).address()})
	within(t, "the function is present", func() bool { return q.Present("Found") })
	if err := callBy(t, q, "Found", time.Minute); err != nil {
		t.Error(err)
	}
	within(t, "the gateway knows of its slot", func() bool {
		w := q.Workers()
		return len(w) == 1 && len(w[0].Functions) == 1 && w[0].Functions[0] == queue.FunctionLoad{
			Function: "Found", Lifecycle: "server", Tasks: 1, Slots: 1, Idle: 1,
		}
	})
}

func TestFollow_WithoutNewsOfTheTasksWorkWaits(t *testing.T) {
	n := newNode()
	q, _ := follow(t, n, deployed("Blind", deploy.LifecycleServer, 1))
	c := run(t, "127.0.0.1:0", replies(0))
	n.start(deploy.Task{Function: "Blind", Address: c.address()})
	if err := callBy(t, q, "Blind", time.Minute); err != nil {
		t.Fatal(err)
	}
	untilTasks(t, q, 1)
	n.fail(errors.New("no engine"))
	untilTasks(t, q, 0)
	called := make(chan error, 1)
	go func() { called <- callBy(t, q, "Blind", time.Minute) }()
	select {
	case err := <-called:
		t.Errorf("ended although the tasks are not known: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	n.fail(nil)
	if err := <-called; err != nil {
		t.Error(err)
	}
}

func TestFollow_TheManifestMayChange(t *testing.T) {
	n := newNode()
	first := deployed("First", deploy.LifecycleServer, 1)
	q, catalog := follow(t, n, first)
	one := run(t, "127.0.0.1:0", replies(20*time.Millisecond))
	n.start(deploy.Task{Function: "First", Address: one.address()})
	if err := callBy(t, q, "First", time.Minute); err != nil {
		t.Fatal(err)
	}

	addFunction(t, q, "Second")
	wider := deployed("First", deploy.LifecycleServer, 4)
	second := function("Second", run(t, "127.0.0.1:0", replies(0)).address())
	catalog.Set(&deploy.Manifest{Functions: []*deploy.Function{wider, second}})
	within(t, "the new function is called", func() bool { return callBy(t, q, "Second", time.Minute) == nil })
	within(t, "the task gets four connections at a time", func() bool {
		var calls sync.WaitGroup
		for range 8 {
			calls.Go(func() {
				if err := callBy(t, q, "First", time.Minute); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		return one.most.Load() == 4
	})

	slow := make(chan error, 1)
	go func() { slow <- callBy(t, q, "First", time.Minute) }()
	within(t, "the call runs", func() bool { return one.now.Load() == 1 })
	catalog.Set(&deploy.Manifest{Functions: []*deploy.Function{wider}})
	within(t, "the function is gone", func() bool { return !q.Present("Second") })
	if err := <-slow; err != nil {
		t.Errorf("a call that ran while the manifest changed: %v", err)
	}
}

func TestFollow_AddressesMayChangeWhileACallRuns(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	old := run(t, "127.0.0.1:0", func(conn net.Conn) {
		begun <- struct{}{}
		<-release
		replies(0)(conn)
	})
	q, catalog := follow(t, newNode(), function("Moves", old.address()))
	within(t, "the function is present", func() bool { return q.Present("Moves") })
	called := make(chan error, 1)
	go func() { called <- callBy(t, q, "Moves", time.Minute) }()
	<-begun
	next := run(t, "127.0.0.1:0", replies(0))
	catalog.Set(&deploy.Manifest{Functions: []*deploy.Function{function("Moves", next.address(), free(t))}})
	within(t, "the new address is called", func() bool {
		return callBy(t, q, "Moves", 100*time.Millisecond) == nil && next.all.Load() > 0
	})
	close(release)
	if err := <-called; err != nil {
		t.Error(err)
	}
}
