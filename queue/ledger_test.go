package queue

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"
)

// store is what the streams hold, told to ledgers as the index would read it.
type store struct {
	now     int64 // unix milliseconds
	streams [shelves][]storedMessage
	first   [shelves]uint64
}

type storedMessage struct {
	subject string
	header  nats.Header
	at      ref
	stored  int64
	purged  bool
}

func (s *store) add(shelf shelf, subject string, header nats.Header) ref {
	s.now++
	at := newRef(shelf, uint64(len(s.streams[shelf])+1))
	s.streams[shelf] = append(s.streams[shelf], storedMessage{subject: subject, header: header, at: at, stored: s.now})
	return at
}

func (s *store) message(at ref) *storedMessage { return &s.streams[at.shelf()][at.seq()-1] }

// block is a header as it is stored.
func block(h nats.Header) []byte {
	var b bytes.Buffer
	b.WriteString("NATS/1.0\r\n")
	for _, k := range slices.Sorted(maps.Keys(h)) {
		fmt.Fprintf(&b, "%s: %s\r\n", k, h[k][0])
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// follower tells a ledger what is stored, as index.catchUp does.
type follower struct {
	store  *store
	ledger ledger
	next   [shelves]uint64
	first  [2][shelves]uint64 // noted the last two times
}

func newFollower(s *store) *follower {
	f := &follower{store: s, first: [2][shelves]uint64{s.first, s.first}}
	for shelf := range f.next {
		f.next[shelf] = 1
		f.ledger.forgetting(f.waited).trim(shelfOf(shelfStreams[shelf]), max(s.first[shelf], 1))
	}
	return f
}

func (f *follower) waited(ref, string) bool { return true }

// follow reads everything; meanwhile is called between the notes of the ends.
func (f *follower) follow(meanwhile func()) {
	var ends, first [shelves]uint64
	for s := shelfLog; s >= shelfEvents; s-- {
		ends[s], first[s] = uint64(len(f.store.streams[s])), f.store.first[s]
		meanwhile()
	}
	for s := shelfEvents; s < shelves; s++ {
		for f.next[s] <= ends[s] {
			m := f.store.message(newRef(s, f.next[s]))
			f.next[s]++
			if !m.purged && m.at.seq() >= f.store.first[s] {
				e := f.ledger.readEntry(m.at, m.stored, []byte(m.subject), block(m.header))
				f.ledger.note(&e, f.store.now)
			}
		}
		f.ledger.ended(s, f.next[s])
	}
	f.ledger.noteLate(f.store.now)
	for s := shelfEvents; s < shelves; s++ {
		f.ledger.forgetting(f.waited).trim(s, f.first[0][s])
	}
	f.first = [2][shelves]uint64{f.first[1], first}
}

// chronicle is a random history of events: the messages, and what they mean, told naively.
type chronicle struct {
	store
	t       *rapid.T
	records []*told
	runs    []*toldRun
}

type told struct {
	at       ref
	id       string
	source   string
	function string
	lines    []uint64
	newest   *toldRun
	replaces string // root of a dead run whose place it took
}

type toldRun struct {
	of       *told
	root     ref
	function string
	id       string
	state    runState
	place    ref // of the message to run, or of its schedule
	letter   ref
	attempts int
	edited   bool // an edited replay took its place
}

func (r *toldRun) header(source string) nats.Header {
	h := nats.Header{headerID: {r.of.id}, headerSource: {source}, headerFunction: {r.function}}
	set(h, headerReplaces, r.of.replaces)
	if r.root != 0 {
		h[headerRoot] = []string{r.root.String()}
	}
	if r.root != r.of.at {
		h[headerReplayOf], h[headerRunID] = []string{r.of.at.String()}, []string{r.id}
	}
	return h
}

var someNames = []string{"Build", "AMAZON.HelpIntent", "f"}

// newID makes an id whose key no other one has.
func (h *chronicle) newID() string { return idAt(time.UnixMilli(h.now)) }

func (h *chronicle) accept() { h.acceptFor(nil) }

// edit takes the place of a dead run with a new event.
func (h *chronicle) edit() {
	r := h.pick(func(r *toldRun) bool {
		return r.state == runDead && r.of.newest == r && r.letter.seq() >= h.first[shelfDead]
	})
	if r != nil {
		h.acceptFor(r)
	}
}

func (h *chronicle) acceptFor(replaced *toldRun) {
	e := &told{id: h.newID(), source: rapid.SampledFrom(someNames).Draw(h.t, "source"), function: rapid.SampledFrom(someNames).Draw(h.t, "function")}
	if replaced != nil {
		e.replaces, replaced.edited = replaced.root.String(), true
	}
	event := &Event{ID: e.id, Source: e.source, Function: e.function, Replaces: e.replaces, Header: map[string]string{"X-Odd": "Funker-Root: FUNKER_EVENTS/1"}}
	m := encode(event, eventSubject(tokenOr(e.source), tokenOr(e.function)))
	e.at = h.add(shelfEvents, m.Subject, m.Header)
	h.begin(e, e.at, e.function)
}

func (h *chronicle) begin(e *told, root ref, function string) *toldRun {
	r := &toldRun{of: e, root: root, function: function, id: NewID(), state: runWaiting, place: root}
	e.newest = r
	if root.shelf() == shelfEvents {
		h.records = append(h.records, e)
	}
	h.runs = append(h.runs, r)
	return r
}

// call records a call that ran in the process of its caller: its line does not name it.
func (h *chronicle) call() {
	e := &told{id: h.newID(), source: "alexa", function: rapid.SampledFrom(someNames).Draw(h.t, "function")}
	m := encode(&Event{ID: e.id, Source: e.source, Function: e.function}, calledSubject(callSubject(e.source, tokenOr(e.function))))
	outcome := rapid.SampledFrom([]runState{runOK, runFailed, runNoWorker, runExpired, runNotStarted, runInterrupted}).Draw(h.t, "outcome")
	line := nats.Header{headerID: {e.id}, headerOutcome: {string(runStateNames[outcome])}}
	early := rapid.Bool().Draw(h.t, "the line is stored first")
	logged := logSubject(e.source, tokenOr(e.function))
	if early {
		e.lines = append(e.lines, h.add(shelfLog, logged, line).seq())
	}
	e.at = h.add(shelfCalls, m.Subject, m.Header)
	if !early {
		e.lines = append(e.lines, h.add(shelfLog, logged, line).seq())
	}
	h.records = append(h.records, e)
	e.newest = &toldRun{of: e, root: e.at, state: outcome} // it is no run that the balance counts
}

// pick chooses a run, or nil when none fits.
func (h *chronicle) pick(fits func(*toldRun) bool) *toldRun {
	var all []*toldRun
	for _, r := range h.runs {
		if fits(r) {
			all = append(all, r)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return rapid.SampledFrom(all).Draw(h.t, "run")
}

func (r *toldRun) waits() bool { return r.state == runWaiting }

func (h *chronicle) line(r *toldRun, outcome string) {
	head := r.header(r.of.source)
	head[headerOutcome], head[headerAttempt] = []string{outcome}, []string{strconv.Itoa(r.attempts)}
	at := h.add(shelfLog, logSubject(tokenOr(r.of.source), tokenOr(r.function)), head)
	r.of.lines = append(r.of.lines, at.seq())
}

func (h *chronicle) succeed() {
	r := h.pick((*toldRun).waits)
	if r == nil {
		return
	}
	h.line(r, "ok")
	r.state = runOK
}

func (h *chronicle) retry() {
	r := h.pick((*toldRun).waits)
	if r == nil {
		return
	}
	r.attempts++
	r.place = h.add(shelfRetry, retrySubject(tokenOr(r.function), r.id), r.header(r.of.source))
	h.line(r, "retry")
	r.state = runRetry
}

func (h *chronicle) fire() {
	r := h.pick(func(r *toldRun) bool { return r.state == runRetry })
	if r == nil {
		return
	}
	h.message(r.place).purged = true
	r.place = h.add(shelfRetry, redoSubject(tokenOr(r.function)), r.header(r.of.source))
	r.state = runWaiting
}

func (h *chronicle) handBack() {
	r := h.pick((*toldRun).waits)
	if r == nil {
		return
	}
	h.line(r, "interrupted")
	r.place = h.add(shelfRetry, redoSubject(tokenOr(r.function)), r.header(r.of.source))
}

func (h *chronicle) die() {
	r := h.pick((*toldRun).waits)
	if r == nil {
		return
	}
	head := r.header(r.of.source)
	head[headerReason] = []string{rapid.SampledFrom([]string{"exhausted", "refused"}).Draw(h.t, "reason")}
	r.letter = h.add(shelfDead, deadSubject(tokenOr(r.of.source), tokenOr(r.function)), head)
	h.line(r, "dead")
	r.state = runDead
}

func (h *chronicle) drop() {
	r := h.pick(func(r *toldRun) bool { return r.state == runDead && r.letter.seq() >= h.first[shelfDead] })
	if r == nil {
		return
	}
	h.line(r, "dropped")
	h.message(r.letter).purged = true
	r.state, r.letter = runDropped, 0
}

func (h *chronicle) replay() {
	if len(h.records) == 0 {
		return
	}
	e := rapid.SampledFrom(h.records).Draw(h.t, "record")
	function := rapid.SampledFrom(someNames).Draw(h.t, "to")
	r := &toldRun{of: e, root: 1, function: function, id: NewID()}
	head := r.header(e.source)
	delete(head, headerRoot)
	run := h.begin(e, h.add(shelfRetry, redoSubject(tokenOr(function)), head), function)
	h.message(run.root).header[headerRunID] = []string{run.id}
}

// repeat lets a worker run a message again whose run has gone on: its copy, its letter or its line changes nothing.
func (h *chronicle) repeat() {
	r := h.pick(func(r *toldRun) bool { return r.state.ended() && r.state != runDropped })
	if r == nil {
		return
	}
	copies := 2
	if r.state == runOK {
		copies = 3 // the server stores one dead letter of a run only
	}
	switch rapid.IntRange(0, copies).Draw(h.t, "again") {
	case 0:
		h.line(r, "ok")
	case 1:
		h.line(r, "lost")
	case 2:
		at := h.add(shelfRetry, retrySubject(tokenOr(r.function), r.id), r.header(r.of.source))
		h.line(r, "retry")
		h.message(at).purged = rapid.Bool().Draw(h.t, "fired")
	case 3:
		h.add(shelfDead, deadSubject(tokenOr(r.of.source), tokenOr(r.function)), r.header(r.of.source))
	}
}

// trimFront drops from the front of a stream what is done.
func (h *chronicle) trimFront() {
	s := rapid.SampledFrom([]shelf{shelfEvents, shelfCalls, shelfRetry}).Draw(h.t, "stream")
	first := uint64(rapid.IntRange(0, len(h.streams[s])).Draw(h.t, "first"))
	for _, r := range h.runs {
		if r.place.shelf() == s && !r.state.ended() {
			first = min(first, r.place.seq())
		}
	}
	h.first[s] = max(h.first[s], first)
}

// state of a record, as its newest run tells.
func (e *told) state() State {
	if e.newest.state == runDead && e.newest.edited {
		return StateReplaced
	}
	return runStateNames[e.newest.state]
}

func (h *chronicle) compare(what string, l *ledger) {
	s := l.stands(positions{})
	for _, e := range h.records {
		gone := e.at.seq() < h.first[e.at.shelf()]
		if gone && e.newest.state.ended() && e.newest.state != runDead {
			continue
		}
		r := l.record(e.at)
		if r == nil {
			h.t.Fatalf("%s: %s is not known", what, e.at)
		}
		f := l.find(e.at, r, &s)
		slices.Sort(e.lines)
		if f.state != e.state() || !gone && !slices.Equal(f.lines, e.lines[max(0, len(e.lines)-maxAttempts):]) {
			h.t.Fatalf("%s: %s is %q with lines %v, want %q with %v", what, e.at, f.state, f.lines, e.state(), e.lines)
		}
		want := e.newest.letter
		if !e.newest.state.ended() && e.newest.place != e.newest.root {
			want = e.newest.place
		}
		if f.state == StateReplaced {
			want = 0
		}
		if f.place != want {
			h.t.Fatalf("%s: %s stands at %q, want %q", what, e.at, f.place, want)
		}
	}
	for _, r := range h.runs {
		if r.state == runDead && r.letter.seq() >= h.first[shelfDead] {
			v := l.letters.at(r.letter.seq())
			if v == nil || v.root != r.root || v.record != r.of.at || l.unanswered(v) != (r.of.newest == r && !r.edited) {
				h.t.Fatalf("%s: letter %s is %+v, newest %v", what, r.letter, v, r.of.newest == r)
			}
		}
	}
}

// tally compares the census with the chronicle, as long as nothing is gone.
func (h *chronicle) tally(l *ledger) {
	want := Balance{}
	for _, r := range h.runs {
		if r.root.shelf() == shelfRetry {
			want.Replays++
		} else {
			want.Accepted++
		}
		switch r.state {
		case runWaiting:
			want.Waiting++
		case runRetry:
			want.Scheduled++
		case runOK:
			want.Succeeded++
		case runDead:
			want.Dead++
		case runDropped:
			want.Dropped++
		}
	}
	c := census{}
	for s := range c.ends {
		c.ends[s] = ^uint64(0)
	}
	c.take(l, positions{}, positions{})
	if got := c.balance(want.Scheduled, l.gone); got != want {
		h.t.Fatalf("balance is %+v, want %+v", got, want)
	}
}

func TestLedger_GivesCallsOfOneKeyALineEach(t *testing.T) {
	var l ledger
	call := entry{kind: entryRecord, key: 77, function: 1}
	for seq := range uint64(2) {
		call.ref = newRef(shelfCalls, seq+1)
		l.note(&call, 0)
	}
	for seq := range uint64(2) {
		line := entry{ref: newRef(shelfLog, seq+1), kind: entryLine, key: 77, function: 1, outcome: runOK}
		l.note(&line, 0)
	}
	for seq := range uint64(2) {
		if r := l.calls.at(seq + 1); r.shown != runOK || r.last.get() == 0 {
			t.Errorf("call %d: got %+v", seq+1, r)
		}
	}
}

func TestLedger_TellsWhatTheHistoryTells(t *testing.T) {
	setRapid(t, "rapid.steps", "60")
	rapid.Check(t, func(rt *rapid.T) {
		h := &chronicle{t: rt, store: store{now: time.Now().UnixMilli()}}
		f := newFollower(&h.store)
		trimmed := false
		moves := map[string]func(){
			"accept": h.accept, "accept another": h.accept, "call": h.call, "succeed": h.succeed, "retry": h.retry, "fire": h.fire,
			"hand back": h.handBack, "die": h.die, "drop": h.drop, "replay": h.replay, "edit": h.edit, "repeat": h.repeat,
			"trim": func() { h.trimFront(); trimmed = true },
		}
		names := slices.Sorted(maps.Keys(moves))
		moves["follow"] = func() {
			f.follow(func() {})
			h.compare("followed", &f.ledger)
			if !trimmed {
				h.tally(&f.ledger)
			}
		}
		moves["sweep"] = func() { f.ledger.sweep() }
		moves["follow while it goes on"] = func() {
			f.follow(func() {
				for range rapid.IntRange(0, 3).Draw(rt, "moves") {
					moves[rapid.SampledFrom(names).Draw(rt, "move")]()
				}
			})
		}
		actions := map[string]func(*rapid.T){}
		for name, move := range moves {
			actions[name] = func(*rapid.T) { move() }
		}
		rt.Repeat(actions)
		f.follow(func() {})
		h.compare("followed", &f.ledger)
		anew := newFollower(&h.store)
		anew.follow(func() {})
		h.compare("built anew", &anew.ledger)
		if f.ledger.gone != 0 {
			rt.Fatalf("%d runs are gone", f.ledger.gone)
		}
	})
}
