package queue

import (
	"context"
	"slices"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// batcher sends batches, one at a time: the server takes one after the other, and a batch of many messages costs it hardly
// more than one of two. So all who wait for the next turn go as one batch, as far as its limits allow. When the server
// refuses that for one of them, each goes alone.
type batcher struct {
	turn chan struct{} // held while a batch is on its way

	mu      sync.Mutex
	waiting []*parcel // in the order in which they came
}

// parcel is what is stored all or none.
type parcel struct {
	messages []*nats.Msg
	size     int // bytes, about
	done     chan struct{}
	last     uint64 // sequence of the last message, once done is closed
	err      error  // likewise
}

// send sends messages as one batch, alone or with others. It returns the sequence of the last one; those before it are
// next to it. When ctx ends while they wait, nothing is stored.
func (q *Queue) send(ctx context.Context, messages []*nats.Msg, size int) (last uint64, err error) {
	b, p := &q.batcher, &parcel{messages: messages, size: size, done: make(chan struct{})}
	b.enter(p)
	for {
		select {
		case <-p.done:
			return p.last, p.err
		case <-ctx.Done():
			b.leave(p)
			return 0, ctx.Err()
		case b.turn <- struct{}{}:
			go q.sendParcels(b.next(q.batchRoom()))
		}
	}
}

func (b *batcher) enter(p *parcel) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = append(b.waiting, p)
}

// leave is too late for what is on its way.
func (b *batcher) leave(p *parcel) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.waiting, p); i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
	}
}

// next takes those who have waited longest, as many as a batch takes and at least one if anybody waits.
func (b *batcher) next(room int) []*parcel {
	b.mu.Lock()
	defer b.mu.Unlock()
	count, size, n := 0, 0, 0
	for _, p := range b.waiting {
		count, size = count+len(p.messages), size+p.size
		if n > 0 && (count > batchMost || size > room) {
			break
		}
		n++
	}
	taken := slices.Clone(b.waiting[:n])
	b.waiting = slices.Delete(b.waiting, 0, n)
	return taken
}

// sendParcels sends parcels together, or else each alone, and ends the turn.
func (q *Queue) sendParcels(parcels []*parcel) {
	defer func() { <-q.batcher.turn }()
	if len(parcels) == 0 { // they were in the last batch
		return
	}
	err := q.sendTogether(parcels)
	alone := len(parcels) > 1 && (full(err) || repeated(err))
	for _, p := range parcels {
		if alone {
			_ = q.sendTogether([]*parcel{p}) // it keeps its error
		}
		close(p.done)
	}
}

// sendTogether sends the messages of parcels as one batch, and tells each what came of it.
func (q *Queue) sendTogether(parcels []*parcel) error {
	size, messages := 0, []*nats.Msg(nil)
	for _, p := range parcels {
		size, messages = size+p.size, append(messages, p.messages...)
	}
	ack, err := q.sendBatch(messages, size)
	behind := len(messages)
	for _, p := range parcels {
		behind -= len(p.messages)
		if p.err = err; err == nil {
			p.last = ack.Sequence - uint64(behind)
		}
	}
	return err
}

// sendBatch sends messages as one batch. The server drops one that is not complete after ten seconds. Nobody's context
// counts: the messages may be of many.
func (q *Queue) sendBatch(messages []*nats.Msg, size int) (*jetstream.PubAck, error) {
	ctx, cancel := context.WithTimeout(context.Background(), publishLimit)
	defer cancel()
	if err := q.fits(ctx, size); err != nil {
		return nil, err
	}
	ctx, release := q.whileLinked(ctx)
	defer release()
	id, last := []string{NewID()}, messages[len(messages)-1]
	for i, m := range messages {
		m.Header[headerBatch], m.Header[headerBatchSequence] = id, []string{strconv.Itoa(i + 1)}
		delete(m.Header, headerBatchCommit)
		if m == last {
			break
		}
		if err := q.nc.PublishMsg(m); err != nil {
			return nil, err
		}
	}
	last.Header[headerBatchCommit] = []string{"1"}
	ack, err := q.js.PublishMsg(ctx, last)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return ack, err
}

// fits returns errStoreFull when a batch exceeds what all streams together may take. The server does not check that before
// it stores a batch, and stops in the middle without an answer.
func (q *Queue) fits(ctx context.Context, size int) error {
	if q.outside != nil {
		return q.fitsOutside(ctx, size)
	}
	if q.server == nil {
		return nil
	}
	use := q.server.GlobalAccount().JetStreamUsage()
	if most := use.Limits.MaxStore; most >= 0 && int64(use.Store)+int64(size) > most { //nolint:gosec // a size of a disk
		return errStoreFull
	}
	return nil
}
