package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrNotFound means that no stored event or call has the id, or none has the sequence.
var ErrNotFound = errors.New("no such event")

// Record is a stored event or call and what came of it.
type Record struct {
	ID       string            `json:"id"`
	Kind     string            `json:"kind"`   // "event" or "call"
	Origin   string            `json:"origin"` // where it is stored: "FUNKER_EVENTS/42"
	Time     time.Time         `json:"time"`
	Source   string            `json:"source"`
	Function string            `json:"function"`
	State    State             `json:"state"`
	Next     time.Time         `json:"next,omitzero"`         // StateRetry: when it is tried again
	Reason   Reason            `json:"reason,omitempty"`      // StateDead, StateDropped, StateReplaced: why it was given up
	DeadAs   string            `json:"dead_as,omitempty"`     // StateDead: its dead letter, "FUNKER_DEAD/3"
	ReplayOf string            `json:"replay_of,omitempty"`   // the event that this one was made of, by an edited replay
	Edited   bool              `json:"edited,omitempty"`      // likewise
	Replaced string            `json:"replaced_by,omitempty"` // StateReplaced: where the event is that took its place
	Note     string            `json:"note,omitempty"`        // what else is to be known of the state
	Name     string            `json:"name,omitempty"`        // as in Event
	Form     string            `json:"form,omitempty"`        // as in Event
	Size     int               `json:"size"`                  // of the body, in bytes
	Type     string            `json:"content_type,omitempty"`
	Header   map[string]string `json:"headers,omitempty"`
	Body     Body              `json:"body,omitempty"` // only Get fills it in
	Omitted  bool              `json:"body_omitted,omitempty"`
	Attempts []Attempt         `json:"attempts"` // in the order of time, those of replays too; the newest 100
}

// Body is a body as it was received. As JSON it is itself, or {"base64": …} when it is no JSON.
type Body []byte

// MarshalJSON implements json.Marshaler.
func (b Body) MarshalJSON() ([]byte, error) {
	if json.Valid(b) {
		return b, nil
	}
	return json.Marshal(map[string][]byte{"base64": b})
}

// UnmarshalJSON implements json.Unmarshaler.
func (b *Body) UnmarshalJSON(data []byte) error {
	var odd struct{ Base64 *[]byte }
	if json.Unmarshal(data, &odd) == nil && odd.Base64 != nil {
		*b = *odd.Base64
		return nil
	}
	*b = append((*b)[:0], data...)
	return nil
}

// State is where an event or a call stands: its newest run, when it was replayed.
type State string

// The states. Those from StateFailed on are of calls only: nobody tries them again.
const (
	StateWaiting     State = "waiting" // for a worker
	StateRunning     State = "running" // a worker has it
	StateRetry       State = "retry"   // it failed and waits for its next attempt
	StateOK          State = "ok"      // it succeeded
	StateDead        State = "dead"    // it was given up: it is a dead letter
	StateDropped     State = "dropped" // a person dropped the dead letter
	StateFailed      State = "failed"
	StateExpired     State = "expired"
	StateNoWorker    State = "no-worker"
	StateInterrupted State = "interrupted"
	StateNotStarted  State = "not-started"
	StateReplaced    State = "replaced" // it was given up, and a person sent it again as another event, edited
)

// States are all states.
func States() []State {
	return []State{
		StateWaiting, StateRunning, StateRetry, StateOK, StateDead, StateDropped, StateReplaced,
		StateFailed, StateExpired, StateNoWorker, StateInterrupted, StateNotStarted,
	}
}

// ParseState reads a state as a person writes it; "" is none.
func ParseState(s string) (State, error) {
	if s != "" && !slices.Contains(States(), State(s)) {
		return "", fmt.Errorf("there is no state %q: take %s", shorten(s, 40), choice(States()))
	}
	return State(s), nil
}

