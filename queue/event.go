package queue

import (
	"crypto/rand"
	"crypto/sha256"
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
// was received, and whose headers are the rest.
type Event struct {
	ID          string            // ULID, never changes, also in replays and in the log; Publish and Call make one when empty
	Source      string            // the trigger it came through, as text
	Function    string            // the function it is for, as text
	ContentType string            // of Body
	Header      map[string]string // the sender's headers worth keeping; names in canonical form
	DeliveryID  string            // the sender's id of this delivery, the key to find repeats; "" when it has none
	Deadline    time.Time         // calls only
	Attempt     int               // attempts made before this one
	ReplayOf    string            // "FUNKER_EVENTS/42" when this is a replay of that message
	RunID       string            // ULID of the replay
	Body        []byte
}

// The headers of a message; see Event.
const (
	headerID       = "Funker-Event-Id"
	headerSource   = "Funker-Source"
	headerFunction = "Funker-Function"
	headerDeadline = "Funker-Deadline"
	headerAttempt  = "Funker-Attempt"
	headerReplayOf = "Funker-Replay-Of"
	headerRunID    = "Funker-Run-Id"
	headerSum      = "Funker-Body-Sha256"
	headerReplyTo  = "Funker-Reply-To"
	headerSubject  = "Funker-Subject"
	headerOutcome  = "Funker-Outcome"
	headerDuration = "Funker-Duration"
	headerCode     = "Funker-Code"
	headerError    = "Funker-Error"
	headerOrigin   = "Funker-Origin"
	headerMsgID    = "Nats-Msg-Id"
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
	sum := sha256.Sum256(e.Body)
	h[headerID] = []string{e.ID}
	h[headerSource] = []string{e.Source}
	h[headerFunction] = []string{e.Function}
	h[headerSum] = []string{hex.EncodeToString(sum[:])}
	set(h, headerType, e.ContentType)
	set(h, headerReplayOf, e.ReplayOf)
	set(h, headerRunID, e.RunID)
	if e.Attempt > 0 {
		set(h, headerAttempt, strconv.Itoa(e.Attempt))
	}
	if !e.Deadline.IsZero() {
		set(h, headerDeadline, e.Deadline.UTC().Format(time.RFC3339Nano))
	}
	return &nats.Msg{Subject: subject, Header: h, Data: e.Body}
}

func set(h nats.Header, name, value string) {
	if value != "" {
		h[name] = []string{value}
	}
}

// decode reads a message written by encode. It returns ErrCorrupt, together with what could be read, when the
// body is not the one that was stored.
func decode(m *nats.Msg) (*Event, error) {
	h := m.Header
	e := &Event{
		ID: h.Get(headerID), Source: h.Get(headerSource), Function: h.Get(headerFunction), ContentType: h.Get(headerType),
		ReplayOf: h.Get(headerReplayOf), RunID: h.Get(headerRunID), Body: m.Data, Header: make(map[string]string, 4),
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
	if a := h.Get(headerAttempt); a != "" {
		n, err := strconv.Atoi(a)
		if err != nil || n < 0 {
			return e, fmt.Errorf("%w: header %s is not a count", ErrCorrupt, headerAttempt)
		}
		e.Attempt = n
	}
	return e, checkSum(h.Get(headerSum), m.Data)
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

// messageID is the key of the duplicate window: the sender's id where it has one, else our own, so that a second
// publish of ours after an unknown outcome is harmless. Text from outside is hashed when it is long or odd.
func messageID(e *Event) string {
	if e.DeliveryID == "" {
		return e.ID + "." + e.Function
	}
	id := e.Source + "." + e.DeliveryID + "." + e.Function
	if len(id) > 200 || !plain(id) {
		sum := sha256.Sum256([]byte(id))
		return hex.EncodeToString(sum[:])
	}
	return id
}

func plain(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
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
