package queue

import "cmp"

// runState is where a run stands, in a byte. That of a call is its outcome.
type runState uint8

const (
	runNone runState = iota // nothing is known of the run, but of a replay of its event
	runWaiting
	runRetry
	runOK
	runDead
	runDropped
	runFailed
	runExpired
	runNoWorker
	runInterrupted
	runNotStarted
	runReplaced // of a record only: its newest run is dead, and an edited replay took its place
	runStates
)

var runStateNames = [runStates]State{
	"", StateWaiting, StateRetry, StateOK, StateDead, StateDropped, StateFailed, StateExpired, StateNoWorker, StateInterrupted, StateNotStarted, StateReplaced,
}

// runStateOf reads an outcome of the log. It returns runNone for one that ends nothing, such as lost.
func runStateOf(outcome []byte) runState {
	for s := runRetry; s < runStates; s++ {
		if string(outcome) == string(runStateNames[s]) {
			return s
		}
	}
	return runNone
}

func (s runState) ended() bool { return s > runRetry }

// record is an event or a call: what it is, and where its own run and its newest run stand. 32 bytes, because there
// may be millions.
type record struct {
	key      uint64
	last     seq48 // newest line of the log
	place    seq48 // where its own run stands in FUNKER_RETRY; of a dead one, in FUNKER_DEAD; 0 at the record itself
	newest   seq48 // root of the newest replay, in FUNKER_RETRY
	function uint16
	source   uint16
	run      runState // of its own run
	shown    runState // of its newest run
}

// bulky marks, in run, a record whose body is so large that it is not read for a list.
const (
	bulky     runState = 1 << 7
	bulkyBody          = 64 << 10
)

func (r *record) state() runState     { return r.run &^ bulky }
func (r *record) setState(s runState) { r.run = r.run&bulky | s }

// replay is a run that a person or a repeat of its event asked for.
type replay struct {
	record   ref
	key      uint64 // of the run's id
	place    uint64 // where it stands: as in record
	function uint16
	state    runState
}

// letter is a dead letter.
type letter struct {
	key      uint64
	bulky    bool
	stored   int64 // unix milliseconds
	root     ref
	record   ref
	function uint16
	source   uint16
	reason   uint16
}

// mark is a line of the log: the line before it of the same record, plus one; 1 when it is the first.
type mark uint64

// ledger knows of every stored message what the queue needs to tell where each run stands. It is told about the messages
// by note, those of a stream in their order. What it knows depends only on what is stored, not on the order between the
// streams, with one exception: a message that is told before the record it belongs to waits in late.
type ledger struct {
	names
	events  table[record]
	calls   table[record]
	replays table[replay]
	letters table[letter]
	lines   table[mark]
	late    []entry
	edited  map[ref]ref // roots of dead runs -> the events that took their place
	pulses  pulses      // how functions did lately
	near    uint64      // call of the line before: that of the next line is not far
	gone    int64       // runs whose message was dropped while they waited
}

// lateLimit is how old an entry may be that waits for its record, in milliseconds: longer than any message needs from
// one stream to the other. An older one belongs to a record that is gone. No more than lateMost wait.
const (
	lateLimit = 10_000
	lateMost  = 10_000
)

// note takes one message. now is in unix milliseconds.
func (l *ledger) note(e *entry, now int64) {
	known := true
	l.ended(e.ref.shelf(), e.ref.seq()+1)
	l.noteEdit(e)
	switch e.kind {
	case entryRecord:
		l.noteRecord(e)
	case entryReplay:
		known = l.noteReplay(e)
	case entrySchedule:
		known = l.noteMove(e, runRetry)
	case entryDue:
		known = l.noteMove(e, runWaiting)
	case entryLetter:
		known = l.noteLetter(e)
	case entryLine:
		known = l.noteLine(e, now)
	}
	if !known && now-e.stored < lateLimit && len(l.late) < lateMost {
		l.late = append(l.late, *e)
	}
}

// noteLate takes again what waits for its record.
func (l *ledger) noteLate(now int64) {
	late := l.late
	l.late = nil
	for i := range late {
		l.note(&late[i], now)
	}
}

func (l *ledger) records(s shelf) *table[record] {
	switch s {
	case shelfEvents:
		return &l.events
	case shelfCalls:
		return &l.calls
	}
	return nil
}

