package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// largest is what GitHub sends at most.
const largest = 25 << 20

// large returns a JSON body of so many bytes, no two chunks of which are the same.
func large(size int) []byte {
	body := bytes.Repeat([]byte(`"0123456789abcd`), size/15+1)[:size]
	for i := 0; i < size; i += 4096 {
		copy(body[i:], fmt.Sprintf("%08x", i))
	}
	body[0], body[size-1] = '"', '"'
	return body
}

func publishBody(t testing.TB, q *Queue, function string, body []byte) Receipt {
	t.Helper()
	r, err := q.Publish(t.Context(), &Event{Source: "s", Function: function, ContentType: "application/json", Body: body})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// subjectsOf returns the subjects of a stream, with how many messages each has.
func subjectsOf(t testing.TB, q *Queue, stream string) map[string]uint64 {
	t.Helper()
	s, err := q.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(t.Context(), jetstream.WithSubjectFilter(">"))
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Subjects
}

// bodies returns how many bodies are stored.
func bodies(t testing.TB, q *Queue) int {
	t.Helper()
	names := map[string]bool{}
	for subject := range subjectsOf(t, q, streamBodies) {
		name, _ := nameOf(subject)
		names[name] = true
	}
	return len(names)
}

// noPayload fails the test when a message of the streams holds a body.
func noPayload(t testing.TB, q *Queue, streams ...string) {
	t.Helper()
	for _, stream := range streams {
		err := q.read(t.Context(), stream, jetstream.OrderedConsumerConfig{}, func(m *nats.Msg, _ *jetstream.MsgMetadata) bool {
			if len(m.Data) > 0 || m.Header.Get(headerObject) == "" {
				t.Errorf("%s: %d bytes, headers %v", m.Subject, len(m.Data), m.Header)
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// limit sets the size of a stream.
func limit(t testing.TB, q *Queue, stream string, maxBytes int64) {
	t.Helper()
	s, err := q.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.MaxBytes = maxBytes
	if _, err := q.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

func counted(t testing.TB, q *Queue, stream string) uint64 {
	t.Helper()
	state, err := q.state(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return state.Msgs
}

// openListening returns a queue, and a connection to it with the key of workers.
func openListening(t testing.TB, function string) (q, remote *Queue) {
	t.Helper()
	dir := t.TempDir()
	q, err := Open(t.Context(), Options{Dir: dir, Listen: "127.0.0.1:0", Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	if err := q.AddFunction(t.Context(), function, Retry{}); err != nil {
		t.Fatal(err)
	}
	remote, err = Dial(q.URL(), filepath.Join(dir, WorkerKey), RoleWorker, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remote.Close() })
	return q, remote
}

// serve starts a slot of a function with a retry policy until the test ends.
func serve(t testing.TB, q *Queue, function string, r Retry, handle Handler) {
	t.Helper()
	f, err := q.Feed(function, r)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Slot(ctx, handle) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("slot: %v", err)
		}
		f.Close()
	})
}

func TestBody_OfARemoteWorkerSurvivesRetryDeadLetterAndReplay(t *testing.T) {
	q, remote := openListening(t, "Fetch")
	body := large(largest)
	var runs, wrong atomic.Int64
	serve(t, remote, "Fetch", Retry{Attempts: 2, Initial: time.Millisecond}, func(e *Event) Result {
		if !bytes.Equal(e.Body, body) {
			wrong.Add(1)
		}
		if runs.Add(1) <= 2 {
			return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "not yet"}
		}
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	})
	r := publishBody(t, q, "Fetch", body)
	within(t, patience, "the event is dead", func() bool { return counted(t, q, streamDead) == 1 })
	noPayload(t, q, streamEvents, streamRetry, streamDead)
	sweepAll(t, q)
	if _, err := q.Replay(t.Context(), r.ID, ""); err != nil {
		t.Fatal(err)
	}
	within(t, patience, "the replay has succeeded", func() bool {
		rec, err := q.Get(t.Context(), "1")
		return err == nil && rec.State == State(OutcomeOK) && bytes.Equal(rec.Body, body) && rec.Size == largest
	})
	noPayload(t, q, streamRetry)
	if runs.Load() != 3 || wrong.Load() != 0 || bodies(t, q) != 1 {
		t.Errorf("%d runs, %d of them with another body, %d bodies; want 3, 0, 1", runs.Load(), wrong.Load(), bodies(t, q))
	}
}

func TestBody_IsAnObjectOfTheStockObjectStore(t *testing.T) {
	q := open(t, "Fetch")
	body := large(MaxMessage + 1)
	r := publishBody(t, q, "Fetch", body)
	store, err := q.js.ObjectStore(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	var list []*jetstream.ObjectInfo
	within(t, patience, "the object is described", func() bool {
		list, err = store.List(t.Context())
		return err == nil && len(list) == 1
	})
	if m := list[0].Metadata; m["event"] != r.ID || m["message"] != "FUNKER_EVENTS/1" || list[0].Size != MaxMessage+1 || list[0].Chunks != 8 {
		t.Errorf("got %+v", list[0])
	}
	object, err := store.Get(t.Context(), list[0].Name)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(object) // checks the digest
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if answer := string(request(t, q, "funker.show", r.ID).Data); !strings.Contains(answer, `"size":8323073`) || len(answer) > 10_000 {
		t.Errorf("show: got %d bytes, %.200s", len(answer), answer)
	}
}

func TestBody_ThatFitsIsInTheMessage(t *testing.T) {
	q := open(t, "Fetch")
	body := large(MaxMessage)
	r := publishBody(t, q, "Fetch", body)
	if rec, err := q.Get(t.Context(), r.ID); err != nil || !bytes.Equal(rec.Body, body) || rec.Size != MaxMessage {
		t.Errorf("got %d bytes, %v", rec.Size, err)
	}
	if n := bodies(t, q); n != 0 {
		t.Errorf("%d bodies", n)
	}
}

func TestBody_BeyondTheLimitsIsRefusedWithTheLimit(t *testing.T) {
	q := open(t, "Fetch")
	_, err := q.Publish(t.Context(), &Event{Source: "s", Function: "Fetch", Body: make([]byte, MaxBody+1)})
	if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), fmt.Sprint(MaxBody)) {
		t.Errorf("event: got %v", err)
	}
	_, err = q.Call(t.Context(), &Event{Source: "s", Function: "Fetch", Body: make([]byte, MaxMessage+1)})
	if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), fmt.Sprint(MaxMessage)) {
		t.Errorf("call: got %v", err)
	}
	if n := bodies(t, q); n != 0 {
		t.Errorf("%d bodies", n)
	}
}

// spoil changes what is stored of a body, by the subject of its chunks.
type spoil func(q *Queue, s jetstream.Stream, subject string) error

// replaceBy stores other chunks in place of those that there are, but for the newest kept ones.
func replaceBy(kept uint64, chunks ...[]byte) spoil {
	return func(q *Queue, s jetstream.Stream, subject string) error {
		err := s.Purge(context.Background(), jetstream.WithPurgeSubject(subject), jetstream.WithPurgeKeep(kept))
		for _, c := range chunks {
			_, e := q.js.Publish(context.Background(), subject, c)
			err = errors.Join(err, e)
		}
		return err
	}
}

func removeAll(_ *Queue, s jetstream.Stream, subject string) error {
	return s.Purge(context.Background(), jetstream.WithPurgeSubject(subject))
}

func TestBody_ThatIsMissingOrWrongMakesACorruptDeadLetter(t *testing.T) {
	const size = MaxMessage + 1
	q, spoiled := open(t, "Fetch"), uint64(0)
	other := bytes.Repeat([]byte("x"), size/2+1)
	for name, f := range map[string]spoil{
		"all missing": removeAll, "short": replaceBy(7), "long": replaceBy(1, large(MaxMessage)), "wrong": replaceBy(0, other, other[:size/2]),
	} {
		r := publishBody(t, q, "Fetch", large(size))
		spoiled++
		s, err := q.js.Stream(t.Context(), streamBodies)
		if err == nil {
			err = f(q, s, chunkSubject(claimed(t, q, spoiled)))
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := q.Replay(t.Context(), r.ID, ""); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: replay: got %v, want ErrCorrupt", name, err)
		}
		if rec, err := q.Get(t.Context(), r.ID); err != nil || len(rec.Body) > 0 || rec.Size != size {
			t.Errorf("%s: get: got %d of %d bytes, %v", name, len(rec.Body), rec.Size, err)
		}
	}
	work(t, q, "Fetch", 1, func(*Event) Result {
		t.Error("the function ran")
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	})
	within(t, patience, "all are dead", func() bool { return counted(t, q, streamDead) == spoiled })
	for seq := range spoiled {
		if m, err := q.message(t.Context(), streamDead, seq+1); err != nil || Reason(m.Header.Get(headerReason)) != ReasonCorrupt {
			t.Errorf("got %v, %v", m, err)
		}
	}
}

// claimed returns the name of the body of an event.
func claimed(t testing.TB, q *Queue, seq uint64) string {
	t.Helper()
	m, err := q.message(t.Context(), streamEvents, seq)
	if err != nil {
		t.Fatal(err)
	}
	return m.Header.Get(headerObject)
}

func TestBody_ThatCannotBeReadNowIsNotCorrupt(t *testing.T) {
	q, remote := openListening(t, "Fetch")
	publishBody(t, q, "Fetch", large(MaxMessage+1))
	m, err := q.message(t.Context(), streamEvents, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := remote.body(ctx, m.Header, nil); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}

func TestBody_HeadersThatAreNoClaimAreCorrupt(t *testing.T) {
	q := open(t)
	sum := strings.Repeat("0", 64)
	for _, h := range []nats.Header{
		{headerObject: {"a.b"}, headerSize: {"1"}, headerSum: {sum}}, {headerObject: {"*"}, headerSize: {"1"}, headerSum: {sum}},
		{headerObject: {"a"}, headerSize: {"-1"}, headerSum: {sum}}, {headerObject: {"a"}, headerSize: {fmt.Sprint(MaxBody + 1)}, headerSum: {sum}},
		{headerObject: {"a"}, headerSize: {"1"}, headerSum: {"00"}}, {headerObject: {"a"}, headerSize: {"1"}}, {headerObject: {"a"}, headerSum: {sum}},
	} {
		if _, err := q.body(t.Context(), h, nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v: got %v", h, err)
		}
		if e, err := decode(&nats.Msg{Header: h}); !errors.Is(err, ErrCorrupt) || e.claim != nil {
			t.Errorf("%v: decoded with %v", h, err)
		}
	}
}

func TestBody_OfARepeatIsNotKept(t *testing.T) {
	q := open(t, "Fetch")
	body := large(MaxMessage + 1)
	for i := range 3 {
		r, err := q.Publish(t.Context(), &Event{Source: "s", Function: "Fetch", DeliveryID: "d1", Body: body})
		if err != nil || r.Duplicate != (i > 0) {
			t.Fatalf("got %+v, %v", r, err)
		}
	}
	if n := bodies(t, q); n != 1 {
		t.Errorf("%d bodies, want 1", n)
	}
}

func TestBody_IsStoredOnceThoughItsEventIsPublishedAgain(t *testing.T) {
	q := open(t, "Fetch")
	e := &Event{Source: "s", Function: "Fetch", Body: large(MaxMessage + 1)}
	for i := range 2 {
		if r, err := q.Publish(t.Context(), e); err != nil || r.ID != e.ID || r.Duplicate != (i > 0) {
			t.Fatalf("got %+v, %v", r, err)
		}
	}
	if rec, err := q.Get(t.Context(), e.ID); err != nil || !bytes.Equal(rec.Body, e.Body) || bodies(t, q) != 1 {
		t.Errorf("got %d bytes, %v, %d bodies", len(rec.Body), err, bodies(t, q))
	}
}

func TestBody_OfAFullStoreIsRefusedAndNothingIsKept(t *testing.T) {
	for name, fill := range map[string]func(q *Queue){
		"bodies": func(q *Queue) { limit(t, q, streamBodies, 30<<20) },
		"events": func(q *Queue) { limit(t, q, streamEvents, 600) },
	} {
		q := open(t, "Fetch")
		publishBody(t, q, "Fetch", large(MaxMessage+1))
		within(t, patience, "the body is described", func() bool { return len(subjectsOf(t, q, streamBodies)) == 2 })
		before := fmt.Sprint(subjectsOf(t, q, streamBodies))
		fill(q)
		e := &Event{Source: "s", Function: "Fetch", Body: large(largest)}
		if _, err := q.Publish(t.Context(), e); !errors.Is(err, ErrFull) {
			t.Errorf("%s: got %v, want ErrFull", name, err)
		}
		if after := fmt.Sprint(subjectsOf(t, q, streamBodies)); after != before || counted(t, q, streamEvents) != 1 {
			t.Errorf("%s: %d events and %s, want 1 and %s", name, counted(t, q, streamEvents), after, before)
		}
		limit(t, q, streamBodies, 80<<20)
		limit(t, q, streamEvents, 1<<20)
		if _, err := q.Publish(t.Context(), e); err != nil || bodies(t, q) != 2 {
			t.Errorf("%s: with room again: got %v, %d bodies", name, err, bodies(t, q))
		}
	}
}

func TestBody_AWorkerMayReadBodiesAndNothingElse(t *testing.T) {
	q, remote := openListening(t, "Fetch")
	body := large(MaxMessage + 1)
	publishBody(t, q, "Fetch", body)
	m, err := q.message(t.Context(), streamEvents, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := remote.body(t.Context(), m.Header, nil); err != nil || !bytes.Equal(got, body) {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
	object := m.Header.Get(headerObject)
	for _, subject := range []string{
		chunkSubject(object), metaOf(object), apiPrefix("") + "DIRECT.GET." + streamBodies + "." + chunkSubject(object), "$JS.API.STREAM.PURGE." + streamBodies,
		"$JS.API.STREAM.INFO." + streamBodies, "$JS.API.STREAM.MSG.DELETE." + streamBodies, "$JS.API.CONSUMER.CREATE." + streamBodies,
		"$JS.API.CONSUMER.CREATE." + streamBodies + ".x.$O.>", "$JS.API.DIRECT.GET." + streamEvents, "$JS.API.STREAM.MSG.GET." + streamEvents,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if m, err := remote.nc.RequestWithContext(ctx, subject, nil); err == nil {
			t.Errorf("%s was answered: %s", subject, m.Data)
		}
		cancel()
	}
	if got, err := q.body(t.Context(), m.Header, nil); err != nil || !bytes.Equal(got, body) {
		t.Errorf("afterwards: got %d bytes, %v", len(got), err)
	}
}

func TestSlot_TakesTheLargestMessage(t *testing.T) {
	q := open(t, "Large")
	ran := make(chan int, 3)
	work(t, q, "Large", 1, func(e *Event) Result { ran <- len(e.Body); return Result{Outcome: OutcomeOK, Reply: []byte("1")} })
	for _, size := range []int{10, MaxMessage, 11} {
		if _, err := q.Publish(t.Context(), &Event{Source: "s", Function: "Large", Body: make([]byte, size)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{10, MaxMessage, 11} {
		if got := <-ran; got != want {
			t.Errorf("got %d bytes, want %d", got, want)
		}
	}
}
