package queue

// SetPaused keeps the slots of the feed from starting anything, or lets them go on. What runs already goes on to its end.
//
// While the function is paused its events and replays wait where they are: none is pulled, and one that a slot has but
// could not start is handed back, so no attempt is counted. Callers still find a worker, which refuses their calls with
// CodePaused: nobody waits for a timeout.
func (f *Feed) SetPaused(paused bool) {
	if f.halted.Swap(paused) && !paused {
		f.raise(laneRedo)
		f.raise(laneEvents)
	}
}

// PausedBy tells the gateway's queue which functions are paused: it refuses their calls by itself, also those for which
// no worker has a slot, and says so in Stats and metrics. Workers are told by SetPaused. is must not block, and may be
// called at any time from now on.
func (q *Queue) PausedBy(is func(function string) bool) { q.paused.Store(&is) }

// halts reports whether a function is paused, as far as this process knows.
func (q *Queue) halts(function string) bool {
	if is := q.paused.Load(); is != nil && (*is)(function) {
		return true
	}
	v, _ := q.feeds.Load(function)
	f, here := v.(*Feed)
	return here && f.halted.Load()
}
