package console

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	token     = "the token of the admin side"
	readToken = "the token for looking"
)

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) { b.mu.Lock(); defer b.mu.Unlock(); return b.b.Write(p) }
func (b *buffer) String() string              { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }

type admin struct {
	*httptest.Server
	t       testing.TB
	queue   *queue.Queue
	catalog *deploy.Catalog
	handler *Server
	ran     chan *queue.Event
	log     *buffer
	senders []sender // what Triggers returns
	shelf   *shelf
	found   []functionState // by workers, besides the manifest
}

// start opens an admin side with three functions; ByeIntent fails for good, unless it runs a replay.
func start(t testing.TB) *admin {
	t.Helper()
	hello := deploy.NewFunction("HelloIntent")
	hello.Image, hello.Replicas = "acme/hello:1", deploy.Replicas{Min: 3, Max: 5}
	m := &deploy.Manifest{Functions: []*deploy.Function{hello, deploy.NewFunction("ByeIntent"), deploy.NewFunction("fetch")}}
	q, err := queue.Open(t.Context(), queue.Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Errorf("close queue: %v", err)
		}
	})
	a := &admin{t: t, queue: q, catalog: deploy.NewCatalog(m), ran: make(chan *queue.Event, 100), log: &buffer{}}
	for _, f := range m.Functions {
		if err := q.AddFunction(t.Context(), f.Name, queue.Retry{}); err != nil {
			t.Fatal(err)
		}
		a.work(f.Name)
	}
	a.shelf = &shelf{queue: q, catalog: a.catalog}
	a.handler = New(Options{
		Queue: q, Catalog: a.catalog, Token: token, ReadToken: readToken, Log: slog.New(slog.NewTextHandler(a.log, nil)),
		Triggers: a.triggers, Manifests: a.shelf, Functions: a.functions,
	})
	a.Server = httptest.NewServer(a.handler)
	t.Cleanup(func() {
		a.handler.Close()
		a.Close()
	})
	return a
}

// triggers is what cmd hands over.
func (a *admin) triggers(source string) (any, error) {
	if source == "" {
		return a.senders, nil
	}
	for _, t := range a.senders {
		if t.Source == source {
			return t, nil
		}
	}
	return nil, queue.ErrNotFound
}

