package funker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// What an [Error] wraps, besides the errors of the network and of the context.
var (
	// ErrNoReply: the function closed the connection without a byte. It has
	// started and died.
	ErrNoReply = errors.New("function closed without a reply")
	// ErrBadReply: the reply is not exactly one JSON value in UTF-8, or its
	// funkerError has members of the wrong type.
	ErrBadReply = errors.New("reply is not one JSON value")
	// ErrReplyTooLarge: the reply is longer than Client.MaxReply.
	ErrReplyTooLarge = errors.New("reply too large")
	// ErrNoPorts: this host has no local port left for a connection to that
	// address, because too many calls ended within the last minute. It says
	// nothing about the function. On Linux net.ipv4.tcp_tw_reuse=1 is the cure.
	ErrNoPorts = errors.New("no local port left to dial from")
)

// Phase is the part of a call in which it failed.
type Phase uint8

// The phases in their order.
const (
	PhaseDial Phase = iota
	PhaseWrite
	PhaseRead
	PhaseDecode
)

func (p Phase) String() string {
	switch p {
	case PhaseDial:
		return "dial"
	case PhaseWrite:
		return "write"
	case PhaseRead:
		return "read"
	case PhaseDecode:
		return "decode"
	}
	return fmt.Sprintf("Phase(%d)", uint8(p))
}

// Started says whether the function can have begun to run when its call failed.
type Started uint8

// StartedNo is a proof: the request may go elsewhere without being run twice.
const (
	StartedNo Started = iota
	StartedPerhaps
	StartedYes
)

func (s Started) String() string {
	switch s {
	case StartedNo:
		return "no"
	case StartedPerhaps:
		return "perhaps"
	case StartedYes:
		return "yes"
	}
	return fmt.Sprintf("Started(%d)", uint8(s))
}

// Error is a call that failed on its way. A function that ran and said that it
// failed is a [Failure] instead.
//
// Err is context.Canceled or context.DeadlineExceeded when the context ended the
// call, one of the errors above, or what the network said, with its syscall.Errno
// inside.
type Error struct {
	Phase   Phase
	Started Started
	Addr    string // as given to Call
	Err     error
}

func (e *Error) Error() string {
	return "call " + e.Addr + ": " + e.Phase.String() + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Timeout says whether the call ran out of time: the context's or, in PhaseDial,
// Client.DialTimeout, which ends only this attempt to connect.
func (e *Error) Timeout() bool { return isTimeout(e.Err) }

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// ended returns the error of ctx when that is what made a socket fail with err,
// and nil otherwise.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// A socket with the context's deadline may notice it before the context does.
	if deadline, ok := ctx.Deadline(); ok && isTimeout(err) && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// cause is what to report of err: the end of ctx, or the network's word without
// the addresses around it.
func cause(ctx context.Context, err error) error {
	if end := ended(ctx, err); end != nil {
		return end
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}
