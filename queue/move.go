package queue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// An event that did not succeed is moved on: to its next attempt, to another worker, or to the dead letters. The copy
// is on disk before the message it replaces is acknowledged, so whatever dies meanwhile, the event is in one of the two
// places or in both, and a copy in both is found by delivery.standing.

// movePause is the time between two tries to store a copy.
const movePause = time.Second

// fail moves an event on after an attempt that failed.
func (d *delivery) fail(ctx context.Context, r Result) {
	l := line{event: d.event, result: r, root: d.root}
	l.reason, l.next = d.slot.feed.retry.Load().verdict(r, d.event.Attempt+1, d.age(), time.Now())
	copied := *d.event
	copied.Root = d.root
	if r.attempted() {
		copied.Attempt++
	}
	var m *nats.Msg
	if l.reason == "" {
		l.outcome = OutcomeRetry
		m = retryMessage(&copied, l.next, d.place())
	} else {
		l.outcome = OutcomeDead
		m = deadLetter(&copied, l.reason)
	}
	set(m.Header, headerCode, r.Code)
	set(m.Header, headerError, oneLine(r.Message))
	if d.move(ctx, m) {
		if l.outcome == OutcomeDead {
			d.slot.feed.q.warnOfDeath(&copied, l.reason, r.Code)
		}
		if d.record(ctx, l) {
			d.acknowledge(ctx)
		}
	}
}

// warnOfDeath is the line that somebody should look at.
func (q *Queue) warnOfDeath(e *Event, r Reason, code string) {
	q.logOf(e).Error("event given up: it is a dead letter", "function", e.Function, "source", e.Source, "reason", r, "code", code,
		"attempts", e.Attempt)
}

// handBack gives an event whose attempt did not count to whichever worker takes it next. A negative acknowledgement
// would not do: it counts as a delivery, and an event that was delivered too often is taken for one that kills workers.
func (d *delivery) handBack(ctx context.Context) {
	m := d.again()
	m.Header[headerMsgID] = []string{NewID()}
	if d.move(ctx, m) {
		d.acknowledge(ctx)
	}
}

// again is the event as a message for any worker. What this program cannot read stays as it is.
func (d *delivery) again() *nats.Msg {
	to := redoSubject(tokenOr(d.event.Function))
	if errors.Is(d.broken, errNewer) {
		m := copyOf(d.msg, to)
		m.Header[headerRoot] = []string{d.root}
		return m
	}
	copied := *d.event
	copied.Root = d.root
	return encode(&copied, to)
}

// move stores a copy, for as long as it takes. It gives up when the worker stops, or when another worker has the event.
func (d *delivery) move(ctx context.Context, m *nats.Msg) bool {
	q := d.slot.feed.q
	for warned := false; ; warned = true {
		_, err := q.store(context.WithoutCancel(ctx), m)
		if err == nil {
			return true
		}
		if !warned {
			q.logOf(d.event).Warn("event cannot be moved on: trying again", "to", m.Subject, "error", err)
		}
		pause := movePause
		if errors.Is(err, ErrUnavailable) {
			pause = restTime
		}
		if d.slot.pause(ctx, pause); ctx.Err() != nil || d.lost() {
			q.logOf(d.event).Warn("event stays where it is", "function", d.event.Function)
			return false
		}
		if d.standing(ctx) == outcomeMoved && q.flush(context.WithoutCancel(ctx), "") == nil {
			return true // the copy was stored, and only the answer was lost
		}
	}
}

// retryMessage is a copy that the server gives out at a time. Its header is written here because the client's own
// option knows whole seconds only.
//
// follows is the message that failed. It is part of the id by which a repeat is known: when that message has run twice,
// a second retry with the same subject replaces the first one, whose id the server remembers all the same. Without it
// the retry after that would be taken for a repeat of one that is gone.
func retryMessage(e *Event, at time.Time, follows string) *nats.Msg {
	function := tokenOr(e.Function)
	m := encode(e, retrySubject(function, runToken(e.run())))
	m.Header[headerSchedule] = []string{"@at " + at.UTC().Format(time.RFC3339Nano)}
	m.Header[headerTarget] = []string{redoSubject(function)}
	m.Header[headerMsgID] = []string{strings.Join([]string{e.run(), function, strconv.Itoa(e.Attempt), follows}, ".")}
	return m
}

// runToken makes the id of a run one token of a subject. It is a ULID, unless the event was published by hand.
func runToken(run string) string {
	token, err := Token(run)
	if err != nil {
		sum := sha256.Sum256([]byte(run))
		return hex.EncodeToString(sum[:16])
	}
	return token
}

func deadLetter(e *Event, reason Reason) *nats.Msg {
	function := tokenOr(e.Function)
	m := encode(e, deadSubject(tokenOr(e.Source), function))
	m.Header[headerReason] = []string{string(reason)}
	m.Header[headerMsgID] = []string{e.run() + "." + function + ".dead"}
	return m
}

// verdict decides what becomes of a run after an attempt that failed: a reason to give it up, or when to try again.
// age is that of the run.
func (r Retry) verdict(failed Result, attempts int, age time.Duration, now time.Time) (Reason, time.Time) {
	switch {
	case failed.Code == CodeTooOld:
		return ReasonExpired, time.Time{}
	case failed.Code == CodeCorrupt:
		return ReasonCorrupt, time.Time{}
	case failed.Code == CodeBadPayload:
		return ReasonBadPayload, time.Time{}
	case failed.Final:
		return ReasonRefused, time.Time{}
	case attempts >= r.Attempts:
		return ReasonExhausted, time.Time{}
	}
	wait := r.wait(attempts, failed.RetryAfter)
	if age+wait > r.MaxAge {
		return ReasonExpired, time.Time{}
	}
	return "", now.Add(wait)
}
