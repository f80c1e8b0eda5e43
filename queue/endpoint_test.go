package queue

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestServe_AnswersWhoeverAsks(t *testing.T) {
	q, remote := dialled(t)
	type answer struct{ Body string }
	err := q.Serve("echo", time.Second, func(_ context.Context, body string) (any, error) {
		switch body {
		case "conflict":
			return nil, ErrConflict
		case "broken":
			return nil, errors.New("it broke")
		}
		return answer{body}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Ask[answer](t.Context(), remote, "echo", map[string]int{"n": 1}); err != nil || got.Body != `{"n":1}` {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := Ask[answer](t.Context(), remote, "echo", "conflict"); !errors.Is(err, ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
	if _, err := Ask[answer](t.Context(), remote, "echo", "broken"); err == nil || !strings.Contains(err.Error(), "it broke") {
		t.Errorf("got %v, want what the endpoint said", err)
	}
	if _, err := Ask[answer](t.Context(), remote, "unknown", ""); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if err := remote.Serve("echo", time.Second, nil); err == nil {
		t.Error("a queue of another process serves")
	}
}

func TestServe_EndsTheContextOfAnAnswerThatTakesTooLong(t *testing.T) {
	q, remote := dialled(t)
	err := q.Serve("slow", time.Millisecond, func(ctx context.Context, _ string) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Ask[any](t.Context(), remote, "slow", ""); err == nil {
		t.Error("it was answered")
	}
}

func TestFollowFunctions_TellsAWorkerOfEveryChange(t *testing.T) {
	dir := t.TempDir()
	q := openWith(t, Options{Dir: dir, Listen: "127.0.0.1:0"})
	worker, err := Dial(q.URL(), filepath.Join(dir, WorkerKey), RoleWorker, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	defer worker.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var seen, calls atomic.Int64
	done := make(chan error, 1)
	go func() { // before the gateway answers
		done <- worker.FollowFunctions(ctx, func(data []byte) {
			calls.Add(1)
			seen.Store(int64(len(data)))
		})
	}()
	functions := atomic.Pointer[[]byte]{}
	set := func(text string) int64 {
		data := []byte(text)
		functions.Store(&data)
		if err := q.AnnounceFunctions(); err != nil {
			t.Fatal(err)
		}
		return int64(len(text))
	}
	set(`[]`)
	if err := q.ServeFunctions(func() ([]byte, error) { return *functions.Load(), nil }); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{`[]`, `[1]`, `[1,2]`} {
		want := set(text)
		within(t, patience, "the worker has "+text, func() bool { return seen.Load() == want })
		set(text) // nothing new
	}
	cancel()
	if err := <-done; err != nil || calls.Load() != 3 {
		t.Errorf("got %d changes, %v; want 3", calls.Load(), err)
	}
}
