package deploy_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

var midnight = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func scalable(least, most, concurrency int) *deploy.Function {
	f := deploy.NewFunction("F")
	f.Image = "hello"
	f.Replicas = deploy.Replicas{Min: least, Max: most}
	f.Concurrency = concurrency
	return f
}

func TestTasksComeAtOnceWithTheWork(t *testing.T) {
	for _, c := range []struct {
		f    *deploy.Function
		now  int
		work deploy.Work
		want int
	}{
		{scalable(0, 8, 1), 0, deploy.Work{}, 0},
		{scalable(0, 8, 1), 0, deploy.Work{Waiting: 1}, 1},
		{scalable(0, 8, 1), 1, deploy.Work{Waiting: 3, Running: 1}, 4},
		{scalable(0, 8, 1), 1, deploy.Work{Waiting: 200}, 8},
		{scalable(0, 8, 10), 0, deploy.Work{Waiting: 11}, 2},
		{scalable(0, 8, 10), 2, deploy.Work{Waiting: 1, Running: 20}, 3},
		{scalable(2, 8, 1), 2, deploy.Work{}, 2},
		{scalable(2, 8, 1), 0, deploy.Work{}, 2},
		{scalable(0, 3, 1), 9, deploy.Work{}, 3},
		{scalable(0, 1000, 1), 0, deploy.Work{Waiting: math.MaxInt, Running: math.MaxInt}, 1000},
	} {
		var s deploy.Scale
		if got := s.Replicas(c.f, c.now, c.work, midnight); got != c.want {
			t.Errorf("%+v, %d tasks, %+v: got %d, want %d", c.f.Replicas, c.now, c.work, got, c.want)
		}
	}
}

// follow looks at the same work each second for a time, and returns the number of tasks after it and how often it changed.
func follow(s *deploy.Scale, f *deploy.Function, now int, at *time.Time, d time.Duration, work func(second int) deploy.Work) (int, int) {
	changes := 0
	for second := range int(d / time.Second) {
		*at = at.Add(time.Second)
		next := s.Replicas(f, now, work(second), *at)
		if next != now {
			changes++
		}
		now = next
	}
	return now, changes
}

func steady(w deploy.Work) func(int) deploy.Work { return func(int) deploy.Work { return w } }

func TestTasksGoStepByStepAfterAnIdleTime(t *testing.T) {
	f, at := scalable(0, 8, 1), midnight
	var s deploy.Scale
	now, _ := follow(&s, f, 8, &at, time.Minute, steady(deploy.Work{}))
	for _, want := range []int{8, 4, 2, 1, 0} {
		if now != want {
			t.Errorf("%v: got %d tasks, want %d", at.Sub(midnight), now, want)
		}
		now, _ = follow(&s, f, now, &at, 10*time.Second, steady(deploy.Work{}))
	}
	if now != 0 {
		t.Errorf("got %d tasks in the end, want none", now)
	}
}

func TestALoadThatComesAndGoesKeepsItsTasks(t *testing.T) {
	f, at := scalable(0, 8, 1), midnight
	var s deploy.Scale
	waves := func(second int) deploy.Work { return deploy.Work{Running: 1 + 4*(second/20%2)} }
	now, _ := follow(&s, f, 0, &at, 10*time.Minute, waves)
	now, changes := follow(&s, f, now, &at, time.Hour, waves)
	if now != 5 || changes != 0 {
		t.Errorf("got %d tasks after %d changes, want 5 and no change", now, changes)
	}
}

func TestScaleStaysInItsRangeAndAboveWhatRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		least := rapid.IntRange(0, 10).Draw(t, "min")
		f := scalable(least, rapid.IntRange(max(1, least), 20).Draw(t, "max"), rapid.IntRange(1, 5).Draw(t, "concurrency"))
		s := deploy.Scale{Idle: time.Duration(rapid.IntRange(1, 60).Draw(t, "idle")) * time.Second}
		now, at := rapid.IntRange(0, 25).Draw(t, "now"), midnight
		for range rapid.IntRange(1, 200).Draw(t, "looks") {
			at = at.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "pause")) * time.Second)
			work := deploy.Work{Waiting: rapid.IntRange(0, 50).Draw(t, "waiting"), Running: rapid.IntRange(0, 50).Draw(t, "running")}
			now = s.Replicas(f, now, work, at)
			if now < f.Replicas.Min || now > f.Replicas.Max {
				t.Fatalf("%d tasks are not within %+v", now, f.Replicas)
			}
			if now < f.Replicas.Max && now*f.Concurrency < work.Running {
				t.Fatalf("%d tasks with %d slots are fewer than the %d pieces that run", now, f.Concurrency, work.Running)
			}
		}
	})
}

func TestScaleSettlesUnderASteadyLoad(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := scalable(rapid.IntRange(0, 5).Draw(t, "min"), rapid.IntRange(6, 20).Draw(t, "max"), rapid.IntRange(1, 5).Draw(t, "concurrency"))
		var s deploy.Scale
		at := midnight
		now := rapid.IntRange(0, 25).Draw(t, "now")
		for range rapid.IntRange(0, 200).Draw(t, "seconds of anything") {
			at = at.Add(time.Second)
			now = s.Replicas(f, now, deploy.Work{Waiting: rapid.IntRange(0, 50).Draw(t, "waiting")}, at)
		}
		load := deploy.Work{Running: rapid.IntRange(0, 50).Draw(t, "running")}
		now, _ = follow(&s, f, now, &at, 5*time.Minute, steady(load))
		want := min(max((load.Running+f.Concurrency-1)/f.Concurrency, f.Replicas.Min), f.Replicas.Max)
		settled, changes := follow(&s, f, now, &at, time.Hour, steady(load))
		if settled != want || changes != 0 {
			t.Fatalf("%d tasks after %d late changes, want %d and none", settled, changes, want)
		}
	})
}
