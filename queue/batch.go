package queue

import (
	"context"
	"errors"
	"iter"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// The events of one request are stored as an atomic batch of JetStream (ADR-50): the server keeps them apart until the
// last one, which says so, checks all of them, and stores all or none. It syncs each batch before it stores it, so that a
// kill in between does no harm: a batch costs several syncs, whatever its size. It stores the headers of the batch with
// the messages, and refuses a batch with an id that it knows, without saying which one.

const (
	batchMost = 1000     // messages: the server's limit
	batchSize = 32 << 20 // bytes: a quarter of what may wait for the server to store it

	settleAtOnce = 64 // so many share a sync

	headerBatch         = "Nats-Batch-Id"
	headerBatchSequence = "Nats-Batch-Sequence"
	headerBatchCommit   = "Nats-Batch-Commit"
)

// PublishAll is Publish for the events that one request brings. Up to 1000 events whose messages take no more than 32 MiB
// together, or half of Options.MaxEvents, are stored all or none, in their order, also when the store is full or the
// process is killed meanwhile. More of them are several such batches, one after the other: an error leaves those before
// it stored.
//
// A batch with a repeat is not stored as a whole: each of its events is stored or answered as Publish does it. So whoever
// sends a request again after an error, whatever came of it, gets the rest stored, and the first ids of those that are.
// An event that comes twice in a request is a repeat of the first one. Errors are those of Publish; ErrTooLarge and
// ErrName leave nothing stored.
func (q *Queue) PublishAll(ctx context.Context, events []*Event) ([]Receipt, error) {
	if q.tracer == nil {
		return q.publishAll(ctx, events)
	}
	ctx, span := q.startPublish(ctx, events)
	receipts, err := q.publishAll(ctx, events)
	endPublish(span, events, receipts, err)
	return receipts, err
}

func (q *Queue) publishAll(ctx context.Context, events []*Event) ([]Receipt, error) {
	posts, firsts, err := newPosts(events)
	if err != nil {
		return nil, err
	}
	done, err := q.admit(room(firsts))
	if err != nil {
		return nil, err
	}
	defer done()
	for batch := range batches(firsts, q.batchRoom()) {
		if err := q.publishBatch(ctx, batch); err != nil {
			return nil, err
		}
	}
	return receipts(events, posts), nil
}

// newPosts returns a post for each event, and those of them that are no repeats of another one. The post of a repeat is
// that of the first event.
func newPosts(events []*Event) (posts, firsts []*post, err error) {
	known := make(map[string]*post, len(events))
	for _, e := range events {
		p, err := newPost(e)
		if err != nil {
			return nil, nil, err
		}
		first := known[p.id]
		if first == nil {
			first, known[p.id] = p, p
			firsts = append(firsts, p)
		}
		posts = append(posts, first)
	}
	return posts, firsts, nil
}

func receipts(events []*Event, posts []*post) []Receipt {
	all := make([]Receipt, len(posts))
	for i, p := range posts {
		if all[i] = p.receipt; p.event != events[i] {
			all[i] = Receipt{ID: p.receipt.ID, Duplicate: true}
		}
	}
	return all
}

// room is how much of the disk posts take: a batch is there twice for a moment.
func room(posts []*post) int64 {
	size := int64(0)
	for _, p := range posts {
		size += int64(len(p.event.Body) + overhead)
		if len(posts) > 1 {
			size += int64(p.weight())
		}
	}
	return size
}

// batchRoom is how much a batch may take. Like a single message it fits half of the room for events.
func (q *Queue) batchRoom() int {
	if q.house == nil {
		return batchSize
	}
	return int(min(batchSize, q.house.history.events/2)) //nolint:gosec // at most batchSize
}

// weight is what the message of a post takes, about.
func (p *post) weight() int {
	if len(p.event.Body) > MaxMessage {
		return overhead
	}
	return len(p.event.Body) + overhead // more than it takes where less than MaxMessage fits a message
}

// batches parts posts by the limits of a batch. One that is too large for them is alone.
func batches(posts []*post, most int) iter.Seq[[]*post] {
	return func(yield func([]*post) bool) {
		begin, size := 0, 0
		for i, p := range posts {
			if i > begin && (i-begin == batchMost || size+p.weight() > most) {
				if !yield(posts[begin:i]) {
					return
				}
				begin, size = i, 0
			}
			size += p.weight()
		}
		if begin < len(posts) {
			yield(posts[begin:])
		}
	}
}

func (q *Queue) publishBatch(ctx context.Context, posts []*post) error {
	if len(posts) == 1 {
		return q.publish(ctx, posts[0])
	}
	for i, p := range posts {
		if err := q.storeBody(ctx, p.event); err != nil {
			q.dropBodies(ctx, posts[:i])
			return err
		}
	}
	last, err := q.storeBatch(ctx, posts)
	switch {
	case repeated(err):
		return q.settleEach(ctx, posts)
	case errors.Is(err, ErrFull):
		q.dropBodies(ctx, posts)
		return err
	case err != nil:
		return err
	}
	for i, p := range posts {
		q.accept(p, last-uint64(len(posts)-1-i)) //nolint:gosec // i is below the length
	}
	return nil
}

func (q *Queue) dropBodies(ctx context.Context, posts []*post) {
	for _, p := range posts {
		q.dropBody(ctx, p.event)
	}
}

// settleEach settles posts one by one. After an error the rest is left as it is.
func (q *Queue) settleEach(ctx context.Context, posts []*post) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(settleAtOnce)
	for _, p := range posts {
		g.Go(func() error { return q.settle(ctx, p) })
	}
	return g.Wait()
}

// repeated reports whether JetStream refused a batch because it knows the id of one of its messages.
func repeated(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == 10201
}

// storeBatch stores posts, all or none, and waits until they are on disk. It returns the sequence of the last one; those
// before it are next to it.
func (q *Queue) storeBatch(ctx context.Context, posts []*post) (last uint64, err error) {
	size, messages := 0, make([]*nats.Msg, len(posts))
	for i, p := range posts {
		messages[i] = p.message()
		size += messages[i].Size() + overhead
	}
	ack, err := q.storeBy(ctx, "publish a batch", size, func(ctx context.Context) (*jetstream.PubAck, error) {
		last, err := q.send(ctx, messages, size)
		return &jetstream.PubAck{Stream: streamEvents, Sequence: last}, err
	})
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}
