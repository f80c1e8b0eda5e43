package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// Codes of a CallError. They are stable: clients may depend on them.
const (
	CodeNoWorker       = "no_worker"       // no worker has the function
	CodeNoTask         = "no_task"         // no task of the function took the connection: it did not run
	CodePaused         = "paused"          // the function is paused: it did not run
	CodeNoPorts        = "no_ports"        // the worker has no local port left for a connection: it did not run
	CodeFunctionFailed = "function_failed" // the function answered that it failed
	CodeFunctionDied   = "function_died"   // the function took the call and ended without an answer
	CodeBadReply       = "bad_reply"       // the answer is not one JSON value
	CodeReplyTooLarge  = "reply_too_large" // the answer is over the limit
	CodeTimeout        = "timeout"         // no answer until the deadline
	CodeStopping       = "stopping"        // the worker stopped before the function answered
	CodeBadPayload     = "bad_payload"     // the stored body is nothing that a function could be given
	CodeCorrupt        = "corrupt"         // the stored body does not match its hash
	CodeExpired        = "expired"         // the deadline was over before the call could start
	CodeTooOld         = "too_old"         // the event is older than the max-age of its function
	CodeWorkerDied     = "worker_died"     // the workers that had the event died
)

// CallError says why a call has no reply.
type CallError struct {
	Code    string // one of the Code constants
	Message string // for people
}

func (e *CallError) Error() string { return e.Message }

// Presence: a worker that was heard of within presenceTrust is taken to be there. Otherwise, or when the reply takes
// longer than presencePatience, the workers are asked; they have presenceLimit to answer.
const (
	presenceTrust    = 3 * time.Second
	presencePatience = 20 * time.Millisecond
	presenceLimit    = 25 * time.Millisecond
)

// Call records a call, gives it to a worker and returns the function's reply. The deadline is e.Deadline or that of
// ctx, whichever is earlier; without any it is MaxCallTime. It sets e.ID when it is empty. That nobody has the
// function is known within 50 ms, unless the call is Patient. A call of a function that is paused is refused at once, with
// CodePaused. Errors: *CallError, ErrFull, ErrUnavailable, ErrTooLarge, ErrName, or the cause of ctx.
func (q *Queue) Call(ctx context.Context, e *Event) ([]byte, error) {
	if q.tracer == nil {
		return q.call(ctx, e)
	}
	ctx, span := q.startCall(ctx, e)
	reply, err := q.call(ctx, e)
	span.SetAttributes(semconv.MessagingMessageID(e.ID))
	endSpan(span, err)
	return reply, err
}

func (q *Queue) call(ctx context.Context, e *Event) ([]byte, error) {
	if most := q.MaxMessage(); len(e.Body) > most {
		return nil, tooLarge(e, "a call", most)
	}
	subject, err := prepare(e, callSubject)
	if err != nil {
		return nil, err
	}
	done, err := q.admit(int64(len(e.Body) + overhead))
	if err != nil {
		return nil, err
	}
	defer done()
	e.Deadline = earliest(ctx, e.Deadline)
	if q.halts(e.Function) {
		return nil, q.refuse(e, subject, CodePaused)
	}
	if body, ok, err := q.callHere(ctx, e, calledSubject(subject)); ok || err != nil {
		return body, err
	}
	if e.Patient && q.arrived != nil {
		if err := q.announceCall(e.Function); err != nil {
			return nil, err
		}
	}
	if !e.Patient && !q.Present(e.Function) {
		return nil, q.refuse(e, subject, CodeNoWorker)
	}
	w, inbox := q.callers.add(e.ID, q.clustered())
	defer q.callers.remove(e.ID)
	msg := encode(e, subject)
	msg.Header[headerReplyTo] = []string{inbox}
	msg.Reply = inbox // for the acknowledgement of the record
	if w.repeats {
		msg.Header[headerMsgID] = []string{e.ID}
		sending, end := context.WithCancel(ctx)
		var again sync.WaitGroup
		again.Go(func() { q.recordAgain(sending, msg, w) })
		defer func() { end(); again.Wait() }()
	}
	if err := q.recordCall(msg); err != nil {
		return nil, err
	}
	return q.await(ctx, e, w, subject)
}

