package ingress

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

func TestFunction_RepliesWithTheBytesOfTheFunction(t *testing.T) {
	g := start(t)
	a := g.invoke("Fetch", ` {"x": 1.0} `, "Content-Type", "application/x-www-form-urlencoded")
	a.want(t, 200, `{ "I am": "Fetch" }`)
	a.header(t, "Content-Type", "application/json")
	e := g.event()
	a.header(t, "Funker-Event-Id", e.ID)
	if string(e.Body) != ` {"x": 1.0} ` || e.Source != "http" || e.ContentType != "application/json" {
		t.Errorf("the function got %q from %s as %s", e.Body, e.Source, e.ContentType)
	}
}

func TestFunction_IsFoundByAnyName(t *testing.T) {
	g := start(t)
	for _, name := range oddNames {
		want, _ := json.Marshal(name)
		var got struct {
			Name string `json:"I am"`
		}
		a := g.invoke(name, "null")
		if err := json.Unmarshal([]byte(a.body), &got); a.StatusCode != 200 || err != nil || got.Name != name {
			t.Errorf("%s: got %d %s", want, a.StatusCode, a.body)
		}
	}
}

func TestFunction_IsQueuedWhenTheCallerPrefersNotToWait(t *testing.T) {
	g := start(t)
	for _, prefer := range []string{"respond-async", "wait=10, Respond-Async; x=y"} {
		a := g.invoke("Fetch", `{"x":1}`, "Prefer", prefer)
		e := g.event()
		a.want(t, 202, fmt.Sprintf(`{"id":%q,"status":"queued"}`+"\n", e.ID))
		a.header(t, "Location", "/api/v1/events/"+e.ID)
		a.header(t, "Funker-Event-Id", e.ID)
		a.header(t, "Preference-Applied", "respond-async")
		if r, err := g.queue.Get(t.Context(), e.ID); err != nil || r.Kind != "event" {
			t.Errorf("stored: %+v, %v", r, err)
		}
	}
	g.invoke("Fetch", `1`, "Prefer", "respond-asynchronously").want(t, 200, `{ "I am": "Fetch" }`)
}

func TestFunction_NeedsTheToken(t *testing.T) {
	g := start(t)
	for _, given := range []string{"", "Bearer", "Bearer ", "Bearer wrong", "Basic " + token, "Bearer " + token + "x"} {
		a := g.invoke("Fetch", "1", "Authorization", given)
		a.refused(t, 401, "unauthorized")
		a.header(t, "Www-Authenticate", "Bearer")
	}
	g.idle()
	g.invoke("Fetch", "1", "Authorization", "bearer "+token).want(t, 200, `{ "I am": "Fetch" }`)
}

func TestFunction_IsOpenWithoutATokenAndClosedWhenSwitchedOff(t *testing.T) {
	open := start(t, func(o *Options) { o.FunctionsToken = "" })
	open.invoke("Fetch", "1", "Authorization", "").want(t, 200, `{ "I am": "Fetch" }`)
	off := start(t, func(o *Options) { o.Functions = false })
	off.invoke("Fetch", "1").refused(t, 404, "not_found")
}

func TestFunction_ThatIsUnknownIsRefusedWithTheNamesOfOthers(t *testing.T) {
	g := start(t)
	message := g.invoke("fetch", "1").refused(t, 404, "unknown_function")
	if !strings.Contains(message, "Fetch") || !strings.Contains(message, "AMAZON.HelpIntent") {
		t.Errorf("message: %s", message)
	}
	m := &deploy.Manifest{}
	for i := range 50 {
		m.Functions = append(m.Functions, deploy.NewFunction(fmt.Sprintf("f%d", i)))
	}
	g.catalog.Set(m)
	message = g.invoke("x", "1").refused(t, 404, "unknown_function")
	if !strings.HasSuffix(message, ", f19 and 30 more") {
		t.Errorf("message: %s", message)
	}
	g.catalog.Set(nil)
	g.invoke("", "1").refused(t, 404, "unknown_function")
}

