package worker

import (
	"sync"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

// oneShots runs replicas of a one-shot function that take some time to start and to end.
func oneShots(t *testing.T, n *node, function string, count int) []*replica {
	t.Helper()
	var all []*replica
	for i := range count {
		r := &replica{
			n: n, task: deploy.Task{Function: function, Image: "once"},
			bootTime: time.Duration(i+1) * 3 * time.Millisecond, exitTime: time.Duration(i+1) * 5 * time.Millisecond,
		}
		r.keep(t)
		all = append(all, r)
	}
	return all
}

func TestOneShot_ABurstOfEventsAndCallsSucceedsAtTheFirstAttempt(t *testing.T) {
	for _, lifecycle := range []deploy.Lifecycle{deploy.LifecycleOneShot, deploy.LifecycleAuto} {
		t.Run(string(lifecycle), func(t *testing.T) {
			const rounds = 10
			for range rounds {
				crowded, lingered := burst(t, lifecycle)
				// On a machine that stands still, tasks that linger pass for servers when nobody has said what they are.
				if lifecycle == deploy.LifecycleAuto && lingered > 0 {
					t.Logf("%d lives lingered: again", lingered)
					continue
				}
				if crowded > 0 {
					t.Errorf("%d lives got more than one connection", crowded)
				}
				return
			}
			t.Errorf("in each of %d rounds a task lingered: this machine is too busy", rounds)
		})
	}
}

// burst sends 200 events and 50 calls to 4 replicas, all of which succeed at the first attempt.
func burst(t *testing.T, lifecycle deploy.Lifecycle) (crowded, lingered int64) {
	t.Helper()
	n := newNode()
	q, _ := follow(t, n, deployed("Once", lifecycle, 1))
	replicas := oneShots(t, n, "Once", 4)
	begin := time.Now()
	var sending sync.WaitGroup
	ids := make([]string, 200)
	for i := range ids {
		sending.Go(func() { ids[i] = publish(t, q, "Once") })
	}
	for range 50 {
		sending.Go(func() {
			if err := callBy(t, q, "Once", 60*time.Second); err != nil {
				t.Errorf("call: %v", err)
			}
		})
	}
	sending.Wait()
	var tries int
	for _, id := range ids {
		endsAtFirst(t, q, id)
		r, err := q.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		tries += len(r.Attempts)
	}
	if tries != len(ids) {
		t.Errorf("%d attempts for %d events", tries, len(ids))
	}
	var lives int64
	for _, r := range replicas {
		lives += r.lives.Load()
		crowded += r.crowded.Load()
		lingered += r.lingered.Load()
	}
	t.Logf("200 events and 50 calls in %d lives of 4 replicas took %s", lives, time.Since(begin).Round(time.Millisecond))
	return crowded, lingered
}

func TestOneShot_TheNextCallIsAnsweredAsSoonAsTheNextTaskListens(t *testing.T) {
	const boot, exit, calls = 20 * time.Millisecond, 10 * time.Millisecond, 5
	n := newNode()
	q, _ := follow(t, n, deployed("Once", deploy.LifecycleOneShot, 1))
	(&replica{n: n, task: deploy.Task{Function: "Once"}, bootTime: boot, exitTime: exit}).keep(t)
	within(t, "the worker adds next to nothing to a restart", func() bool { // whatever else the machine does can only add
		begin := time.Now()
		for range calls {
			if err := callBy(t, q, "Once", time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		added := time.Since(begin)/calls - boot - exit
		t.Logf("the worker adds %s to each restart", added)
		return added <= 10*time.Millisecond
	})
}

func TestOneShot_TheFirstReplyOfATaskDoesNotWaitForTheVerdict(t *testing.T) {
	n := newNode()
	names := []string{"First", "Second", "Third", "Fourth"}
	var functions []*deploy.Function
	for _, name := range names {
		functions = append(functions, deployed(name, deploy.LifecycleAuto, 1))
	}
	q, _ := follow(t, n, functions...)
	took := time.Hour
	for _, name := range names { // the best of them: whatever else the machine does can only add
		n.start(deploy.Task{Function: name, Address: run(t, "127.0.0.1:0", replies(0)).address(), Image: name})
		begin := time.Now()
		if err := callBy(t, q, name, time.Minute); err != nil {
			t.Fatal(err)
		}
		took = min(took, time.Since(begin))
	}
	if took > exitTime {
		t.Errorf("it took %s", took)
	}
}

func TestOneShot_ATaskThatLivesOnIsAServer(t *testing.T) {
	n := newNode()
	q, _ := follow(t, n, deployed("Lives", deploy.LifecycleAuto, 3))
	c := run(t, "127.0.0.1:0", replies(5*time.Millisecond))
	n.start(deploy.Task{Function: "Lives", Address: c.address(), Image: "server"})
	if err := callBy(t, q, "Lives", time.Minute); err != nil {
		t.Fatal(err)
	}
	within(t, "three connections at a time", func() bool {
		var calls sync.WaitGroup
		for range 6 {
			calls.Go(func() {
				if err := callBy(t, q, "Lives", time.Minute); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		return c.most.Load() == 3
	})
	other := run(t, "127.0.0.1:0", replies(0))
	n.start(deploy.Task{Function: "Lives", Address: other.address(), Image: "server"})
	within(t, "another task of the image is used", func() bool {
		if err := callBy(t, q, "Lives", time.Minute); err != nil {
			t.Fatal(err)
		}
		return other.all.Load() > 1
	})
}

func TestOneShot_ATaskThatWasTakenForOneIsAServerWhenItLivesOn(t *testing.T) {
	n := newNode()
	q, _ := follow(t, n, deployed("Odd", deploy.LifecycleAuto, 1))
	first := run(t, "127.0.0.1:0", replies(0))
	crashes := n.start(deploy.Task{Function: "Odd", Address: first.address(), Image: "odd"})
	if err := callBy(t, q, "Odd", time.Minute); err != nil {
		t.Fatal(err)
	}
	n.die(crashes.ID) // so soon after its reply that it passes for a one-shot task
	second := run(t, "127.0.0.1:0", replies(0))
	n.start(deploy.Task{Function: "Odd", Address: second.address(), Image: "odd"})
	begin := time.Now()
	for range 2 {
		if err := callBy(t, q, "Odd", time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(begin); d < outliveTime-time.Second {
		t.Errorf("it got a second connection after %s", d)
	}
	begin = time.Now()
	for range 5 {
		if err := callBy(t, q, "Odd", time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(begin); d > outliveTime {
		t.Errorf("5 calls to a server took %s", d)
	}
}

func TestOneShot_ANewImageIsJudgedAnew(t *testing.T) {
	n := newNode()
	q, _ := follow(t, n, deployed("New", deploy.LifecycleAuto, 2))
	(&replica{n: n, task: deploy.Task{Function: "New", Image: "old", Lifecycle: deploy.LifecycleOneShot}}).keep(t)
	if err := callBy(t, q, "New", time.Minute); err != nil {
		t.Fatal(err)
	}
	c := run(t, "127.0.0.1:0", replies(5*time.Millisecond))
	n.start(deploy.Task{Function: "New", Address: c.address(), Image: "new"})
	within(t, "the new image gets two connections at a time", func() bool {
		var calls sync.WaitGroup
		for range 8 {
			calls.Go(func() { _ = callBy(t, q, "New", time.Minute) })
		}
		calls.Wait()
		return c.most.Load() == 2
	})
}
