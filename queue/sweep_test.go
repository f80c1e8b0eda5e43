package queue

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func remove(t testing.TB, q *Queue, stream string, seq uint64) {
	t.Helper()
	s, err := q.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteMsg(t.Context(), seq); err != nil {
		t.Fatal(err)
	}
}

func sweepAll(t testing.TB, q *Queue) {
	t.Helper()
	q.sweeper.mu.Lock()
	defer q.sweeper.mu.Unlock()
	if _, err := q.sweep(t.Context(), 0, 0); err != nil {
		t.Fatal(err)
	}
}

// killAfterBody names the data folder for a process that is killed between a body and its event.
const killAfterBody = "FUNKER_TEST_KILL_AFTER_BODY"

func TestSweep_DeletesTheBodyOfAGatewayThatWasKilledBeforeItsEvent(t *testing.T) {
	if dir := os.Getenv(killAfterBody); dir != "" {
		e := &Event{Source: "s", Function: "Fetch", Body: large(largest)}
		if err := openIn(t, dir).storeBody(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program, "-test.run", t.Name())
	cmd.Env = append(os.Environ(), killAfterBody+"="+dir)
	if out, err := cmd.CombinedOutput(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the process was not killed: %v: %s", err, out)
	}
	q := openIn(t, dir, "Fetch")
	publishBody(t, q, "Fetch", large(MaxMessage+1))
	if n := bodies(t, q); n != 2 {
		t.Fatalf("%d bodies, want 2", n)
	}
	if err := q.sweepBodies(t.Context()); err != nil || bodies(t, q) != 2 {
		t.Errorf("a body without an event must stay for an hour: %v, %d bodies", err, bodies(t, q))
	}
	sweepAll(t, q)
	if subjects := subjectsOf(t, q, streamBodies); subjects[chunkSubject(claimed(t, q, 1))] != 8 || bodies(t, q) != 1 {
		t.Errorf("got %v", subjects)
	}
}

func TestSweep_DeletesABodyWithTheLastMessageThatNamesIt(t *testing.T) {
	q := open(t, "Fetch")
	publishBody(t, q, "Fetch", large(MaxMessage+1))
	m, err := q.message(t.Context(), streamEvents, 1)
	if err != nil {
		t.Fatal(err)
	}
	within(t, patience, "the body is described", func() bool { return len(subjectsOf(t, q, streamBodies)) == 2 })
	for _, subject := range []string{retrySubject("Fetch", "R"), redoSubject("Fetch"), deadSubject("s", "Fetch")} {
		h := map[string][]string{headerObject: m.Header[headerObject]}
		if subject == retrySubject("Fetch", "R") {
			h[headerSchedule], h[headerTarget] = []string{"@at " + time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano)}, []string{redoSubject("Fetch")}
		}
		if _, err := q.js.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Header: h}); err != nil {
			t.Fatal(err)
		}
	}
	for _, last := range []struct {
		stream string
		seq    uint64
	}{{streamEvents, 1}, {streamRetry, 1}, {streamRetry, 2}, {streamDead, 1}} {
		sweepAll(t, q)
		if n := bodies(t, q); n != 1 {
			t.Fatalf("%s/%d names the body, and it is gone", last.stream, last.seq)
		}
		remove(t, q, last.stream, last.seq)
	}
	if err := q.sweepBodies(t.Context()); err != nil || bodies(t, q) != 0 {
		t.Errorf("got %v, %d bodies, %v", err, bodies(t, q), subjectsOf(t, q, streamBodies))
	}
}

func TestSweep_KeepsAndDescribesABodyWhoseDescriptionIsLost(t *testing.T) {
	q := open(t, "Fetch")
	body := large(MaxMessage + 1)
	r := publishBody(t, q, "Fetch", body)
	object := claimed(t, q, 1)
	within(t, patience, "the body is described", func() bool { return subjectsOf(t, q, streamBodies)[metaOf(object)] == 1 })
	s, err := q.js.Stream(t.Context(), streamBodies)
	if err == nil {
		err = s.Purge(t.Context(), jetstream.WithPurgeSubject(metaOf(object)))
	}
	if err != nil {
		t.Fatal(err)
	}
	sweepAll(t, q)
	within(t, patience, "the body is described again", func() bool { return subjectsOf(t, q, streamBodies)[metaOf(object)] == 1 })
	sweepAll(t, q)
	if rec, err := q.Get(t.Context(), r.ID); err != nil || !bytes.Equal(rec.Body, body) {
		t.Errorf("got %d bytes, %v", len(rec.Body), err)
	}
}

func TestSweep_MakesRoomWithTheOldestThatHaveSucceeded(t *testing.T) {
	q := open(t, "Waits", "Fetch")
	publishBody(t, q, "Waits", large(MaxMessage+1))
	done := make(chan string, 10)
	work(t, q, "Fetch", 1, func(e *Event) Result { done <- e.ID; return Result{Outcome: OutcomeOK, Reply: []byte("1")} })
	for range 3 {
		r := publishBody(t, q, "Fetch", large(MaxMessage+1))
		<-done
		within(t, patience, "the event has succeeded", func() bool {
			rec, err := q.Get(t.Context(), r.ID)
			return err == nil && rec.State == State(OutcomeOK)
		})
	}
	within(t, patience, "the bodies are described", func() bool { return len(subjectsOf(t, q, streamBodies)) == 8 })
	sweepAll(t, q)
	if n := bodies(t, q); n != 4 {
		t.Fatalf("%d bodies while there is room, want 4", n)
	}
	limit(t, q, streamBodies, 36<<20) // 32 MiB are taken; 70 % are 25 MiB
	sweepAll(t, q)
	if n := bodies(t, q); n != 3 {
		t.Errorf("%d bodies, want 3", n)
	}
	for seq, kept := range map[uint64]bool{1: true, 2: false, 3: true, 4: true} {
		if _, err := q.message(t.Context(), streamEvents, seq); (err == nil) != kept {
			t.Errorf("event %d: kept %t, want %t", seq, err == nil, kept)
		}
	}
	if list, err := q.List(t.Context(), Filter{}); err != nil || len(list) != 3 {
		t.Errorf("list: got %+v, %v", list, err)
	}
	if b, err := q.Balance(t.Context()); err != nil || b.Drift != 0 || b.Waiting != 1 {
		t.Errorf("balance: got %+v, %v", b, err)
	}
	limit(t, q, streamBodies, 36<<20)
	publishBody(t, q, "Fetch", large(largest)) // the server refuses it until there is room
	<-done
	limit(t, q, streamBodies, 1<<20)
	if _, err := q.Publish(t.Context(), &Event{Source: "s", Function: "Fetch", Body: large(largest)}); !errors.Is(err, ErrFull) {
		t.Errorf("without room: got %v, want ErrFull", err)
	}
	within(t, patience, "all that has succeeded is gone", func() bool { sweepAll(t, q); return bodies(t, q) == 1 })
	if rec, err := q.Get(t.Context(), "1"); err != nil || rec.Size != MaxMessage+1 || len(rec.Body) != rec.Size || bodies(t, q) != 1 {
		t.Errorf("what waits must stay: got %d bytes, %v, %d bodies", len(rec.Body), err, bodies(t, q))
	}
}
