package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	parkTime   = 500 * time.Millisecond // how long one pull for calls waits at the server
	lookTime   = 5 * time.Millisecond   // the same for replays and events: the hint of a message may overtake it
	pullMargin = 500 * time.Millisecond // how much later than its time the answer to a pull is given up
	restTime   = 100 * time.Millisecond // between pulls while the server or the consumer is not there
	holdPause  = 500 * time.Millisecond // between two tries to find a task for an event that is held
	holdTime   = 5 * time.Minute        // after which another worker may try
)

var (
	pullPark   = []byte(`{"batch":1,"expires":500000000}`)
	pullLook   = []byte(`{"batch":1,"expires":5000000}`)
	pullNoWait = []byte(`{"batch":1,"no_wait":true}`)
	ackPlain   = []byte("+ACK")
	ackNext    = append([]byte("+NXT "), pullPark...)
	ackLook    = append([]byte("+NXT "), pullLook...)
	nakPlain   = []byte("-NAK")
	progress   = []byte("+WPI")
)

// slot holds at most one piece of work. While it is idle, it has a pull for calls parked at the server. A hint that a
// replay or an event is stored makes it look there as well, with the pull for calls still parked: a call that arrives
// while the slot is already taken is given back at once, and another slot has it within a fraction of a millisecond.
type slot struct {
	feed     *Feed
	handle   Handler
	inbox    [lanes]string
	calls    *nats.Subscription
	lower    *nats.Subscription
	got      chan *nats.Msg // answers to pulls: at most one for calls and one for the other lanes
	parked   time.Time      // until when the answer to a pull for calls may come; zero when there is no such pull
	rest     bool           // the last answer was that the server or the consumer is not there
	timer    *time.Timer
	returned chan bool // a caller of this process gives the slot back, and says whether it is over
	over     bool      // the last piece of work was the last one
	held     *delivery // an event that waits for a task; the slot goes on to take calls
	again    time.Time // when to try the held event
	asked    bool      // the last acknowledgement of an event asked for the next one
	looks    looks
}

func newSlot(f *Feed, handle Handler) (*slot, error) {
	s := &slot{feed: f, handle: handle, got: make(chan *nats.Msg, 16), returned: make(chan bool, 1), timer: time.NewTimer(0)}
	s.inbox[laneCalls] = f.q.nc.NewInbox()
	s.inbox[laneEvents] = f.q.nc.NewInbox()
	s.inbox[laneRedo] = s.inbox[laneEvents]
	var err error
	if s.calls, err = f.q.nc.ChanSubscribe(s.inbox[laneCalls], s.got); err != nil {
		return nil, fmt.Errorf("subscribe to calls: %w", err)
	}
	if s.lower, err = f.q.nc.ChanSubscribe(s.inbox[laneEvents], s.got); err != nil {
		return nil, errors.Join(fmt.Errorf("subscribe to events: %w", err), unsubscribe(s.calls))
	}
	return s, nil
}

func (s *slot) run(ctx context.Context) error {
	for s.goesOn(ctx) {
		if s.held != nil && !time.Now().Before(s.again) {
			s.tryHeld(ctx)
		} else if m := s.next(ctx); m != nil {
			s.work(ctx, newDelivery(s, m))
		}
	}
	return s.close(ctx)
}

// next returns the next message for the idle slot, or nil when it is time to ask again.
func (s *slot) next(ctx context.Context) *nats.Msg {
	if s.asked {
		s.asked = false
		return s.found(ctx, lookTime)
	}
	if len(s.got) > 0 {
		return s.take(<-s.got)
	}
	if s.rest {
		s.rest = false
		s.pause(ctx, restTime)
	}
	if m, looked := s.lookWhenOwed(ctx); looked {
		return m
	}
	if !s.park(ctx) {
		return nil
	}
	redo, events, idle, wake := s.feed.wake[laneRedo], s.feed.wake[laneEvents], s.feed.idle, s.parked
	if s.held != nil || s.feed.paused() {
		redo, events = nil, nil
	}
	if s.feed.halted.Load() {
		idle = nil
	}
	if s.held != nil && s.again.Before(wake) {
		wake = s.again
	}
	s.timer.Reset(time.Until(wake))
	select {
	case m := <-s.got:
		return s.take(m)
	case idle <- s:
		s.lent(ctx)
	case <-redo:
		return s.lookAfterHint(ctx, laneRedo)
	case <-events:
		return s.lookAfterHint(ctx, laneEvents)
	case <-s.timer.C: // the held event, or an answer that is lost as it is after a reconnect
	case <-ctx.Done():
	}
	return nil
}

