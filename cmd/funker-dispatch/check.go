package main

import (
	"cmp"
	"context"
	"net"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// check refuses values that a gateway cannot work with, before it touches anything.
func (o *gatewayOptions) check(ctx context.Context) error {
	in := o.ingress
	switch {
	case o.ackWait < queue.MinAckWait:
		return usagef("--ack-wait %s: choose %s or more", o.ackWait, queue.MinAckWait)
	case o.grace < 0:
		return usagef("--grace %s: choose 0s or more", o.grace)
	case o.maxEvents != 0 && o.maxEvents < queue.MinEvents:
		return usagef("--max-events %d: choose %dMiB or more; one event may take half of that, and older ones would go at once", o.maxEvents, queue.MinEvents>>20)
	case in.MaxBody < 1 || in.MaxBody > queue.MaxBody:
		return usagef("--max-body %d: choose 1 to %d", in.MaxBody, queue.MaxBody)
	case in.MaxInFlight < 1:
		return usagef("--max-in-flight %d: choose 1 or more", in.MaxInFlight)
	case in.MaxInFlightBytes != 0 && in.MaxInFlightBytes < in.MaxBody:
		return usagef("--max-in-flight-bytes %d: choose %d or more, so that one body of the largest size fits, or 0 for the default", in.MaxInFlightBytes, in.MaxBody)
	}
	return cmp.Or(o.tls.check(ctx), checkAddress(ctx, "listen", o.listen), checkAddress(ctx, "admin", o.admin), checkAddress(ctx, "nats-listen", o.natsListen))
}

// checkAddress returns an error when a flag is not HOST:PORT. The host is not looked up.
func checkAddress(ctx context.Context, flag, address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.DefaultResolver.LookupPort(ctx, "tcp", port)
	}
	if err != nil {
		return usagef("--%s %q: %w", flag, address, err)
	}
	return nil
}
