package queue

import (
	"cmp"
	"math/rand/v2"
	"time"
)

// Retry says how often and until when an event is tried. A zero field means its default.
type Retry struct {
	Attempts int           // in all, the first one included; 8
	Initial  time.Duration // longest wait before the second attempt; 1 s
	Max      time.Duration // longest wait between two attempts; 10 min
	MaxAge   time.Duration // since the event was accepted or replayed; 24 h
}

func (r Retry) withDefaults() Retry {
	return Retry{
		Attempts: cmp.Or(r.Attempts, 8), Initial: cmp.Or(r.Initial, time.Second),
		Max: cmp.Or(r.Max, 10*time.Minute), MaxAge: cmp.Or(r.MaxAge, 24*time.Hour),
	}
}

// growth is by how much the longest wait grows with each attempt: 1 s, 5 s, 25 s, 2 min, 10 min.
const growth = 5

// wait is how long to wait after the given number of attempts: a random time up to Initial, Initial × 5, and so on up
// to Max, so that events which failed together do not come back together ("full jitter",
// https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). It is at least what the function asked for.
func (r Retry) wait(attempts int, asked time.Duration) time.Duration {
	longest := min(r.Initial, r.Max)
	for i := 1; i < attempts && longest < r.Max; i++ {
		longest = min(longest*growth, r.Max)
	}
	return max(asked, rand.N(longest+1)) //nolint:gosec // jitter is no secret
}
