package funker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

// Options of [Serve]. The zero value is ready to use.
type Options struct {
	Concurrency     int           // calls at the same time, further ones wait to be accepted; 0 means DefaultConcurrency
	MaxRequest      int64         // bytes; 0 means DefaultMaxRequest
	TransferTimeout time.Duration // for a request to arrive, and again for a reply to leave; 0 means 10 s
	Log             *slog.Logger  // panics, bad requests, lost replies; nil means slog.Default()
}

func (o Options) withDefaults() Options {
	o.Concurrency = orDefault(o.Concurrency, DefaultConcurrency)
	o.MaxRequest = orDefault(o.MaxRequest, DefaultMaxRequest)
	o.TransferTimeout = orDefault(o.TransferTimeout, defaultTransferTimeout)
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return o
}

// Serve is a server function: it answers every call on l as [Handle] answers one,
// until ctx is cancelled. Then it closes l, waits for the calls that run, which do
// not see the end of ctx, and returns nil. When l breaks, it returns its error,
// likewise after the calls that run. There may be one Options at most.
func Serve[In, Out any](ctx context.Context, l net.Listener, fn func(context.Context, In) (Out, error), options ...Options) error {
	var o Options
	switch len(options) {
	case 0:
	case 1:
		o = options[0]
	default:
		return fmt.Errorf("serve: %d options given, 1 at most", len(options))
	}
	return serve(ctx, l, handlerOf(fn), o.withDefaults())
}

func serve(ctx context.Context, l net.Listener, handle handler, o Options) error {
	var running sync.WaitGroup
	defer running.Wait()
	defer l.Close()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })() // Accept says that it is closed

	slots := make(chan struct{}, o.Concurrency)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		conn, err := acceptNext(ctx, l, o.Log)
		if err != nil && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		running.Go(func() {
			defer func() { <-slots }()
			if err := answer(ctx, conn, handle, o); err != nil {
				o.Log.Warn("call went wrong", "remote", conn.RemoteAddr().String(), "error", err)
			}
		})
	}
}

// acceptNext waits while the process or the host has no file descriptor left,
// which the end of a running call can mend.
func acceptNext(ctx context.Context, l net.Listener, log *slog.Logger) (net.Conn, error) {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		conn, err := l.Accept()
		if err == nil || !passing(err) {
			return conn, err
		}
		log.Warn("accept has to wait", "wait", wait, "error", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func passing(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ECONNABORTED)
}