// serve says, as a worker does once a second, that it has functions.
func (a *admin) serve(functions ...string) {
	a.t.Helper()
	beat := queue.Heartbeat{Worker: "w1", Node: "pi1"}
	for _, f := range functions {
		beat.Functions = append(beat.Functions, queue.FunctionLoad{Function: f, Slots: 4, Idle: 3})
	}
	ctx, cancel := context.WithCancel(context.Background())
	var beating sync.WaitGroup
	beating.Go(func() {
		tick := time.NewTicker(queue.HeartbeatTime)
		defer tick.Stop()
		for ctx.Err() == nil {
			if err := a.queue.Beat(beat); err != nil {
				a.t.Errorf("beat: %v", err)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	a.t.Cleanup(func() { cancel(); beating.Wait() })
	within(a.t, "the worker is known", func() bool { return a.queue.Served(functions[0]) })
}

func (a *admin) work(function string) {
	a.t.Helper()
	feed, err := a.queue.Feed(function, queue.Retry{})
	if err != nil {
		a.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var slots sync.WaitGroup
	slots.Go(func() {
		if err := feed.Slot(ctx, a.handle); err != nil {
			a.t.Errorf("slot: %v", err)
		}
	})
	a.t.Cleanup(func() {
		cancel()
		slots.Wait()
		feed.Close()
	})
}

func (a *admin) handle(e *queue.Event) queue.Result {
	a.ran <- e
	if e.Function == "ByeIntent" && e.ReplayOf == "" {
		return queue.Result{Outcome: queue.OutcomeFailed, Code: queue.CodeFunctionFailed, Message: "it broke", Final: true}
	}
	if strings.HasPrefix(e.Function, "<") { // see hostile
		if e.ReplayOf == "" {
			return queue.Result{Outcome: queue.OutcomeFailed, Code: queue.CodeFunctionFailed, Message: attack(8), Final: true}
		}
		return queue.Result{Outcome: queue.OutcomeOK, Reply: []byte(attack(9))}
	}
	return queue.Result{Outcome: queue.OutcomeOK, Reply: []byte(`1`)}
}

// publish stores an event and waits until it ran.
func (a *admin) publish(function string) string {
	a.t.Helper()
	r, err := a.queue.Publish(a.t.Context(), &queue.Event{Source: "test", Function: function, Body: []byte(`{}`)})
	if err != nil {
		a.t.Fatal(err)
	}
	a.event()
	return r.ID
}

func (a *admin) event() *queue.Event {
	a.t.Helper()
	select {
	case e := <-a.ran:
		return e
	case <-time.After(10 * time.Second):
		a.t.Fatal("no function was run")
		return nil
	}
}

// response is an answer whose body is read and closed.
type response struct {
	StatusCode int
	Header     http.Header
}

// do sends a request with the token and decodes the answer into v.
func (a *admin) do(method, path string, v any) response {
	a.t.Helper()
	r, err := http.NewRequestWithContext(a.t.Context(), method, a.URL+path, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return a.send(r, v)
}

func (a *admin) send(r *http.Request, v any) response {
	a.t.Helper()
	res, err := a.Client().Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	described.check(a.t, r, response{res.StatusCode, res.Header}, b)
	if v == nil {
		return response{res.StatusCode, res.Header}
	}
	if text, ok := v.(*string); ok {
		*text = string(b)
	} else if err := json.Unmarshal(b, v); err != nil {
		a.t.Fatalf("%s %s: %d %s: %v", r.Method, r.URL, res.StatusCode, b, err)
	}
	return response{res.StatusCode, res.Header}
}

func (a *admin) refused(method, path string, status int, code string) response {
	a.t.Helper()
	var got Problem
	res := a.do(method, path, &got)
	if res.StatusCode != status || got.Code != code || got.Detail == "" || got.Status != status || got.Title != http.StatusText(status) ||
		res.Header.Get("Content-Type") != ProblemType {
		a.t.Errorf("%s %s: got %d %+v, want %d %s", method, path, res.StatusCode, got, status, code)
	}
	return res
}

func TestServer_LetsNobodyInWithoutTheToken(t *testing.T) {
	t.Parallel()
	a := start(t)
	for _, path := range []string{"/", "/intents/", "/api/v1/events", "/api/v1/dead", "/api/v1/dead/1", "/api/v1/stats", "/debug/pprof/", "/nowhere", "/healthz/"} {
		for _, given := range []string{"", "Bearer ", "Bearer wrong", "Basic " + token, token} {
			r, err := http.NewRequest("GET", a.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", given)
			var got Problem
			if res := a.send(r, &got); res.StatusCode != 401 || got.Code != "unauthorized" || res.Header.Get("Www-Authenticate") != "Bearer" {
				t.Errorf("%s with %q: got %d %+v", path, given, res.StatusCode, got)
			}
		}
	}
}

func TestServer_WithoutATokenIsClosed(t *testing.T) {
	t.Parallel()
	s := New(Options{Catalog: deploy.NewCatalog(nil)})
	for path, want := range map[string]int{"/api/v1/stats": 401, "/healthz": 200} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Authorization", "Bearer ")
		s.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: got %d", path, w.Code)
		}
	}
}

func TestServer_RefusesUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.refused("GET", "/nowhere", 404, "not_found")
	a.refused("GET", "/api/v1/events/1/replays", 404, "not_found")
	a.refused("GET", "/debug/pprof/strange", 404, "not_found")
	a.refused("GET", "/debug/pprof/heap?seconds=x", 400, "bad_request")
	res := a.refused("DELETE", "/api/v1/stats", 405, "method_not_allowed")
	if got := res.Header.Get("Allow"); got != "GET, HEAD" {
		t.Errorf("Allow: %s", got)
	}
}

func TestIntents_AreListedAsThePrototypeDid(t *testing.T) {
	t.Parallel()
	a := start(t)
	for _, path := range []string{"/intents/", "/intents"} {
		var got struct {
			AvailableIntents []struct {
				Name, Image string
				CreatedAt   time.Time
				Mode        struct{ Replicated struct{ Replicas int } }
			}
		}
		a.do("GET", path, &got)
		list := got.AvailableIntents
		if len(list) != 2 || list[0].Name != "HelloIntent" || list[0].Image != "acme/hello:1" || list[0].Mode.Replicated.Replicas != 3 ||
			list[1].Name != "ByeIntent" || list[1].Mode.Replicated.Replicas != 1 {
			t.Errorf("got %+v", got)
		}
		if age := time.Since(list[0].CreatedAt); age < 0 || age > time.Minute {
			t.Errorf("created at %s", list[0].CreatedAt)
		}
	}
	a.catalog.Set(nil)
	var got string
	if a.do("GET", "/intents/", &got); got != `{"AvailableIntents":[]}`+"\n" {
		t.Errorf("got %s", got)
	}
}

func TestEvents_AreListedAndShownWithTheirAttempts(t *testing.T) {
	t.Parallel()
	a := start(t)
	var none string
	if a.do("GET", "/api/v1/events", &none); none != "[]\n" {
		t.Errorf("got %s", none)
	}
	first, second := a.publish("HelloIntent"), a.publish("ByeIntent")
	for query, want := range map[string]string{
		"": second + first, "?limit=1": second, "?function=HelloIntent": first, "?kind=event": second + first, "?kind=call": "",
		"?since=2026-01-01T00:00:00Z": second + first, "?until=2026-01-01T00:00:00Z": "", "?since=" + url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339)): "",
	} {
		var list []queue.Record
		a.do("GET", "/api/v1/events"+query, &list)
		var got strings.Builder
		for _, r := range list {
			got.WriteString(r.ID)
		}
		if got.String() != want {
			t.Errorf("%q: got %s, want %s", query, got.String(), want)
		}
	}
	var record queue.Record
	within(t, "the attempt is logged", func() bool {
		a.do("GET", "/api/v1/events/"+second, &record)
		return len(record.Attempts) == 1
	})
	if record.State != queue.StateDead || record.Attempts[0].Error != "it broke" || record.Source != "test" {
		t.Errorf("got %+v", record)
	}
	var dead []queue.Record
	if a.do("GET", "/api/v1/events?state=dead", &dead); len(dead) != 1 || dead[0].ID != second {
		t.Errorf("got %+v", dead)
	}
}

func TestEvents_RefusesQueriesThatMakeNoSense(t *testing.T) {
	t.Parallel()
	a := start(t)
	for _, query := range []string{"limit=0", "limit=x", "limit=1001", "kind=events", "state=dead%00", "since=1h", "until=x", "functon=Fetch"} {
		a.refused("GET", "/api/v1/events?"+query, 400, "bad_query")
	}
	for _, query := range []string{"limit=0", "reason=strange", "all=perhaps", "since=1h", "state=dead"} {
		a.refused("GET", "/api/v1/dead?"+query, 400, "bad_query")
	}
	a.refused("POST", "/api/v1/events/1/replay?too=Fetch", 400, "bad_query")
	a.publish("HelloIntent")
	for _, list := range []string{"/api/v1/events", "/api/v1/dead"} {
		a.refused("GET", list+"?source=nobody", 404, "unknown_source")
		a.refused("GET", list+"?function=Fetch", 404, "unknown_function")
	}
	a.refused("GET", "/api/v1/events/01JZZZZZZZZZZZZZZZZZZZZZZZ", 404, "not_found")
	a.refused("GET", "/api/v1/events/%2e%2e%2f", 404, "not_found")
}

func TestReplay_RunsAnEventAgain(t *testing.T) {
	t.Parallel()
	a := start(t)
	id := a.publish("ByeIntent")
	var got queue.Replayed
	res := a.do("POST", "/api/v1/events/"+id+"/replay", &got)
	if e := a.event(); res.StatusCode != 202 || got.ID != id || e.ID != id || e.ReplayOf != got.From || e.Function != "ByeIntent" {
		t.Errorf("got %d %+v, ran %+v", res.StatusCode, got, e)
	}
	if l := res.Header.Get("Location"); l != "/api/v1/events/"+id {
		t.Errorf("Location: %s", l)
	}
	a.do("POST", "/api/v1/events/"+id+"/replay?to=HelloIntent", &got)
	if e := a.event(); e.ID != id || e.Function != "HelloIntent" {
		t.Errorf("ran %+v", e)
	}
	a.refused("POST", "/api/v1/events/"+id+"/replay?to=nobody", 404, "unknown_function")
	a.refused("POST", "/api/v1/events/"+queue.NewID()+"/replay", 404, "not_found")
}

// die stores an event of ByeIntent and waits until it is a dead letter.
func (a *admin) die() string {
	a.t.Helper()
	id := a.publish("ByeIntent")
	within(a.t, "the event is dead", func() bool {
		d, err := a.queue.DeadLetter(a.t.Context(), id)
		return err == nil && d.State == queue.StateDead
	})
	return id
}

// letters are the ids of the dead letters that a query finds.
func (a *admin) letters(query string) (ids []string) {
	a.t.Helper()
	var list []queue.DeadLetter
	a.do("GET", "/api/v1/dead"+query, &list)
	for _, d := range list {
		ids = append(ids, d.ID)
	}
	return ids
}

func TestDead_AreListedAndShown(t *testing.T) {
	t.Parallel()
	a := start(t)
	var none string
	if a.do("GET", "/api/v1/dead", &none); none != "[]\n" {
		t.Errorf("got %s", none)
	}
	first, second := a.die(), a.die()
	for query, want := range map[string][]string{
		"": {second, first}, "?limit=1": {second}, "?function=ByeIntent&source=test&reason=refused": {second, first}, "?function=HelloIntent": nil,
		"?reason=exhausted": nil, "?until=2026-01-01T00:00:00Z": nil, "?since=2026-01-01T00:00:00Z&all=true": {second, first},
	} {
		if got := a.letters(query); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", query, got, want)
		}
	}
	for _, name := range []string{first, "FUNKER_DEAD%2F1"} {
		var got struct {
			queue.DeadLetter
			Event queue.Record `json:"event"`
		}
		a.do("GET", "/api/v1/dead/"+name, &got)
		if got.ID != first || got.Reason != queue.ReasonRefused || got.Error != "it broke" || got.Event.ID != first || string(got.Event.Body) != "{}" {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	a.refused("GET", "/api/v1/dead/"+a.publish("HelloIntent"), 404, "not_found")
}

func TestDead_AreReplayedAndDropped(t *testing.T) {
	t.Parallel()
	a := start(t)
	first, second := a.die(), a.die()
	var got queue.Replayed
	res := a.do("POST", "/api/v1/dead/FUNKER_DEAD%2F1/replay", &got)
	if e := a.event(); res.StatusCode != 202 || got.ID != first || e.ID != first || e.ReplayOf != "FUNKER_EVENTS/1" {
		t.Errorf("got %d %+v, ran %+v", res.StatusCode, got, e)
	}
	within(t, "the replay has succeeded", func() bool { return len(a.letters("")) == 1 })
	if got := a.letters("?all=1"); len(got) != 2 {
		t.Errorf("with those that were replayed: %v", got)
	}
	within(t, "the event is not dead any more", func() bool {
		r, err := a.queue.Get(t.Context(), first)
		return err == nil && r.State == queue.StateOK
	})
	a.refused("POST", "/api/v1/dead/FUNKER_DEAD%2F1/replay", 409, "not_dead")
	a.refused("POST", "/api/v1/dead/"+second+"/replay?to=nobody", 404, "unknown_function")
	if res := a.do("DELETE", "/api/v1/dead/"+second, nil); res.StatusCode != 204 {
		t.Errorf("drop: got %d", res.StatusCode)
	}
	a.refused("DELETE", "/api/v1/dead/"+second, 404, "not_found")
	a.refused("POST", "/api/v1/dead/"+second+"/replay", 404, "not_found")
	if got := a.letters(""); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
	if r, err := a.queue.Get(t.Context(), second); err != nil || r.State != queue.StateDropped {
		t.Errorf("the event is %+v, %v", r, err)
	}
}

func TestStats_CountTheWorkOfEveryFunctionAndBalance(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.publish("HelloIntent")
	a.die()
	var got stats
	within(t, "both have ended", func() bool {
		a.do("GET", "/api/v1/stats", &got)
		return got.Balance != nil && got.Balance.Succeeded == 1
	})
	if len(got.Functions) != 3 || got.Functions[0].Function != "ByeIntent" || got.Functions[0].Dead[queue.ReasonRefused] != 1 {
		t.Errorf("got %+v", got.Functions)
	}
	if got.Usage.Free == 0 || len(got.Usage.Streams) != 2 {
		t.Errorf("usage: got %+v", got.Usage)
	}
	if want := (queue.Balance{Accepted: 2, Succeeded: 1, Dead: 1}); *got.Balance != want {
		t.Errorf("got %+v, want %+v", *got.Balance, want)
	}
}

func TestServer_ServesProfilesAndItsHealth(t *testing.T) {
	t.Parallel()
	a := start(t)
	var body string
	if res := a.do("GET", "/debug/pprof/goroutine?debug=1", &body); res.StatusCode != 200 || !strings.Contains(body, "goroutine profile") {
		t.Errorf("got %d %s", res.StatusCode, body)
	}
	r, err := http.NewRequest("GET", a.URL+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.send(r, &body); body != `{"status":"ok"}`+"\n" {
		t.Errorf("got %s", body)
	}
}

// within polls until the condition holds.
func within(t testing.TB, what string, condition func() bool) {
	t.Helper()
	withinTime(t, time.Minute, what, condition) // a busy machine is no fault
}

func withinTime(t testing.TB, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
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

func TestTriggers_AreServedAsTheyAreHandedOver(t *testing.T) {
	t.Parallel()
	s := New(Options{Catalog: deploy.NewCatalog(nil), Token: token, Triggers: func(source string) (any, error) {
		if source == "gone" {
			return nil, queue.ErrNotFound
		}
		return "of " + source, nil
	}})
	for path, want := range map[string]string{
		"/api/v1/triggers": `"of "`, "/api/v1/triggers/github-acme": `"of github-acme"`, "/api/v1/triggers/gone": `"no_trigger"`,
		"/api/v1/triggers?x=1": `"bad_query"`,
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		s.ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: got %d %s", path, w.Code, w.Body)
		}
	}
}
