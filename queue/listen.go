package queue

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"github.com/nats-io/nats-server/v2/server"
)

// listenAddress returns where the server can listen: at a host and port, or, for a range such as "10.253.0.0/16:4222", at
// the address which this machine has in it. A container is on several networks, and knows no other name for one of them:
// Swarm tells nobody the name of a service before its health check has succeeded. It makes sure that the address is
// free: the server itself would end the process.
func listenAddress(ctx context.Context, flag, address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("--%s: %w", flag, err)
	}
	if port, err = strconv.Atoi(text); err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("--%s %q: port must be a number up to 65535", flag, address)
	}
	if host, err = OwnHost(host); err != nil {
		return "", 0, fmt.Errorf("--%s %q: %w", flag, address, err)
	}
	at := net.JoinHostPort(host, text)
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", at)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "", 0, fmt.Errorf("%w: --%s %s", ErrAddressInUse, flag, at)
	case err != nil:
		return "", 0, fmt.Errorf("--%s: %w", flag, err)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, l.Close()
}

// OwnHost returns the address that this machine has in a range, and everything else as it is.
func OwnHost(host string) (string, error) {
	network, err := netip.ParsePrefix(host)
	if err != nil {
		return host, nil
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("addresses of this machine: %w", err)
	}
	for _, a := range all {
		if own, err := netip.ParsePrefix(a.String()); err == nil && network.Contains(own.Addr()) {
			return own.Addr().String(), nil
		}
	}
	return "", fmt.Errorf("this machine has no address in %s: it has %v", network, all)
}
