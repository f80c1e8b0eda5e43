package queue

import "slices"

// finding is what the ledger knows of one record, for whoever shows it.
type finding struct {
	record ref
	made   int64 // unix milliseconds
	bulky  bool
	state  State
	bare   bool     // the run has ended, but what became of it was not recorded
	place  ref      // where its newest run stands, when that is not the record: a retry or a dead letter
	reason string   // of the dead letter
	by     ref      // the event that took its place, of StateReplaced
	lines  []uint64 // of the log, the oldest first
}

// maxAttempts bounds how many attempts of a record are shown: the newest.
const maxAttempts = 100

// stands are positions by the numbers of the functions.
type stands [shelves][]position

func (l *ledger) stands(p positions) (s stands) {
	for shelf := range p {
		s[shelf] = make([]position, max(1, len(l.tokens)))
		for i, token := range l.tokens {
			s[shelf][i] = p[shelf][token]
		}
	}
	return s
}

// find returns what is known of a record.
func (l *ledger) find(of ref, r *record, s *stands) finding {
	f := finding{record: of, made: keyMade(r.key), bulky: r.run&bulky != 0}
	f.state, f.bare = l.stateOf(of, r, s)
	_, place, _ := l.run(l.newestRun(of, r))
	switch {
	case r.shown == runReplaced:
		f.by = l.edited[l.newestRun(of, r)]
	case place == 0:
	case r.shown == runDead:
		f.place = newRef(shelfDead, place)
		if v := l.letters.at(place); v != nil {
			f.reason = l.token(v.reason)
		}
	case !r.shown.ended():
		f.place = newRef(shelfRetry, place)
	}
	for seq := r.last.get(); len(f.lines) < maxAttempts; {
		m := l.lines.at(seq)
		if m == nil {
			break
		}
		f.lines = append(f.lines, seq)
		seq = uint64(*m - 1)
	}
	slices.Reverse(f.lines)
	return f
}

// newestRun returns the root of the newest run of a record.
func (l *ledger) newestRun(of ref, r *record) ref {
	if n := r.newest.get(); n > 0 {
		return newRef(shelfRetry, n)
	}
	return of
}

// message returns the message where a run stands that waits or runs, and the function it is for.
func (l *ledger) message(root ref) (at ref, function uint16) {
	at = root
	var place uint64
	if r := l.record(root); r != nil {
		place, function = r.place.get(), r.function
	} else if p := l.replay(root); p != nil {
		place, function = p.place, p.function
	}
	if place > 0 {
		at = newRef(shelfRetry, place)
	}
	return at, function
}

// stateOf tells where a record stands. A run whose message is acknowledged, and which went nowhere else, succeeded: bare
// is true when no line of the log says so.
func (l *ledger) stateOf(of ref, r *record, s *stands) (state State, bare bool) {
	if r.shown != runWaiting || of.shelf() == shelfCalls && r.newest == (seq48{}) {
		return runStateNames[r.shown], false
	}
	at, function := l.message(l.newestRun(of, r))
	pos := s[at.shelf()][function]
	switch {
	case at.seq() > pos.delivered:
		return StateWaiting, false
	case at.seq() <= pos.floor:
		return StateOK, true
	}
	return StateRunning, false
}
