package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Outcome is what came of an attempt.
type Outcome string

// The outcomes.
const (
	OutcomeOK          Outcome = "ok"          // the function answered
	OutcomeFailed      Outcome = "failed"      // the function ran, or may have run, without success
	OutcomeNotStarted  Outcome = "not-started" // proven: the function did not run; no attempt was made
	OutcomeInterrupted Outcome = "interrupted" // the worker stopped before the function answered
	OutcomeExpired     Outcome = "expired"     // a call was not started, because its deadline was over
	OutcomeNoWorker    Outcome = "no-worker"   // a call was not started, because no worker has the function
)

// Result is what a Handler returns.
type Result struct {
	Outcome  Outcome
	Reply    []byte        // the function's answer: one JSON value
	Code     string        // one of the Code constants, when there is no answer
	Message  string        // the reason, for people; no secrets, no bodies
	Duration time.Duration // of the attempt; filled in when zero
}

const (
	handBackPause = 500 * time.Millisecond // how long replays and events of a function without a task rest
	handBacks     = 3                      // how often a call goes to another worker because it did not start
	maxErrorText  = 1000                   // bytes of a reason that are kept
)

// delivery is one message in a slot's hands.
type delivery struct {
	slot   *slot
	msg    *nats.Msg
	event  *Event
	broken error
	call   bool
}

func newDelivery(s *slot, m *nats.Msg) *delivery {
	e, err := decode(m)
	return &delivery{slot: s, msg: m, event: e, broken: err, call: m.Sub == s.calls}
}

func (d *delivery) run() Result {
	if d.broken != nil {
		return Result{Outcome: OutcomeFailed, Code: CodeCorrupt, Message: d.broken.Error()}
	}
	if d.call && time.Now().After(d.event.Deadline) {
		if delivered(d.msg) > 1 {
			return Result{Outcome: OutcomeInterrupted, Code: CodeExpired, Message: "the deadline is over; a worker that had the call is gone, and the function may have run"}
		}
		return Result{Outcome: OutcomeExpired, Code: CodeExpired, Message: "the deadline was over before the call could start"}
	}
	return run(d.slot.handle, d.event)
}

func run(handle Handler, e *Event) Result {
	start := time.Now()
	r := handle(e)
	if r.Duration == 0 {
		r.Duration = time.Since(start)
	}
	return r
}

// settle ends the delivery: reply, acknowledgement, log, in this order.
func (d *delivery) settle(ctx context.Context, r Result) {
	q := d.slot.feed.q
	if d.call {
		if r.Outcome == OutcomeNotStarted && delivered(d.msg) < handBacks && time.Now().Before(d.event.Deadline) {
			d.slot.giveBack(d.msg)
			return
		}
		d.reply(r)
		d.acknowledgeCall(ctx)
		q.logOutcome(d.event, r, origin(d.msg))
		return
	}
	switch r.Outcome {
	case OutcomeNotStarted:
		d.slot.feed.pause(handBackPause)
		d.slot.respond(d.msg, []byte(fmt.Sprintf(`-NAK {"delay":%d}`, handBackPause)))
		return
	case OutcomeInterrupted:
		d.slot.giveBack(d.msg)
	default:
		d.acknowledge(ctx)
	}
	q.logOutcome(d.event, r, origin(d.msg))
}

func (d *delivery) reply(r Result) {
	to := d.msg.Header.Get(headerReplyTo)
	if to == "" || r.Code == CodeExpired {
		return
	}
	m := &nats.Msg{Subject: to, Data: r.Reply, Header: nats.Header{headerID: {d.event.ID}}}
	if r.Outcome != OutcomeOK {
		m.Header[headerCode] = []string{r.Code}
		m.Header[headerError] = []string{oneLine(r.Message)}
	}
	if err := d.slot.feed.q.nc.PublishMsg(m); err != nil {
		d.slot.feed.q.log.Error("reply", "event", d.event.ID, "error", err)
	}
}

// acknowledgeCall also parks the next pull, in the same message, unless the slot has something else to do.
func (d *delivery) acknowledgeCall(ctx context.Context) {
	s := d.slot
	if ctx.Err() != nil || s.isParked() || len(s.feed.wake[laneRedo]) > 0 || len(s.feed.wake[laneEvents]) > 0 {
		s.respond(d.msg, ackPlain)
		return
	}
	err := s.feed.q.nc.PublishRequest(d.msg.Reply, s.inbox[laneCalls], ackNext)
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		s.feed.q.log.Error("acknowledge", "event", d.event.ID, "error", err)
	}
	if err == nil {
		s.parked = time.Now().Add(parkTime + pullMargin)
	}
}

// acknowledge waits until the server has taken the acknowledgement: a lost one would mean a second run.
func (d *delivery) acknowledge(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishLimit)
	defer cancel()
	if _, err := d.slot.feed.q.nc.RequestWithContext(ctx, d.msg.Reply, ackPlain); err != nil {
		d.slot.feed.q.log.Error("event may run again: acknowledgement was not taken", "event", d.event.ID, "error", err)
	}
}

// logOutcome stores what came of an attempt. It never waits.
func (q *Queue) logOutcome(e *Event, r Result, origin string) {
	source, err := Token(e.Source)
	if err != nil {
		source = "unknown"
	}
	function, err := Token(e.Function)
	if err != nil {
		function = "unknown"
	}
	h := nats.Header{
		headerID: {e.ID}, headerSource: {e.Source}, headerFunction: {e.Function},
		headerOutcome: {string(r.Outcome)}, headerDuration: {r.Duration.String()}, headerAttempt: {strconv.Itoa(e.Attempt + 1)},
	}
	set(h, headerCode, r.Code)
	set(h, headerError, oneLine(r.Message))
	set(h, headerOrigin, origin)
	set(h, headerReplayOf, e.ReplayOf)
	set(h, headerRunID, e.RunID)
	if err := q.nc.PublishMsg(&nats.Msg{Subject: logSubject(source, function), Header: h}); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		q.log.Error("log outcome", "event", e.ID, "error", err)
	}
}

// oneLine makes text fit for a header.
func oneLine(s string) string {
	if s == "" {
		return ""
	}
	return shorten(strings.Join(strings.Fields(strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "�")), " "), maxErrorText)
}

// delivered is how often the message was given out, this time included.
func delivered(m *nats.Msg) int {
	meta, err := m.Metadata()
	if err != nil {
		return 1
	}
	return int(min(meta.NumDelivered, 1000)) //nolint:gosec // bounded in the same expression
}

// origin names a stored message: "FUNKER_EVENTS/42".
func origin(m *nats.Msg) string {
	meta, err := m.Metadata()
	if err != nil {
		return ""
	}
	return meta.Stream + "/" + strconv.FormatUint(meta.Sequence.Stream, 10)
}
