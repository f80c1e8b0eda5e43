package worker

import (
	"sync"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// waitWarnEvery is how often it is worth a warning that the events of a function wait for a task. One of them is tried
// twice a second.
const waitWarnEvery = time.Minute

// waits bounds these warnings.
type waits struct {
	every time.Duration

	mu   sync.Mutex
	last map[string]*waitWarning // by function and code
}

type waitWarning struct {
	at      time.Time
	skipped int // tries since then
}

func newWaits() *waits { return &waits{every: waitWarnEvery, last: map[string]*waitWarning{}} }

// due reports whether a try that found no task is worth a warning, and how many were not since the last one.
func (w *waits) due(e *queue.Event, r queue.Result) (skipped int, due bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key, now := e.Function+" "+r.Code, time.Now()
	last := w.last[key]
	if last != nil && now.Sub(last.at) < w.every {
		last.skipped++
		return 0, false
	}
	w.last[key] = &waitWarning{at: now}
	if last == nil {
		return 0, true
	}
	return last.skipped, true
}
