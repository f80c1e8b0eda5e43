package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// scanner reads a stream by direct gets, which pass over what is deleted and what cannot be read. A consumer would
// still count the latter as pending, and wait for it at the end of the stream for ever.
type scanner struct {
	q      *Queue
	stream string
	sub    *nats.Subscription // nil when the stream allows no direct gets
}

const (
	batchMessages = 1000
	batchBytes    = 1 << 20 // and one message more at most; the server stores nothing while it collects them
	readPatience  = 15 * time.Second
)

func (q *Queue) newScanner(cfg jetstream.StreamConfig) (*scanner, error) {
	r := &scanner{q: q, stream: cfg.Name}
	if cfg.AllowDirect {
		var err error
		if r.sub, err = q.nc.SubscribeSync(q.nc.NewInbox()); err != nil {
			return nil, fmt.Errorf("subscribe: %w", err)
		}
	}
	return r, nil
}

func (r *scanner) close() {
	if r.sub != nil {
		// It fails when the connection is closed, and then there is nothing left to end.
		_ = r.sub.Unsubscribe()
	}
}

// read gives some of the messages from a sequence on to f and returns the sequence to go on with: the same one when
// there is nothing to read. Headers that are no headers make a message one that cannot be read.
func (r *scanner) read(ctx context.Context, from uint64, f func(seq uint64, m *nats.Msg)) (next uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	if r.sub == nil {
		return r.readOne(ctx, from, f)
	}
	ask := fmt.Appendf(nil, `{"seq":%d,"batch":%d,"max_bytes":%d}`, from, batchMessages, batchBytes)
	if err := r.q.nc.PublishRequest(r.q.prefix+"DIRECT.GET."+r.stream, r.sub.Subject, ask); err != nil {
		return from, err
	}
	for next = from; ; {
		m, err := r.sub.NextMsgWithContext(ctx)
		if err != nil {
			return next, err
		}
		if seqs := m.Header[jetstream.SequenceHeader]; len(seqs) > 0 {
			seq, err := strconv.ParseUint(seqs[len(seqs)-1], 10, 64) // the server's own is the last
			if err != nil {
				return next, fmt.Errorf("sequence: %w", err)
			}
			if subjects := m.Header[jetstream.SubjectHeader]; len(subjects) > 0 {
				m.Subject = subjects[len(subjects)-1]
			}
			f(seq, m)
			next = seq + 1
			continue
		}
		switch status := m.Header.Get("Status"); status {
		case "204", "404":
			return next, nil
		case "": // headers that cannot be decoded
		default:
			return next, fmt.Errorf("the server answers %s %s", status, m.Header.Get("Description"))
		}
	}
}

func (r *scanner) readOne(ctx context.Context, from uint64, f func(seq uint64, m *nats.Msg)) (next uint64, err error) {
	m, err := r.q.stored(ctx, r.stream, from)
	if err != nil || m == nil {
		return from, err
	}
	if msg, err := m.message(); err == nil {
		f(m.Sequence, msg)
	}
	return m.Sequence + 1, nil
}

// plainMessage is a message, byte for byte as it is stored.
type plainMessage struct {
	Subject  string    `json:"subject"`
	Sequence uint64    `json:"seq"`
	Header   []byte    `json:"hdrs"`
	Data     []byte    `json:"data"`
	Time     time.Time `json:"time"`
}

func (m *plainMessage) message() (*nats.Msg, error) {
	msg := &nats.Msg{Subject: m.Subject, Data: m.Data, Header: nats.Header{}}
	if len(m.Header) == 0 {
		return msg, nil
	}
	h, err := nats.DecodeHeadersMsg(m.Header)
	if err == nil {
		msg.Header = h
	}
	return msg, err
}

// stored returns the first message that can be read from a sequence on, nil when there is none.
func (q *Queue) stored(ctx context.Context, stream string, from uint64) (*plainMessage, error) {
	var answer struct {
		Message *plainMessage       `json:"message"`
		Error   *jetstream.APIError `json:"error"`
	}
	err := q.api(ctx, "STREAM.MSG.GET."+stream, map[string]any{"seq": from, "next_by_subj": ">"}, &answer)
	switch {
	case err != nil:
		return nil, err
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, nil
	case answer.Error != nil:
		return nil, answer.Error
	}
	return answer.Message, nil
}

// resume returns where reading can go on after there was nothing to read at a sequence: behind a file that cannot be
// read, which hides those behind it as well, or behind the last sequence.
func (q *Queue) resume(ctx context.Context, stream string, from, last uint64) (uint64, error) {
	there := func(seq uint64) (bool, error) {
		if seq > last {
			return true, nil
		}
		m, err := q.stored(ctx, stream, seq)
		return m != nil, err
	}
	low, high := from, from+1
	for step := uint64(1); ; step *= 2 {
		ok, err := there(high)
		if err != nil {
			return 0, err
		}
		if ok {
			break
		}
		low, high = high, min(high+step, last+1)
	}
	for high-low > 1 {
		middle := low + (high-low)/2
		ok, err := there(middle)
		if err != nil {
			return 0, err
		}
		if ok {
			high = middle
		} else {
			low = middle
		}
	}
	return high, nil
}

// api sends a request to JetStream that its client library does not know.
func (q *Queue) api(ctx context.Context, subject string, request, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	data, err := json.Marshal(request)
	if err != nil {
		return err
	}
	m, err := q.nc.RequestWithContext(ctx, q.prefix+subject, data)
	if err != nil {
		return err
	}
	return json.Unmarshal(m.Data, answer)
}