// Attempt is one line of the log.
type Attempt struct {
	Event    string        `json:"event"`
	Time     time.Time     `json:"time"` // when it ended
	Source   string        `json:"source"`
	Function string        `json:"function"`
	Number   int           `json:"attempt,omitempty"` // within its run, from 1
	Outcome  Outcome       `json:"outcome"`
	Duration time.Duration `json:"duration_ns"`
	Code     string        `json:"code,omitempty"`
	Error    string        `json:"error,omitempty"`
	Reason   Reason        `json:"reason,omitempty"` // of OutcomeDead
	Next     time.Time     `json:"next,omitzero"`    // of OutcomeRetry: when the next attempt is due
	Reply    string        `json:"reply,omitempty"`  // of OutcomeOK: its first 256 bytes
	Root     string        `json:"root,omitempty"`   // first message of the run
	ReplayOf string        `json:"replay_of,omitempty"`
	Run      string        `json:"run,omitempty"` // id of the replay
}

func newRecord(m *jetstream.RawStreamMsg, at ref) Record {
	size := len(m.Data)
	for _, name := range []string{headerMsgSize, headerSize} {
		if n, err := strconv.Atoi(m.Header.Get(name)); err == nil {
			size = n
		}
	}
	kind := "event"
	if at.shelf() == shelfCalls {
		kind = "call"
	}
	e, _ := readEvent(m.Subject, m.Header, m.Data, at.String()) // a body that is left out, or corrupt, is no reason not to show the rest
	return Record{
		ID: e.ID, Kind: kind, Origin: at.String(), Time: m.Time, Source: e.Source, Function: e.Function,
		State: StateWaiting, Name: e.Name, Form: e.Form, Size: size, Type: e.ContentType, Header: e.Header, Body: m.Data, Attempts: []Attempt{},
		ReplayOf: e.EditOf, Edited: e.EditOf != "",
	}
}

func newAttempt(m *nats.Msg, at time.Time) Attempt {
	h := m.Header
	// What was written by hand may lack any of these.
	duration, _ := time.ParseDuration(h.Get(headerDuration))
	number, _ := strconv.Atoi(h.Get(headerAttempt))
	next, _ := time.Parse(time.RFC3339Nano, h.Get(headerNext))
	return Attempt{
		Event: h.Get(headerID), Time: at, Source: h.Get(headerSource), Function: h.Get(headerFunction), Number: number,
		Outcome: Outcome(h.Get(headerOutcome)), Duration: duration, Code: h.Get(headerCode), Error: h.Get(headerError),
		Reason: Reason(h.Get(headerReason)), Next: next, Reply: strings.ToValidUTF8(string(m.Data), "�"),
		Root: h.Get(headerRoot), ReplayOf: h.Get(headerReplayOf), Run: h.Get(headerRunID),
	}
}

// Get returns the record that ref names, with its body: the ULID of an event or call, a sequence number of
// FUNKER_EVENTS, or a stream and a sequence ("FUNKER_CALLS/7"). A retry, a replay or a dead letter names its event; when
// that is gone it is shown itself. Errors: ErrNotFound, ErrIndexing.
func (q *Queue) Get(ctx context.Context, ref string) (Record, error) {
	if q.index == nil {
		return q.askRecord(ctx, ref)
	}
	at, err := q.resolve(ctx, ref)
	if err != nil {
		return Record{}, err
	}
	m, err := q.message(ctx, at.shelf().String(), at.seq())
	if err != nil {
		return Record{}, err
	}
	of := recordOf(m, at)
	if of != at {
		own, err := q.message(ctx, of.shelf().String(), of.seq())
		switch {
		case err == nil:
			m, at = own, of
		case !errors.Is(err, ErrNotFound):
			return Record{}, err
		}
	}
	f, err := q.finding(ctx, of)
	if err != nil {
		return Record{}, err
	}
	r := newRecord(m, at)
	body, err := q.body(ctx, m.Header, m.Data)
	switch {
	case err == nil:
		r.Body = body
	case !errors.Is(err, ErrCorrupt):
		return Record{}, err
	}
	return r, q.describe(ctx, &r, f)
}

