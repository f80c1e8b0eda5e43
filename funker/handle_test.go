package funker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/funker"
)

type point struct {
	X, Y int
}

func add(_ context.Context, p point) (int, error) { return p.X + p.Y, nil }

func echo(_ context.Context, in json.RawMessage) (json.RawMessage, error) { return in, nil }

// startHandle runs Handle on an address and returns what it will return.
func startHandle[In, Out any](t testing.TB, fn func(context.Context, In) (Out, error)) (string, <-chan error) {
	t.Helper()
	l := listen(t)
	served := make(chan error, 1)
	go func() { served <- funker.Handle(t.Context(), l, fn) }()
	return l.Addr().String(), served
}

// checkHandle is one exchange with a one-shot function of its own.
func checkHandle[In, Out any](t *testing.T, fn func(context.Context, In) (Out, error), want string, parts ...string) {
	t.Helper()
	addr, served := startHandle(t, fn)
	if got := exchange(t, addr, parts...); got != want {
		t.Errorf("request %.60q: got reply %q, want %q", parts, got, want)
	}
	if err := <-served; err != nil {
		t.Errorf("request %.60q: %v", parts, err)
	}
}

func TestHandle_AnswersWhatTheClassicLibrariesSend(t *testing.T) {
	t.Parallel()
	checkHandle(t, add, `3`, `{"x":1,"y":2}`)          // Node: JSON.stringify
	checkHandle(t, add, `3`, `{"x": 1, "y": 2}`)       // Python: json.dumps
	checkHandle(t, add, `3`, "{\"x\":1,", "\"y\":2}")  // in two writes
	checkHandle(t, add, `3`, " {\"x\":1,\"y\":2} \n ") // by hand, with nc
	hello := func(_ context.Context, name string) (string, error) { return "Grüße, " + name, nil }
	checkHandle(t, hello, `"Grüße, Zoë"`, `"Zo\u00eb"`)         // Python escapes
	checkHandle(t, hello, `"Grüße, Zoë"`, "\"Zo\xc3", "\xab\"") // a character split over two writes
}

func TestHandle_FunctionWithoutAResultRepliesNull(t *testing.T) {
	t.Parallel()
	checkHandle(t, func(context.Context, any) (any, error) { return nil, nil }, `null`, `null`)
	checkHandle(t, func(context.Context, any) (*point, error) { return nil, nil }, `null`, `{}`)
	checkHandle(t, func(context.Context, any) (json.RawMessage, error) { return nil, nil }, `null`, `{}`)
}

func TestHandle_RawMessagePassesThroughByteForByte(t *testing.T) {
	t.Parallel()
	for name, document := range documents(t) {
		t.Log(name)
		checkHandle(t, echo, document, document)
		checkHandle(t, func(_ context.Context, in json.RawMessage) (any, error) { return in, nil }, document, document)
	}
}

func TestHandle_TellsTheCallerHowTheFunctionFailed(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		`{"funkerError":{"message":"disk \"full\"","retry":true}}`:                      errors.New(`disk "full"`),
		`{"funkerError":{"message":"no such city","retry":false}}`:                      &funker.Failure{Message: "no such city"},
		`{"funkerError":{"message":"busy","retry":true,"retryAfter":1.5}}`:              &funker.Failure{Message: "busy", Retry: true, RetryAfter: 1500 * time.Millisecond},
		`{"funkerError":{"message":"look up Oslo: no such city","retry":false}}`:        fmt.Errorf("look up Oslo: %w", &funker.Failure{Message: "no such city"}),
		`{"funkerError":{"message":"function failed without a message","retry":false}}`: &funker.Failure{},
	} {
		checkHandle(t, func(context.Context, any) (any, error) { return 1, err }, want, `{}`)
	}
}

func TestHandle_RefusesForGoodWhatNoRetryCanMend(t *testing.T) {
	t.Parallel()
	for request, part := range map[string]string{
		``:                            "request is empty",
		" \n":                         "unexpected end",
		`{"x":`:                       "unexpected end",
		`{"x":1}{"x":2}`:              "after top-level value",
		`{"x":"one"}`:                 "cannot unmarshal string",
		`[1,2]`:                       "cannot unmarshal array",
		"{\"x\":1,\"name\":\"\xff\"}": "not UTF-8",
		strings.Repeat("[", 20_000):   "exceeded max depth",
	} {
		addr, served := startHandle(t, add)
		_, err := new(funker.Client).Call(t.Context(), addr, []byte(request))
		if f := wantFailure(t, err); f.Retry || !strings.Contains(f.Message, part) {
			t.Errorf("request %.40q: got %+v, want retry false and %q", request, f, part)
		}
		if err := <-served; err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("request %.40q: Handle returned %v, want %q", request, err, part)
		}
	}
}