// lookWhenOwed looks at the lanes for which there was a hint while the slot was busy, calls first.
func (s *slot) lookWhenOwed(ctx context.Context) (m *nats.Msg, looked bool) {
	if s.held != nil || s.feed.paused() {
		return nil, false
	}
	for _, l := range []lane{laneRedo, laneEvents} {
		select {
		case <-s.feed.wake[l]:
			return s.look(ctx, l), true
		default:
		}
	}
	return nil, false
}

// lookAfterHint looks, unless the function was paused while the slot waited for the hint.
func (s *slot) lookAfterHint(ctx context.Context, l lane) *nats.Msg {
	if s.feed.paused() {
		return nil
	}
	return s.look(ctx, l)
}

// goesOn reports whether the slot takes more work.
func (s *slot) goesOn(ctx context.Context) bool { return !s.over && ctx.Err() == nil }

func (s *slot) isParked() bool { return time.Now().Before(s.parked) }

// park puts a pull for calls at the server, unless there is one.
func (s *slot) park(ctx context.Context) bool {
	return s.isParked() || s.askForCall(ctx, pullPark, parkTime+pullMargin)
}

func (s *slot) askForCall(ctx context.Context, request []byte, limit time.Duration) bool {
	if !s.ask(ctx, laneCalls, request) {
		return false
	}
	s.parked = time.Now().Add(limit)
	return true
}

// ask sends a pull. Without a connection it waits a little instead: pulls that are kept for the reconnect would all
// be answered at once.
func (s *slot) ask(ctx context.Context, l lane, request []byte) bool {
	if !s.feed.q.nc.IsConnected() {
		s.pause(ctx, restTime)
		return false
	}
	var err error
	if l != laneCalls && s.overdue() {
		err = s.lookElsewhere()
	}
	if err == nil {
		err = s.feed.q.nc.PublishRequest(s.feed.pulls[l], s.inbox[l], request)
	}
	if err != nil {
		s.feed.q.log.Warn("pull", "subject", s.feed.pulls[l], "error", err)
		s.pause(ctx, restTime)
		return false
	}
	if l != laneCalls {
		s.looked()
	}
	return true
}

// overdue reports whether the answer to a look is lost, or so late that what it brings would be left to another worker.
func (s *slot) overdue() bool { return s.looks.overdue(s.feed.patience() / 2) }

// lookElsewhere has the answers to the next looks arrive at another inbox, where those to the looks before do not. Events
// that these would bring are given out again.
func (s *slot) lookElsewhere() error {
	inbox := s.feed.q.nc.NewInbox()
	lower, err := s.feed.q.nc.ChanSubscribe(inbox, s.got)
	if err != nil {
		return fmt.Errorf("subscribe to events: %w", err)
	}
	if err := unsubscribe(s.lower); err != nil {
		return errors.Join(err, unsubscribe(lower))
	}
	s.lower, s.looks = lower, looks{}
	s.inbox[laneEvents], s.inbox[laneRedo] = inbox, inbox
	return nil
}

func (s *slot) looked() { s.looks.add(s.feed.q.nc.Stats().Reconnects) }

func (s *slot) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// take reads an answer to a pull: a message, or nil when the pull has ended without one.
func (s *slot) take(m *nats.Msg) *nats.Msg {
	switch m.Sub {
	case s.calls:
		s.parked = time.Time{}
	case s.lower:
		s.looks.answered()
	default: // of an inbox before this one
		return nil
	}
	status := m.Header.Get("Status")
	if status != "503" {
		s.feed.absent.Store(0)
	}
	switch status {
	case "":
		return m
	case "404", "408":
	case "503":
		s.feed.warnUnknown()
		s.rest = true
	default:
		s.rest = true
	}
	return nil
}

