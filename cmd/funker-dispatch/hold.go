package main

import (
	"context"
	"errors"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// hold keeps the store of a gateway of a cluster open, for backup and restore only, until ctx ends. Senders and health
// checks are answered as by a gateway that waits for the others.
func hold(ctx context.Context, o *gatewayOptions, begin time.Time) (err error) {
	waiting, err := openLobby(ctx, *o)
	if err != nil {
		return err
	}
	defer waiting.close()
	q, err := queue.Hold(ctx, o.store())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	o.log.Warn("held: this gateway takes no events and runs none", "nats", q.URL(), "data", o.data, "after", time.Since(begin).Round(time.Millisecond))
	<-ctx.Done()
	o.log.Info("stopped", "reason", context.Cause(ctx))
	return nil
}
