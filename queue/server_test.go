package queue

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go"
)

func TestOpen_RefusesADataFolderInUse(t *testing.T) {
	dir := t.TempDir()
	openIn(t, dir)
	if _, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)}); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v, want ErrLocked", err)
	}
}

func TestOpen_RefusesAnAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Open(t.Context(), Options{Dir: t.TempDir(), Listen: l.Addr().String(), Log: testLog(t)}); !errors.Is(err, ErrAddressInUse) {
		t.Errorf("got %v, want ErrAddressInUse", err)
	}
}

func TestOpen_RefusesAFolderThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: filepath.Join(file, "data"), Log: testLog(t)}); err == nil {
		t.Error("opened")
	}
}

func TestOpen_NobodyConnectsWithoutAKey(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(t.Context(), Options{Dir: dir, Listen: "127.0.0.1:0", Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if nc, err := nats.Connect(q.URL()); !errors.Is(err, nats.ErrAuthorization) {
		nc.Close()
		t.Errorf("got %v, want an authorization error", err)
	}
	for _, name := range []string{AdminKey, WorkerKey} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got %v, %v; want mode 0600", name, info.Mode(), err)
		}
	}
}

func TestDial_AWorkerWithItsOwnKeyTakesCallsAndEvents(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(t.Context(), Options{Dir: dir, Listen: "127.0.0.1:0", Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if err := q.AddFunction(t.Context(), "Hello", Retry{}); err != nil {
		t.Fatal(err)
	}
	remote, err := Dial(q.URL(), filepath.Join(dir, WorkerKey), RoleWorker, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	stop := work(t, remote, "Hello", 2, ok(`"hi"`))
	defer stop()
	within(t, patience, "presence", func() bool { return q.Present("Hello") })
	if got, err := q.Call(t.Context(), &Event{Source: "s", Function: "Hello", Body: []byte("1")}); err != nil || string(got) != `"hi"` {
		t.Errorf("call: got %s, %v", got, err)
	}
	r, err := q.Publish(t.Context(), &Event{Source: "s", Function: "Hello", Body: []byte("1")})
	if err != nil {
		t.Fatal(err)
	}
	within(t, patience, "event ran", func() bool {
		rec, err := q.Get(t.Context(), r.ID)
		return err == nil && rec.State == State(OutcomeOK)
	})
	if _, err := remote.Publish(t.Context(), &Event{Source: "s", Function: "Hello", Body: []byte("1")}); err == nil {
		t.Error("a worker may publish events")
	}
}

func TestOpen_FindsEverythingAgainAfterAStop(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.AddFunction(t.Context(), "Late", Retry{}); err != nil {
		t.Fatal(err)
	}
	r, err := q.Publish(t.Context(), &Event{Source: "s", Function: "Late", Body: []byte("1")})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	ran := make(chan string, 1)
	again := openIn(t, dir, "Late")
	work(t, again, "Late", 1, func(e *Event) Result { ran <- e.ID; return Result{Outcome: OutcomeOK, Reply: []byte("1")} })
	if id := <-ran; id != r.ID {
		t.Errorf("got %s, want %s", id, r.ID)
	}
}