func TestFunction_ThatFailsHasAStatusForEachReason(t *testing.T) {
	g := start(t)
	for code, want := range map[string]struct {
		status int
		retry  string
	}{
		queue.CodeNoPorts: {503, "5"}, queue.CodeNoTask: {503, "1"}, queue.CodeStopping: {503, "1"}, queue.CodeNoWorker: {503, "1"},
		queue.CodeTimeout: {504, ""}, queue.CodeExpired: {504, ""},
		queue.CodeFunctionFailed: {502, ""}, queue.CodeFunctionDied: {502, ""}, queue.CodeBadReply: {502, ""},
		queue.CodeReplyTooLarge: {502, ""}, queue.CodeBadPayload: {502, ""}, queue.CodeCorrupt: {502, ""}, "of_later": {502, ""},
	} {
		a := g.invoke("Broken", `"`+code+`"`)
		if message := a.refused(t, want.status, code); message != "it broke" {
			t.Errorf("%s: message %q", code, message)
		}
		a.header(t, "Retry-After", want.retry)
		if a.Header.Get("Funker-Event-Id") == "" {
			t.Errorf("%s: no event id", code)
		}
	}
}

func TestFunction_WithoutWorkerIsRefusedAtOnce(t *testing.T) {
	g := start(t)
	begin := time.Now()
	a := g.invoke("Nobody", "1")
	a.refused(t, 503, queue.CodeNoWorker)
	a.header(t, "Retry-After", "1")
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("took %s", d)
	}
}

func TestFunction_ThatIsLateIsGivenUpAtItsTimeout(t *testing.T) {
	g := start(t)
	begin := time.Now()
	g.invoke("Slow", "1").refused(t, 504, queue.CodeTimeout)
	if d := time.Since(begin); d < 100*time.Millisecond || d > 5*time.Second {
		t.Errorf("took %s", d)
	}
}

func TestFunction_MayTakeLongerThanTheReadTimeout(t *testing.T) {
	g := start(t, func(o *Options) { o.ReadTimeout = 50 * time.Millisecond })
	work(t, "Nobody", 1, func(*queue.Event) queue.Result {
		<-time.After(200 * time.Millisecond) // the function's work
		return queue.Result{Outcome: queue.OutcomeOK, Reply: []byte(`"done"`)}
	})
	g.invoke("Nobody", "1").want(t, 200, `"done"`)
}

func TestFunction_IsRefusedWhenTheQueueIsClosed(t *testing.T) {
	q, err := queue.Open(t.Context(), queue.Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, func(o *Options) { o.Queue = q })
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	for _, prefer := range []string{"", "respond-async"} {
		a := g.invoke("Fetch", "1", "Prefer", prefer)
		a.refused(t, 503, "unavailable")
		a.header(t, "Retry-After", "5")
	}
	a := g.push(`{"ref":"x","commits":[]}`)
	a.refused(t, 503, "unavailable")
	a.header(t, "Retry-After", "5")
}

func TestServer_LeavesAQuarterOfItsPlacesToCalls(t *testing.T) {
	g := start(t, func(o *Options) { o.MaxInFlight = 8 })
	g.server.places.take(6)
	for what, a := range map[string]answer{
		"event": g.invoke("Fetch", "1", "Prefer", "respond-async"),
		"push":  g.push(`{"ref":"x","commits":[]}`),
		"root":  g.do("POST", "/", http.Header{"X-Github-Event": {"push"}}, strings.NewReader(`{}`)),
	} {
		if message := a.refused(t, 503, "busy"); message == "" {
			t.Errorf("%s: no message", what)
		}
		a.header(t, "Retry-After", "1")
	}
	g.invoke("Fetch", "1").want(t, 200, `{ "I am": "Fetch" }`)
	g.server.places.free(1)
	if a := g.invoke("Fetch", "1", "Prefer", "respond-async"); a.StatusCode != 202 {
		t.Errorf("with a place for events: %d %s", a.StatusCode, a.body)
	}
	g.server.places.free(5)
}

