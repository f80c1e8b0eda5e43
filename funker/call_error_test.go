package funker_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/funker"
)

func TestCall_RefusedDialProvesThatNothingStarted(t *testing.T) {
	t.Parallel()
	addr := goneAddr(t)
	_, err := new(funker.Client).Call(t.Context(), addr, []byte(`{}`))
	wantError(t, err, funker.PhaseDial, funker.StartedNo)
	if !errors.Is(err, syscall.ECONNREFUSED) || timedOut(err) {
		t.Errorf("got %v, want ECONNREFUSED and no timeout", err)
	}
	if got, want := err.Error(), "call "+addr+": dial: connect: connection refused"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCall_AddressWithoutAPortIsADialError(t *testing.T) {
	t.Parallel()
	_, err := new(funker.Client).Call(t.Context(), "localhost", []byte(`{}`))
	wantError(t, err, funker.PhaseDial, funker.StartedNo)
}

func TestCall_DialTimeoutIsNotTheEndOfTheContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client := funker.Client{DialTimeout: 20 * time.Millisecond}
	_, err := client.Call(ctx, silentAddr(t), []byte(`{}`))
	wantError(t, err, funker.PhaseDial, funker.StartedNo)
	if !timedOut(err) || errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want a timeout that is not the context's", err)
	}
}

func TestCall_EndOfStreamWithoutAByteProvesThatItStarted(t *testing.T) {
	t.Parallel()
	_, err := new(funker.Client).Call(t.Context(), startPeer(t, replying("")), []byte(`{}`))
	wantError(t, err, funker.PhaseRead, funker.StartedYes)
	if !errors.Is(err, funker.ErrNoReply) {
		t.Errorf("got %v, want %v", err, funker.ErrNoReply)
	}
}

func TestCall_ResetWithoutAByteProvesNothing(t *testing.T) {
	t.Parallel()
	addr := startPeer(t, func(conn *net.TCPConn) {
		_, _ = io.Copy(io.Discard, conn)
		resetting(conn)
	})
	_, err := new(funker.Client).Call(t.Context(), addr, []byte(`{}`))
	wantError(t, err, funker.PhaseRead, funker.StartedPerhaps)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want %v", err, syscall.ECONNRESET)
	}
}

func TestCall_ResetAfterAByteProvesThatItStarted(t *testing.T) {
	t.Parallel()
	// The reset discards what its sender has not sent and the caller's kernel keeps
	// what has arrived, which here is too much for one read.
	addr := startPeer(t, func(conn *net.TCPConn) {
		_, _ = io.Copy(io.Discard, conn)
		_, _ = conn.Write(jsonString(1 << 20)[:1<<20-1])
		resetting(conn)
	})
	_, err := new(funker.Client).Call(t.Context(), addr, []byte(`{}`))
	wantError(t, err, funker.PhaseRead, funker.StartedYes)
}

func TestCall_ResetDuringTheRequestProvesThatNothingStarted(t *testing.T) {
	t.Parallel()
	addr := startPeer(t, func(conn *net.TCPConn) {
		_, _ = conn.Read(make([]byte, 1)) // before it, the dial itself could be reset
		resetting(conn)
	})
	_, err := new(funker.Client).Call(t.Context(), addr, jsonString(32<<20))
	wantError(t, err, funker.PhaseWrite, funker.StartedNo)
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("got %v, want ECONNRESET or EPIPE", err)
	}
}

func TestCall_RefusesWhatIsNotOneJSONValue(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{
		" \n", "hello", `{"a":`, `{"a":1}}`, `{"a":1}{"b":2}`, "1 2", `{"a":1},`, "NaN", "undefined", `{'a':1}`,
		"\ufeff{}", "\"\xff\"", "\x00", "HTTP/1.1 400 Bad Request\r\n\r\n", strings.Repeat("[", 100_000),
		`{"funkerError":"text"}`, `{"funkerError":null}`, `{"funkerError":{"message":1}}`,
		`{"funkerError":{"retry":"no"}}`, `{"funkerError":{"retryAfter":"1"}}`, `{"funkerError":{"retryAfter":1e999}}`,
	} {
		_, err := new(funker.Client).Call(t.Context(), startPeer(t, replying(reply)), []byte(`{}`))
		wantError(t, err, funker.PhaseDecode, funker.StartedYes)
		if !errors.Is(err, funker.ErrBadReply) {
			t.Errorf("%.40q: got %v, want %v", reply, err, funker.ErrBadReply)
		}
	}
}

