//go:build swarm

package deploy_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

// todo is the work of each function, as a queue would count it.
type todo struct {
	mu   sync.Mutex
	work map[string]deploy.Work
	err  error
}

func (w *todo) set(function string, work deploy.Work) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.work == nil {
		w.work = make(map[string]deploy.Work)
	}
	w.work[function] = work
}

func (w *todo) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

func (w *todo) of(_ context.Context, function string) (deploy.Work, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.work[function], w.err
}

// scaler runs a Scaler until the test ends.
func (g *gateway) scaler(w *todo) *deploy.Scaler {
	g.Helper()
	s, err := deploy.NewScaler(g.engine, g.catalog, deploy.ScalerOptions{
		Gateway: "one", Work: w.of, Idle: time.Second, Tick: 100 * time.Millisecond, Log: slog.New(slog.NewTextHandler(g.log, nil)),
	})
	ok(g, err)
	g.background(s.Run)
	return s
}

// reconcileAllTheTime stands for a Reconciler that is woken at the worst moments.
func (g *gateway) reconcileAllTheTime(ctx context.Context) {
	for ctx.Err() == nil {
		if err := g.Reconcile(ctx); err != nil && ctx.Err() == nil {
			g.Error(err)
		}
	}
}

func (g *gateway) background(run func(context.Context)) {
	ctx, stop := context.WithCancel(g.Context())
	var running sync.WaitGroup
	running.Go(func() { run(ctx) })
	g.Cleanup(running.Wait)
	g.Cleanup(stop)
}

func (b *bed) asked(name string) uint64 {
	b.Helper()
	return *b.service(name).Spec.Mode.Replicated.Replicas
}

func TestSwarm_ABurstScalesFromNothingToTheMostAndBack(t *testing.T) {
	b := newBed(t)
	f, fixed := b.function("Burst"), b.function("Fixed")
	f.Replicas = deploy.Replicas{Min: 0, Max: 4}
	g := b.gateway("one", f, fixed)
	ok(t, g.Reconcile(t.Context()))
	work := &todo{}
	work.set("Fixed", deploy.Work{Waiting: 200})
	s := g.scaler(work)
	g.background(g.reconcileAllTheTime)

	work.set("Burst", deploy.Work{Waiting: 200})
	begin := time.Now()
	s.Kick("Burst")
	g.until("Burst", "four tasks run", func(s deploy.State) bool { return s.Running == 4 })
	t.Logf("0 to 4 running tasks in %v", time.Since(begin).Round(time.Millisecond))

	changed := *f
	changed.Env = map[string]string{"GREETING": "hello"}
	g.catalog.Set(&deploy.Manifest{Functions: []*deploy.Function{&changed, fixed}})
	g.until("Burst", "four tasks with the new settings run", func(s deploy.State) bool { return s.Settled && s.Running == 4 })

	work.set("Burst", deploy.Work{})
	begin = time.Now()
	b.within(time.Minute, "no task is asked for", func() bool { return b.asked("Burst") == 0 })
	t.Logf("4 to 0 tasks in %v, with an idle time of 1s", time.Since(begin).Round(time.Millisecond))
	if n := b.asked("Fixed"); n != 1 {
		t.Errorf("a function with min == max has %d tasks, want 1", n)
	}
	if n := g.log.count("function scaled"); n != 4 { // 0, 4, 2, 1, 0
		t.Errorf("the number of tasks changed %d times, want 4", n)
	}
	if n := g.log.count("service changed"); n != 3 { // two created, one updated
		t.Errorf("the reconciler changed services %d times, want 3", n)
	}
}

func TestSwarm_NobodyLosesTasksWhileTheirWorkIsNotKnown(t *testing.T) {
	b := newBed(t)
	f := b.function("Known")
	f.Replicas = deploy.Replicas{Min: 0, Max: 4}
	g := b.gateway("one", f)
	ok(t, g.Reconcile(t.Context()))
	work := &todo{}
	work.fail(errors.New("the queue does not answer"))
	s := g.scaler(work)
	s.Kick("Known")
	b.within(10*time.Second, "a first task comes without a count", func() bool { return b.asked("Known") == 1 })
	b.within(10*time.Second, "the trouble is logged", func() bool { return g.log.count("scaling fails") == 1 })
	for begin := time.Now(); time.Since(begin) < 3*time.Second; {
		if n := b.asked("Known"); n != 1 {
			t.Fatalf("got %d tasks, want 1 while nobody knows", n)
		}
	}
	work.fail(nil)
	b.within(10*time.Second, "the task goes when there is known to be no work", func() bool { return b.asked("Known") == 0 })
	if fails, works := g.log.count("scaling fails"), g.log.count("scaling works again"); fails != 1 || works != 1 {
		t.Errorf("got %d lines for the trouble and %d for its end, want one each", fails, works)
	}
}

