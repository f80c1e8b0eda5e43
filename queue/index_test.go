package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// become waits until a record has a state, and returns it.
func become(t testing.TB, q *Queue, id string, state State) Record {
	t.Helper()
	var r Record
	var err error
	within(t, patience, id+" is "+string(state), func() bool {
		r, err = q.Get(t.Context(), id)
		return err == nil && r.State == state
	})
	return r
}

func TestIndex_TellsEveryStateOfAnEvent(t *testing.T) {
	q := open(t, "Fetch")
	r := publish(t, q, "Fetch")
	if got := become(t, q, r.ID, StateWaiting); len(got.Attempts) != 0 || got.Origin != "FUNKER_EVENTS/1" {
		t.Errorf("waiting: got %+v", got)
	}
	next, begun := make(chan Result), make(chan struct{}, 10)
	workAs(t, q, "Fetch", Retry{Attempts: 2, Initial: time.Millisecond}, 1, func(*Event) Result {
		begun <- struct{}{}
		return await(t, next)
	})
	<-begun
	become(t, q, r.ID, StateRunning)
	next <- Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "not yet", RetryAfter: 3 * time.Second}
	got := become(t, q, r.ID, StateRetry)
	if wait := time.Until(got.Next); wait > 3*time.Second || wait < -time.Second {
		t.Errorf("retry: next is in %s", wait)
	}
	<-begun
	become(t, q, r.ID, StateRunning)
	next <- Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "never"}
	got = become(t, q, r.ID, StateDead)
	within(t, patience, "its last attempt is in the log", func() bool { // after the dead letter
		got = become(t, q, r.ID, StateDead)
		return len(got.Attempts) == 2
	})
	if got.DeadAs != "FUNKER_DEAD/1" || got.Reason != ReasonExhausted || !got.Next.IsZero() {
		t.Errorf("dead: got %+v", got)
	}
	if a := got.Attempts; len(a) != 2 || a[0].Number != 1 || a[0].Outcome != OutcomeRetry || a[0].Next.IsZero() || a[0].Error != "not yet" ||
		a[1].Number != 2 || a[1].Outcome != OutcomeDead || a[1].Reason != ReasonExhausted || a[1].Root != "FUNKER_EVENTS/1" {
		t.Errorf("dead: attempts are %+v", a)
	}
	rep, err := q.Replay(t.Context(), r.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	<-begun
	become(t, q, r.ID, StateRunning)
	next <- Result{Outcome: OutcomeOK, Reply: bytes.Repeat([]byte("x"), 1000)}
	within(t, patience, "its third attempt is in the log", func() bool { // the server may store it after the acknowledgement
		got = become(t, q, r.ID, StateOK)
		return len(got.Attempts) == 3
	})
	if a := got.Attempts; len(a) != 3 || a[2].Run != rep.Run || a[2].Number != 1 || len(a[2].Reply) != replyHead || got.DeadAs != "" || got.Note != "" {
		t.Errorf("replayed: got %+v", got)
	}
}

