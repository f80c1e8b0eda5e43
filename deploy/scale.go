package deploy

import (
	"cmp"
	"time"
)

const (
	// DefaultIdle is how long a function needs fewer tasks than it has before the first of them goes.
	DefaultIdle = time.Minute

	// stepDown is the pause before the next tasks go, unless Idle is shorter.
	stepDown = 10 * time.Second
)

// Work is what a function has to do at one moment.
type Work struct {
	Waiting int // calls that wait, and events that are due, for the first time or again
	Running int // calls and events that tasks work on
}

// Scale decides how many tasks a function gets, from looks at its work about once a second. The zero value is ready. It
// takes no lock.
//
// Up: at once, and to as many tasks as have a slot for each piece of work that waits or runs. A task has Concurrency slots;
// the only slot of a one-shot task is one piece of work.
//
// Down: when the function has needed fewer tasks than it has for the whole time Idle, half of those that it never needed in
// that time go, at least one, and after 10 s (or Idle, when it is shorter) half of the rest, and so on. Then a new time begins. So a load that comes and
// goes within Idle keeps its tasks, and a steady one keeps as many as it needs.
type Scale struct {
	Idle time.Duration // DefaultIdle when 0

	downAt time.Time // when tasks may go; zero while all are needed
	peak   int       // most tasks that were needed in the present time
}

// Replicas returns how many tasks f gets, within its Replicas and never fewer than what runs needs; now is how many the
// swarm is asked for at present.
func (s *Scale) Replicas(f *Function, now int, work Work, at time.Time) int {
	needed := f.Replicas.clamp(tasksFor(f, work))
	switch {
	case needed >= now, now > f.Replicas.Max:
		s.downAt = time.Time{}
		return max(needed, min(now, f.Replicas.Max))
	case s.downAt.IsZero():
		s.begin(needed, at)
	}
	s.peak = max(s.peak, needed)
	if at.Before(s.downAt) {
		return now
	}
	if s.peak >= now { // all that is left was needed at its time: see whether it still is
		s.begin(needed, at)
		return now
	}
	s.downAt = at.Add(min(stepDown, s.idle()))
	return now - (now-s.peak+1)/2
}

func (s *Scale) begin(needed int, at time.Time) {
	s.peak, s.downAt = needed, at.Add(s.idle())
}

func (s *Scale) idle() time.Duration { return cmp.Or(s.Idle, DefaultIdle) }

// tasksFor is how many tasks have a slot for all the work. It counts no more work than the largest function can take at once,
// so that sums stay small.
func tasksFor(f *Function, work Work) int {
	const most = maxReplicas * maxConcurrency
	slots := max(1, f.Concurrency)
	pieces := min(max(0, work.Waiting), most) + min(max(0, work.Running), most)
	return (pieces + slots - 1) / slots
}