// announceCall tells whoever looks after the services, here or at another gateway, that a call waits for a task.
func (q *Queue) announceCall(function string) error {
	if !q.clustered() {
		q.arrived(function)
		return nil
	}
	if err := q.nc.Publish(wakeSubject("calls", tokenOr(function)), nil); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// recordAgain sends the record of a call until it is stored: the leader of the stream may have died with it. It has an id
// by which a repeat is known.
func (q *Queue) recordAgain(ctx context.Context, msg *nats.Msg, w *caller) {
	t := time.NewTicker(recordEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-w.stored:
			return
		case <-ctx.Done():
			return
		}
		if err := q.recordCall(msg); err != nil {
			q.log.Warn("call not recorded: trying again", "error", err)
		}
	}
}

// recordEvery is longer than a record takes, and not much.
const recordEvery = 250 * time.Millisecond

func (q *Queue) recordCall(msg *nats.Msg) error {
	if err := q.nc.PublishMsg(msg); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

func earliest(ctx context.Context, deadline time.Time) time.Time {
	latest := time.Now().Add(MaxCallTime)
	if deadline.IsZero() || deadline.After(latest) {
		deadline = latest
	}
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	return deadline
}

// await waits for the reply. When it takes its time, it asks once whether there is a worker. Shortly before the deadline
// it takes back a call that no worker was given.
func (q *Queue) await(ctx context.Context, e *Event, w *caller, subject string) ([]byte, error) {
	timer := time.NewTimer(presencePatience)
	defer timer.Stop()
	for step := 0; ; step++ {
		select {
		case r := <-w.reply:
			q.presence.seen(e.Function)
			return r.body, r.err
		case <-ctx.Done():
			return nil, q.gone(ctx)
		case <-timer.C:
		}
		left := time.Until(e.Deadline)
		switch step {
		case 0:
			if !e.Patient && !q.answered(e.Function) && len(w.reply) == 0 && q.withdraw(w, e, subject, CodeNoWorker) {
				return nil, refusal(CodeNoWorker, e.Function)
			}
			timer.Reset(left - min(presenceLimit, left/2))
		case 1:
			if len(w.reply) == 0 && q.withdraw(w, e, subject, CodeNoTask) {
				return nil, refusal(CodeNoTask, e.Function)
			}
			timer.Reset(time.Until(e.Deadline))
		default:
			return nil, &CallError{CodeTimeout, fmt.Sprintf("function %s did not answer in time", e.Function)}
		}
	}
}

func (q *Queue) gone(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &CallError{CodeTimeout, "no answer until the deadline"}
	}
	return context.Cause(ctx)
}

// refusal says why no worker was given a call.
func refusal(code, function string) error {
	switch code {
	case CodeNoTask:
		return &CallError{code, fmt.Sprintf("no task of function %s took the call in time", function)}
	case CodePaused:
		return &CallError{code, fmt.Sprintf("function %s is paused: its events wait, and it takes no calls until somebody resumes it", function)}
	}
	return &CallError{code, fmt.Sprintf("no worker has function %s", function)}
}

// refuse records a call that nobody takes, on the subject that no consumer reads: it can be replayed but never runs by
// itself.
func (q *Queue) refuse(e *Event, subject, code string) error {
	why, outcome := refusal(code, e.Function), OutcomeNoWorker
	if code == CodeNoTask || code == CodePaused {
		outcome = OutcomeNotStarted
	}
	record, l := encode(e, calledSubject(subject)), line{event: e, result: Result{Code: code, Message: why.Error()}, outcome: outcome}
	if q.clustered() {
		q.logging.Go(func() { q.storeRefused(e, record, l) })
		return why
	}
	if err := q.nc.PublishMsg(record); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	q.logOutcome(l)
	return why
}

// storeRefused stores a call and then what came of it, which names the record: gateways may read the two far apart.
func (q *Queue) storeRefused(e *Event, record *nats.Msg, l line) {
	if seq := q.storePatiently(e, record); seq > 0 {
		l.root = newRef(shelfCalls, seq).String()
		q.storePatiently(e, l.message())
	}
}

// withdraw takes back a call, so that a worker which starts now does not run it. It reports whether that is certain:
// not when a worker was given the call, which it may be running although it takes no new work.
func (q *Queue) withdraw(w *caller, e *Event, subject, code string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), presenceLimit)
	defer cancel()
	select {
	case <-w.stored:
	case <-ctx.Done():
		return false
	}
	seq := w.seq
	if q.taken(ctx, e.Function, seq) {
		return false
	}
	s, err := q.js.Stream(ctx, streamCalls)
	if err == nil {
		err = s.DeleteMsg(ctx, seq)
	}
	if err != nil || q.taken(ctx, e.Function, seq) {
		return false
	}
	if err := q.refuse(e, subject, code); errors.Is(err, ErrUnavailable) {
		q.logOf(e).Warn("withdrawn call not recorded", "error", err)
	}
	return true
}