func TestHandle_RefusesAReplyThatIsNoJSON(t *testing.T) {
	t.Parallel()
	refuses := func(fn func(context.Context, any) (any, error)) {
		t.Helper()
		addr, served := startHandle(t, fn)
		_, err := new(funker.Client).Call(t.Context(), addr, []byte(`{}`))
		if f := wantFailure(t, err); f.Retry {
			t.Errorf("got %+v, want retry false", f)
		}
		if <-served == nil {
			t.Error("Handle returned no error")
		}
	}
	refuses(func(context.Context, any) (any, error) { return math.NaN(), nil })
	refuses(func(context.Context, any) (any, error) { return json.RawMessage(`{"a":`), nil })
	refuses(func(context.Context, any) (any, error) { return json.RawMessage("\"\xff\""), nil })
}

func TestHandle_PanicGoesToTheCallerAndItsStackToTheFunction(t *testing.T) {
	t.Parallel()
	addr, served := startHandle(t, func(_ context.Context, in []int) (int, error) { return in[3], nil })
	_, err := new(funker.Client).Call(t.Context(), addr, []byte(`[]`))
	f := wantFailure(t, err)
	if want := "function panicked: runtime error: index out of range [3] with length 0"; f.Message != want || !f.Retry {
		t.Errorf("got %+v, want %q and retry true", f, want)
	}
	if err := <-served; err == nil || !strings.Contains(err.Error(), "handle_test.go") {
		t.Errorf("got %v, want a stack", err)
	}
}

func TestHandle_RefusesEveryCallAfterTheFirst(t *testing.T) {
	t.Parallel()
	running, finish := make(chan struct{}), make(chan struct{})
	addr, served := startHandle(t, func(_ context.Context, in json.RawMessage) (json.RawMessage, error) {
		close(running)
		<-finish
		return in, nil
	})
	first := make(chan error, 1)
	go func() {
		_, err := new(funker.Client).Call(t.Context(), addr, []byte(`1`))
		first <- err
	}()
	<-running
	_, err := new(funker.Client).Call(t.Context(), addr, []byte(`2`))
	wantError(t, err, funker.PhaseDial, funker.StartedNo)
	close(finish)
	if err := errors.Join(<-first, <-served); err != nil {
		t.Error(err)
	}
}

func TestHandle_CancelEndsTheWaitForACall(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	l := listen(t)
	served := make(chan error, 1)
	go func() { served <- funker.Handle(ctx, l, echo) }()
	cancel()
	if got, want := <-served, context.Canceled; !errors.Is(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, err := tryDial(t.Context(), l.Addr().String()); err == nil {
		t.Error("the listener is still open")
	}
}

func TestHandle_CancelLetsARunningCallFinish(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	l := listen(t)
	served := make(chan error, 1)
	go func() {
		served <- funker.Handle(ctx, l, func(ctx context.Context, in json.RawMessage) (json.RawMessage, error) {
			cancel()
			return in, ctx.Err()
		})
	}()
	if got, want := exchange(t, l.Addr().String(), `1`), `1`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestHandle_ReturnsAnErrorWhenTheCallerHasGone(t *testing.T) {
	t.Parallel()
	addr, served := startHandle(t, echo)
	conn := dial(t, addr)
	_, _ = io.WriteString(conn, `{"cut":`)
	resetting(conn)
	conn.Close()
	if err := <-served; err == nil || !strings.Contains(err.Error(), "receive request") {
		t.Errorf("got %v, want that the request was not received", err)
	}
}

func TestHandle_ReturnsTheErrorOfABrokenListener(t *testing.T) {
	t.Parallel()
	l := listen(t)
	l.Close()
	if err := funker.Handle(t.Context(), l, echo); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want %v", err, net.ErrClosed)
	}
}
