package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Outcome is what came of an attempt.
type Outcome string

// The outcomes. A Handler returns the first four.
const (
	OutcomeOK          Outcome = "ok"          // the function answered
	OutcomeFailed      Outcome = "failed"      // the function ran, or may have run, without success
	OutcomeNotStarted  Outcome = "not-started" // proven: the function did not run; no attempt was made
	OutcomeInterrupted Outcome = "interrupted" // the worker stopped before the function answered
	OutcomeExpired     Outcome = "expired"     // a call was not started, because its deadline was over
	OutcomeNoWorker    Outcome = "no-worker"   // a call was not started, because no worker has the function
	OutcomeRetry       Outcome = "retry"       // an event failed and will be tried again
	OutcomeDead        Outcome = "dead"        // an event failed and was given up: it is a dead letter
	OutcomeLost        Outcome = "lost"        // the workers that had the event died
	OutcomeDropped     Outcome = "dropped"     // a person dropped the dead letter
)

// Reason is why an event was given up.
type Reason string

// The reasons of dead letters.
const (
	ReasonRefused    Reason = "refused"     // the function says that no retry can help
	ReasonExhausted  Reason = "exhausted"   // all attempts failed
	ReasonExpired    Reason = "expired"     // it is older than the max-age of its function
	ReasonCrashed    Reason = "crashed"     // workers died with it again and again
	ReasonCorrupt    Reason = "corrupt"     // the stored body does not match its hash
	ReasonBadPayload Reason = "bad-payload" // the stored body is nothing that a function could be given
)

// Reasons are all reasons.
func Reasons() []Reason {
	return []Reason{ReasonExhausted, ReasonRefused, ReasonExpired, ReasonCrashed, ReasonCorrupt, ReasonBadPayload}
}

// ParseReason reads a reason as a person writes it; "" is none.
func ParseReason(s string) (Reason, error) {
	if s != "" && !slices.Contains(Reasons(), Reason(s)) {
		return "", fmt.Errorf("there is no reason %q: take %s", shorten(s, 40), choice(Reasons()))
	}
	return Reason(s), nil
}

// Result is what a Handler returns.
type Result struct {
	Outcome    Outcome
	Reply      []byte        // the function's answer: one JSON value
	Code       string        // one of the Code constants, when there is no answer
	Message    string        // the reason, for people; no secrets, no bodies
	Duration   time.Duration // of the attempt; filled in when zero
	Final      bool          // no retry can help
	RetryAfter time.Duration // how long the function asks to wait at least
	Reset      bool          // OutcomeNotStarted: the connection was reset, which is next to a proof; see Event.Resets
	Last       bool          // the slot takes no more work: its task is used up, or gone
}

const (
	maxErrorText = 1000 // bytes of a reason that are kept
	replyHead    = 256  // bytes of a reply that the log keeps
)

// attempted reports whether the function may have answered: otherwise no attempt is counted.
func (r Result) attempted() bool { return r.Code != CodeTooOld && r.Code != CodeWorkerDied }

// line is one line of the log: an attempt that ended.
type line struct {
	event   *Event
	result  Result
	outcome Outcome
	root    string
	reason  Reason
	next    time.Time // when the event is tried again
}

// logOutcome stores what came of an attempt. It never waits.
func (q *Queue) logOutcome(l line) {
	m := l.message()
	if q.clustered() {
		q.logging.Go(func() { q.storePatiently(l.event, m) })
		return
	}
	if err := q.nc.PublishMsg(m); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		q.logOf(l.event).Error("log outcome", "error", err)
	}
}

// storePatiently stores a record of the past, for as long as there may be no leader, and returns its sequence, or 0.
func (q *Queue) storePatiently(e *Event, m *nats.Msg) (seq uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), publishLimit)
	defer cancel()
	m.Header[headerMsgID] = []string{NewID()}
	err := q.persist(ctx, func(ctx context.Context) error {
		ack, err := q.js.PublishMsg(ctx, m)
		if err == nil {
			seq = ack.Sequence
		}
		return err
	})
	if err != nil {
		q.logOf(e).Error("record of the past not stored", "subject", m.Subject, "error", err)
	}
	return seq
}

func (l line) message() *nats.Msg {
	e, r := l.event, l.result
	attempt := e.Attempt
	if r.attempted() {
		attempt++
	}
	h := nats.Header{
		headerID: {e.ID}, headerSource: {e.Source}, headerFunction: {e.Function},
		headerOutcome: {string(l.outcome)}, headerDuration: {r.Duration.String()}, headerAttempt: {strconv.Itoa(attempt)},
	}
	set(h, headerCode, r.Code)
	set(h, headerError, oneLine(r.Message))
	set(h, headerRoot, l.root)
	set(h, headerReplayOf, e.ReplayOf)
	set(h, headerRunID, e.RunID)
	set(h, headerReplaces, e.Replaces)
	set(h, headerTraceparent, e.Traceparent)
	set(h, headerReason, string(l.reason))
	if !l.next.IsZero() {
		set(h, headerNext, l.next.UTC().Format(time.RFC3339Nano))
	}
	return &nats.Msg{Subject: logSubject(tokenOr(e.Source), tokenOr(e.Function)), Header: h, Data: r.Reply[:min(len(r.Reply), replyHead)]}
}

// tokenOr encodes a name that may have been written by hand.
func tokenOr(name string) string {
	token, err := Token(name)
	if err != nil {
		return "unknown"
	}
	return token
}

// oneLine makes text fit for a header.
func oneLine(s string) string {
	if s == "" {
		return ""
	}
	return shorten(strings.Join(strings.Fields(strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "�")), " "), maxErrorText)
}