// starts delivers when containers of a service were started.
func (b *bed) starts(name string) <-chan time.Time {
	b.Helper()
	started := make(chan time.Time, 16)
	messages, _ := b.docker.Events(b.Context(), events.ListOptions{Filters: filters.NewArgs(filters.Arg("type", "container"),
		filters.Arg("event", "start"), filters.Arg("label", "com.docker.swarm.service.name="+name))})
	go func() {
		for {
			select {
			case m := <-messages:
				started <- time.Unix(0, m.TimeNano)
			case <-b.Context().Done():
				return
			}
		}
	}()
	return started
}

func TestSwarm_AColdStartTakesLittleMoreThanSwarmItself(t *testing.T) {
	const rounds, target = 7, 100 * time.Millisecond
	b := newBed(t)
	f := b.function("Cold")
	f.Replicas = deploy.Replicas{Min: 0, Max: 1}
	g := b.gateway("one", f)
	ok(t, g.Reconcile(t.Context()))
	plain := b.twin("Cold", "Plain")
	s := g.scaler(&todo{})
	ours, theirs := b.starts("Cold"), b.starts("Plain")
	var cold, share, own []time.Duration
	for range rounds {
		begin := time.Now()
		b.scaleByHand(plain, 1)
		own = append(own, (<-theirs).Sub(begin))
		b.running(plain)
		b.scaleByHand(plain, 0)
		b.idle()
		begin = time.Now()
		s.Kick("Cold")
		cold = append(cold, (<-ours).Sub(begin))
		share = append(share, b.newestTask("Cold").CreatedAt.Sub(begin))
		b.running("Cold")
		b.within(time.Minute, "no task is asked for", func() bool { return b.asked("Cold") == 0 })
		b.idle()
	}
	for _, d := range [][]time.Duration{cold, share, own} {
		slices.Sort(d)
	}
	t.Logf("from the first work to the start of the container: median %v (%v to %v)", cold[rounds/2], cold[0], cold[rounds-1])
	t.Logf("of it until the swarm made a task: median %v (%v to %v)", share[rounds/2], share[0], share[rounds-1])
	t.Logf("swarm alone, from a service update to the start of the container: median %v (%v to %v)", own[rounds/2], own[0], own[rounds-1])
	if share[rounds/2] > target {
		t.Errorf("a cold start takes %v more than Swarm itself, want up to %v", share[rounds/2], target)
	}
}

func (b *bed) newestTask(service string) swarm.Task {
	b.Helper()
	tasks, err := b.docker.TaskList(b.Context(), swarm.TaskListOptions{Filters: filters.NewArgs(filters.Arg("service", service))})
	ok(b, err)
	return slices.MaxFunc(tasks, func(x, y swarm.Task) int { return x.CreatedAt.Compare(y.CreatedAt) })
}

// twin makes a service like another one, which no gateway owns.
func (b *bed) twin(of, name string) string {
	b.Helper()
	spec := b.service(of).Spec
	spec.Name = name
	spec.Labels = maps.Clone(spec.Labels)
	delete(spec.Labels, "funker.managed")
	_, err := b.docker.ServiceCreate(b.Context(), spec, swarm.ServiceCreateOptions{})
	ok(b, err)
	return name
}

func (b *bed) scaleByHand(name string, replicas uint64) {
	b.Helper()
	s, _, err := b.docker.ServiceInspectWithRaw(b.Context(), name, swarm.ServiceInspectOptions{})
	ok(b, err)
	s.Spec.Mode.Replicated.Replicas = &replicas
	_, err = b.docker.ServiceUpdate(b.Context(), s.ID, s.Version, s.Spec, swarm.ServiceUpdateOptions{})
	ok(b, err)
}

// running waits until the swarm knows that a task of a service runs. Docker 20.10 may take a minute to stop one that is told
// to go just before that.
func (b *bed) running(service string) {
	b.Helper()
	b.within(time.Minute, "a task runs", func() bool {
		tasks, err := b.docker.TaskList(b.Context(), swarm.TaskListOptions{Filters: filters.NewArgs(filters.Arg("service", service))})
		ok(b, err)
		return slices.ContainsFunc(tasks, func(t swarm.Task) bool { return t.Status.State == swarm.TaskStateRunning })
	})
}

// idle waits until no task is left that runs or shall run.
func (b *bed) idle() {
	b.Helper()
	b.within(time.Minute, "no task is left", func() bool {
		tasks, err := b.docker.TaskList(b.Context(), swarm.TaskListOptions{})
		ok(b, err)
		return !slices.ContainsFunc(tasks, func(t swarm.Task) bool {
			return t.DesiredState == swarm.TaskStateRunning || t.Status.State == swarm.TaskStateRunning
		})
	})
}
