package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Balance is where every run is that the queue knows of: the first run of each stored event, and the replays. The sum of
// all that follow Replays is Accepted + Replays.
type Balance struct {
	Accepted   int64 `json:"accepted"`   // events
	Replays    int64 `json:"replays"`    //
	Waiting    int64 `json:"waiting"`    // for a worker
	Running    int64 `json:"running"`    // given to a worker and not settled
	Scheduled  int64 `json:"scheduled"`  // for another attempt
	Succeeded  int64 `json:"succeeded"`  //
	Dead       int64 `json:"dead"`       // given up
	Dropped    int64 `json:"dropped"`    //
	Unrecorded int64 `json:"unrecorded"` // settled before the gateway started, without a record: its line of the log made room for others, or see rescue
	Drift      int64 `json:"drift"`      // lost: neither ended nor in a place from where it would go on; always 0
}

const (
	balanceLooks = 6                     // at what is under way, before a drift is believed
	balancePause = 20 * time.Millisecond // between two of them
)

// Balance counts the runs and asks the server whether it has those that have not ended. Errors: ErrIndexing.
func (q *Queue) Balance(ctx context.Context) (Balance, error) {
	if q.index == nil {
		return ask[Balance](ctx, q, "balance", nil)
	}
	var b Balance
	for look := range balanceLooks {
		next, err := q.look(ctx)
		if err != nil {
			return Balance{}, err
		}
		if look == 0 || next.Drift <= b.Drift {
			b = next
		}
		if b.Drift == 0 {
			break
		}
		// The server stores a line of the log and takes the acknowledgement that follows it side by side.
		select {
		case <-time.After(balancePause):
		case <-ctx.Done():
			return Balance{}, ctx.Err()
		}
	}
	return b, nil
}

// look compares what the index knows with what the server holds. First it notes what is stored, then it asks the server
// what is under way, then it follows what was recorded meanwhile. So each run that was stored at first and is still under
// way at last was with the server when that was asked: it has at least as many.
func (q *Queue) look(ctx context.Context) (Balance, error) {
	if err := q.index.fresh(ctx); err != nil {
		return Balance{}, err
	}
	events, retry := q.index.ends()
	p, err := positionsOf(ctx, q.js, shelfRetry, shelfEvents)
	if err != nil {
		return Balance{}, err
	}
	scheduled, err := q.scheduled(ctx)
	if err != nil {
		return Balance{}, err
	}
	if err := q.index.fresh(ctx); err != nil {
		return Balance{}, err
	}
	x := q.index
	x.mu.RLock()
	defer x.mu.RUnlock()
	c := census{ends: [shelves]uint64{shelfEvents: events, shelfRetry: retry}}
	c.take(&x.ledger, p, x.started)
	return c.balance(scheduled, x.ledger.gone), nil
}

// scheduled counts the retries that are not due yet, at the server.
func (q *Queue) scheduled(ctx context.Context) (int64, error) {
	c, err := q.js.CreateConsumer(ctx, streamRetry, jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, InactiveThreshold: publishLimit, HeadersOnly: true,
		FilterSubject: retrySubject("*", "*"),
	})
	if err != nil {
		return 0, fmt.Errorf("count the scheduled retries: %w", err)
	}
	// The server forgets the consumer by itself.
	_ = q.js.DeleteConsumer(context.WithoutCancel(ctx), streamRetry, c.CachedInfo().Name)
	return int64(c.CachedInfo().NumPending), nil //nolint:gosec // a count of messages
}

// ends returns up to where the index has read the streams that hold work.
func (x *index) ends() (events, retry uint64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.ledger.events.end, x.ledger.replays.end
}
