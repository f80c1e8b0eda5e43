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
)

var (
	pullPark   = []byte(`{"batch":1,"expires":500000000}`)
	pullLook   = []byte(`{"batch":1,"expires":5000000}`)
	pullNoWait = []byte(`{"batch":1,"no_wait":true}`)
	ackPlain   = []byte("+ACK")
	ackNext    = append([]byte("+NXT "), pullPark...)
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
	returned chan struct{} // a caller of this process gives the slot back
}

// next returns the next message for the idle slot, or nil when it is time to ask again.
func (s *slot) next(ctx context.Context) *nats.Msg {
	if len(s.got) > 0 {
		return s.take(<-s.got)
	}
	if s.rest {
		s.rest = false
		s.pause(ctx)
	}
	if m, looked := s.lookWhenOwed(ctx); looked {
		return m
	}
	if !s.park(ctx) {
		return nil
	}
	redo, events := s.feed.wake[laneRedo], s.feed.wake[laneEvents]
	if s.feed.paused() {
		redo, events = nil, nil
	}
	s.timer.Reset(time.Until(s.parked))
	select {
	case m := <-s.got:
		return s.take(m)
	case s.feed.idle <- s:
		s.lent()
	case <-redo:
		return s.look(ctx, laneRedo)
	case <-events:
		return s.look(ctx, laneEvents)
	case <-s.timer.C: // the answer is lost, as it is after a reconnect
	case <-ctx.Done():
	}
	return nil
}

// lookWhenOwed looks at the lanes for which there was a hint while the slot was busy, calls first.
func (s *slot) lookWhenOwed(ctx context.Context) (m *nats.Msg, looked bool) {
	if s.feed.paused() {
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
		s.pause(ctx)
		return false
	}
	if err := s.feed.q.nc.PublishRequest(s.feed.pulls[l], s.inbox[l], request); err != nil {
		s.feed.q.log.Warn("pull", "subject", s.feed.pulls[l], "error", err)
		s.pause(ctx)
		return false
	}
	return true
}

func (s *slot) pause(ctx context.Context) {
	t := time.NewTimer(restTime)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// take reads an answer to a pull: a message, or nil when the pull has ended without one.
func (s *slot) take(m *nats.Msg) *nats.Msg {
	if m.Sub == s.calls {
		s.parked = time.Time{}
	}
	switch m.Header.Get("Status") {
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
		if m, _ := s.await(s.calls, pullMargin); m != nil {
			s.feed.raise(l)
			return m
		}
		if !s.park(ctx) {
			return nil
		}
	}
	if !s.ask(ctx, l, pullLook) {
		return nil
	}
	m, call := s.await(s.lower, lookTime+pullMargin)
	switch {
	case m != nil && call != nil:
		s.giveBack(call)
	case m == nil:
		return call
	}
	s.feed.raise(l) // there may be more
	return m
}

// await waits for the answer on one subscription: a message, or nil when there is none. A call that the parked pull
// brings meanwhile is returned too; whatever else arrives late is given back.
func (s *slot) await(sub *nats.Subscription, limit time.Duration) (m, call *nats.Msg) {
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
				s.giveBack(got)
			}
		case <-s.timer.C:
			return nil, call
		}
	}
}

func (s *slot) giveBack(m *nats.Msg) { s.respond(m, nakPlain) }

func (s *slot) respond(m *nats.Msg, answer []byte) {
	if err := s.feed.q.nc.Publish(m.Reply, answer); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		s.feed.q.log.Error("acknowledge", "subject", m.Subject, "error", err)
	}
}

// work runs one message. Meanwhile it keeps an event alive, and gives back what the parked pull brings.
func (s *slot) work(ctx context.Context, d *delivery) {
	done := make(chan Result, 1)
	go func() { done <- d.run() }()
	var beat <-chan time.Time
	if !d.call {
		t := time.NewTicker(heartbeat)
		defer t.Stop()
		beat = t.C
	}
	for {
		select {
		case r := <-done:
			d.settle(ctx, r)
			return
		case <-beat:
			s.respond(d.msg, progress)
		case m := <-s.got:
			s.refuse(m)
		}
	}
}

// refuse gives back what arrives at a slot that is taken.
func (s *slot) refuse(m *nats.Msg) {
	if m = s.take(m); m != nil {
		s.giveBack(m)
	}
}

// close waits until no pull is parked any more, so that no message is sent to a slot which is gone.
func (s *slot) close() error {
	s.timer.Reset(time.Until(s.parked))
	for s.isParked() {
		select {
		case m := <-s.got:
			s.refuse(m)
		case <-s.timer.C:
		}
	}
	err := errors.Join(unsubscribe(s.calls), unsubscribe(s.lower))
	for len(s.got) > 0 {
		s.refuse(<-s.got)
	}
	return err
}

func unsubscribe(s *nats.Subscription) error {
	if err := s.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("end pulls: %w", err)
	}
	return nil
}