func (l *ledger) record(r ref) *record {
	if t := l.records(r.shelf()); t != nil {
		return t.at(r.seq())
	}
	return nil
}

func (l *ledger) replay(r ref) *replay {
	if r.shelf() != shelfRetry {
		return nil
	}
	return l.replays.at(r.seq())
}

func (l *ledger) noteRecord(e *entry) {
	r := l.records(e.ref.shelf()).add(e.ref.seq(), e.key)
	if r == nil {
		return
	}
	*r = record{key: e.key, function: e.function, source: e.source, run: runWaiting, shown: runWaiting}
	if e.size > bulkyBody {
		r.run |= bulky
	}
}

func (l *ledger) noteReplay(e *entry) bool {
	if r := l.replays.add(e.ref.seq(), e.key); r != nil && empty(r) {
		*r = replay{record: e.of(), key: e.run, function: e.function, state: runWaiting}
	}
	known := l.know(e)
	l.show(e.ref)
	return known
}

// show makes the state of a run that of its record, if it is the newest.
func (l *ledger) show(root ref) {
	if r := l.record(root); r != nil && r.newest == (seq48{}) {
		r.shown = l.seen(root, r.state())
	}
	p := l.replay(root)
	if p == nil {
		return
	}
	if r := l.record(p.record); r != nil && root.seq() >= r.newest.get() {
		r.newest, r.shown = pack(root.seq()), l.seen(root, p.state)
	}
}

// run returns where a run stands.
func (l *ledger) run(root ref) (state runState, place uint64, ok bool) {
	if r := l.record(root); r != nil {
		return r.state(), r.place.get(), true
	}
	if p := l.replay(root); p != nil {
		return p.state, p.place, true
	}
	return 0, 0, false
}

func (l *ledger) setRun(root ref, state runState, place uint64) {
	if r := l.record(root); r != nil {
		r.setState(state)
		r.place = pack(place)
	} else if p := l.replay(root); p != nil {
		p.state, p.place = state, place
	}
	l.show(root)
}

// know makes sure that the record and the run of a message are known. What is gone is made up, to go on from there. It
// returns false when either may still come.
func (l *ledger) know(e *entry) bool {
	of := e.of()
	if t := l.records(of.shelf()); t != nil && t.at(of.seq()) == nil {
		if of.seq() >= t.end {
			return false
		}
		t.keep(of.seq(), record{key: e.key, function: e.function, source: e.source})
	}
	if e.root.shelf() == shelfRetry && l.replays.at(e.root.seq()) == nil {
		if e.root.seq() >= l.replays.end {
			return false
		}
		made := replay{record: of, key: e.run, function: e.function}
		if r := l.record(of); r != nil && r.newest.get() == e.root.seq() {
			if made.state = r.shown; made.state == runReplaced {
				made.state = runDead
			}
		}
		l.replays.keep(e.root.seq(), made)
	}
	return true
}

// isStray reports whether a message is about another event, or another replay, than the one that has the place of its
// root. After a power cut an event that was never confirmed may be gone, and the next one gets its sequence, while what
// a worker had stored about it already is still there.
func (l *ledger) isStray(root ref, e *entry) bool {
	if r := l.record(root); r != nil {
		return !alike(r.key, e.key)
	}
	p := l.replay(root)
	return p != nil && !alike(p.key, e.run)
}

// noteMove takes a message that a run went on with.
func (l *ledger) noteMove(e *entry, state runState) bool {
	if !l.know(e) {
		return false
	}
	if l.isStray(e.root, e) {
		return true
	}
	if now, place, ok := l.run(e.root); ok && !now.ended() && e.ref.seq() > place {
		l.setRun(e.root, state, e.ref.seq())
	}
	return true
}

func (l *ledger) noteLetter(e *entry) bool {
	if !l.know(e) {
		return false
	}
	if l.isStray(e.root, e) {
		return true
	}
	if v := l.letters.add(e.ref.seq(), e.key); v != nil {
		*v = letter{
			key: e.key, bulky: e.size > bulkyBody, stored: e.stored, root: e.root, record: e.of(),
			function: e.function, source: e.source, reason: e.reason,
		}
	}
	if state, _, ok := l.run(e.root); ok && !state.ended() {
		l.setRun(e.root, runDead, e.ref.seq())
	}
	return true
}

