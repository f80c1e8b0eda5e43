package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func request(t *testing.T, q *Queue, subject, body string) *nats.Msg {
	t.Helper()
	m, err := q.nc.Request(subject, []byte(body), 5*time.Second)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	return m
}

func TestService_ListsShowsAndReplays(t *testing.T) {
	q := open(t, "Fetch", "Other")
	ran := make(chan *Event, 10)
	handle := func(e *Event) Result { ran <- e; return Result{Outcome: OutcomeOK, Reply: []byte("1")} }
	work(t, q, "Fetch", 1, handle)
	work(t, q, "Other", 1, handle)
	r, err := q.Publish(t.Context(), &Event{Source: "github-acme", Function: "Fetch", Body: []byte(`{"a":1}`)})
	if err != nil {
		t.Fatal(err)
	}
	<-ran
	if _, err := q.Call(t.Context(), &Event{Source: "alexa", Function: "Other", Body: []byte(`{"b":1}`)}); err != nil {
		t.Fatal(err)
	}
	<-ran
	var records []Record
	if err := json.Unmarshal(request(t, q, "funker.events", "5").Data, &records); err != nil || len(records) != 1 || records[0].ID != r.ID {
		t.Fatalf("events: got %+v, %v", records, err)
	}
	if err := json.Unmarshal(request(t, q, "funker.calls", "").Data, &records); err != nil || len(records) != 1 || records[0].Source != "alexa" {
		t.Fatalf("calls: got %+v, %v", records, err)
	}
	for _, c := range []struct{ body, function, of string }{
		{r.ID, "Fetch", "FUNKER_EVENTS/1"}, {"1", "Fetch", "FUNKER_EVENTS/1"}, {r.ID + " Other", "Other", "FUNKER_EVENTS/1"},
		{records[0].ID, "Other", "FUNKER_CALLS/1"}, {"FUNKER_CALLS/1", "Other", "FUNKER_CALLS/1"},
	} {
		var rep Replayed
		if err := json.Unmarshal(request(t, q, "funker.replay", c.body).Data, &rep); err != nil {
			t.Fatal(err)
		}
		if e := <-ran; e.Function != c.function || e.ReplayOf != c.of || e.RunID != rep.Run || !e.Deadline.IsZero() {
			t.Errorf("replay %q: got %+v", c.body, e)
		}
	}
	within(t, patience, "show tells all five attempts", func() bool {
		var rec Record
		err := json.Unmarshal(request(t, q, "funker.show", r.ID).Data, &rec)
		return err == nil && len(rec.Attempts) == 4 && rec.State == State(OutcomeOK)
	})
	var stats []FunctionStats
	if err := json.Unmarshal(request(t, q, "funker.stats", "").Data, &stats); err != nil || len(stats) != 2 || stats[0].Function != "Fetch" {
		t.Errorf("stats: got %+v, %v", stats, err)
	}
}

func TestService_SaysWhatIsWrong(t *testing.T) {
	q := open(t, "Fetch")
	for _, c := range []struct{ subject, body, code, text string }{
		{"funker.replay", "nonsense", "404", "neither an event id"},
		{"funker.replay", "7", "404", "FUNKER_EVENTS/7"},
		{"funker.replay", NewID(), "404", "no such event"},
		{"funker.events", "many", "400", "how many"},
		{"funker.show", "FUNKER_CALLS/x", "404", "sequence"},
	} {
		m := request(t, q, c.subject, c.body)
		if got := m.Header.Get("Nats-Service-Error-Code"); got != c.code || !strings.Contains(m.Header.Get("Nats-Service-Error"), c.text) {
			t.Errorf("%s %q: got %s %q", c.subject, c.body, got, m.Header.Get("Nats-Service-Error"))
		}
	}
	r, err := q.Publish(t.Context(), &Event{Source: "s", Function: "Fetch", Body: []byte("1")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Replay(t.Context(), r.ID, "Nobody"); !errors.Is(err, ErrNoFunction) {
		t.Errorf("got %v, want ErrNoFunction", err)
	}
}

func TestList_FiltersAndIsNewestFirst(t *testing.T) {
	q := open(t, "A", "AMAZON.HelpIntent")
	var ids []string
	for i := range 30 {
		r, err := q.Publish(t.Context(), &Event{Source: []string{"x", "y"}[i%2], Function: []string{"A", "AMAZON.HelpIntent"}[i%3%2], Body: []byte("1")})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.ID)
	}
	all, err := q.List(t.Context(), Filter{Limit: 100})
	if err != nil || len(all) != 30 || all[0].ID != ids[29] || all[29].ID != ids[0] {
		t.Fatalf("got %d, %v", len(all), err)
	}
	some, err := q.List(t.Context(), Filter{Source: "y", Function: "AMAZON.HelpIntent", Limit: 3})
	if err != nil || len(some) != 3 {
		t.Fatalf("got %+v, %v", some, err)
	}
	for _, r := range some {
		if r.Source != "y" || r.Function != "AMAZON.HelpIntent" {
			t.Errorf("got %+v", r)
		}
	}
	none, err := q.List(t.Context(), Filter{State: State(OutcomeOK)})
	if err != nil || len(none) != 0 {
		t.Errorf("got %+v, %v", none, err)
	}
	late, err := q.List(t.Context(), Filter{Since: time.Now().Add(time.Hour)})
	if err != nil || len(late) != 0 {
		t.Errorf("got %+v, %v", late, err)
	}
}

func TestTail_ShowsAttemptsAsTheyEnd(t *testing.T) {
	q := open(t, "Hello")
	work(t, q, "Hello", 1, ok("1"))
	got := make(chan Attempt, 10)
	tailed := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		tailed <- q.Tail(ctx, func(a Attempt) {
			select {
			case got <- a:
			default:
			}
		})
	}()
	within(t, patience, "an attempt arrives", func() bool {
		if _, err := q.Call(t.Context(), &Event{Source: "s", Function: "Hello", Body: []byte("1")}); err != nil {
			t.Fatal(err)
		}
		return len(got) > 0
	})
	stop()
	if err := <-tailed; err != nil {
		t.Errorf("tail: %v", err)
	}
	if a := <-got; a.Function != "Hello" || a.Outcome != OutcomeOK || a.Source != "s" {
		t.Errorf("got %+v", a)
	}
}

