package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// One gateway of a cluster does what only one has to: it looks after the streams and the services. It holds a lease, a
// message of the bucket of the configuration: `nats kv get funker-config leader`. Each renewal replaces the message that
// the holder knows, and no other. Whoever sees that the message has not changed for the whole time of the lease takes it,
// likewise. No clock is compared with another one: the holder counts from before it asked, the others from when they saw
// the message, so the holder gives up before anybody can follow it.
//
// A holder that stands still in the middle of its work and goes on when there is another one does no harm: every step of
// that work is safe to do twice. What it stores has an id by which a repeat is known, what it deletes has ended for good,
// and an engine refuses a change of a service that has been changed since it was read.
const (
	leaderKey  = "leader"
	leaseTime  = 6 * time.Second
	renewEvery = leaseTime / 4
)

// lease is who looks after the streams.
type lease struct {
	q        *Queue
	node     string
	gateways []string     // names of all in a cluster, in order
	mine     atomic.Int64 // until when this gateway holds it, in nanoseconds since began; 0 when it does not
	began    time.Time
	holder   atomic.Pointer[string] // as it was seen last
	revision uint64                 // of the message
	seen     time.Time              // when that revision was seen first
	unique   bool                   // no other gateway has this name
	stop     context.CancelFunc
	wg       sync.WaitGroup
}

// holdLease begins to take part. A node whose name is unique has at once again what it held when it was killed.
func (q *Queue) holdLease(node string, unique bool, gateways []string) {
	l := &lease{q: q, node: node, unique: unique, gateways: gateways, began: time.Now()}
	ctx, stop := context.WithCancel(context.Background())
	l.stop, q.lease = stop, l
	l.wg.Go(func() { every(ctx, renewEvery, l.turn) })
}

// Leads reports whether this gateway looks after the streams and services. One that stands alone always does.
func (q *Queue) Leads() bool { return q.lease == nil || q.lease.held() }

// Leader is the node that does, "" while nobody is known to. It is "" for a gateway that stands alone.
func (q *Queue) Leader() string {
	if q.lease == nil {
		return ""
	}
	if p := q.lease.holder.Load(); p != nil {
		return *p
	}
	return ""
}

// WhileLeading calls f while this gateway looks after the streams and services, with a context that ends when it does not
// do so any more, until ctx ends.
func (q *Queue) WhileLeading(ctx context.Context, f func(context.Context)) {
	for ctx.Err() == nil {
		if !q.Leads() {
			q.pauseFor(ctx, leadCheck)
			continue
		}
		leading, end := context.WithCancel(ctx)
		var watch sync.WaitGroup
		watch.Go(func() {
			for q.Leads() && leading.Err() == nil {
				q.pauseFor(leading, leadCheck)
			}
			end()
		})
		f(leading)
		end()
		watch.Wait()
	}
}

// leadCheck is how soon it is seen who leads.
const leadCheck = leaseTime / 20

func (*Queue) pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (l *lease) held() bool { return int64(time.Since(l.began)) < l.mine.Load() }

// turn renews the lease, or takes it when its holder is gone.
func (l *lease) turn(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, renewEvery)
	defer cancel()
	if !l.held() {
		free, err := l.look(ctx)
		if err != nil || !free {
			return // while the cluster has no leader nobody has the lease either
		}
	}
	l.take(ctx)
}

// look reads the message, and reports whether the lease may be taken.
func (l *lease) look(ctx context.Context) (free bool, err error) {
	kv, err := l.q.js.KeyValue(ctx, configBucket)
	if err != nil {
		return false, err
	}
	entry, err := kv.Get(ctx, leaderKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		l.revision = 0
		return true, nil
	}
	if err != nil {
		return false, err
	}
	holder := string(entry.Value())
	if l.holder.Store(&holder); entry.Revision() != l.revision {
		l.revision, l.seen = entry.Revision(), time.Now()
	}
	return holder == "" || l.unique && holder == l.node && l.mine.Load() == 0 || time.Since(l.seen) > leaseTime, nil
}

// take stores the message anew, unless another gateway has done so.
func (l *lease) take(ctx context.Context) {
	had, at := l.held(), time.Since(l.began)
	revision, err := l.write(ctx, l.node)
	if err != nil {
		if wrongSequence(err) {
			l.mine.Store(0)
		}
		return
	}
	l.revision, l.seen = revision, time.Now()
	l.holder.Store(&l.node)
	if l.mine.Store(int64(at + leaseTime)); !had {
		l.q.log.Info("this gateway looks after the streams and services now", "node", l.node)
	}
}

func (l *lease) write(ctx context.Context, holder string) (uint64, error) {
	ack, err := l.q.js.PublishMsg(ctx, &nats.Msg{Subject: configSubject(leaderKey), Data: []byte(holder), Header: nats.Header{
		headerExpected: {strconv.FormatUint(l.revision, 10)},
	}})
	if err != nil {
		return 0, fmt.Errorf("lease: %w", err)
	}
	return ack.Sequence, nil
}

// close gives the lease back, so that another gateway has it at once. What was done under it has ended.
func (l *lease) close() {
	l.stop()
	l.wg.Wait()
	if !l.held() {
		return
	}
	l.mine.Store(0)
	ctx, cancel := context.WithTimeout(context.Background(), renewEvery)
	defer cancel()
	_, _ = l.write(ctx, "") // else it runs out
}

func wrongSequence(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == codeWrongSequence
}