func TestServer_RefusesMoreRequestsAtOnceThanItsLimit(t *testing.T) {
	g := start(t, func(o *Options) { o.MaxInFlight = 1 })
	entered, leave := make(chan bool), make(chan bool)
	work(t, "Nobody", 1, func(*queue.Event) queue.Result {
		entered <- true
		<-leave
		return queue.Result{Outcome: queue.OutcomeOK, Reply: []byte(`1`)}
	})
	first := make(chan int, 1)
	go func() {
		r, err := http.NewRequest("POST", g.URL+"/functions/Nobody", strings.NewReader("1"))
		if err != nil {
			t.Error(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		res, err := g.Client().Do(r)
		if err != nil {
			t.Error(err)
			first <- 0
			return
		}
		res.Body.Close()
		first <- res.StatusCode
	}()
	<-entered
	a := g.invoke("Fetch", "1")
	a.refused(t, 503, "busy")
	a.header(t, "Retry-After", "1")
	g.do("GET", "/healthz", nil, nil).want(t, 200, `{"status":"ok"}`)
	leave <- true
	if got := <-first; got != 200 {
		t.Errorf("the first got %d", got)
	}
	g.invoke("Fetch", "1").want(t, 200, `{ "I am": "Fetch" }`)
}

func BenchmarkCall(b *testing.B) {
	for _, clients := range []int{1, 32} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) { benchmarkCall(b, clients) })
	}
}

// BenchmarkHealth is what HTTP alone costs.
func BenchmarkHealth(b *testing.B) {
	g := start(b)
	for b.Loop() {
		g.do("GET", "/healthz", nil, nil)
	}
}

func benchmarkCall(b *testing.B, clients int) {
	g := start(b)
	work(b, "Nobody", clients, func(*queue.Event) queue.Result {
		return queue.Result{Outcome: queue.OutcomeOK, Reply: []byte(`{"ok":true}`)}
	})
	body := `{"name":"` + strings.Repeat("x", 1000) + `"}`
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	b.ReportAllocs()
	b.SetParallelism((clients + 1) / 2)
	if clients == 1 {
		for b.Loop() {
			benchmarkOne(b, client, g.URL, body)
		}
		return
	}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			benchmarkOne(b, client, g.URL, body)
		}
	})
}

func benchmarkOne(b *testing.B, client *http.Client, base, body string) {
	r, err := http.NewRequest("POST", base+"/functions/"+url.PathEscape("Nobody"), strings.NewReader(body))
	if err != nil {
		b.Error(err)
		return
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := client.Do(r)
	if err != nil {
		b.Error(err)
		return
	}
	_, err = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if err != nil {
		b.Error(err)
	}
	if res.StatusCode != 200 {
		b.Errorf("status %d", res.StatusCode)
	}
}

func TestFunction_ThatAWorkerHasFoundIsCalledByItsName(t *testing.T) {
	g := start(t, func(o *Options) {
		o.Found = func(name string) bool { return name == "LaunchRequest" || name == "Fetch" }
	})
	g.catalog.Set(&deploy.Manifest{Triggers: manifest().Triggers[:1]})
	g.invoke("Fetch", "1").want(t, 200, `{ "I am": "Fetch" }`)
	g.alexa(voice("LaunchRequest", "")).want(t, 200, voiced("LaunchRequest"))
	g.invoke("HelloIntent", "1").refused(t, 404, "unknown_function")
	for range 2 {
		g.event()
	}
}

func TestFunction_ThatIsDeployedWaitsForATask(t *testing.T) {
	g := start(t)
	deployed := deploy.NewFunction("Nobody")
	deployed.Image, deployed.Timeout = "img", 300*time.Millisecond
	g.catalog.Set(&deploy.Manifest{Functions: []*deploy.Function{deployed}})
	begin := time.Now()
	a := g.invoke("Nobody", "1")
	a.refused(t, 503, queue.CodeNoTask)
	a.header(t, "Retry-After", "1")
	if d := time.Since(begin); d < 200*time.Millisecond || d > 5*time.Second {
		t.Errorf("took %s, want it shortly before 300ms", d)
	}
}
