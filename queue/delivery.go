package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// handBacks is how often a call is given out when it does not start. Slots that end because their task is gone do not
// count: they say nothing about the others.
const handBacks = 3

// delivery is one message in a slot's hands.
type delivery struct {
	slot   *slot
	msg    *nats.Msg
	meta   *nats.MsgMetadata
	event  *Event
	broken error
	call   bool
	root   string    // of the run, see Event.Root
	body   []byte    // once it is read, when it is stored apart
	since  time.Time // not later than the server sent it

	// An event is kept alive until it is settled. When the worker stalls for longer than the server waits, another
	// worker has the event: then this one may neither acknowledge it nor move it on.
	alive sync.WaitGroup
	quiet context.CancelFunc
	beat  atomic.Int64 // when the last sign of life was sent that the server has confirmed, nanoseconds from since on
}

func newDelivery(s *slot, m *nats.Msg) *delivery {
	d := &delivery{slot: s, msg: m, call: m.Sub == s.calls, since: time.Now()}
	meta, bad := m.Metadata()
	if bad != nil { // only a server sends what arrives at a slot's inbox
		meta = &nats.MsgMetadata{NumDelivered: 1, Timestamp: time.Now()}
	}
	d.meta = meta
	d.event, d.broken = readEvent(m.Subject, m.Header, m.Data, d.place())
	if newer := readable(m.Header); newer != nil {
		d.broken = newer
	}
	d.root = cmp.Or(d.event.Root, d.place())
	if bad != nil {
		d.broken = errors.Join(d.broken, bad)
		return d
	}
	if !d.call {
		d.since = s.looks.brought()
		var ctx context.Context
		ctx, d.quiet = context.WithCancel(context.Background())
		d.alive.Go(func() { d.keepAlive(ctx) })
	}
	return d
}

// place names the message: "FUNKER_EVENTS/42".
func (d *delivery) place() string {
	return d.meta.Stream + "/" + strconv.FormatUint(d.meta.Sequence.Stream, 10)
}

// keepAlive gives signs of life. A server that starts again takes the time at which a message was stored for that at
// which it was given out, unless it had one: what is old would be given to another worker at once.
func (d *delivery) keepAlive(ctx context.Context) {
	if time.Since(d.meta.Timestamp) > heartbeat {
		d.slot.respond(d.msg, progress)
	}
	t := time.NewTicker(heartbeat)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if d.lost() {
			return
		}
		if d.slot.feed.q.nc.IsConnected() {
			d.signal(ctx)
		}
	}
}

// signal gives a sign of life. It counts when the server confirms it in time: what is sent into a connection that is
// dead keeps nothing alive.
func (d *delivery) signal(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	at := time.Since(d.since)
	if _, err := d.slot.feed.q.request(ctx, d.msg.Reply, progress); err == nil && !d.lost() {
		d.beat.Store(int64(at))
	}
}

// lost reports whether the server has been without a sign of life for so long that another worker may have the event.
func (d *delivery) lost() bool {
	return time.Since(d.since)-time.Duration(d.beat.Load()) > d.slot.feed.patience()
}

// end stops keeping the event alive.
func (d *delivery) end() {
	if d.quiet != nil {
		d.quiet()
		d.alive.Wait()
		d.quiet = nil
	}
}

func (d *delivery) run(ctx context.Context) Result {
	switch {
	case !d.call && d.lost():
		return Result{Outcome: OutcomeNotStarted}
	case errors.Is(d.broken, errNewer):
		d.slot.feed.q.logOf(d.event).Warn("left to a newer worker", "function", d.event.Function, "error", d.broken)
		return Result{Outcome: OutcomeNotStarted, Message: d.broken.Error()}
	case d.broken != nil:
		return corrupt(d.broken)
	case d.call && time.Now().After(d.event.Deadline):
		if d.meta.NumDelivered > 1 {
			return Result{Outcome: OutcomeInterrupted, Code: CodeExpired, Message: "the deadline is over; a worker that had the call is gone, and the function may have run"}
		}
		return Result{Outcome: OutcomeExpired, Code: CodeExpired, Message: "the deadline was over before the call could start"}
	}
	if outcome := d.standing(ctx); outcome != "" {
		return Result{Outcome: outcome}
	}
	if d.slot.feed.halted.Load() {
		return Result{Outcome: OutcomeNotStarted, Code: CodePaused, Message: refusal(CodePaused, d.event.Function).Error()}
	}
	if !d.call && d.age() > d.slot.feed.retry.Load().MaxAge {
		return tooOld(d.msg)
	}
	e, err := d.whole(ctx)
	switch {
	case errors.Is(err, ErrCorrupt):
		return corrupt(err)
	case err != nil:
		d.slot.feed.q.logOf(d.event).Warn("body not read: trying again", "function", d.event.Function, "error", err)
		return Result{Outcome: OutcomeNotStarted}
	}
	r := run(d.slot.handle, e)
	if most := d.slot.feed.q.MaxMessage(); d.call && len(r.Reply) > most {
		return Result{Outcome: OutcomeFailed, Code: CodeReplyTooLarge, Message: fmt.Sprintf("the reply has %d bytes, and the NATS server takes %d at most", len(r.Reply), most), Duration: r.Duration}
	}
	return r
}