// dialled returns a queue, and another process's connection to it.
func dialled(t *testing.T, functions ...string) (q, remote *Queue) {
	t.Helper()
	dir := t.TempDir()
	q, err := Open(t.Context(), Options{Dir: dir, Listen: "127.0.0.1:0", Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	for _, f := range functions {
		if err := q.AddFunction(t.Context(), f, Retry{}); err != nil {
			t.Fatal(err)
		}
	}
	remote, err = Dial(q.URL(), filepath.Join(dir, AdminKey), RoleAdmin, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remote.Close() })
	return q, remote
}

// same compares what two processes are told.
func same[T any](t *testing.T, what string, q, remote *Queue, ask func(*Queue) (T, error)) {
	t.Helper()
	want, err := ask(q)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	got, err := ask(remote)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	a, errA := json.Marshal(want)
	b, errB := json.Marshal(got)
	if errA != nil || errB != nil || string(a) != string(b) {
		t.Errorf("%s: another process is told\n%s, not\n%s", what, b, a)
	}
}

func TestDial_AnotherProcessIsToldTheSame(t *testing.T) {
	q, remote := dialled(t, "Fetch", "Other")
	for i := range 5 {
		publish(t, q, []string{"Fetch", "Other"}[i%2])
	}
	dead := bury(t, q, "Fetch", "x", ReasonRefused)
	publishBody(t, q, "Fetch", large(shownBody+1))
	if _, err := q.Call(t.Context(), &Event{Source: "alexa", Function: "Fetch", Body: []byte(`"a"`)}); !errors.As(err, new(*CallError)) {
		t.Fatal(err)
	}
	within(t, patience, "the call is recorded", func() bool {
		list, err := q.List(t.Context(), Filter{State: StateNoWorker})
		return err == nil && len(list) == 1
	})
	ctx := t.Context()
	for _, f := range []Filter{{}, {Kind: "event"}, {Kind: "call"}, {Function: "Fetch", Limit: 2}, {State: StateDead}, {Since: time.Now().Add(time.Hour)}} {
		same(t, fmt.Sprintf("list %+v", f), q, remote, func(q *Queue) ([]Record, error) { return q.List(ctx, f) })
		same(t, fmt.Sprintf("count %+v", f), q, remote, func(q *Queue) (int, error) { return q.Count(ctx, f, "FUNKER_EVENTS/2") })
		same(t, fmt.Sprintf("select %+v", f), q, remote, func(q *Queue) (all []Record, err error) {
			err = q.Select(ctx, f, "FUNKER_EVENTS/2", func(r Record) bool { all = append(all, r); return true })
			return all, err
		})
	}
	for _, ref := range []string{dead, "1", "FUNKER_CALLS/1", "FUNKER_DEAD/1", "FUNKER_EVENTS/7"} {
		same(t, "show "+ref, q, remote, func(q *Queue) (Record, error) { return q.Get(ctx, ref) })
	}
	same(t, "dead letters", q, remote, func(q *Queue) ([]DeadLetter, error) { return q.DeadLetters(ctx, DeadFilter{Reason: ReasonRefused}) })
	same(t, "dead letter", q, remote, func(q *Queue) (DeadLetter, error) { return q.DeadLetter(ctx, dead) })
	same(t, "stats", q, remote, func(q *Queue) ([]FunctionStats, error) { return q.Stats(ctx) })
	same(t, "balance", q, remote, func(q *Queue) (Balance, error) { return q.Balance(ctx) })
	same(t, "usage", q, remote, func(q *Queue) (Usage, error) {
		u, err := q.Usage(ctx)
		u.Free = 0 // others write to this disk too
		return u, err
	})
	if _, err := remote.Replay(ctx, dead, ""); err != nil {
		t.Errorf("replay: %v", err)
	}
	if err := remote.Drop(ctx, "FUNKER_DEAD/1"); err != nil {
		t.Errorf("drop: %v", err)
	}
	for _, q := range []*Queue{q, remote} {
		if err := q.Drop(ctx, "FUNKER_DEAD/1"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "FUNKER_DEAD/1") {
			t.Errorf("drop again: got %v, want ErrNotFound", err)
		}
		if _, err := q.Get(ctx, "nonsense"); !errors.Is(err, ErrNotFound) {
			t.Errorf("get: got %v, want ErrNotFound", err)
		}
		if _, err := q.List(ctx, Filter{Function: "a\nb"}); !errors.Is(err, ErrName) {
			t.Errorf("list: got %v, want ErrName", err)
		}
	}
}

func TestService_TakesAFilterAndLeavesOutLargeBodies(t *testing.T) {
	q := open(t, "Fetch")
	publish(t, q, "Fetch")
	bury(t, q, "Fetch", "x", ReasonRefused)
	publishBody(t, q, "Fetch", large(shownBody+1))
	for _, c := range []struct {
		subject, body string
		want          int
	}{
		{"funker.events", `{"function":"Fetch","state":"dead","limit":5}`, 1}, {"funker.events", "2", 2}, {"funker.events", `{"kind":"call"}`, 0},
		{"funker.events", `{"kind":"any"}`, 3}, {"funker.calls", "", 0}, {"funker.dead", "1", 1}, {"funker.dead", `{"reason":"exhausted"}`, 0},
	} {
		var list []any
		if m := request(t, q, c.subject, c.body); json.Unmarshal(m.Data, &list) != nil || len(list) != c.want {
			t.Errorf("%s %s: got %s, want %d", c.subject, c.body, m.Data, c.want)
		}
	}
	var r Record
	if err := json.Unmarshal(request(t, q, "funker.show", "3").Data, &r); err != nil || !r.Omitted || r.Body != nil || r.Size != shownBody+1 {
		t.Errorf("got %+v, %v", r, err)
	}
	for body, text := range map[string]string{
		`{"state":"odd"}`: "no state", `{"kind":"odd"}`: "no kind", `{"limit":1001}`: "1 to 1000", `{"limit":`: "unexpected EOF", `{"functon":"A"}`: `unknown field "functon"`, `{} {}`: "something follows", "0": "1 to 1000",
		`{"function":"a\u0000"}`: "control characters",
	} {
		if m := request(t, q, "funker.events", body); m.Header.Get("Nats-Service-Error-Code") != "400" || !strings.Contains(m.Header.Get("Nats-Service-Error"), text) {
			t.Errorf("%s: got %v %s", body, m.Header, m.Data)
		}
	}
}

func TestService_ASlowRequestDoesNotHoldUpTheNext(t *testing.T) {
	q := open(t)
	held, begun := make(chan struct{}), make(chan struct{}, 2)
	err := q.service.add("funker.slow", publishLimit, func(_ context.Context, arg string) (any, error) {
		if begun <- struct{}{}; arg == "slow" {
			await(t, held)
		}
		return arg, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slow, err := q.nc.SubscribeSync(q.nc.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	if err := q.nc.PublishRequest("funker.slow", slow.Subject, []byte("slow")); err != nil {
		t.Fatal(err)
	}
	<-begun
	if got := string(request(t, q, "funker.slow", "fast").Data); got != `"fast"` {
		t.Errorf("got %s", got)
	}
	close(held)
	if m, err := slow.NextMsg(5 * time.Second); err != nil || string(m.Data) != `"slow"` {
		t.Errorf("got %v, %v", m, err)
	}
	err = q.service.add("funker.huge", publishLimit, func(context.Context, string) (any, error) { return make([]byte, maxPayload), nil })
	if err != nil {
		t.Fatal(err)
	}
	if m := request(t, q, "funker.huge", ""); m.Header.Get("Nats-Service-Error-Code") != "400" || !strings.Contains(m.Header.Get("Nats-Service-Error"), "ask for less") {
		t.Errorf("got %v", m.Header)
	}
}

func TestService_WhatIsTriedAgainIsToldApart(t *testing.T) {
	q, remote := dialled(t)
	for endpoint, cause := range map[string]error{"indexing": ErrIndexing, "full": ErrFull} {
		if err := q.service.add("funker."+endpoint, time.Minute, func(context.Context, string) (any, error) { return nil, fmt.Errorf("list: %w", cause) }); err != nil {
			t.Fatal(err)
		}
		if err := q.nc.Flush(); err != nil { // the server knows the endpoint then
			t.Fatal(err)
		}
		_, err := ask[string](t.Context(), remote, endpoint, nil)
		if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrIndexing) != (endpoint == "indexing") {
			t.Errorf("%s: got %v", endpoint, err)
		}
	}
}