// noteLine takes a line of the log: it belongs to a record, and may end a run.
func (l *ledger) noteLine(e *entry, now int64) bool {
	of := e.of()
	if of == 0 && e.root == 0 {
		if of = l.recordByID(e); of == 0 {
			return false
		}
	}
	if t := l.records(of.shelf()); t != nil && of.seq() >= t.end {
		return false
	}
	if l.isStray(of, e) || l.isStray(e.root, e) {
		return true
	}
	if r := l.record(of); r != nil {
		if m := l.lines.add(e.ref.seq(), 0); m != nil {
			*m = 1
			l.chain(r, e.ref.seq())
		}
	}
	if e.outcome != runNone {
		l.pulses.noteLine(e, of, now)
		l.noteOutcome(cmp.Or(e.root, of), of, e)
	}
	return true
}

// chain puts a line among those of its record, which are linked from the newest to the oldest.
func (l *ledger) chain(r *record, seq uint64) {
	newer := l.lines.at(seq)
	last := r.last.get()
	if seq > last {
		*newer, r.last = mark(last+1), pack(seq)
		return
	}
	for p := l.lines.at(last); p != nil; p = l.lines.at(uint64(*p - 1)) {
		if before := uint64(*p - 1); before < seq {
			*l.lines.at(seq), *p = *p, mark(seq+1)
			return
		}
	}
}

// noteOutcome ends a run, if it has not ended before. A dead letter that was stored after the run succeeded elsewhere
// does not change it, although it is told first.
func (l *ledger) noteOutcome(root, of ref, e *entry) {
	state, place, ok := l.run(root)
	if !ok {
		l.noteForgotten(root, of, e.outcome)
		return
	}
	switch {
	case e.outcome == runRetry:
		// The schedule is told before the line. Without one it is gone, and so is the retry.
		if state == runWaiting && place == 0 {
			l.setRun(root, runRetry, 0)
		}
	case e.outcome == runDropped:
		if v := l.letters.at(place); state == runDead && v != nil {
			*v = letter{}
		}
		if !state.ended() || state == runDead {
			l.setRun(root, runDropped, 0)
		}
	case e.outcome == runInterrupted && root.shelf() != shelfCalls: // it goes on elsewhere
	case !state.ended():
		l.setRun(root, e.outcome, 0)
	case state == runDead && e.outcome != runDead && l.letterAfter(place, e.stored):
		l.setRun(root, e.outcome, 0)
	}
}

// letterAfter reports whether a dead letter was stored at a time or later.
func (l *ledger) letterAfter(seq uint64, stored int64) bool {
	v := l.letters.at(seq)
	return v != nil && v.stored >= stored
}

// noteForgotten takes the outcome of a replay whose root is gone, for its record.
func (l *ledger) noteForgotten(root, of ref, outcome runState) {
	r := l.record(of)
	if r == nil || root.shelf() != shelfRetry || root.seq() < r.newest.get() || outcome == runInterrupted {
		return
	}
	if root.seq() > r.newest.get() {
		r.newest, r.shown = pack(root.seq()), runWaiting
	}
	if !r.shown.ended() || r.shown == runDead && outcome == runDropped {
		r.shown = outcome
	}
}

// recordByID finds the record of a line that does not name it: a call that ran in the process of its caller. Of two that
// have one key, it takes the one without a line.
func (l *ledger) recordByID(e *entry) (found ref) {
	for d := range uint64(64) {
		for _, seq := range [2]uint64{l.near + d, l.near - d} {
			if r := l.calls.at(seq); r != nil && r.key == e.key && r.function == e.function && r.last == (seq48{}) {
				l.near = seq
				return newRef(shelfCalls, seq)
			}
		}
	}
	for _, s := range []shelf{shelfCalls, shelfEvents} {
		for seq, r := range l.records(s).back(noEnd, span{e.key, e.key}) {
			if r.key != e.key || r.function != e.function {
				continue
			}
			if s == shelfCalls {
				l.near = seq
			}
			if found = newRef(s, seq); r.last == (seq48{}) {
				return found
			}
		}
	}
	return found
}