// shownBy is everything that can be asked for, as JSON.
func shownBy(t *testing.T, q *Queue) string {
	t.Helper()
	var all []any
	records, err := q.List(t.Context(), Filter{Limit: MaxLimit})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		one, err := q.Get(t.Context(), r.Origin)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r, one)
	}
	letters, err := q.DeadLetters(t.Context(), DeadFilter{All: true, Limit: MaxLimit})
	if err != nil {
		t.Fatal(err)
	}
	balance, err := q.Balance(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.MarshalIndent(append(all, letters, balance), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestIndex_TellsTheSameAfterARestart(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"F", "Idle"} {
		if err := q.AddFunction(t.Context(), f, Retry{}); err != nil {
			t.Fatal(err)
		}
	}
	var runs atomic.Int64
	stop := workAs(t, q, "F", Retry{Attempts: 2, Initial: 10 * time.Millisecond}, 4, func(e *Event) Result {
		if n := runs.Add(1); n%3 == 0 && e.Deadline.IsZero() || n%7 == 0 {
			return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "no"}
		}
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	})
	var ids []string
	for i := range 60 {
		r := publish(t, q, []string{"F", "F", "Idle"}[i%3])
		ids = append(ids, r.ID)
		if _, err := q.Call(t.Context(), &Event{Source: "s", Function: "F", Body: []byte("1")}); err != nil && !errors.As(err, new(*CallError)) {
			t.Fatal(err)
		}
		if i%5 == 4 {
			if _, err := q.Replay(t.Context(), ids[i-1], ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	settledAll(t, q, "F")
	stop()
	before := shownBy(t, q)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if after := shownBy(t, openIn(t, dir)); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	for _, state := range []State{StateWaiting, StateOK, StateDead, StateFailed} {
		if !strings.Contains(before, `"state": "`+string(state)+`"`) {
			t.Errorf("nothing was %s", state)
		}
	}
}

func TestIndex_ReadsOnWhenItsConsumersOrItsConnectionAreGone(t *testing.T) {
	q := open(t, "Fetch")
	work(t, q, "Fetch", 1, ok(`"done"`))
	become(t, q, publish(t, q, "Fetch").ID, StateOK)
	breaks := map[string]func(){
		"consumers": func() {
			for _, stream := range shelfStreams[1:] {
				s, err := q.js.Stream(t.Context(), stream)
				if err != nil {
					t.Fatal(err)
				}
				for info := range s.ListConsumers(t.Context()).Info() {
					if info.Config.MemoryStorage {
						if err := s.DeleteConsumer(t.Context(), info.Name); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
		},
		"connection": func() {
			if err := q.index.tap.(*tap).conn.Close(); err != nil {
				t.Fatal(err)
			}
		},
	}
	for what, gone := range breaks {
		gone()
		become(t, q, publish(t, q, "Fetch").ID, StateOK)
		if b, err := q.Balance(t.Context()); err != nil || b.Drift != 0 {
			t.Errorf("without its %s: got %+v, %v", what, b, err)
		}
	}
	if list, err := q.List(t.Context(), Filter{State: StateOK}); err != nil || len(list) != 3 {
		t.Errorf("got %d, %v", len(list), err)
	}
}

func TestIndex_SaysThatItIsBeingBuilt(t *testing.T) {
	q := open(t, "Fetch")
	r := publish(t, q, "Fetch")
	held := make(chan struct{})
	x := newIndex(q, func() (puller, error) { <-held; return q.index.connect() })
	defer x.close()
	within(t, patience, "it knows how much there is to read", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		err := x.fresh(ctx)
		if !errors.Is(err, ErrIndexing) {
			t.Fatalf("got %v", err)
		}
		return strings.Contains(err.Error(), "0 of 1 messages")
	})
	close(held)
	if err := x.fresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	if got := x.ledger.record(newRef(shelfEvents, 1)); got == nil || got.key == 0 {
		t.Errorf("%s is not known", r.ID)
	}
}

func TestIndex_SaysThatItStops(t *testing.T) {
	q := open(t, "Fetch")
	q.index.close()
	if _, err := q.List(t.Context(), Filter{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}

func TestGet_FindsAnIdAmongThoseOfTheSameMoment(t *testing.T) {
	q := open(t, "A", "B")
	var ids []string
	for i := range 60 {
		e := &Event{Source: "s", Function: "A", Body: fmt.Append(nil, i)}
		if _, err := q.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID)
	}
	if _, err := q.Publish(t.Context(), &Event{ID: ids[7], Source: "s", Function: "B", Body: []byte("for another function")}); err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		if r, err := q.Get(t.Context(), strings.ToLower(id)); err != nil || r.ID != id || string(r.Body) != fmt.Sprint(i) {
			t.Fatalf("got %+v, %v, want %d", r, err, i)
		}
	}
	if _, err := q.Get(t.Context(), NewID()); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

func TestGet_ShowsTheDeadLetterOfAnEventThatIsGone(t *testing.T) {
	dir := t.TempDir()
	q := openIn(t, dir, "Broken")
	stop := workAs(t, q, "Broken", quick, 1, func(*Event) Result {
		return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "never", Final: true}
	})
	r := publish(t, q, "Broken")
	become(t, q, r.ID, StateDead)
	stop()
	purge(t, q, streamEvents)
	gone := func(q *Queue, what string) {
		for _, ref := range []string{r.ID, "FUNKER_DEAD/1"} {
			got, err := q.Get(t.Context(), ref)
			if err != nil || got.ID != r.ID || got.Origin != "FUNKER_DEAD/1" || got.State != StateDead || string(got.Body) != `{"n":1}` || got.Reason != ReasonRefused {
				t.Errorf("%s, %s: got %+v, %v", what, ref, got, err)
			}
		}
		if letters, err := q.DeadLetters(t.Context(), DeadFilter{}); err != nil || len(letters) != 1 || letters[0].Record != "FUNKER_EVENTS/1" {
			t.Errorf("%s: got %+v, %v", what, letters, err)
		}
	}
	gone(q, "before the index knows")
	q.index.trimmed(t)
	gone(q, "afterwards")
	if _, err := q.Replay(t.Context(), r.ID, ""); err != nil {
		t.Fatal(err)
	}
	work(t, q, "Broken", 1, ok("1"))
	within(t, patience, "the replay has succeeded", func() bool {
		letters, err := q.DeadLetters(t.Context(), DeadFilter{All: true})
		return err == nil && len(letters) == 1 && letters[0].State == StateOK
	})
	if letters, err := q.DeadLetters(t.Context(), DeadFilter{}); err != nil || len(letters) != 0 {
		t.Errorf("answered: got %+v, %v", letters, err)
	}
}

// purge drops everything from a stream.
func purge(t testing.TB, q *Queue, stream string, opts ...jetstream.StreamPurgeOpt) {
	t.Helper()
	s, err := q.js.Stream(t.Context(), stream)
	if err == nil {
		err = s.Purge(t.Context(), opts...)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// trimmed returns when the index has dropped what its streams have dropped.
func (x *index) trimmed(t testing.TB) {
	t.Helper()
	for range 3 {
		if err := x.fresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func (x *index) size() (n int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for range x.ledger.events.all(0, everything) {
		n++
	}
	return n
}

func TestIndex_ForgetsWhatIsTrimmed(t *testing.T) {
	q := open(t, "Done", "Stuck")
	publish(t, q, "Stuck")
	const events = pruneMost + 500
	for i := range events {
		m := encode(&Event{ID: NewID(), Source: "s", Function: "Done", Body: []byte("1")}, eventSubject("s", "Done"))
		if err := q.nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
		if i%500 == 0 {
			publish(t, q, "Done")
		}
	}
	succeedAll(t, q, "Done")
	q.index.trimmed(t)
	all := q.index.size()
	purge(t, q, streamEvents, jetstream.WithPurgeSubject(eventSubject("*", "Done")), jetstream.WithPurgeSequence(events))
	within(t, patience, "the index has noticed", func() bool {
		q.index.trimmed(t)
		return q.index.size() == all-events+2
	})
	if list, err := q.List(t.Context(), Filter{Limit: MaxLimit}); err != nil || len(list) != q.index.size() || list[len(list)-1].State != StateWaiting {
		t.Errorf("got %d of %d, %v", len(list), q.index.size(), err)
	}
	if b, err := q.Balance(t.Context()); err != nil || b.Drift != 0 || b.Unrecorded != 0 || b.Waiting != 1 {
		t.Errorf("got %+v, %v", b, err)
	}
}

// succeedAll settles the events of a function as a worker does whose function succeeds.
func succeedAll(t *testing.T, q *Queue, function string) {
	t.Helper()
	c, err := q.js.Consumer(t.Context(), streamEvents, consumerName(function))
	if err != nil {
		t.Fatal(err)
	}
	for left := true; left; {
		batch, err := c.FetchNoWait(500)
		if err != nil {
			t.Fatal(err)
		}
		left = false
		for m := range batch.Messages() {
			left = true
			e, err := decode(&nats.Msg{Header: m.Headers(), Data: m.Data()})
			if err != nil {
				t.Fatal(err)
			}
			meta, err := m.Metadata()
			if err != nil {
				t.Fatal(err)
			}
			q.logOutcome(line{event: e, outcome: OutcomeOK, root: newRef(shelfEvents, meta.Sequence.Stream).String()})
			if err := m.Ack(); err != nil {
				t.Fatal(err)
			}
		}
	}
	settledAll(t, q, function)
}

func TestList_FillsUpForWhatIsGone(t *testing.T) {
	q := open(t, "A", "B")
	for i := range 20 {
		publish(t, q, []string{"A", "B"}[i/10])
	}
	q.index.trimmed(t)
	purge(t, q, streamEvents, jetstream.WithPurgeSubject(eventSubject("*", "B")))
	if list, err := q.List(t.Context(), Filter{Limit: 5}); err != nil || len(list) != 5 || list[0].Origin != "FUNKER_EVENTS/10" {
		t.Errorf("got %+v, %v", list, err)
	}
}

func TestList_DoesNotReadLargeBodies(t *testing.T) {
	q := open(t, "Fetch")
	for _, size := range []int{bulkyBody + 1, 1 << 20, MaxMessage + 1} {
		publishBody(t, q, "Fetch", large(size))
		list, err := q.List(t.Context(), Filter{Limit: 1})
		if err != nil || len(list) != 1 || list[0].Size != size || list[0].Type != "application/json" || list[0].Body != nil {
			t.Errorf("%d bytes: got %d records, %v", size, len(list), err)
		}
	}
	if _, err := q.head(t.Context(), newRef(shelfEvents, 9)); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

func TestSelect_VisitsAllTheOldestFirst(t *testing.T) {
	q := open(t, "A", "B")
	var want []string
	for i := range selectPage + 50 {
		if r := publish(t, q, []string{"A", "B"}[i%2]); i%2 == 1 {
			want = append(want, r.ID)
		}
	}
	if _, err := q.Call(t.Context(), &Event{Source: "s", Function: "B", Body: []byte("1")}); !errors.As(err, new(*CallError)) {
		t.Fatal(err)
	}
	f := Filter{Function: "B", Kind: "event", State: StateWaiting}
	var got, origins []string
	err := q.Select(t.Context(), f, "", func(r Record) bool {
		got, origins = append(got, r.ID), append(origins, r.Origin)
		return true
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %d, %v, want %d", len(got), err, len(want))
	}
	got = nil
	if err := q.Select(t.Context(), f, origins[9], func(r Record) bool { got = append(got, r.ID); return len(got) < 5 }); err != nil || !slices.Equal(got, want[10:15]) {
		t.Errorf("from %s: got %v, %v", origins[9], got, err)
	}
	if n, err := q.Count(t.Context(), f, origins[9]); err != nil || n != len(want)-10 {
		t.Errorf("count: got %d, %v", n, err)
	}
	if n, err := q.Count(t.Context(), Filter{Function: "B"}, ""); err != nil || n != len(want)+1 {
		t.Errorf("count of events and calls: got %d, %v", n, err)
	}
	if err := q.Select(t.Context(), f, "nowhere", func(Record) bool { return true }); !errors.Is(err, ErrArgument) {
		t.Errorf("got %v", err)
	}
}

func TestSettled_KnowsWhereARunStands(t *testing.T) {
	q := open(t, "Fetch")
	r := publish(t, q, "Fetch")
	want := func(root, at string, want bool) {
		t.Helper()
		if got, err := q.settled(t.Context(), root, at); err != nil || got != want {
			t.Errorf("%s at %s: got %v, %v", root, at, got, err)
		}
	}
	want("FUNKER_EVENTS/1", "FUNKER_EVENTS/1", false)
	e := &Event{ID: r.ID, Source: "s", Function: "Fetch", Root: "FUNKER_EVENTS/1", Body: []byte("1")}
	if _, err := q.store(t.Context(), encode(e, redoSubject("Fetch"))); err != nil {
		t.Fatal(err)
	}
	want("FUNKER_EVENTS/1", "FUNKER_EVENTS/1", true)
	want("FUNKER_EVENTS/1", "FUNKER_RETRY/1", false)
	want("FUNKER_EVENTS/1", "FUNKER_RETRY/9", false) // the index has not read it yet
	if _, err := q.store(t.Context(), deadLetter(e, ReasonRefused)); err != nil {
		t.Fatal(err)
	}
	want("FUNKER_EVENTS/1", "FUNKER_RETRY/1", true)
	want("FUNKER_EVENTS/9", "FUNKER_EVENTS/9", false)
	if state, err := q.stateOf(t.Context(), streamEvents, 1); err != nil || state != StateDead {
		t.Errorf("got %s, %v", state, err)
	}
	if _, err := q.settled(t.Context(), "nonsense", "FUNKER_EVENTS/1"); !errors.Is(err, ErrArgument) {
		t.Errorf("got %v", err)
	}
}

// leaky loses some of what a consumer gives out.
type leaky struct {
	puller
	lose map[uint64]bool // sequences that are lost once
}

func (l leaky) pull(ctx context.Context, stream, consumer string, batch int, visit func(*tapMessage)) (got int, known bool, err error) {
	lost := 0
	got, known, err = l.puller.pull(ctx, stream, consumer, batch, func(m *tapMessage) {
		if stream == streamEvents && l.lose[m.seq] {
			delete(l.lose, m.seq)
			lost++
			return
		}
		visit(m)
	})
	return got - lost, known, err
}

// The consumer may be at another server, whose connection breaks.
func TestIndex_ReadsAgainWhatIsLostOnItsWay(t *testing.T) {
	q := open(t, "Fetch")
	for range 7 {
		publish(t, q, "Fetch")
	}
	x := newIndex(q, func() (puller, error) {
		p, err := q.index.connect()
		return leaky{p, map[uint64]bool{3: true, 7: true}}, err
	})
	defer x.close()
	if err := x.fresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	for seq := uint64(1); seq <= 7; seq++ {
		if r := x.ledger.record(newRef(shelfEvents, seq)); r == nil || r.key == 0 {
			t.Errorf("event %d is not known", seq)
		}
	}
}
