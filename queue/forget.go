package queue

import "maps"

// ended notes that a stream was read up to a sequence: what was not there is gone.
func (l *ledger) ended(s shelf, next uint64) {
	switch s {
	case shelfEvents, shelfCalls:
		t := l.records(s)
		t.end = max(t.end, next)
	case shelfRetry:
		l.replays.end = max(l.replays.end, next)
	}
}

// forgetter drops messages that are gone from their stream. waited tells whether no worker had a message when the index
// was begun: what became of one that a worker had may not have been recorded. Any other run whose message goes before it
// has ended is lost, and counted.
type forgetter struct {
	*ledger
	waited func(at ref, function string) bool
	retry  uint64 // first message of FUNKER_RETRY
}

func (l *ledger) forgetting(waited func(at ref, function string) bool) forgetter {
	return forgetter{l, waited, l.replays.first}
}

// trim drops the messages of a stream below first.
func (f forgetter) trim(s shelf, first uint64) {
	switch s {
	case shelfEvents:
		f.events.trim(first, f.event)
	case shelfCalls:
		f.calls.trim(first, f.call)
	case shelfRetry:
		f.retry = max(f.retry, first)
		f.replays.trim(first, f.replay)
	case shelfDead:
		f.letters.trim(first, func(uint64, *letter) bool { return false })
	case shelfLog:
		f.lines.trim(first, func(uint64, *mark) bool { return false })
	}
}

// event reports whether an event that goes must be kept.
func (f forgetter) event(seq uint64, r *record) bool {
	f.lose(newRef(shelfEvents, seq), r.state(), r.place.get(), r.function)
	return f.neededRecord(r)
}

// call does so for a call. It is lost to nobody but its caller, who has heard of it.
func (f forgetter) call(_ uint64, r *record) bool { return f.neededRecord(r) }

// replay does so for a replay.
func (f forgetter) replay(seq uint64, p *replay) bool {
	f.lose(newRef(shelfRetry, seq), p.state, p.place, p.function)
	return p.state == runDead || !p.state.ended() && p.place >= f.retry
}

func (f forgetter) lose(root ref, state runState, place uint64, function uint16) {
	at := root
	if place > 0 {
		at = newRef(shelfRetry, place)
	}
	if (at == root || place < f.retry) && !state.ended() && f.waited(at, f.token(function)) {
		f.gone++
	}
}

// neededRecord reports whether a record that is gone may go on in another stream: as a retry, a replay or a dead letter.
func (l *ledger) neededRecord(r *record) bool {
	return l.openRecord(r) || r.state() == runDead || r.newest != (seq48{})
}

func (l *ledger) openRecord(r *record) bool {
	place := r.place.get()
	return !r.state().ended() && place > 0 && place >= l.replays.first || r.newest != (seq48{}) && !r.shown.ended()
}

func (l *ledger) openReplay(p *replay) bool { return !p.state.ended() && p.place >= l.replays.first }

func (l *ledger) keptCount() int {
	return len(l.events.kept) + len(l.calls.kept) + len(l.replays.kept) + len(l.edited)
}

// sweep drops the kept values that nothing depends on any more.
func (l *ledger) sweep() {
	named := map[ref]bool{}
	for _, v := range l.letters.all(0, everything) {
		named[v.root], named[v.record] = true, true
	}
	maps.DeleteFunc(l.replays.kept, func(seq uint64, p *replay) bool {
		return !l.openReplay(p) && !named[newRef(shelfRetry, seq)]
	})
	for _, p := range l.replays.each() {
		named[p.record] = true
	}
	for _, s := range []shelf{shelfEvents, shelfCalls} {
		kept := l.records(s).kept
		maps.DeleteFunc(kept, func(seq uint64, r *record) bool { return !l.openRecord(r) && !named[newRef(s, seq)] })
	}
	maps.DeleteFunc(l.edited, func(root, _ ref) bool {
		_, _, known := l.run(root)
		return !known
	})
}
