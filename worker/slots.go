package worker

import (
	"context"
	"sync"
)

// slots are a number of slots that can change while they run. Not safe for concurrent use.
type slots struct {
	run     func(ctx context.Context) // one slot, until ctx ends and its last piece of work is settled
	stops   []context.CancelFunc
	running sync.WaitGroup
}

// resize starts slots, or tells some to end after what they run.
func (s *slots) resize(ctx context.Context, n int) {
	for len(s.stops) < n {
		slot, stop := context.WithCancel(ctx)
		s.stops = append(s.stops, stop)
		s.running.Go(func() {
			defer stop()
			s.run(slot)
		})
	}
	for ; len(s.stops) > n; s.stops = s.stops[:len(s.stops)-1] {
		s.stops[len(s.stops)-1]()
	}
}

// wait returns when no slot runs any more.
func (s *slots) wait() { s.running.Wait() }
