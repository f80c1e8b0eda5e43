package queue

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/trace"
)

// ErrNoFunction means that the queue has no consumers for a function: nothing would run the event.
var ErrNoFunction = errors.New("unknown function")

// Replayed says what a replay did.
type Replayed struct {
	ID   string `json:"id"`            // of the event, the same as ever
	Run  string `json:"run"`           // of this replay
	From string `json:"replayed_from"` // the message that is run again
	As   string `json:"queued_as"`
	To   string `json:"function"`

	Edited bool `json:"edited,omitempty"` // with another body, as an event of its own: see ReplayEdited
}

// Replay runs a stored event or call again, as an event: nobody waits for the reply. ref is what Get takes, to a
// function that shall run it in place of its own when not "". The original record stays; the replay carries
// Funker-Replay-Of and is exempt from the search for repeats. Errors: ErrNotFound, ErrNoFunction, ErrCorrupt, ErrFull.
func (q *Queue) Replay(ctx context.Context, ref, to string) (r Replayed, err error) {
	stream, seq, err := q.find(ctx, ref)
	if err != nil {
		return Replayed{}, err
	}
	raw, err := q.message(ctx, stream, seq)
	if err != nil {
		return Replayed{}, err
	}
	e, err := readEvent(raw.Subject, raw.Header, raw.Data, stream+"/"+strconv.FormatUint(seq, 10))
	if err == nil && e.claim != nil {
		_, err = q.body(ctx, raw.Header, raw.Data)
	}
	if err != nil {
		return Replayed{}, err
	}
	if to != "" {
		e.Function = to
	}
	token, err := Token(e.Function)
	if err != nil {
		return Replayed{}, err
	}
	if err := q.HasFunction(ctx, e.Function); err != nil {
		return Replayed{}, err
	}
	from := stream + "/" + strconv.FormatUint(seq, 10)
	e.ReplayOf, e.Root = cmp.Or(e.ReplayOf, e.Root, from), ""
	e.RunID, e.Attempt, e.Deadline = NewID(), 0, time.Time{}
	if q.tracer != nil {
		var span trace.Span
		ctx, span = q.startReplay(ctx, e)
		defer func() { endSpan(span, err) }()
	} else {
		e.TraceLink, e.Traceparent, e.Tracestate = cmp.Or(e.Traceparent, e.TraceLink), "", ""
	}
	msg := encode(e, redoSubject(token))
	msg.Header[headerSubject] = []string{raw.Subject}
	msg.Header[headerMsgID] = []string{e.RunID}
	ack, err := q.store(ctx, msg)
	if err != nil {
		return Replayed{}, err
	}
	return Replayed{ID: e.ID, Run: e.RunID, From: from, As: streamRetry + "/" + strconv.FormatUint(ack.Sequence, 10), To: e.Function}, nil
}

// HasFunction returns ErrNoFunction when the queue has no consumers for a function.
func (q *Queue) HasFunction(ctx context.Context, function string) error {
	token, err := Token(function)
	if err != nil {
		return err
	}
	_, err = q.js.Consumer(ctx, streamRetry, consumerName(token))
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return q.noFunction(ctx, function)
	}
	if err != nil {
		return failed(err, "look up function "+function)
	}
	return nil
}
