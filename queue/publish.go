package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrFull means that the store has reached a limit. Nothing was stored; the sender may try again later.
	ErrFull = errors.New("the store is full")
	// ErrUnavailable means that the queue could not be reached or is stopping. Whether the event was stored is not
	// known; publishing it again is harmless.
	ErrUnavailable = errors.New("the queue is not available")
	// ErrTooLarge means that the body of an event exceeds MaxBody, or that of a call MaxMessage.
	ErrTooLarge = errors.New("body is too large")
)

// publishLimit is how long Publish waits for the disk when the context has no earlier deadline.
const publishLimit = 5 * time.Second

// Receipt says where an event is stored.
type Receipt struct {
	ID        string // of the event; of the first one when this is a repeat
	Duplicate bool   // the sender's delivery id was seen within the last ten minutes: nothing new was stored
	Replay    bool   // likewise, but the first one is dead: it is run again, as a replay
}

// Publish stores an event durably. When it returns without an error, the event survives a power cut. It sets e.ID
// when it is empty. Errors: ErrFull, ErrUnavailable, ErrTooLarge, ErrName.
func (q *Queue) Publish(ctx context.Context, e *Event) (Receipt, error) {
	if q.tracer == nil {
		return q.publishOne(ctx, e)
	}
	events := []*Event{e}
	ctx, span := q.startPublish(ctx, events)
	r, err := q.publishOne(ctx, e)
	endPublish(span, events, []Receipt{r}, err)
	return r, err
}

func (q *Queue) publishOne(ctx context.Context, e *Event) (Receipt, error) {
	p, err := newPost(e)
	if err != nil {
		return Receipt{}, err
	}
	done, err := q.admit(int64(len(e.Body) + overhead))
	if err != nil {
		return Receipt{}, err
	}
	defer done()
	err = q.publish(ctx, p)
	return p.receipt, err
}

// post is an event on its way to FUNKER_EVENTS.
type post struct {
	event   *Event
	subject string
	id      string // the key of the duplicate window
	receipt Receipt
}

func newPost(e *Event) (*post, error) {
	if len(e.Body) > MaxBody {
		return nil, tooLarge(e, "an event", MaxBody)
	}
	subject, err := prepare(e, eventSubject)
	if err != nil {
		return nil, err
	}
	return &post{event: e, subject: subject, id: messageID(e)}, nil
}

func (p *post) message() *nats.Msg {
	m := encode(p.event, p.subject)
	m.Header[headerMsgID] = []string{p.id}
	return m
}

func (q *Queue) publish(ctx context.Context, p *post) error {
	if err := q.storeBody(ctx, p.event); err != nil {
		return err
	}
	return q.settle(ctx, p)
}

// settle stores a post whose body is stored, or finds out what became of it before.
func (q *Queue) settle(ctx context.Context, p *post) error {
	ack, err := q.store(ctx, p.message())
	if err != nil {
		if errors.Is(err, ErrFull) {
			q.dropBody(ctx, p.event)
		}
		return err
	}
	if ack.Duplicate {
		p.receipt, err = q.repeat(ctx, p.event, ack.Sequence)
		return err
	}
	q.accept(p, ack.Sequence)
	return nil
}

// accept notes that a post is stored at a sequence.
func (q *Queue) accept(p *post, seq uint64) {
	q.nameBody(p.event, seq)
	p.receipt = Receipt{ID: p.event.ID}
}