// look asks lane l for a message, after making sure that no call waits, and takes a call that comes meanwhile.
func (s *slot) look(ctx context.Context, l lane) *nats.Msg {
	if !s.isParked() {
		if !s.askForCall(ctx, pullNoWait, pullMargin) {
			return nil
		}
		if m, _ := s.await(ctx, s.calls, pullMargin); m != nil {
			s.feed.raise(l)
			return m
		}
		if !s.park(ctx) {
			return nil
		}
	}
	request, limit := pullLook, lookTime
	if s.feed.slow[l].Load() {
		request, limit = pullPark, parkTime
	}
	if !s.ask(ctx, l, request) {
		return nil
	}
	m := s.found(ctx, limit)
	if m != nil && m.Sub == s.lower {
		s.feed.raise(l) // there may be more
	}
	return m
}

// found waits for the answer to a look that lasts so long, or for a call that comes meanwhile.
func (s *slot) found(ctx context.Context, limit time.Duration) *nats.Msg {
	m, call := s.await(ctx, s.lower, limit+pullMargin)
	switch {
	case m == nil:
		return call
	case call != nil:
		s.giveBack(ctx, call)
	}
	return m
}

// await waits for the answer on one subscription: a message, or nil when there is none. A call that the parked pull
// brings meanwhile is returned too; whatever else arrives late is given back.
func (s *slot) await(ctx context.Context, sub *nats.Subscription, limit time.Duration) (m, call *nats.Msg) {
	s.timer.Reset(limit)
	for {
		select {
		case got := <-s.got:
			from := got.Sub
			got = s.take(got)
			switch {
			case from == sub:
				return got, call
			case got != nil && call == nil && from == s.calls:
				call = got
			case got != nil:
				s.giveBack(ctx, got)
			}
		case <-s.timer.C:
			return nil, call
		}
	}
}

// giveBack lets another slot have a message that arrived while this one is taken: a call at once, an event when this
// slot cannot hold it.
func (s *slot) giveBack(ctx context.Context, m *nats.Msg) {
	switch {
	case m.Sub == s.calls:
		s.respond(m, nakPlain)
	case s.held == nil && s.goesOn(ctx):
		s.held, s.again = newDelivery(s, m), time.Now()
	default:
		d := newDelivery(s, m)
		d.handBack(ctx)
		d.end()
	}
}

// hold keeps an event for which there is no task. Meanwhile no slot of the feed takes another one: it would find none
// either.
func (s *slot) hold(d *delivery) {
	s.feed.pause(2 * holdPause)
	if s.held == nil || s.held == d {
		s.held, s.again = d, time.Now().Add(holdPause)
		return
	}
	d.handBack(context.Background())
	d.end()
}

func (s *slot) tryHeld(ctx context.Context) {
	d := s.held
	s.held = nil
	s.work(ctx, d)
	if s.held == nil {
		s.feed.resume()
	}
}

func (s *slot) respond(m *nats.Msg, answer []byte) {
	if err := s.feed.q.nc.Publish(m.Reply, answer); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		s.feed.q.log.Error("acknowledge", "subject", m.Subject, "error", err)
	}
}

// work runs one message. Meanwhile it gives back what the parked pull brings.
func (s *slot) work(ctx context.Context, d *delivery) {
	done := make(chan Result, 1)
	go func() { done <- d.run(ctx) }()
	for {
		select {
		case r := <-done:
			s.over = r.Last
			d.settle(ctx, r)
			return
		case m := <-s.got:
			s.refuse(ctx, m)
		}
	}
}

// refuse gives back what arrives at a slot that is taken.
func (s *slot) refuse(ctx context.Context, m *nats.Msg) {
	if m = s.take(m); m != nil {
		s.giveBack(ctx, m)
	}
}

// close hands back the held event and waits until no pull is parked any more, so that no message is sent to a slot
// which is gone.
func (s *slot) close(ctx context.Context) error {
	if s.held != nil {
		s.held.settle(ctx, Result{Outcome: OutcomeNotStarted})
	}
	s.timer.Reset(time.Until(s.parked))
	for s.isParked() {
		select {
		case m := <-s.got:
			s.refuse(ctx, m)
		case <-s.timer.C:
		}
	}
	err := errors.Join(unsubscribe(s.calls), unsubscribe(s.lower))
	for len(s.got) > 0 {
		s.refuse(ctx, <-s.got)
	}
	return err
}

func unsubscribe(s *nats.Subscription) error {
	if err := s.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("end pulls: %w", err)
	}
	return nil
}
