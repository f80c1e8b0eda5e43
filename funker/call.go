package funker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// Client calls functions. The zero value is ready to use, and one Client may be
// used by many goroutines. It keeps nothing between calls.
type Client struct {
	DialTimeout time.Duration // for the connection alone; 0 means 250 ms
	MaxReply    int64         // bytes; 0 means DefaultMaxReply
	KeepAlive   time.Duration // between probes of a silent function's host; 0 means 30 s
}

// Call sends request, which has to be one JSON value, to the function at addr
// ("10.0.1.7:9999"; a host name is looked up as part of dialling) and returns its
// reply: one JSON value, checked, without white space around it.
//
// There is no limit on the time that a function takes but that of ctx, which holds
// in every phase. The error is a *Failure when the function itself said that it
// failed, and an *Error otherwise.
//
// The request goes out as it is. Check it where it comes in: classic functions die
// of a bad one.
func (c *Client) Call(ctx context.Context, addr string, request []byte) ([]byte, error) {
	conn, err := c.dial(ctx, addr)
	if err != nil {
		return nil, &Error{Phase: PhaseDial, Started: StartedNo, Addr: addr, Err: err}
	}
	defer conn.Close()
	defer bind(ctx, conn)()
	reply, failed := c.exchange(ctx, conn, request)
	if failed != nil {
		failed.Addr = addr
		return nil, failed
	}
	reply, err = parseReply(reply)
	if errors.Is(err, ErrBadReply) {
		return nil, &Error{Phase: PhaseDecode, Started: StartedYes, Addr: addr, Err: err}
	}
	return reply, err
}

func (c *Client) dial(ctx context.Context, addr string) (*net.TCPConn, error) {
	dialer := net.Dialer{
		Timeout:         orDefault(c.DialTimeout, defaultDialTimeout),
		KeepAliveConfig: c.keepAlive(),
	}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err == nil {
		return conn.(*net.TCPConn), nil
	}
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%w: %w", ErrNoPorts, cause(ctx, err))
	case isTimeout(err) && ended(ctx, err) == nil:
		// net's own timeout error passes for the end of a context, which it is not.
		return nil, fmt.Errorf("no connection within %v: %w", dialer.Timeout, os.ErrDeadlineExceeded)
	}
	return nil, cause(ctx, err)
}

// keepAlive finds a host that is gone, and keeps the half-closed connection of a
// long call alive in whatever tracks connections on the way:
// https://github.com/docker/docker/issues/29655.
func (c *Client) keepAlive() net.KeepAliveConfig {
	every := orDefault(c.KeepAlive, defaultKeepAlive)
	return net.KeepAliveConfig{Enable: true, Idle: every, Interval: every, Count: 4}
}

// bind makes conn fail when ctx ends, until the returned func is called.
func bind(ctx context.Context, conn net.Conn) (release func() bool) {
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // fails only on a closed connection
	}
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // likewise
}

// exchange sends the request and returns all that the function has sent. Its
// error lacks the address.
func (c *Client) exchange(ctx context.Context, conn *net.TCPConn, request []byte) ([]byte, *Error) {
	sent := send(conn, request)
	if sent != nil && !hungUp(sent) {
		return nil, &Error{Phase: PhaseWrite, Started: StartedNo, Err: cause(ctx, sent)}
	}
	// A function that refuses a request early hangs up on the rest of it, but
	// its reply has arrived.
	reply, err := readToEnd(conn, orDefault(c.MaxReply, DefaultMaxReply))
	switch {
	case sent != nil && len(reply) == 0:
		return nil, &Error{Phase: PhaseWrite, Started: StartedNo, Err: cause(ctx, sent)}
	case errors.Is(err, errTooLarge):
		err = fmt.Errorf("%w: the limit is %d bytes", ErrReplyTooLarge, len(reply))
		return nil, &Error{Phase: PhaseRead, Started: StartedYes, Err: err}
	case err != nil && len(reply) == 0:
		return nil, &Error{Phase: PhaseRead, Started: StartedPerhaps, Err: cause(ctx, err)}
	case err != nil:
		return nil, &Error{Phase: PhaseRead, Started: StartedYes, Err: cause(ctx, err)}
	case len(reply) == 0:
		return nil, &Error{Phase: PhaseRead, Started: StartedYes, Err: ErrNoReply}
	}
	return reply, nil
}

func send(conn *net.TCPConn, request []byte) error {
	if _, err := conn.Write(request); err != nil {
		return err
	}
	return conn.CloseWrite()
}

// hungUp says that the other side has closed the connection.
func hungUp(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ENOTCONN)
}

func orDefault[T int | int64 | time.Duration](value, otherwise T) T {
	if value > 0 {
		return value
	}
	return otherwise
}
