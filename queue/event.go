package queue

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"
)

// Event is one thing that happened, on its way to one function: an event, which is stored and run until it ends,
// or a call, whose sender waits until Deadline. It travels as a message whose data is Body, byte for byte as it
// was received, and whose headers are the rest. A body that does not fit is stored apart, and headers name it.
type Event struct {
	ID          string            // ULID, never changes, also in replays and in the log; Publish and Call make one when empty
	Source      string            // the trigger it came through, as text
	Function    string            // the function it is for, as text
	Name        string            // what happened, as the sender calls it; "" when it has no name for it
	Form        string            // how a payload is made of Body, for the one who calls the function; "" when Body is it
	ContentType string            // of Body
	Header      map[string]string // the sender's headers worth keeping; names in canonical form
	DeliveryID  string            // the same in every repeat of what the sender sent, the key to find them; "" when there is none
	Deadline    time.Time         // calls only
	Patient     bool              // calls only, not stored: without a worker it waits for one, until its deadline
	Attempt     int               // attempts made before this one
	Resets      int               // connections that were reset before a byte of the reply, and not taken for attempts
	ReplayOf    string            // "FUNKER_EVENTS/42" when this is a replay of that message
	RunID       string            // ULID of the replay
	EditOf      string            // "FUNKER_EVENTS/42" when a person made this of that event, with another body: see ReplayEdited
	Replaces    string            // root of the dead run whose place it takes; "" when that event was not dead
	Root        string            // first message of the run, when this is not it: "FUNKER_EVENTS/42", or "FUNKER_RETRY/7" of a replay
	Traceparent string            // the span in which it was stored, as W3C Trace Context writes it; "" when nothing is traced
	Tracestate  string            // likewise
	TraceLink   string            // likewise, of the run that this is a replay of, when the replay has no span of its own
	Body        []byte
	sum         string // hash that was stored with a body which does not match it: copies stay as damaged as they are
	claim       *claim // where the body is stored when it does not fit the message; nil otherwise
}

// run is the identity of the run: one event is run once, and once more for each replay.
func (e *Event) run() string { return cmp.Or(e.RunID, e.ID) }

// Accepted is when the event was accepted, to the millisecond, as its ID says. It is zero for an event that was published
// by hand without an id.
func (e *Event) Accepted() time.Time {
	id, err := ulid.ParseStrict(e.ID)
	if err != nil {
		return time.Time{}
	}
	return ulid.Time(id.Time()).UTC()
}

// age of the run: since the event was accepted, or replayed.
func (e *Event) age(stored time.Time) time.Duration {
	id, err := ulid.ParseStrict(e.run())
	if err != nil { // published by hand
		return time.Since(stored)
	}
	return time.Since(ulid.Time(id.Time()))
}

// The headers of a message; see Event.
const (
	headerID       = "Funker-Event-Id"
	headerSource   = "Funker-Source"
	headerFunction = "Funker-Function"
	headerName     = "Funker-Event-Name"
	headerForm     = "Funker-Form"
	headerDeadline = "Funker-Deadline"
	headerAttempt  = "Funker-Attempt"
	headerResets   = "Funker-Resets"
	headerReplayOf = "Funker-Replay-Of"
	headerEditOf   = "Funker-Edit-Of"
	headerReplaces = "Funker-Replaces"
	headerRunID    = "Funker-Run-Id"
	headerSum      = "Funker-Body-Sha256"
	headerObject   = "Funker-Body-Object"
	headerSize     = "Funker-Body-Size"
	headerReplyTo  = "Funker-Reply-To"
	headerSubject  = "Funker-Subject"
	headerOutcome  = "Funker-Outcome"
	headerDuration = "Funker-Duration"
	headerCode     = "Funker-Code"
	headerError    = "Funker-Error"
	headerRoot     = "Funker-Root"
	headerNext     = "Funker-Next"
	headerReason   = "Funker-Reason"
	headerMsgID    = "Nats-Msg-Id"
	headerMsgSize  = "Nats-Msg-Size" // of the data, when it is left out
	headerSchedule = "Nats-Schedule"
	headerTarget   = "Nats-Schedule-Target"
	headerType     = "Content-Type"
)

// ErrCorrupt is returned for a stored message whose body does not match its hash, or whose headers cannot be read.
var ErrCorrupt = errors.New("stored message is corrupt")

var entropy = &ulid.LockedMonotonicReader{MonotonicReader: ulid.Monotonic(rand.Reader, 0)}

// NewID returns a new ULID: 48 bits of milliseconds and 80 random bits, ascending within this process.
func NewID() string { return ulid.MustNew(ulid.Now(), entropy).String() }

