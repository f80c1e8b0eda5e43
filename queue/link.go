package queue

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
)

// relink ends the context of the connection that broke and begins that of the next one. Who waits for an answer waits in
// vain then: the server has sent it to a connection that is gone, or has gone itself.
func (q *Queue) relink() {
	ctx, cut := context.WithCancel(context.Background())
	if old := q.link.Swap(&link{ctx, cut}); old != nil {
		old.cut()
	}
}

type link struct {
	context.Context
	cut context.CancelFunc
}

// whileLinked returns a context that ends when the connection breaks; then its cause is ErrUnavailable.
func (q *Queue) whileLinked(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	forget := context.AfterFunc(q.link.Load(), func() { cancel(fmt.Errorf("%w: the connection broke", ErrUnavailable)) })
	return ctx, func() { forget(); cancel(nil) }
}

// request is a request of the client that ends when the connection breaks.
func (q *Queue) request(ctx context.Context, subject string, body []byte) (*nats.Msg, error) {
	ctx, cancel := q.whileLinked(ctx)
	defer cancel()
	m, err := q.nc.RequestWithContext(ctx, subject, body)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return m, err
}
