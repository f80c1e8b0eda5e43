package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// clientPuller reads for the index on the connection of a queue, where there is no embedded server to tap: it has the login,
// TLS and other servers to go to when one is lost.
type clientPuller struct{ q *Queue }

func (clientPuller) close() {}

func (c clientPuller) pull(ctx context.Context, stream, consumer string, batch int, visit func(*tapMessage)) (got int, known bool, err error) {
	ctx, release := c.q.whileLinked(ctx)
	defer release()
	s, err := c.q.nc.SubscribeSync(c.q.nc.NewInbox())
	if err != nil {
		return 0, false, fmt.Errorf("read %s: %w", stream, err)
	}
	defer func() { _ = s.Unsubscribe() }() // fails only when the connection is closed
	request := fmt.Appendf(nil, `{"batch":%d,"no_wait":true}`, batch)
	if err := c.q.nc.PublishRequest(pullSubject(c.q.prefix, stream, consumer), s.Subject, request); err != nil {
		return 0, false, fmt.Errorf("read %s: %w", stream, err)
	}
	for got < batch {
		m, err := s.NextMsgWithContext(ctx)
		switch {
		case errors.Is(err, nats.ErrNoResponders):
			return got, false, nil
		case err != nil && ctx.Err() != nil:
			err = context.Cause(ctx)
			fallthrough
		case err != nil:
			return got, false, fmt.Errorf("read %s: %w", stream, err)
		}
		seq, order, stored := metadata([]byte(m.Reply))
		if seq == 0 {
			return got, m.Header.Get("Status") == statusText, nil
		}
		visit(&tapMessage{subject: []byte(m.Subject), header: headerBlock(m.Header), seq: seq, order: order, stored: stored})
		got++
	}
	return got, true, nil
}

// statusText is statusNone as the client library has it.
const statusText = "404"

// headerBlock writes headers as they are stored.
func headerBlock(h nats.Header) []byte {
	var b bytes.Buffer
	b.WriteString("NATS/1.0\r\n")
	for key, values := range h {
		for _, v := range values {
			b.WriteString(key + ": " + v + "\r\n")
		}
	}
	b.WriteString("\r\n")
	return b.Bytes()
}
