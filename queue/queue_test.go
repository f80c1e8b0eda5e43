package queue

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"
)

// A server of a cluster that is shut down in the moment in which it hears of the streams makes their files all the same, and
// leaves these two open.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}

// open returns a queue with its own server in a temporary folder, with the consumers of the functions.
func open(t testing.TB, functions ...string) *Queue {
	t.Helper()
	return openIn(t, t.TempDir(), functions...)
}

func openIn(t testing.TB, dir string, functions ...string) *Queue {
	t.Helper()
	return openWith(t, Options{Dir: dir}, functions...)
}

func openWith(t testing.TB, o Options, functions ...string) *Queue {
	t.Helper()
	o.Log = testLog(t)
	q, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	for _, f := range functions {
		if err := q.AddFunction(t.Context(), f, Retry{}); err != nil {
			t.Fatal(err)
		}
	}
	return q
}

func testLog(t testing.TB) *slog.Logger {
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	t.Helper()
	return slog.New(slog.DiscardHandler)
}

// work starts slots of a function until the test ends, or stop is called.
func work(t testing.TB, q *Queue, function string, slots int, handle Handler) (stop func()) {
	t.Helper()
	return workAs(t, q, function, Retry{}, slots, handle)
}

func workAs(t testing.TB, q *Queue, function string, r Retry, slots int, handle Handler) (stop func()) {
	t.Helper()
	f, err := q.Feed(function, r)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range slots {
		wg.Go(func() {
			if err := f.Slot(ctx, handle); err != nil {
				t.Errorf("slot: %v", err)
			}
		})
	}
	stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		f.Close()
	})
	t.Cleanup(stop)
	return stop
}

func ok(reply string) Handler {
	return func(*Event) Result { return Result{Outcome: OutcomeOK, Reply: []byte(reply)} }
}

// await receives, for a handler: when its test has failed, the handler ends, or the end of the test would wait for it.
func await[T any](t *testing.T, c <-chan T) (v T) {
	select {
	case v = <-c:
	case <-t.Context().Done():
	}
	return v
}

// within polls until the condition holds.
// patience is for what comes sooner or later: a busy machine is no fault.
const patience = time.Minute

func within(t testing.TB, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

func TestCall_ReturnsTheReplyOfTheFunction(t *testing.T) {
	q := open(t, "Hello")
	work(t, q, "Hello", 1, func(e *Event) Result {
		return Result{Outcome: OutcomeOK, Reply: []byte(`{"got":` + string(e.Body) + `}`)}
	})
	for range 3 {
		got, err := q.Call(t.Context(), &Event{Source: "alexa", Function: "Hello", Body: []byte(`1`)})
		if err != nil || string(got) != `{"got":1}` {
			t.Fatalf("got %s, %v", got, err)
		}
	}
}

func TestCall_ToAFunctionWithoutWorkerFailsAtOnceAndNeverRuns(t *testing.T) {
	q := open(t, "Hello")
	start := time.Now()
	_, err := q.Call(t.Context(), &Event{Source: "alexa", Function: "Hello", Body: []byte(`1`)})
	var call *CallError
	if !errors.As(err, &call) || call.Code != CodeNoWorker {
		t.Fatalf("got %v", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %s", d)
	}
	ran := make(chan string, 10)
	work(t, q, "Hello", 1, func(e *Event) Result {
		ran <- string(e.Body)
		return Result{Outcome: OutcomeOK, Reply: []byte(`1`)}
	})
	if _, err := q.Call(t.Context(), &Event{Source: "alexa", Function: "Hello", Body: []byte(`2`)}); err != nil {
		t.Fatal(err)
	}
	if got := <-ran; got != "2" || len(ran) > 0 {
		t.Errorf("ran %s and %d more", got, len(ran))
	}
}

func TestPublish_StoresAnEventThatRunsOnce(t *testing.T) {
	q := open(t, "Fetch")
	ran := make(chan *Event, 10)
	work(t, q, "Fetch", 2, func(e *Event) Result { ran <- e; return Result{Outcome: OutcomeOK, Reply: []byte(`null`)} })
	start := time.Now()
	r, err := q.Publish(t.Context(), &Event{Source: "github-acme", Function: "Fetch", DeliveryID: "d1", ContentType: "application/json",
		Header: map[string]string{"X-Github-Event": "push"}, Body: []byte(`{"ref":"x"}`)})
	if err != nil {
		t.Fatal(err)
	}
	e := <-ran
	t.Logf("ran after %s", time.Since(start))
	if e.ID != r.ID || string(e.Body) != `{"ref":"x"}` || e.Header["X-Github-Event"] != "push" || e.ContentType != "application/json" {
		t.Errorf("got %+v", e)
	}
	again, err := q.Publish(t.Context(), &Event{Source: "github-acme", Function: "Fetch", DeliveryID: "d1", Body: []byte(`{}`)})
	if err != nil || !again.Duplicate || again.ID != r.ID {
		t.Errorf("repeat: got %+v, %v; want a duplicate of %s", again, err, r.ID)
	}
	within(t, patience, "the outcome is in the log", func() bool {
		rec, err := q.Get(t.Context(), r.ID)
		return err == nil && rec.State == "ok" && len(rec.Attempts) == 1
	})
	rep, err := q.Replay(t.Context(), r.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	if e := <-ran; e.ID != r.ID || e.ReplayOf != "FUNKER_EVENTS/1" || e.RunID != rep.Run {
		t.Errorf("replay: got %+v", e)
	}
	list, err := q.List(t.Context(), Filter{})
	if err != nil || len(list) != 1 || !strings.HasPrefix(list[0].Origin, "FUNKER_EVENTS/") {
		t.Errorf("got %+v, %v", list, err)
	}
}

func BenchmarkCall(b *testing.B) {
	for _, slots := range []int{1, 64} {
		b.Run(map[int]string{1: "1client", 64: "64clients"}[slots], func(b *testing.B) {
			q := open(b, "Hello")
			work(b, q, "Hello", slots, ok(`{"a":1}`))
			body := []byte(`{"session":"` + strings.Repeat("x", 1000) + `"}`)
			b.SetParallelism(slots/2 + 1)
			b.ReportAllocs()
			b.ResetTimer()
			call := func() {
				if _, err := q.Call(context.Background(), &Event{Source: "http", Function: "Hello", Body: body}); err != nil {
					b.Error(err)
				}
			}
			if slots == 1 {
				for b.Loop() {
					call()
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					call()
				}
			})
		})
	}
}

// idAt returns an event id made at a time.
func idAt(at time.Time) string { return ulid.MustNew(ulid.Timestamp(at), entropy).String() }
