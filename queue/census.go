package queue

// census counts runs by where they are. A run that waits or runs is counted for the consumer whose message it stands at.
type census struct {
	ends     [shelves]uint64 // messages from here on came after the server was asked
	accepted int64
	replays  int64
	ended    [runStates]int64
	retries  []int64 // that are scheduled, by the number of the function
	late     int64   // those that came after the server was asked
	lanes    [shelves][]laneCount
}

// laneCount is what a consumer should have.
type laneCount struct {
	position
	before uint64 // what it had delivered when the index was begun
	ahead  int64  // runs at messages that it has not delivered
	given  int64  // runs at messages that it has delivered
	old    int64  // those of them that it had delivered when the index was begun
	late   int64  // runs at messages that came after the server was asked
	oldest int64  // when the oldest of them all was accepted or replayed, unix milliseconds; 0 when there is none
}

// take counts what a ledger knows, at positions asked for before. started are those when the index was begun.
func (c *census) take(l *ledger, p, started positions) {
	c.retries = make([]int64, max(1, len(l.tokens)))
	now, begun := l.stands(p), l.stands(started)
	for s := range c.lanes {
		c.lanes[s] = make([]laneCount, len(now[s]))
		for i := range c.lanes[s] {
			c.lanes[s][i] = laneCount{position: now[s][i], before: begun[s][i].delivered}
		}
	}
	for seq, r := range l.events.each() {
		c.event(newRef(shelfEvents, seq), r)
	}
	for seq, r := range l.replays.each() {
		c.replay(newRef(shelfRetry, seq), r)
	}
}

func (c *census) event(root ref, r *record) {
	if r.state() == runNone {
		return
	}
	c.accepted++
	c.run(r.state(), root, r.place.get(), r.function, keyMade(r.key))
}

func (c *census) replay(root ref, r *replay) {
	c.replays++
	c.run(r.state, root, r.place, r.function, keyMade(r.key))
}

func (c *census) run(state runState, root ref, place uint64, function uint16, made int64) {
	at := root
	if place > 0 {
		at = newRef(shelfRetry, place)
	}
	switch {
	case state.ended():
		c.ended[state]++
	case state == runRetry && place > 0:
		c.retries[function]++
		if place >= c.ends[shelfRetry] {
			c.late++
		}
	default:
		c.lanes[at.shelf()][function].add(at.seq(), c.ends[at.shelf()], made)
	}
}

func (n *laneCount) add(seq, end uint64, made int64) {
	if seq > n.floor && made > 0 && (n.oldest == 0 || made < n.oldest) {
		n.oldest = made
	}
	switch {
	case seq >= end:
		n.late++
	case seq > n.delivered:
		n.ahead++
	default:
		if n.given++; seq <= n.before {
			n.old++
		}
	}
}

// balance compares the census with what the server has: the consumers, the retries that are scheduled, and the runs whose
// message was dropped before.
func (c *census) balance(scheduled, gone int64) Balance {
	b := Balance{
		Accepted: c.accepted + gone, Replays: c.replays, Succeeded: c.ended[runOK], Dropped: c.ended[runDropped], Drift: gone,
	}
	for state, n := range c.ended {
		if s := runState(state); s != runOK && s != runDropped { //nolint:gosec // below runStates
			b.Dead += n
		}
	}
	var retries int64
	for _, n := range c.retries {
		retries += n
	}
	missing := max(0, retries-c.late-scheduled)
	b.Scheduled, b.Drift = retries-missing, b.Drift+missing
	for s := range c.lanes {
		for i := range c.lanes[s] {
			c.lanes[s][i].balance(&b)
		}
	}
	return b
}

func (n *laneCount) balance(b *Balance) {
	missing := max(0, n.given-int64(n.running))
	unrecorded := min(missing, n.old)
	b.Running += n.given - missing
	b.Unrecorded += unrecorded
	b.Drift += missing - unrecorded
	b.Waiting += n.late
	missing = max(0, n.ahead-int64(n.waiting)) //nolint:gosec // a count of messages
	if !n.known {
		missing = 0 // the function has no workers yet
	}
	b.Waiting += n.ahead - missing
	b.Drift += missing
}