// A stuck call is stuck in one phase, after reached has been closed.
type stuckCall struct {
	addr    string
	request []byte
	reached <-chan struct{} // nil: cannot be seen from outside
	phase   funker.Phase
	started funker.Started
}

func stuckCalls(t *testing.T) map[string]stuckCall {
	small, closed := []byte(`{}`), make(chan struct{})
	close(closed)
	hanging := func(script func(*net.TCPConn)) (string, <-chan struct{}) {
		reached := make(chan struct{}, 1)
		return startPeer(t, func(conn *net.TCPConn) {
			script(conn)
			reached <- struct{}{}
			<-t.Context().Done()
		}), reached
	}
	deaf, begun := hanging(func(conn *net.TCPConn) { _, _ = conn.Read(make([]byte, 1)) })
	mute, heard := hanging(func(conn *net.TCPConn) { _, _ = io.Copy(io.Discard, conn) })
	open, replied := hanging(replying(`{"complete":true}`))
	return map[string]stuckCall{
		"dial: queue is full":                    {silentAddr(t), small, closed, funker.PhaseDial, funker.StartedNo},
		"write: function stops reading":          {deaf, jsonString(32 << 20), begun, funker.PhaseWrite, funker.StartedNo},
		"read: function does not reply":          {mute, small, heard, funker.PhaseRead, funker.StartedPerhaps},
		"read: function replies, does not close": {open, small, replied, funker.PhaseRead, funker.StartedYes},
	}
}

func TestCall_DeadlineHoldsInEveryPhase(t *testing.T) {
	t.Parallel()
	for name, stuck := range stuckCalls(t) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		client, begun := funker.Client{DialTimeout: time.Minute}, time.Now()
		_, err := client.Call(ctx, stuck.addr, stuck.request)
		t.Log(name, err)
		wantError(t, err, stuck.phase, stuck.started)
		if !timedOut(err) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v, want %v", name, err, context.DeadlineExceeded)
		}
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("%s: took %v, want about 100ms", name, took)
		}
	}
}

func TestCall_CancelEndsEveryPhase(t *testing.T) {
	t.Parallel()
	for name, stuck := range stuckCalls(t) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			<-stuck.reached
			cancel()
		}()
		client := funker.Client{DialTimeout: time.Minute}
		_, err := client.Call(ctx, stuck.addr, stuck.request)
		e, ok := errors.AsType[*funker.Error](err)
		if !ok || e.Phase != stuck.phase || !errors.Is(err, context.Canceled) || e.Timeout() {
			t.Errorf("%s: got %v, want %v and no timeout", name, err, context.Canceled)
		}
	}
}

func TestCall_EndedContextStartsNothing(t *testing.T) {
	t.Parallel()
	addr := startPeer(t, replying(`{}`))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := new(funker.Client).Call(ctx, addr, []byte(`{}`))
	wantError(t, err, funker.PhaseDial, funker.StartedNo)
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	_, err = new(funker.Client).Call(late, addr, []byte(`{}`))
	wantError(t, err, funker.PhaseDial, funker.StartedNo)
	if !timedOut(err) {
		t.Errorf("got %v, want a timeout", err)
	}
}

func TestCall_SlowDripDoesNotExtendTheDeadline(t *testing.T) {
	t.Parallel()
	addr := startPeer(t, func(conn *net.TCPConn) {
		_, _ = io.Copy(io.Discard, conn)
		drip(conn, `"`+strings.Repeat("x", 60_000))
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := new(funker.Client).Call(ctx, addr, []byte(`{}`))
	wantError(t, err, funker.PhaseRead, funker.StartedYes)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
}
