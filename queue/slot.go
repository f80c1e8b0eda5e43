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
	feed   *Feed
	handle Handler
	inbox  [lanes]string
	calls  *nats.Subscription
	lower  *nats.Subscription
	got    chan *nats.Msg // answers to pulls: at most one for calls and one for the other lanes
	parked bool           // a pull for calls is at the server
	timer  *time.Timer

	returned chan struct{} // a caller of this process gives the slot back
}

// next returns the next message for the idle slot, or nil when it is time to ask again.
func (s *slot) next(ctx context.Context) *nats.Msg {
	if m, looked := s.lookWhenOwed(); looked {
		return m
	}
	if !s.park() {
		return nil
	}
	redo, events := s.feed.wake[laneRedo], s.feed.wake[laneEvents]
	if s.feed.paused() {
		redo, events = nil, nil
	}
	s.timer.Reset(parkTime + pullMargin)
	select {
	case m := <-s.got:
		return s.take(m)
	case s.feed.idle <- s:
		s.lent()
	case <-redo:
		return s.look(laneRedo)
	case <-events:
		return s.look(laneEvents)
	case <-s.timer.C:
		s.parked = false // the answer is lost, as it is after a reconnect
	case <-ctx.Done():
	}
	return nil
}

// lookWhenOwed looks at the lanes for which there was a hint while the slot was busy, calls first.
func (s *slot) lookWhenOwed() (m *nats.Msg, looked bool) {
	if s.feed.paused() {
		return nil, false
	}
	for _, l := range []lane{laneRedo, laneEvents} {
		select {
		case <-s.feed.wake[l]:
			return s.look(l), true
		default:
		}
	}
	return nil, false
}

// park puts a pull for calls at the server, unless there is one.
func (s *slot) park() bool {
	if !s.parked {
		s.parked = s.ask(laneCalls, pullPark)
	}
	return s.parked
}

func (s *slot) ask(l lane, request []byte) bool {
	err := s.feed.q.nc.PublishRequest(s.feed.pulls[l], s.inbox[l], request)
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		s.feed.q.log.Error("pull", "subject", s.feed.pulls[l], "error", err)
	}
	return err == nil
}

// take reads an answer to the parked pull: a call, or nil when the pull has ended without one.
func (s *slot) take(m *nats.Msg) *nats.Msg {
	if m.Sub == s.calls {
		s.parked = false
	}
	if status := m.Header.Get("Status"); status != "" {
		s.slowDown(status)
		return nil
	}
	return m
}

// slowDown keeps a slot from asking in a tight loop when the consumer or the server is not there.
func (s *slot) slowDown(status string) {
	if status == "404" || status == "408" {
		return
	}
	s.timer.Reset(100 * time.Millisecond)
	<-s.timer.C
}

// look asks lane l for a message, after making sure that no call waits, and takes a call that comes meanwhile.
func (s *slot) look(l lane) *nats.Msg {
	if !s.parked {
		if !s.ask(laneCalls, pullNoWait) {
			return nil
		}
		s.parked = true
		if m, _ := s.await(s.calls, pullMargin); m != nil {
			s.feed.raise(l)
			return m
		}
		if !s.park() {
			return nil
		}
	}
	if !s.ask(l, pullLook) {
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
// brings meanwhile is returned too.
func (s *slot) await(sub *nats.Subscription, limit time.Duration) (m, call *nats.Msg) {
	s.timer.Reset(limit)
	for {
		select {
		case got := <-s.got:
			answered := got.Sub == sub
			switch got = s.take(got); {
			case answered:
				return got, call
			case got != nil:
				call = got
			}
		case <-s.timer.C:
			if sub == s.calls {
				s.parked = false
			}
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

// work runs one message. A call came through the parked pull, so nothing else can arrive meanwhile; for anything else
// it keeps the message alive and gives back a call that arrives.
func (s *slot) work(ctx context.Context, d *delivery) {
	if d.call {
		d.settle(ctx, d.run())
		return
	}
	done := make(chan Result, 1)
	go func() { done <- d.run() }()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case r := <-done:
			d.settle(ctx, r)
			return
		case <-beat.C:
			s.respond(d.msg, progress)
		case stray := <-s.got:
			if call := s.take(stray); call != nil {
				s.giveBack(call)
			}
		}
	}
}

// close waits until no pull is parked any more, so that no message is sent to a slot which is gone.
func (s *slot) close() error {
	s.timer.Reset(parkTime + pullMargin)
	for s.parked {
		select {
		case m := <-s.got:
			if m = s.take(m); m != nil {
				s.giveBack(m)
			}
		case <-s.timer.C:
			s.parked = false
		}
	}
	return errors.Join(unsubscribe(s.calls), unsubscribe(s.lower))
}

func unsubscribe(s *nats.Subscription) error {
	if err := s.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("end pulls: %w", err)
	}
	return nil
}
