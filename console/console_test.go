package console

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "the token of the admin side"

type admin struct {
	*httptest.Server
	t       testing.TB
	queue   *queue.Queue
	catalog *deploy.Catalog
	ran     chan *queue.Event
}

// start opens an admin side with two functions; ByeIntent fails.
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
	a := &admin{t: t, queue: q, catalog: deploy.NewCatalog(m), ran: make(chan *queue.Event, 10)}
	for _, f := range m.Functions {
		if err := q.AddFunction(t.Context(), f.Name); err != nil {
			t.Fatal(err)
		}
		a.work(f.Name)
	}
	a.Server = httptest.NewServer(New(Options{Queue: q, Catalog: a.catalog, Token: token, Log: slog.New(slog.DiscardHandler)}))
	t.Cleanup(a.Close)
	return a
}

func (a *admin) work(function string) {
	a.t.Helper()
	feed, err := a.queue.Feed(function)
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
	if e.Function == "ByeIntent" {
		return queue.Result{Outcome: queue.OutcomeFailed, Code: queue.CodeFunctionFailed, Message: "it broke"}
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
	if text, ok := v.(*string); ok {
		*text = string(b)
	} else if err := json.Unmarshal(b, v); err != nil {
		a.t.Fatalf("%s %s: %d %s: %v", r.Method, r.URL, res.StatusCode, b, err)
	}
	return response{res.StatusCode, res.Header}
}

func (a *admin) refused(method, path string, status int, code string) response {
	a.t.Helper()
	var got errorBody
	res := a.do(method, path, &got)
	if res.StatusCode != status || got.Error.Code != code || got.Error.Message == "" {
		a.t.Errorf("%s %s: got %d %+v, want %d %s", method, path, res.StatusCode, got, status, code)
	}
	return res
}

func TestServer_LetsNobodyInWithoutTheToken(t *testing.T) {
	t.Parallel()
	a := start(t)
	for _, path := range []string{"/", "/intents/", "/api/v1/events", "/api/v1/stats", "/debug/pprof/", "/nowhere", "/healthz/"} {
		for _, given := range []string{"", "Bearer ", "Bearer wrong", "Basic " + token, token} {
			r, err := http.NewRequest("GET", a.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", given)
			var got errorBody
			if res := a.send(r, &got); res.StatusCode != 401 || got.Error.Code != "unauthorized" || res.Header.Get("Www-Authenticate") != "Bearer" {
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
	if a.do("GET", "/intents/", &got); got != `{"AvailableIntents":[]}` {
		t.Errorf("got %s", got)
	}
}

func TestEvents_AreListedAndShownWithTheirAttempts(t *testing.T) {
	t.Parallel()
	a := start(t)
	var none string
	if a.do("GET", "/api/v1/events", &none); none != "[]" {
		t.Errorf("got %s", none)
	}
	first, second := a.publish("HelloIntent"), a.publish("ByeIntent")
	for query, want := range map[string]string{
		"": second + first, "?limit=1": second, "?function=HelloIntent": first, "?source=nobody": "", "?kind=event": second + first, "?kind=call": "",
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
	if record.State != "failed" || record.Attempts[0].Error != "it broke" || record.Source != "test" {
		t.Errorf("got %+v", record)
	}
	var failed []queue.Record
	if a.do("GET", "/api/v1/events?state=failed", &failed); len(failed) != 1 || failed[0].ID != second {
		t.Errorf("got %+v", failed)
	}
}

func TestEvents_RefusesQueriesThatMakeNoSense(t *testing.T) {
	t.Parallel()
	a := start(t)
	for _, query := range []string{"limit=0", "limit=x", "limit=1001", "kind=events", "state=dead%00"} {
		a.refused("GET", "/api/v1/events?"+query, 400, "bad_query")
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

func TestStats_CountTheWorkOfEveryFunction(t *testing.T) {
	t.Parallel()
	a := start(t)
	var got []queue.FunctionStats
	a.do("GET", "/api/v1/stats", &got)
	if len(got) != 3 || got[0].Function != "ByeIntent" {
		t.Errorf("got %+v", got)
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
	if a.send(r, &body); body != `{"status":"ok"}` {
		t.Errorf("got %s", body)
	}
}

// within polls until the condition holds.
func within(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 10s: %s", what)
		}
	}
}
