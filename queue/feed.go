package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// lane is one of the streams that hold work for a function.
type lane int

const (
	laneCalls lane = iota
	laneRedo
	laneEvents
	lanes
)

func (l lane) stream() string {
	return [lanes]string{streamCalls, streamRetry, streamEvents}[l]
}

func pullSubject(prefix, stream, consumer string) string {
	return prefix + "CONSUMER.MSG.NEXT." + stream + "." + consumer
}

// recheck is how often a feed looks for work that came without a hint, such as a redelivery.
const recheck = time.Second

// Feed is the work of one function, for the slots of one worker. While it is open, callers know that the function
// has a worker.
type Feed struct {
	q      *Queue
	name   string
	retry  atomic.Pointer[Retry]
	wait   atomic.Int64         // how long the server waits for a sign of life of an event, nanoseconds
	pulls  [lanes]string        // subjects to ask for the next message
	wake   [lanes]chan struct{} // each token is worth one look at the lane; calls need none
	slow   [lanes]atomic.Bool   // whether looks at the lane have to last longer
	idle   chan *slot           // a slot that has nothing to do waits here for a caller of this process
	moved  atomic.Int64         // when a consumer of the function last got another leader, unix nanoseconds
	until  atomic.Int64         // no replays or events before this time, unix nanoseconds
	halted atomic.Bool          // see SetPaused
	subs   []*nats.Subscription
	warn   sync.Once
	absent atomic.Int64 // since when the server has no consumer for the function, unix nanoseconds; 0 while it has
	wg     sync.WaitGroup

	delivered [lanes]uint64 // by the consumers, when recheck last asked
	stop      context.CancelFunc
}

// wakeTokens bounds the looks that are owed. Every look that finds something owes another one, so none is missed.
const wakeTokens = 256

