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
	"github.com/oklog/ulid/v2"
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

// Filter chooses records. The zero value of a field chooses all.
type Filter struct {
	Kind     string // "event" or "call"
	Function string
	Source   string
	State    State
	Since    time.Time
	Until    time.Time
	Limit    int // newest first; DefaultLimit
}

// readLimit is how long a temporary consumer lives without a reader.
const readLimit = 10 * time.Second

const (
	// DefaultLimit is how many records List returns when the filter names no limit.
	DefaultLimit = 20
	// MaxLimit is how many records List returns at most.
	MaxLimit  = 1000
	clockSkew = 2 * time.Second // between who made an id and who stored the message
)

// List returns the newest records that match, newest first.
func (q *Queue) List(ctx context.Context, f Filter) ([]Record, error) {
	if f.Limit <= 0 {
		f.Limit = DefaultLimit
	}
	f.Limit = min(f.Limit, MaxLimit)
	var all []Record
	for _, kind := range []string{"event", "call"} {
		if f.Kind != "" && f.Kind != kind {
			continue
		}
		records, err := q.newest(ctx, kind, f)
		if err != nil {
			return nil, err
		}
		all = append(all, records...)
	}
	slices.SortStableFunc(all, func(a, b Record) int { return b.Time.Compare(a.Time) })
	return all[:min(len(all), f.Limit)], nil
}

// newest reads ever larger windows from the end of a stream, until enough records match.
func (q *Queue) newest(ctx context.Context, kind string, f Filter) ([]Record, error) {
	stream, subjects, err := place(kind, f)
	if err != nil {
		return nil, err
	}
	state, err := q.state(ctx, stream)
	if err != nil {
		return nil, err
	}
	var found []Record
	end := state.LastSeq + 1
	first := max(state.FirstSeq, 1)
	for window := uint64(f.Limit) * 2; end > first && len(found) < f.Limit; window *= 4 {
		start := max(first, end-min(end, window))
		part, err := q.between(ctx, stream, subjects, start, end)
		if err != nil {
			return nil, err
		}
		matching, err := q.matching(ctx, part, f)
		if err != nil {
			return nil, err
		}
		found = append(matching, found...)
		if end = start; len(part) > 0 && part[0].Time.Before(f.Since) {
			break
		}
	}
	return found[max(0, len(found)-f.Limit):], nil
}

// matching adds the attempts to the records and keeps those that the filter chooses.
func (q *Queue) matching(ctx context.Context, records []Record, f Filter) ([]Record, error) {
	records = slices.DeleteFunc(records, func(r Record) bool {
		return !f.Since.IsZero() && r.Time.Before(f.Since) || !f.Until.IsZero() && r.Time.After(f.Until)
	})
	if len(records) == 0 {
		return nil, nil
	}
	if err := q.addAttempts(ctx, records); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(records, func(r Record) bool { return f.State != "" && r.State != f.State }), nil
}

func place(kind string, f Filter) (stream string, subjects []string, err error) {
	source, function := "*", "*"
	if f.Source != "" {
		if source, err = Token(f.Source); err != nil {
			return "", nil, err
		}
	}
	if f.Function != "" {
		if function, err = Token(f.Function); err != nil {
			return "", nil, err
		}
	}
	if kind == "call" {
		subject := callSubject(source, function)
		return streamCalls, []string{subject, calledSubject(subject)}, nil
	}
	return streamEvents, []string{eventSubject(source, function)}, nil
}

// between reads the records of a subject with start <= sequence < end, without their bodies.
func (q *Queue) between(ctx context.Context, stream string, subjects []string, start, end uint64) ([]Record, error) {
	var records []Record
	err := q.read(ctx, stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: subjects, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: start, HeadersOnly: true,
	}, func(m *nats.Msg, meta *jetstream.MsgMetadata) bool {
		if meta.Sequence.Stream >= end {
			return false
		}
		records = append(records, newRecord(m, meta.Stream, meta.Sequence.Stream, meta.Timestamp))
		return meta.Sequence.Stream < end-1
	})
	return records, err
}

// read gives the messages that a temporary consumer sees to f, until f returns false or all are read.
func (q *Queue) read(ctx context.Context, stream string, cfg jetstream.OrderedConsumerConfig, f func(*nats.Msg, *jetstream.MsgMetadata) bool) error {
	cfg.InactiveThreshold = readLimit
	c, err := q.js.OrderedConsumer(ctx, stream, cfg)
	if err != nil {
		return fmt.Errorf("read %s: %w", stream, err)
	}
	defer func() {
		// The server forgets the consumer by itself after readLimit.
		_ = q.js.DeleteConsumer(context.WithoutCancel(ctx), stream, c.CachedInfo().Name)
	}()
	if c.CachedInfo().NumPending == 0 {
		return nil
	}
	it, err := c.Messages()
	if err != nil {
		return fmt.Errorf("read %s: %w", stream, err)
	}
	defer it.Stop()
	for {
		m, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("read %s: %w", stream, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read %s: %w", stream, err)
		}
		if !f(&nats.Msg{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()}, meta) || meta.NumPending == 0 {
			return nil
		}
	}
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

// find resolves what a person calls an event.
func (q *Queue) find(ctx context.Context, ref string) (stream string, seq uint64, err error) {
	ref = strings.TrimSpace(ref)
	if stream, text, ok := strings.Cut(ref, "/"); ok && (stream == streamEvents || stream == streamCalls || stream == streamRetry) {
		seq, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return "", 0, fmt.Errorf("%w: %q has no sequence number", ErrNotFound, shorten(ref, 80))
		}
		return stream, seq, nil
	}
	if seq, err := strconv.ParseUint(ref, 10, 64); err == nil {
		return streamEvents, seq, nil
	}
	id, err := ulid.ParseStrict(ref)
	if err != nil {
		return "", 0, fmt.Errorf("%w: %q is neither an event id (26 letters and digits) nor a sequence number", ErrNotFound, shorten(ref, 80))
	}
	return q.findID(ctx, id)
}

// findID looks for an id from the time on that it carries: events first, then calls.
func (q *Queue) findID(ctx context.Context, id ulid.ULID) (string, uint64, error) {
	since := ulid.Time(id.Time()).Add(-clockSkew)
	want := id.String()
	for _, stream := range []string{streamEvents, streamCalls} {
		var seq uint64
		err := q.read(ctx, stream, jetstream.OrderedConsumerConfig{
			DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since, HeadersOnly: true,
		}, func(m *nats.Msg, meta *jetstream.MsgMetadata) bool {
			if m.Header.Get(headerID) == want {
				seq = meta.Sequence.Stream
			}
			return seq == 0
		})
		if err != nil {
			return "", 0, err
		}
		if seq > 0 {
			return stream, seq, nil
		}
	}
	return "", 0, fmt.Errorf("%w: %s", ErrNotFound, want)
}

func (q *Queue) message(ctx context.Context, stream string, seq uint64) (*jetstream.RawStreamMsg, error) {
	s, err := q.js.Stream(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", stream, err)
	}
	m, err := s.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fmt.Errorf("%w: %s/%d", ErrNotFound, stream, seq)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s/%d: %w", stream, seq, err)
	}
	return m, nil
}

func (q *Queue) state(ctx context.Context, stream string) (jetstream.StreamState, error) {
	s, err := q.js.Stream(ctx, stream)
	if err != nil {
		return jetstream.StreamState{}, fmt.Errorf("open %s: %w", stream, err)
	}
	return s.CachedInfo().State, nil
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