// taken reports whether a worker may have been given the call with this sequence.
func (q *Queue) taken(ctx context.Context, function string, seq uint64) bool {
	token, err := Token(function)
	if err != nil {
		return false
	}
	c, err := q.js.Consumer(ctx, streamCalls, consumerName(token))
	return err != nil || c.CachedInfo().Delivered.Stream >= seq
}

// presence remembers when a worker of a function was last heard of.
type presence struct{ last sync.Map } // function -> *atomic.Int64, unix nanoseconds

func (p *presence) seen(function string) {
	now := time.Now().UnixNano()
	v, ok := p.last.Load(function)
	if !ok {
		v, _ = p.last.LoadOrStore(function, new(atomic.Int64))
	}
	if at, ok := v.(*atomic.Int64); ok {
		at.Store(now)
	}
}

func (p *presence) recent(function string) bool {
	v, _ := p.last.Load(function)
	at, ok := v.(*atomic.Int64)
	return ok && time.Since(time.Unix(0, at.Load())) < presenceTrust
}

// Present reports whether any worker has the function. The answer takes 25 ms at most.
func (q *Queue) Present(function string) bool {
	if _, here := q.feeds.Load(function); here || q.presence.recent(function) {
		return true
	}
	return q.answered(function)
}

// answered asks the workers. Only the server's word that nobody listens means that there is none: a worker on a small
// machine may need longer than the limit to answer.
func (q *Queue) answered(function string) bool {
	token, err := Token(function)
	if err != nil {
		return false
	}
	_, err = q.nc.Request(hereSubject(token), nil, presenceLimit)
	if err == nil {
		q.presence.seen(function)
	}
	if errors.Is(err, nats.ErrNoResponders) {
		q.presence.last.Delete(function)
		return false
	}
	return true
}

// callers are the calls of this process that wait for a reply, by the last token of their inbox: the event id.
type callers struct {
	prefix  string
	mu      sync.Mutex
	waiting map[string]*caller
}

type caller struct {
	reply   chan reply    // holds one
	stored  chan struct{} // closed once the record is known to be stored
	seq     uint64        // of the record, once stored is closed
	repeats bool          // the record is sent until it is stored
}

type reply struct {
	body []byte
	err  error
}

func (c *callers) listen(nc *nats.Conn) error {
	c.prefix = nc.NewInbox() + "."
	c.waiting = make(map[string]*caller)
	if _, err := nc.Subscribe(c.prefix+"*", c.receive); err != nil {
		return fmt.Errorf("subscribe to replies: %w", err)
	}
	return nil
}

func (c *callers) add(id string, repeats bool) (*caller, string) {
	w := &caller{reply: make(chan reply, 1), stored: make(chan struct{}), repeats: repeats}
	c.mu.Lock()
	c.waiting[id] = w
	c.mu.Unlock()
	return w, c.prefix + id
}

func (c *callers) remove(id string) {
	c.mu.Lock()
	delete(c.waiting, id)
	c.mu.Unlock()
}

// receive takes what arrives at an inbox: the acknowledgement of the record, which has no headers, or the reply of
// the worker. A reply that nobody waits for any more is dropped.
func (c *callers) receive(m *nats.Msg) {
	c.mu.Lock()
	w := c.waiting[m.Subject[len(c.prefix):]]
	c.mu.Unlock()
	if w == nil {
		return
	}
	r := reply{body: m.Data}
	switch {
	case m.Header == nil:
		if r.err = w.recorded(m.Data); r.err == nil {
			return
		}
	case m.Header.Get("Status") != "":
		if w.repeats {
			return
		}
		r.err = fmt.Errorf("%w: the call was not recorded", ErrUnavailable)
	case m.Header.Get(headerCode) != "":
		r = reply{err: &CallError{m.Header.Get(headerCode), m.Header.Get(headerError)}}
	}
	select {
	case w.reply <- r:
	default: // a second reply to one call: the first one counts
	}
}

// recorded reads the acknowledgement of the record.
func (w *caller) recorded(data []byte) error {
	var ack struct {
		Seq   uint64              `json:"seq"`
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(data, &ack); err != nil {
		return fmt.Errorf("%w: acknowledgement of the record: %w", ErrUnavailable, err)
	}
	if ack.Error == nil {
		select {
		case <-w.stored:
		default:
			w.seq = ack.Seq
			close(w.stored)
		}
		return nil
	}
	if full(ack.Error) {
		return fmt.Errorf("%w: %w", ErrFull, ack.Error)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, ack.Error)
}