// Feed opens the work of a function whose consumers exist (see AddFunction). Its events are tried as r says.
func (q *Queue) Feed(function string, r Retry) (*Feed, error) {
	token, err := Token(function)
	if err != nil {
		return nil, err
	}
	f := &Feed{q: q, name: function, idle: make(chan *slot)}
	f.SetRetry(r)
	running, stop := context.WithCancel(context.Background())
	f.stop = stop
	for l := range lanes {
		f.pulls[l] = pullSubject(q.prefix, l.stream(), consumerName(token))
		f.wake[l] = make(chan struct{}, wakeTokens)
	}
	err = f.subscribe(hereSubject(token), func(m *nats.Msg) {
		if err := m.Respond(nil); err != nil {
			q.log.Warn("presence not answered", "function", function, "error", err)
		}
	})
	if err == nil {
		err = f.subscribe(wakeSubject("events", token), func(*nats.Msg) { f.raise(laneEvents) })
	}
	if err == nil {
		err = f.subscribe(wakeSubject("redo", token), func(*nats.Msg) { f.raise(laneRedo) })
	}
	if err == nil {
		err = f.subscribe(leaderAdvisory(consumerName(token)), func(*nats.Msg) { f.moved.Store(time.Now().UnixNano()) })
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	f.wait.Store(int64(cmp.Or(q.ackWait, MinAckWait))) // a worker elsewhere is careful until the server has said more
	f.wg.Go(func() { f.recheck(running, token) })
	q.feeds.Store(function, f)
	return f, nil
}

// Announced returns when callers know of the feeds that are open: the server has confirmed them. Without a connection it
// waits for one, however long that takes. Errors: that of ctx, ErrUnavailable after Close.
func (q *Queue) Announced(ctx context.Context) error {
	for {
		if q.nc.IsClosed() {
			return fmt.Errorf("%w: %w", ErrUnavailable, nats.ErrConnectionClosed)
		}
		if q.nc.IsConnected() && q.confirmed(ctx) {
			return nil
		}
		select {
		case <-time.After(restTime):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// confirmed reports whether the server has read what was sent to it. The connection may break first.
func (q *Queue) confirmed(ctx context.Context) bool {
	ctx, cancel := q.whileLinked(ctx)
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, publishLimit)
	defer stop()
	return q.nc.FlushWithContext(ctx) == nil
}

// SetRetry changes how often the events are tried from now on.
func (f *Feed) SetRetry(r Retry) {
	r = r.withDefaults()
	f.retry.Store(&r)
}

// leaderAdvisory is where the servers of a cluster say that a consumer of a function has another leader. It is said before
// the leader gives anything out.
func leaderAdvisory(consumer string) string {
	return "$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED.*." + consumer
}

// unmoved reports whether a message was stored after the consumers of the function had their leaders. A new leader may
// not know what the one before it gave out last, nor what was acknowledged.
func (f *Feed) unmoved(m *nats.MsgMetadata) bool {
	moved := f.moved.Load()
	return moved == 0 || time.Unix(0, moved).Add(clockSkew).Before(m.Timestamp)
}

func (f *Feed) subscribe(subject string, handle nats.MsgHandler) error {
	s, err := f.q.nc.Subscribe(subject, handle)
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	f.subs = append(f.subs, s)
	return nil
}

// recheck looks at both lanes at once and then from time to time.
func (f *Feed) recheck(ctx context.Context, token string) {
	t := time.NewTicker(recheck)
	defer t.Stop()
	for n := 0; ; n++ {
		f.raise(laneRedo)
		f.raise(laneEvents)
		if n%lookOut == 0 {
			f.learn(ctx, token, laneRedo)
			f.learn(ctx, token, laneEvents)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// lookOut is how many rechecks pass between two questions about the consumers.
const lookOut = 4

// learn asks the server how long it waits for signs of life, and whether a lane stands still although something waits
// there: a message of megabytes, on a small machine, takes the server longer to read than a look lasts.
func (f *Feed) learn(ctx context.Context, token string, l lane) {
	ctx, cancel := context.WithTimeout(ctx, publishLimit)
	defer cancel()
	c, err := f.q.js.Consumer(ctx, l.stream(), consumerName(token))
	if err != nil { // no connection yet, or no such function: the slots say so
		return
	}
	info := c.CachedInfo()
	f.wait.Store(int64(info.Config.AckWait))
	waits := info.NumPending > 0
	stands := waits && info.Delivered.Consumer == f.delivered[l]
	f.delivered[l] = info.Delivered.Consumer
	f.slow[l].Store(stands || waits && f.slow[l].Load())
}

// patience is how long the server waits for a sign of life of an event before another worker gets it.
func (f *Feed) patience() time.Duration { return time.Duration(f.wait.Load()) }

func (f *Feed) raise(l lane) {
	select {
	case f.wake[l] <- struct{}{}:
	default:
	}
}

// unknownTime is how long a gateway may take to hear of a function that a worker has found.
const unknownTime = 5 * time.Second

// warnUnknown says, once, that the server has no consumer for the function: for longer than an election takes.
func (f *Feed) warnUnknown() {
	if now := time.Now(); f.absent.CompareAndSwap(0, now.UnixNano()) || now.Sub(time.Unix(0, f.absent.Load())) < unknownTime {
		return
	}
	f.warn.Do(func() {
		f.q.log.Warn("the gateway does not know this function: give it the same manifest", "function", f.name)
	})
}

// pause holds replays and events back for a while, because no task takes them.
func (f *Feed) pause(d time.Duration) { f.until.Store(time.Now().Add(d).UnixNano()) }

// resume ends the pause.
func (f *Feed) resume() {
	if f.until.Swap(0) != 0 {
		f.raise(laneRedo)
		f.raise(laneEvents)
	}
}

// paused reports whether replays and events are held back: for a while, or because the function is paused.
func (f *Feed) paused() bool { return f.halted.Load() || time.Now().UnixNano() < f.until.Load() }

// Withdraw tells callers that this worker has the function no longer. Slots that run go on.
func (f *Feed) Withdraw() error {
	f.q.feeds.CompareAndDelete(f.name, f)
	if len(f.subs) == 0 {
		return nil
	}
	if err := f.subs[0].Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("withdraw presence: %w", err)
	}
	return nil
}

// Close ends the feed. Its slots must have ended.
func (f *Feed) Close() {
	f.q.feeds.CompareAndDelete(f.name, f)
	f.stop()
	f.wg.Wait()
	for _, s := range f.subs {
		if s.IsValid() {
			// The only other failure is a closed connection, which has no subscriptions.
			_ = s.Unsubscribe()
		}
	}
}

// Handler runs one event or call and says what came of it. It must return soon after the event's Deadline.
type Handler func(e *Event) Result

// Slot takes work for one idle unit of the function's capacity and gives it to handle, one piece at a time, until
// ctx is cancelled or a result is the Last one. It returns when the last piece is settled, and no more work can arrive.
func (f *Feed) Slot(ctx context.Context, handle Handler) error {
	s, err := newSlot(f, handle)
	if err != nil {
		return err
	}
	return s.run(ctx)
}