func corrupt(err error) Result {
	return Result{Outcome: OutcomeFailed, Code: CodeCorrupt, Message: err.Error(), Final: true}
}

// whole returns the event with its body.
func (d *delivery) whole(ctx context.Context) (*Event, error) {
	if d.event.claim == nil {
		return d.event, nil
	}
	if d.body == nil {
		var err error
		if d.body, err = d.slot.feed.q.body(ctx, d.msg.Header, d.msg.Data); err != nil {
			return nil, err
		}
	}
	e := *d.event
	e.Body = d.body
	return &e, nil
}

// tooOld gives an event up, with the error of its last attempt.
func tooOld(m *nats.Msg) Result {
	text := "the event is older than the max-age of its function" + lastError(m.Header)
	return Result{Outcome: OutcomeFailed, Code: CodeTooOld, Message: text, Final: true}
}

// lastError is what the attempt before said, behind another text.
func lastError(h nats.Header) string {
	if last := h.Get(headerError); last != "" {
		return "; last error: " + last
	}
	return ""
}

// outcomeMoved means that the run of an event has ended already, or goes on with another message.
const outcomeMoved Outcome = "moved"

// ran reports whether the function may have run.
func (r Result) ran() bool { return r.Outcome != outcomeMoved && r.Outcome != OutcomeNotStarted }

func run(handle Handler, e *Event) Result {
	start := time.Now()
	r := handle(e)
	if r.Duration == 0 {
		r.Duration = time.Since(start)
	}
	return r
}

// standing asks where the run of an event stands, when there is a doubt, and returns outcomeMoved when another worker
// has settled it or moved it on. It waits for a gateway that does not answer, and returns OutcomeNotStarted when it
// cannot wait any longer. When the answer is an error, the event runs: at least once.
func (d *delivery) standing(ctx context.Context) Outcome {
	q := d.slot.feed.q
	for warned := false; d.doubtful(); warned = true {
		settled, err := q.isSettled(context.WithoutCancel(ctx), d.root, d.place())
		switch {
		case err == nil && settled:
			return outcomeMoved
		case err == nil:
			return ""
		case !errors.Is(err, ErrUnavailable):
			q.logOf(d.event).Warn("event may run twice: its state is not known", "error", err)
			return ""
		case !warned:
			q.logOf(d.event).Warn("event waits until its state is known", "error", err)
		}
		if d.slot.pause(ctx, restTime); ctx.Err() != nil || d.lost() {
			return OutcomeNotStarted
		}
	}
	return ""
}

// doubtful reports whether the event may have run before: it was delivered before, or is a copy. A gateway that was
// killed forgets the deliveries and acknowledgements of the last fraction of a second, so all that may have been stored
// before the connection was made is in doubt; so is what was stored before a consumer got another leader.
func (d *delivery) doubtful() bool {
	f := d.slot.feed
	return !d.call && (d.meta.NumDelivered > 1 || d.event.Root != "" || !f.q.joinedBefore(d.meta) || !f.unmoved(d.meta))
}

func (d *delivery) age() time.Duration { return d.event.age(d.meta.Timestamp) }

// settle ends the delivery, unless the slot goes on to hold the event.
func (d *delivery) settle(ctx context.Context, r Result) {
	if d.call {
		d.settleCall(ctx, r)
		return
	}
	if r.Outcome == OutcomeNotStarted && r.Code != CodePaused && !d.lost() && time.Since(d.since) < holdTime && d.slot.goesOn(ctx) {
		d.slot.hold(d)
		return
	}
	d.body = nil // it may take long to move the event on, and its body stays where it is
	d.settleEvent(ctx, r)
	d.end()
}

func (d *delivery) settleEvent(ctx context.Context, r Result) {
	q := d.slot.feed.q
	late := r.ran() && !d.lost() && d.standing(ctx) == outcomeMoved
	switch {
	case d.lost():
		q.logOf(d.event).Warn("event left to another worker: this one stalled", "function", d.event.Function)
		d.logLate(r, "the worker stalled, and another one has the event")
	case late:
		d.logLate(r, "another worker has settled the event meanwhile")
		d.drop(ctx)
	case r.Outcome == outcomeMoved:
		d.drop(ctx)
	case r.Outcome == OutcomeOK:
		if d.record(ctx, line{event: d.event, result: r, outcome: OutcomeOK, root: d.root}) {
			d.acknowledgeEvent(ctx)
		}
	case r.Outcome == OutcomeNotStarted:
		if r.Reset {
			d.event.Resets++
		}
		d.handBack(ctx)
	case r.Outcome == OutcomeInterrupted:
		if d.record(ctx, line{event: d.event, result: r, outcome: OutcomeInterrupted, root: d.root}) {
			d.handBack(ctx)
		}
	default:
		d.fail(ctx, r)
	}
}

