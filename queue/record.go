package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
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
	Size     int               `json:"size"` // of the body, in bytes
	Type     string            `json:"content_type,omitempty"`
	Header   map[string]string `json:"headers,omitempty"`
	Body     Body              `json:"body,omitempty"` // only Get fills it in
	Attempts []Attempt         `json:"attempts"`       // in the order of time, those of replays too
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

// State is where an event stands, by its newest attempt: StateWaiting without any, else the attempt's outcome.
type State string

// ParseState reads a state as a person writes it.
func ParseState(s string) (State, error) {
	states := []State{StateWaiting}
	for _, o := range []Outcome{OutcomeOK, OutcomeFailed, OutcomeNotStarted, OutcomeInterrupted, OutcomeExpired, OutcomeNoWorker} {
		states = append(states, State(o))
	}
	if i := slices.Index(states, State(s)); s != "" && i < 0 {
		return "", fmt.Errorf("there is no outcome %q: take one of %v", shorten(s, 40), states)
	}
	return State(s), nil
}

// StateWaiting means that no attempt has ended yet.
const StateWaiting State = "waiting"

// Attempt is one line of the log.
type Attempt struct {
	Event    string        `json:"event"`
	Time     time.Time     `json:"time"`
	Source   string        `json:"source"`
	Function string        `json:"function"`
	Outcome  Outcome       `json:"outcome"`
	Duration time.Duration `json:"duration_ns"`
	Code     string        `json:"code,omitempty"`
	Error    string        `json:"error,omitempty"`
	Origin   string        `json:"origin,omitempty"` // the message that was run
	ReplayOf string        `json:"replay_of,omitempty"`
}

func newRecord(m *nats.Msg, stream string, seq uint64, at time.Time) Record {
	size := len(m.Data)
	if n, err := strconv.Atoi(m.Header.Get("Nats-Msg-Size")); err == nil {
		size = n
	}
	kind := "event"
	if stream == streamCalls {
		kind = "call"
	}
	e, _ := decode(m) // a body that is left out, or corrupt, is no reason not to show the rest
	return Record{
		ID: e.ID, Kind: kind, Origin: stream + "/" + strconv.FormatUint(seq, 10), Time: at, Source: e.Source, Function: e.Function,
		State: StateWaiting, Size: size, Type: e.ContentType, Header: e.Header, Body: m.Data, Attempts: []Attempt{},
	}
}

// addAttempts reads the log from the oldest of the records on.
func (q *Queue) addAttempts(ctx context.Context, records []Record) error {
	byID := make(map[string][]int, len(records))
	for i, r := range records {
		byID[r.ID] = append(byID[r.ID], i)
	}
	since := records[0].Time.Add(-clockSkew)
	return q.read(ctx, streamLog, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since, HeadersOnly: true,
	}, func(m *nats.Msg, meta *jetstream.MsgMetadata) bool {
		a := newAttempt(m, meta.Timestamp)
		for _, i := range byID[a.Event] {
			// An event for several functions is several records with one id. A replay may go to yet another function.
			if r := &records[i]; a.Function == r.Function || a.ReplayOf == r.Origin {
				r.Attempts = append(r.Attempts, a)
				r.State = State(a.Outcome)
			}
		}
		return true
	})
}

func newAttempt(m *nats.Msg, at time.Time) Attempt {
	h := m.Header
	d, err := time.ParseDuration(h.Get(headerDuration))
	if err != nil {
		d = 0 // written by hand
	}
	return Attempt{
		Event: h.Get(headerID), Time: at, Source: h.Get(headerSource), Function: h.Get(headerFunction), Outcome: Outcome(h.Get(headerOutcome)),
		Duration: d, Code: h.Get(headerCode), Error: h.Get(headerError), Origin: h.Get(headerOrigin), ReplayOf: h.Get(headerReplayOf),
	}
}

// Get returns the record that ref names, with its body: the ULID of an event or call, a sequence number of
// FUNKER_EVENTS, or a stream and a sequence ("FUNKER_CALLS/7"). It returns ErrNotFound.
func (q *Queue) Get(ctx context.Context, ref string) (Record, error) {
	stream, seq, err := q.find(ctx, ref)
	if err != nil {
		return Record{}, err
	}
	raw, err := q.message(ctx, stream, seq)
	if err != nil {
		return Record{}, err
	}
	records := []Record{newRecord(&nats.Msg{Header: raw.Header, Data: raw.Data}, stream, raw.Sequence, raw.Time)}
	if err := q.addAttempts(ctx, records); err != nil {
		return Record{}, err
	}
	return records[0], nil
}

// Tail gives every attempt that ends from now on to f, until ctx is cancelled.
func (q *Queue) Tail(ctx context.Context, f func(Attempt)) error {
	c, err := q.js.OrderedConsumer(ctx, streamLog, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy})
	if err != nil {
		return fmt.Errorf("read %s: %w", streamLog, err)
	}
	it, err := c.Messages()
	if err != nil {
		return fmt.Errorf("read %s: %w", streamLog, err)
	}
	defer it.Stop()
	for {
		m, err := it.Next(jetstream.NextContext(ctx))
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", streamLog, err)
		}
		at := time.Now()
		if meta, err := m.Metadata(); err == nil {
			at = meta.Timestamp
		}
		f(newAttempt(&nats.Msg{Header: m.Headers()}, at))
	}
}
