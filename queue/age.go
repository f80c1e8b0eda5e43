package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// An event that no worker takes until it is too old becomes a dead letter all the same. Workers see to the age of what
// they take, and of nothing else.

// longestAge is shorter than what waits in FUNKER_RETRY is kept: nothing may leave a stream by its age before it has
// run.
const longestAge = retryMaxAge - time.Hour

// policy is how the events of a function are tried; of one that no manifest names any more, by the defaults.
func (q *Queue) policy(function string) Retry {
	r := Retry{}.withDefaults()
	if v, ok := q.policies.Load(function); ok {
		r, _ = v.(Retry)
	}
	r.MaxAge = min(r.MaxAge, longestAge)
	return r
}

// expireMost bounds how many events of one function are given up before the next function's turn.
const expireMost = 1000

// expire gives up what is too old.
func (h *housekeeper) expire(ctx context.Context) {
	for _, s := range h.history.archives() {
		h.complain(ctx, h.expireIn(ctx, s))
	}
}

func (h *housekeeper) expireIn(ctx context.Context, s archive) error {
	stream, err := h.q.js.Stream(ctx, s.stream)
	if err != nil {
		return fmt.Errorf("look for old events in %s: %w", s.stream, err)
	}
	consumers, err := consumersOf(ctx, stream)
	if err != nil {
		return fmt.Errorf("look for old events in %s: %w", s.stream, err)
	}
	for token, info := range consumers {
		if err := h.expireOf(ctx, stream, s, token, info); err != nil {
			return fmt.Errorf("give up old events of %s: %w", untoken(token), err)
		}
	}
	return nil
}

// expireOf gives up the old events of one function. It takes one only after it has seen that it is too old, so that a
// younger one is not taken out of its turn.
func (h *housekeeper) expireOf(ctx context.Context, stream jetstream.Stream, s archive, token string, info *jetstream.ConsumerInfo) error {
	function := untoken(token)
	r := h.q.policy(function)
	for range expireMost {
		first, err := h.firstWaiting(ctx, stream, s.filter(token), function, info)
		if err != nil || first == nil || ageOf(first) <= r.MaxAge {
			return err
		}
		if old, err := h.q.expireNext(ctx, s.stream, token, r); err != nil || !old {
			delete(h.absent, function)
			return err
		}
		c, err := stream.Consumer(ctx, info.Name)
		if err != nil {
			return err
		}
		info = c.CachedInfo()
	}
	return nil
}

// firstWaiting returns the first message that no worker has, or nil: one that was never given out, or, of a function
// that has had no worker for long, one that was.
func (h *housekeeper) firstWaiting(ctx context.Context, stream jetstream.Stream, subject, function string, info *jetstream.ConsumerInfo) (*jetstream.RawStreamMsg, error) {
	switch {
	case info.NumAckPending > 0 && h.deserted(function):
		return firstFrom(ctx, stream, info.AckFloor.Stream+1, subject)
	case info.NumPending > 0:
		return firstFrom(ctx, stream, info.Delivered.Stream+1, subject)
	}
	return nil, nil
}

// deserted reports whether a function has had no worker for so long that what its workers had is given out again.
func (h *housekeeper) deserted(function string) bool {
	if h.q.Present(function) {
		delete(h.absent, function)
		return false
	}
	since, known := h.absent[function]
	if !known {
		since = time.Now()
		h.absent[function] = since
	}
	return time.Since(since) > h.q.ackWait+expireEvery
}

func ageOf(m *jetstream.RawStreamMsg) time.Duration {
	return (&Event{ID: m.Header.Get(headerID), RunID: m.Header.Get(headerRunID)}).age(m.Time)
}

// expireNext takes the next event of a function from its own consumer, as a worker does that runs nothing, and gives it
// up. It reports whether there was one that was too old; a younger one is handed on.
func (q *Queue) expireNext(ctx context.Context, stream, token string, r Retry) (bool, error) {
	m, err := q.pull(ctx, stream, token)
	if err != nil || m.Header.Get("Status") != "" {
		return false, err
	}
	old := true
	s := &slot{feed: &Feed{q: q, name: untoken(token)}, handle: func(*Event) Result {
		old = false
		return Result{Outcome: OutcomeNotStarted}
	}}
	s.feed.SetRetry(r)
	s.feed.wait.Store(int64(q.ackWait))
	d := newDelivery(s, m)
	d.settleEvent(ctx, d.run(ctx))
	d.end()
	return old, nil
}

// pull asks once for the next message of a function. The answer is a status when there is none. A request will not do:
// the client may give its answer, which has the subject of an event, to another request.
func (q *Queue) pull(ctx context.Context, stream, token string) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, publishLimit)
	defer cancel()
	inbox := q.nc.NewInbox()
	sub, err := q.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	m := (*nats.Msg)(nil)
	if err = q.nc.PublishRequest(pullSubject(q.prefix, stream, consumerName(token)), inbox, pullNoWait); err == nil {
		m, err = sub.NextMsgWithContext(ctx)
	}
	return m, errors.Join(err, sub.Unsubscribe())
}