// repeat answers e, a delivery whose first copy is stored at seq. Who sends an event again that is dead wants it to run.
func (q *Queue) repeat(ctx context.Context, e *Event, seq uint64) (Receipt, error) {
	first, err := q.message(ctx, streamEvents, seq)
	if errors.Is(err, ErrNotFound) {
		q.dropBody(ctx, e)
		return q.repeatOfTrimmed(ctx, e, seq)
	}
	if err != nil {
		return Receipt{}, failed(err, "look up first copy")
	}
	if e.claim != nil && first.Header.Get(headerObject) != e.claim.object {
		q.dropBody(ctx, e)
	}
	id := first.Header.Get(headerID)
	state, err := q.stateOf(ctx, streamEvents, seq)
	if errors.Is(err, ErrIndexing) {
		return Receipt{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err != nil {
		return Receipt{}, failed(err, "look up first copy")
	}
	if state != StateDead {
		return Receipt{ID: id, Duplicate: true}, nil
	}
	if _, err := q.Replay(ctx, streamEvents+"/"+strconv.FormatUint(seq, 10), ""); err != nil {
		return Receipt{}, fmt.Errorf("replay a repeat: %w", err)
	}
	return Receipt{ID: id, Replay: true}, nil
}

// repeatOfTrimmed is repeat when the first copy has made room: it is done. Its id is in the log, unless that is full too.
func (q *Queue) repeatOfTrimmed(ctx context.Context, e *Event, seq uint64) (Receipt, error) {
	first, err := q.finding(ctx, newRef(shelfEvents, seq))
	if err != nil {
		return Receipt{}, fmt.Errorf("look up first copy: %w", err)
	}
	if first.state == StateDead {
		r, err := q.Replay(ctx, first.place.String(), "")
		if err != nil {
			return Receipt{}, fmt.Errorf("replay a repeat: %w", err)
		}
		return Receipt{ID: r.ID, Replay: true}, nil
	}
	for _, line := range first.lines {
		m, err := q.message(ctx, streamLog, line)
		if err == nil {
			return Receipt{ID: m.Header.Get(headerID), Duplicate: true}, nil
		}
		if !errors.Is(err, ErrNotFound) {
			return Receipt{}, failed(err, "look up first copy")
		}
	}
	return Receipt{ID: e.ID, Duplicate: true}, nil
}

// store publishes msg to its stream and waits until it is on disk.
func (q *Queue) store(ctx context.Context, msg *nats.Msg) (*jetstream.PubAck, error) {
	return q.storeBy(ctx, "publish to "+msg.Subject, len(msg.Data), func(ctx context.Context) (*jetstream.PubAck, error) {
		return q.js.PublishMsg(ctx, msg)
	})
}

// storeBy calls send, which stores so many bytes, and waits until they are on disk. What is done makes room for them.
func (q *Queue) storeBy(ctx context.Context, what string, size int, send func(context.Context) (*jetstream.PubAck, error)) (*jetstream.PubAck, error) {
	ctx, cancel := context.WithTimeout(ctx, publishLimit)
	defer cancel()
	linked, release := q.whileLinked(ctx)
	defer release()
	ack, err := q.sendToLeader(linked, size, send)
	if full(err) && q.house != nil && q.house.history.makeRoom(ctx, time.Now(), size, err) {
		ack, err = send(linked)
	}
	if err != nil && linked.Err() != nil {
		err = context.Cause(linked)
	}
	if err == nil {
		err = q.flushTraced(ctx, ack.Stream)
	}
	if err != nil {
		return nil, failed(err, what)
	}
	return ack, nil
}

// sendToLeader is send, in a cluster as often as there is no leader of the stream that could answer: for a second or two
// after one has died. What send sends must be known for a repeat, or not be stored at all when there is no answer.
func (q *Queue) sendToLeader(ctx context.Context, size int, send func(context.Context) (*jetstream.PubAck, error)) (*jetstream.PubAck, error) {
	if !q.clustered() {
		return send(ctx)
	}
	for {
		try, cancel := context.WithTimeout(ctx, tryLimit+time.Duration(size)*tryByte)
		ack, err := send(try)
		cancel()
		if err == nil || !unavailable(err) || busy(err) {
			return ack, err
		}
		select {
		case <-time.After(restTime / 2):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// How long one try to ask something of a cluster waits for the leader: one that has died with the question does not answer
// any more. A network of 100 Mbit/s takes tryByte for each byte.
const (
	tryLimit = time.Second
	tryByte  = 100 * time.Nanosecond
)

// failed tells the errors apart that a caller can do something about.
func failed(err error, what string) error {
	switch {
	case errors.Is(err, ErrUnavailable):
	case full(err):
		return fmt.Errorf("%w: %w", ErrFull, err)
	case unavailable(err):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

func tooLarge(e *Event, what string, limit int) error {
	return fmt.Errorf("%w: %s takes at most %d bytes, and this has %d", ErrTooLarge, what, limit, len(e.Body))
}

// prepare gives e its id and makes its subject.
func prepare(e *Event, subject func(source, function string) string) (string, error) {
	source, err := Token(e.Source)
	if err != nil {
		return "", err
	}
	function, err := Token(e.Function)
	if err != nil {
		return "", err
	}
	if e.ID == "" {
		e.ID = NewID()
	}
	return subject(source, function), nil
}