// recordOf returns the event or call that a message belongs to, or the message when it says nothing of one.
func recordOf(m *jetstream.RawStreamMsg, at ref) ref {
	for _, r := range []ref{parseRef(m.Header.Get(headerReplayOf)), parseRef(m.Header.Get(headerRoot))} {
		if s := r.shelf(); s == shelfEvents || s == shelfCalls {
			return r
		}
	}
	return at
}

// finding asks the index for one record, of which it may know nothing.
func (q *Queue) finding(ctx context.Context, of ref) (finding, error) {
	if err := q.index.fresh(ctx); err != nil {
		return finding{}, err
	}
	p, err := q.index.positionsFor(ctx, of)
	if err != nil {
		return finding{}, err
	}
	f := q.index.find(of, p)
	if f.bare { // or what became of it was recorded between the two questions
		if err := q.index.fresh(ctx); err != nil {
			return finding{}, err
		}
		f = q.index.find(of, p)
	}
	return f, nil
}

// find returns an empty finding for a record that is not known.
func (x *index) find(of ref, p positions) finding {
	x.mu.RLock()
	defer x.mu.RUnlock()
	r := x.ledger.record(of)
	if r == nil {
		return finding{}
	}
	s := x.ledger.stands(p)
	return x.ledger.find(of, r, &s)
}

// positionsFor returns those that are needed to tell where a record stands.
func (x *index) positionsFor(ctx context.Context, of ref) (p positions, err error) {
	x.mu.RLock()
	waits := false
	var token string
	if r := x.ledger.record(of); r != nil {
		_, function := x.ledger.message(x.ledger.newestRun(of, r))
		waits, token = r.shown == runWaiting, x.ledger.token(function)
	}
	x.mu.RUnlock()
	if !waits {
		return p, nil
	}
	for _, s := range []shelf{shelfRetry, shelfEvents} {
		c, err := x.js.Consumer(ctx, s.String(), consumerName(token))
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			continue
		}
		if err != nil {
			return p, fmt.Errorf("look up consumer of %s on %s: %w", token, s, err)
		}
		p[s] = map[string]position{token: newPosition(c.CachedInfo())}
	}
	return p, nil
}

// describe adds to a record what the index found.
func (q *Queue) describe(ctx context.Context, r *Record, f finding) error {
	if f.record == 0 {
		return nil
	}
	r.State = f.state
	if f.bare {
		r.Note = "what became of it is not recorded, or not yet"
	}
	for _, seq := range f.lines {
		m, err := q.message(ctx, streamLog, seq)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if m.Header.Get(headerID) == r.ID {
			r.Attempts = append(r.Attempts, newAttempt(&nats.Msg{Header: m.Header, Data: m.Data}, m.Time))
		}
	}
	switch r.State {
	case StateDead:
		r.DeadAs, r.Reason = f.place.String(), Reason(f.reason)
	case StateReplaced:
		r.Replaced = f.by.String()
	case StateRetry:
		return q.describeRetry(ctx, r, f)
	}
	for _, a := range slices.Backward(r.Attempts) {
		if r.Reason == "" && (r.State == StateDead || r.State == StateDropped || r.State == StateReplaced) {
			r.Reason = a.Reason
		}
	}
	return nil
}

// describeRetry tells when the next attempt is due: the line of the last one says so, or else the schedule.
func (q *Queue) describeRetry(ctx context.Context, r *Record, f finding) error {
	if n := len(r.Attempts); n > 0 && !r.Attempts[n-1].Next.IsZero() {
		r.Next = r.Attempts[n-1].Next
		return nil
	}
	if f.place == 0 {
		return nil // it is lost, and will be given out again: see rescue
	}
	m, err := q.message(ctx, streamRetry, f.place.seq())
	if errors.Is(err, ErrNotFound) {
		return nil // it is due
	}
	if err != nil {
		return err
	}
	// A schedule that cannot be read was not written by us.
	r.Next, _ = time.Parse(time.RFC3339Nano, strings.TrimPrefix(m.Header.Get(headerSchedule), "@at "))
	return nil
}
