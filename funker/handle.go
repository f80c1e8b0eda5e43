package funker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"time"
	"unicode/utf8"
)

// Handle is a one-shot function: it accepts one call on l, closes l so that the
// next caller is refused at once, answers with what fn makes of the request, and
// returns. A program ends after it, and whatever supervises the program starts the
// next one.
//
// The request is decoded into In and the reply encoded from Out as encoding/json
// does it; with json.RawMessage the bytes pass through as they are. An error of fn
// goes to the caller as a funkerError, with the retry and the wait of a [Failure] in
// it, else with retry true, and so does a panic. A request that is not one JSON
// value, does not fit In, has more than DefaultMaxRequest bytes or does not end
// within 10 seconds goes back with retry false.
//
// When ctx is cancelled before a caller came, Handle returns its error. A call which
// runs is finished: fn gets the values of ctx, but not its end. Handle returns nil
// when fn's result or error has been handed over, and an error when the request
// was bad, fn panicked (with the stack), or the caller was gone.
func Handle[In, Out any](ctx context.Context, l net.Listener, fn func(context.Context, In) (Out, error)) error {
	conn, err := acceptOne(ctx, l)
	if err != nil {
		return err
	}
	return answer(ctx, conn, handlerOf(fn), Options{}.withDefaults())
}

func acceptOne(ctx context.Context, l net.Listener) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() }) // Accept says that it is closed
	defer l.Close()
	defer stop()
	conn, err := l.Accept()
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return conn, err
}

// handler makes the reply to a request. Its error is for the function's own log;
// the caller has its share of it in the reply.
type handler func(ctx context.Context, request []byte) (reply []byte, err error)

func handlerOf[In, Out any](fn func(context.Context, In) (Out, error)) handler {
	return func(ctx context.Context, request []byte) (reply []byte, err error) {
		defer func() {
			if v := recover(); v != nil {
				err = fmt.Errorf("function panicked: %v", v)
				reply, err = encodeFailure(err), fmt.Errorf("%w\n%s", err, debug.Stack())
			}
		}()
		var in In
		if err := decodeRequest(request, &in); err != nil {
			return refusal(err), err
		}
		out, err := fn(ctx, in)
		if err != nil {
			return encodeFailure(err), nil
		}
		if reply, err = encodeReply(out); err != nil {
			return refusal(err), err
		}
		return reply, nil
	}
}

func decodeRequest(request []byte, in any) error {
	if len(request) == 0 {
		return errors.New("request is empty: send one JSON value")
	}
	if !utf8.Valid(request) {
		return errors.New("request is not UTF-8")
	}
	if err := json.Unmarshal(request, in); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	return nil
}

// encodeReply takes a json.RawMessage as it is, which json.Marshal would compact
// and escape.
func encodeReply(out any) ([]byte, error) {
	raw, ok := out.(json.RawMessage)
	if !ok || len(raw) == 0 {
		reply, err := json.Marshal(out)
		if err != nil {
			return nil, fmt.Errorf("reply: %w", err)
		}
		return reply, nil
	}
	if !json.Valid(raw) || !utf8.Valid(raw) {
		return nil, errors.New("reply: not one JSON value")
	}
	return bytes.Clone(raw), nil
}

// answer serves one call on conn and closes it.
func answer(ctx context.Context, conn net.Conn, handle handler, options Options) error {
	defer conn.Close()
	request, err := receive(conn, options)
	if err != nil {
		hangUp(conn, refusal(err))
		return err
	}
	reply, err := handle(context.WithoutCancel(ctx), request)
	return errors.Join(err, deliver(conn, reply, options.TransferTimeout))
}

func receive(conn net.Conn, options Options) ([]byte, error) {
	if err := conn.SetDeadline(time.Now().Add(options.TransferTimeout)); err != nil {
		return nil, fmt.Errorf("receive request: %w", err)
	}
	request, err := readToEnd(conn, options.MaxRequest)
	switch {
	case errors.Is(err, errTooLarge):
		return nil, fmt.Errorf("request is over %d bytes, the limit of this function", options.MaxRequest)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("request did not end within %v: close the sending half after it", options.TransferTimeout)
	case err != nil:
		return nil, fmt.Errorf("receive request: %w", err)
	}
	return request, nil
}

// deliver leaves the end of the reply to the closing of conn.
func deliver(conn net.Conn, reply []byte, limit time.Duration) error {
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return fmt.Errorf("deliver reply: %w", err)
	}
	if _, err := conn.Write(reply); err != nil {
		return fmt.Errorf("deliver reply: %w", err)
	}
	return nil
}

// lingering is how long a refused caller may go on sending.
const lingering = time.Second

// hangUp answers a caller whose request has not been read to its end. Closing at
// once would reset the connection and take the reply away from the caller.
func hangUp(conn net.Conn, reply []byte) {
	if deliver(conn, reply, lingering) != nil {
		return // the caller has gone first
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, conn) // ends with the caller's half, or the deadline
	}
}