// drop acknowledges a message in whose place there is another one, or an end. Whoever stored that may have died before it
// was on disk.
func (d *delivery) drop(ctx context.Context) {
	q := d.slot.feed.q
	if err := q.flush(context.WithoutCancel(ctx), ""); err != nil {
		q.logOf(d.event).Warn("event stays where it is", "function", d.event.Function, "error", err)
		return
	}
	d.acknowledge(ctx)
}

// record logs what came of an attempt, before the event is acknowledged. One server takes both in that order, and
// may store the line a moment later. The servers of a cluster may lose it: there it waits until the line is stored, for as
// long as it takes. It gives up when the worker stops, or when another worker has the event; then the event runs again.
func (d *delivery) record(ctx context.Context, l line) bool {
	q := d.slot.feed.q
	if !q.clustered() {
		q.logOutcome(l)
		return true
	}
	m := l.message()
	m.Header[headerMsgID] = []string{NewID()}
	for warned := false; ; warned = true {
		_, err := q.store(context.WithoutCancel(ctx), m)
		if err == nil {
			return true
		}
		if !warned {
			q.logOf(d.event).Warn("outcome cannot be logged: trying again", "error", err)
		}
		if d.slot.pause(ctx, restTime); ctx.Err() != nil || d.lost() {
			q.logOf(d.event).Warn("event runs again: its outcome is not logged", "function", d.event.Function)
			return false
		}
	}
}

// logLate notes a run whose result does not count.
func (d *delivery) logLate(r Result, why string) {
	if r.ran() {
		r.Message = why
		d.slot.feed.q.logOutcome(line{event: d.event, result: r, outcome: OutcomeInterrupted, root: d.root})
	}
}

// acknowledge waits until the server has taken the acknowledgement: a lost one would mean a second run.
func (d *delivery) acknowledge(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishLimit)
	defer cancel()
	if _, err := d.slot.feed.q.request(ctx, d.msg.Reply, ackPlain); err != nil {
		d.slot.feed.q.logOf(d.event).Error("event may run again: acknowledgement was not taken", "error", err)
	}
}

// acknowledgeEvent also asks for the next one, in the same message, unless the slot has something better to do. Should
// the message be lost with the connection, the event runs once more.
func (d *delivery) acknowledgeEvent(ctx context.Context) {
	s := d.slot
	better := d.meta.Stream == streamEvents && len(s.feed.wake[laneRedo]) > 0
	if better || s.overdue() || !s.goesOn(ctx) || !s.isParked() || s.held != nil || s.feed.paused() {
		s.respond(d.msg, ackPlain)
		return
	}
	err := s.feed.q.nc.PublishRequest(d.msg.Reply, s.inbox[laneEvents], ackLook)
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		s.feed.q.logOf(d.event).Error("acknowledge", "error", err)
	}
	if s.asked = err == nil; s.asked {
		s.looked()
	}
}

// settleCall ends a call: reply, acknowledgement, log, in this order.
func (d *delivery) settleCall(ctx context.Context, r Result) {
	if r.Outcome == OutcomeNotStarted && r.Code != CodePaused && (r.Last || d.meta.NumDelivered < handBacks) && time.Now().Before(d.event.Deadline) {
		d.slot.respond(d.msg, nakPlain)
		return
	}
	d.reply(r)
	d.acknowledgeCall(ctx)
	d.slot.feed.q.logOutcome(line{event: d.event, result: r, outcome: r.Outcome, root: d.root})
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
		d.slot.feed.q.logOf(d.event).Error("reply", "error", err)
	}
}

// acknowledgeCall also parks the next pull, in the same message, unless the slot has something else to do.
func (d *delivery) acknowledgeCall(ctx context.Context) {
	s := d.slot
	if !s.goesOn(ctx) || s.isParked() || s.held != nil || len(s.feed.wake[laneRedo]) > 0 || len(s.feed.wake[laneEvents]) > 0 {
		s.respond(d.msg, ackPlain)
		return
	}
	err := s.feed.q.nc.PublishRequest(d.msg.Reply, s.inbox[laneCalls], ackNext)
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		s.feed.q.logOf(d.event).Error("acknowledge", "error", err)
	}
	if err == nil {
		s.parked = time.Now().Add(parkTime + pullMargin)
	}
}