// encode writes the event as a message. Headers of the sender cannot take the place of our own.
func encode(e *Event, subject string) *nats.Msg {
	h := make(nats.Header, len(e.Header)+8)
	for k, v := range e.Header {
		if !reserved(k) && validHeader(k, v) {
			h[k] = []string{v}
		}
	}
	data := e.Body
	if e.claim != nil {
		e.claim.write(h)
		data = nil
	} else {
		sum := sha256.Sum256(data)
		h[headerSum] = []string{cmp.Or(e.sum, hex.EncodeToString(sum[:]))}
	}
	h[headerID] = []string{e.ID}
	h[headerSource] = []string{e.Source}
	h[headerFunction] = []string{e.Function}
	set(h, headerName, e.Name)
	set(h, headerForm, e.Form)
	set(h, headerType, e.ContentType)
	set(h, headerReplayOf, e.ReplayOf)
	set(h, headerRunID, e.RunID)
	set(h, headerEditOf, e.EditOf)
	set(h, headerReplaces, e.Replaces)
	set(h, headerRoot, e.Root)
	set(h, headerTraceparent, e.Traceparent)
	set(h, headerTracestate, e.Tracestate)
	set(h, headerTraceLink, e.TraceLink)
	if e.Attempt > 0 {
		set(h, headerAttempt, strconv.Itoa(e.Attempt))
	}
	if e.Resets > 0 {
		set(h, headerResets, strconv.Itoa(e.Resets))
	}
	if !e.Deadline.IsZero() {
		set(h, headerDeadline, e.Deadline.UTC().Format(time.RFC3339Nano))
	}
	return &nats.Msg{Subject: subject, Header: h, Data: data}
}

func set(h nats.Header, name, value string) {
	if value != "" {
		h[name] = []string{value}
	}
}

// decode reads a message written by encode. It returns ErrCorrupt, together with what could be read, when the
// body is not the one that was stored. It leaves out a body that is stored apart: see Queue.body.
func decode(m *nats.Msg) (*Event, error) {
	h := m.Header
	e := &Event{
		ID: h.Get(headerID), Source: h.Get(headerSource), Function: h.Get(headerFunction), ContentType: h.Get(headerType),
		Name: h.Get(headerName), Form: h.Get(headerForm),
		ReplayOf: h.Get(headerReplayOf), RunID: h.Get(headerRunID), EditOf: h.Get(headerEditOf), Replaces: h.Get(headerReplaces), Root: h.Get(headerRoot),
		Traceparent: h.Get(headerTraceparent), Tracestate: h.Get(headerTracestate), TraceLink: h.Get(headerTraceLink),
		Body: m.Data, Header: make(map[string]string, 4),
	}
	for k, v := range h {
		if len(v) > 0 && !reserved(k) {
			e.Header[k] = v[0]
		}
	}
	if d := h.Get(headerDeadline); d != "" {
		t, err := time.Parse(time.RFC3339Nano, d)
		if err != nil {
			return e, fmt.Errorf("%w: header %s: %w", ErrCorrupt, headerDeadline, err)
		}
		e.Deadline = t
	}
	e.Resets, _ = strconv.Atoi(h.Get(headerResets)) // written by us, or 0
	if a := h.Get(headerAttempt); a != "" {
		n, err := strconv.Atoi(a)
		if err != nil || n < 0 {
			return e, fmt.Errorf("%w: header %s is not a count", ErrCorrupt, headerAttempt)
		}
		e.Attempt = n
	}
	var err error
	if e.claim, err = readClaim(h); e.claim != nil || err != nil {
		e.Body = nil
		return e, err
	}
	err = checkSum(h.Get(headerSum), m.Data)
	if err != nil {
		e.sum = h.Get(headerSum)
	}
	return e, err
}

// readEvent is decode for a message that is stored at a place, such as "FUNKER_EVENTS/42". An event that was published by
// hand gets what it lacks: its names from the subject, and the place for an id.
func readEvent(subject string, header nats.Header, data []byte, place string) (*Event, error) {
	e, err := decode(&nats.Msg{Header: header, Data: data})
	source, function := namesIn(subject)
	e.ID, e.Source, e.Function = cmp.Or(e.ID, place), cmp.Or(e.Source, source), cmp.Or(e.Function, function)
	return e, err
}

// checkSum allows a missing hash: a message published by hand has none.
func checkSum(want string, body []byte) error {
	if want == "" {
		return nil
	}
	sum := sha256.Sum256(body)
	if hex.EncodeToString(sum[:]) != want {
		return fmt.Errorf("%w: body does not match its hash", ErrCorrupt)
	}
	return nil
}

func reserved(name string) bool {
	return name == headerType || strings.HasPrefix(name, "Funker-") || strings.HasPrefix(name, "Nats-")
}

// validHeader refuses what would break the header block of a message: a header is text on one line.
func validHeader(name, value string) bool {
	return name != "" && !strings.ContainsAny(name, ": \t\r\n") && !strings.ContainsAny(value, "\r\n\x00") && utf8.ValidString(name+value)
}

// messageID is the key of the duplicate window: of the sender's id where it has one, else of our own, so that a second
// publish of ours after an unknown outcome is harmless. It is a digest, because the server keeps it in memory for as long
// as the window, and because the parts may hold anything.
func messageID(e *Event) string {
	sum := sha256.Sum256([]byte(e.Source + "\x00" + cmp.Or(e.DeliveryID, e.ID) + "\x00" + e.Function))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// shorten cuts s to at most n bytes, at a rune boundary, and marks the cut.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// choice writes words as "group, always or none".
func choice[T ~string](words []T) string {
	var b strings.Builder
	for i, w := range words {
		switch i {
		case 0:
		case len(words) - 1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(string(w))
	}
	return b.String()
}
