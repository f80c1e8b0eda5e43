package queue

import (
	"context"
	"encoding/json"
	"errors"
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
	within(t, 5*time.Second, "show tells all five attempts", func() bool {
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
	within(t, 5*time.Second, "an attempt arrives", func() bool {
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
