package ingress

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(&suite{m}) }

// suite gives all tests one queue, with the functions of manifest() and their
// workers: consumers take seconds to make, as each is synced to disk. Hence tests
// do not run in parallel.
type suite struct{ *testing.M }

var (
	shared *queue.Queue
	ran    = make(chan *queue.Event, 100) // what the functions that succeed were given
)

func (s *suite) Run() int {
	code, err := s.run()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func (s *suite) run() (code int, err error) {
	dir, err := os.MkdirTemp("", "ingress")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := trustAmazon(dir); err != nil {
		return 0, err
	}
	shared, err = queue.Open(context.Background(), queue.Options{Dir: filepath.Join(dir, "data"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, shared.Close()) }()
	for _, f := range manifest().Functions {
		if err := shared.AddFunction(context.Background(), f.Name, queue.Retry{}); err != nil {
			return 0, err
		}
	}
	w := newWorkers(shared)
	defer func() { err = errors.Join(err, w.stop()) }()
	if err := w.startFunctions(); err != nil {
		return 0, err
	}
	return s.M.Run(), nil
}

// startFunctions starts all functions of manifest() but Nobody. Broken fails with
// the code that it is given as a string, Slow is late, the others say who they
// are.
func (w *workers) startFunctions() error {
	var faults []error
	for _, f := range manifest().Functions {
		switch f.Name {
		case "Nobody":
		case "Broken":
			faults = append(faults, w.start(f.Name, 1, fail))
		case "Slow":
			faults = append(faults, w.start(f.Name, 1, beLate))
		default:
			faults = append(faults, w.start(f.Name, 1, introduce))
		}
	}
	return errors.Join(faults...)
}

func introduce(e *queue.Event) queue.Result {
	ran <- e
	reply := fmt.Sprintf(`{ "I am": %q }`, e.Function)
	if strings.HasPrefix(e.Source, "alexa") {
		reply = voiced(e.Function)
	}
	return queue.Result{Outcome: queue.OutcomeOK, Reply: []byte(reply)}
}

// voiced is what introduce says to Alexa.
func voiced(function string) string {
	return fmt.Sprintf(`{ "version": "1.0", "response": { "I am": %q } }`, function)
}

func fail(e *queue.Event) queue.Result {
	code := strings.Trim(string(e.Body), `"`)
	if strings.HasPrefix(code, "{") {
		code = queue.CodeFunctionFailed
	}
	return queue.Result{Outcome: queue.OutcomeFailed, Code: code, Message: "it broke"}
}

func beLate(e *queue.Event) queue.Result {
	<-time.After(time.Until(e.Deadline))
	return queue.Result{Outcome: queue.OutcomeFailed, Code: queue.CodeTimeout, Message: "it was late"}
}

const (
	secret = "the secret of the webhook"
	token  = "the token for functions"
	sorry  = "Not now, please."
)

// names that have to be escaped on the way.
var oddNames = []string{"AMAZON.HelpIntent", "ünï", "a*b>c", "a/b c?d#e%41", strings.Repeat("n", 63)}

func manifest() *deploy.Manifest {
	m := &deploy.Manifest{}
	for _, name := range append([]string{"HelloIntent", "LaunchRequest", "Fetch", "Broken", "Slow", "Nobody", "ended"}, oddNames...) {
		m.Functions = append(m.Functions, deploy.NewFunction(name))
	}
	slow, _ := m.Function("Slow")
	slow.Timeout = 100 * time.Millisecond
	m.Triggers = []*deploy.Trigger{
		{Config: trigger.Config{Kind: trigger.Alexa, SkillIDs: []string{trigger.SampleSkillID}, IDOnly: true}, Path: "/alexa", Apology: sorry,
			Timeout: 6 * time.Second, Intents: map[string]string{
				"MappedIntent": "HelloIntent", "BrokenIntent": "Broken", "SlowIntent": "Slow", "NobodyIntent": "Nobody",
				"SessionEndedRequest": "ended", "AudioPlayer.PlaybackStopped": "Broken"}},
		{Config: trigger.Config{Kind: trigger.GitHub, Secrets: []trigger.Secret{[]byte(secret)}}, Name: "acme", Path: "/github/acme",
			Routes: []deploy.Route{{Function: "Fetch", Filter: deploy.Filter{Events: []string{"push"}}}}},
	}
	return m
}

// gateway is a Server on a real listener with a real queue.
type gateway struct {
	*httptest.Server
	t       testing.TB
	begin   time.Time
	queue   *queue.Queue
	catalog *deploy.Catalog
	server  *Server
	log     *logBuffer
	ran     <-chan *queue.Event
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// workers are slots of functions that end together.
type workers struct {
	queue  *queue.Queue
	ctx    context.Context
	cancel context.CancelFunc
	group  failing
	feeds  []*queue.Feed
}

// failing waits for goroutines and keeps their errors.
type failing struct {
	sync.WaitGroup
	mu  sync.Mutex
	err error
}

func (g *failing) run(f func() error) {
	g.Go(func() {
		if err := f(); err != nil {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.err = errors.Join(g.err, err)
		}
	})
}

func newWorkers(q *queue.Queue) *workers {
	ctx, cancel := context.WithCancel(context.Background())
	return &workers{queue: q, ctx: ctx, cancel: cancel}
}

func (w *workers) start(function string, slots int, handle queue.Handler) error {
	feed, err := w.queue.Feed(function, queue.Retry{})
	if err != nil {
		return err
	}
	w.feeds = append(w.feeds, feed)
	for range slots {
		w.group.run(func() error { return feed.Slot(w.ctx, handle) })
	}
	return nil
}

func (w *workers) stop() error {
	for _, f := range w.feeds {
		w.group.run(f.Withdraw)
	}
	w.cancel()
	w.group.Wait()
	for _, f := range w.feeds {
		f.Close()
	}
	return w.group.err
}

// work starts slots of a function until the test ends.
func work(t testing.TB, function string, slots int, handle queue.Handler) {
	t.Helper()
	w := newWorkers(shared)
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
	if err := w.start(function, slots, handle); err != nil {
		t.Fatal(err)
	}
}

// settle waits until all that the test has stored was run, and forgets it.
func settle(t testing.TB) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for {
		for len(ran) > 0 {
			<-ran
		}
		stats, err := shared.Stats(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(stats, busy) && len(ran) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still busy: %+v", stats)
		}
	}
}

func busy(s queue.FunctionStats) bool {
	return s.Events.Running > 0 || s.Replays.Running > 0 || s.Events.Waiting > 0 || s.Replays.Waiting > 0
}

// within polls until the condition holds.
// patience is for what comes sooner or later: a busy machine is no fault.
const patience = time.Minute

func within(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// start opens a gateway for manifest().
func start(t testing.TB, change ...func(*Options)) *gateway {
	t.Helper()
	t.Cleanup(func() { settle(t) })
	g := &gateway{t: t, log: &logBuffer{}, ran: ran, catalog: deploy.NewCatalog(manifest()), queue: shared, begin: time.Now()}
	o := Options{Queue: g.queue, Catalog: g.catalog, Functions: true, FunctionsToken: token,
		Log: slog.New(slog.NewTextHandler(g.log, &slog.HandlerOptions{Level: slog.LevelInfo}))}
	for _, f := range change {
		f(&o)
	}
	var err error
	if g.server, err = New(o); err != nil {
		t.Fatal(err)
	}
	g.Server = httptest.NewUnstartedServer(nil)
	g.Config = g.server.HTTP()
	g.Start()
	t.Cleanup(g.Close)
	return g
}

// fresh returns a text that no request had before: what comes twice is a repeat, also of another run of the same test.
func fresh() string { return fmt.Sprint(served.Add(1)) }

var served atomic.Int64

// answer is a response with its body read.
type answer struct {
	StatusCode int
	Header     http.Header
	body       string
}

func (g *gateway) do(method, path string, header http.Header, body io.Reader) answer {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), method, g.URL+path, body)
	if err != nil {
		g.t.Fatal(err)
	}
	maps.Copy(r.Header, header)
	res, err := g.Client().Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	if res.Header.Get("X-Request-Id") == "" {
		g.t.Errorf("%s %s: no X-Request-Id", method, path)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

func (g *gateway) invoke(name, body string, header ...string) answer {
	g.t.Helper()
	h := http.Header{"Authorization": {"Bearer " + token}}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return g.do("POST", "/functions/"+url.PathEscape(name), h, strings.NewReader(body))
}

func (g *gateway) alexa(body string) answer {
	g.t.Helper()
	return g.do("POST", "/alexa", http.Header{"Content-Type": {"application/json;charset=UTF-8"}}, strings.NewReader(body))
}

// push sends body as GitHub does, signed with the secret unless header says
// otherwise.
func (g *gateway) push(body string, header ...string) answer {
	g.t.Helper()
	h, err := trigger.Sign(trigger.Config{Kind: trigger.GitHub, Secrets: []trigger.Secret{[]byte(secret)}}, []byte(body), time.Now())
	if err != nil {
		g.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
		if header[i+1] == "" {
			h.Del(header[i])
		}
	}
	return g.do("POST", "/github/acme", h, strings.NewReader(body))
}

// event waits for the next event that a function was given.
func (g *gateway) event() *queue.Event {
	g.t.Helper()
	select {
	case e := <-g.ran:
		return e
	case <-time.After(10 * time.Second):
		g.t.Fatal("no function was run")
		return nil
	}
}

func (g *gateway) idle() {
	g.t.Helper()
	if n := len(g.ran); n > 0 {
		g.t.Errorf("%d functions were run", n)
	}
}

func (a answer) want(t testing.TB, status int, body string) {
	t.Helper()
	if a.StatusCode != status || a.body != body {
		t.Errorf("got %d %s, want %d %s", a.StatusCode, a.body, status, body)
	}
}

// refused checks an error and returns its message.
func (a answer) refused(t testing.TB, status int, code string) string {
	t.Helper()
	var got errorBody
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Errorf("got %d %s: %v", a.StatusCode, a.body, err)
	}
	if a.StatusCode != status || got.Error.Code != code || got.Error.Message == "" {
		t.Errorf("got %d %s, want %d %s", a.StatusCode, a.body, status, code)
	}
	if h := a.Header.Get("Funker-Error"); h != code {
		t.Errorf("Funker-Error is %q, want %q", h, code)
	}
	return got.Error.Message
}

func (a answer) header(t testing.TB, name, want string) {
	t.Helper()
	if got := a.Header.Get(name); got != want {
		t.Errorf("%s is %q, want %q", name, got, want)
	}
}

func TestServer_RefusesUnknownPathsAndMethods(t *testing.T) {
	g := start(t)
	for path, allow := range map[string]string{"/alexa": "POST", "/github/acme": "POST", "/functions/Fetch": "POST", "/": "HEAD, POST"} {
		a := g.do("GET", path, nil, nil)
		a.refused(t, 405, "method_not_allowed")
		a.header(t, "Allow", allow)
	}
	a := g.do("DELETE", "/healthz", nil, nil)
	a.refused(t, 405, "method_not_allowed")
	a.header(t, "Allow", "GET, HEAD")
	for _, path := range []string{"/nowhere", "/alexa/", "/github", "/intents/", "/functions"} {
		g.do("POST", path, nil, strings.NewReader("{}")).refused(t, 404, "not_found")
	}
	g.idle()
}

func TestServer_SaysThatItIsThere(t *testing.T) {
	g := start(t)
	g.do("GET", "/healthz", nil, nil).want(t, 200, `{"status":"ok"}`)
	g.do("HEAD", "/", nil, nil).want(t, 200, "")
}

func TestServer_KeepsASaneRequestIDAndReplacesOthers(t *testing.T) {
	g := start(t)
	g.do("GET", "/healthz", http.Header{"X-Request-Id": {"trace-1.2:3"}}, nil).header(t, "X-Request-Id", "trace-1.2:3")
	for _, bad := range []string{"a b", "ü", `"x"`, strings.Repeat("x", 129)} {
		got := g.do("GET", "/healthz", http.Header{"X-Request-Id": {bad}}, nil).Header.Get("X-Request-Id")
		if len(got) != 26 {
			t.Errorf("%q became %q", bad, got)
		}
	}
}

func TestServer_FollowsTheCatalog(t *testing.T) {
	g := start(t)
	g.catalog.Set(&deploy.Manifest{
		Functions: []*deploy.Function{deploy.NewFunction("Fetch")},
		Triggers: []*deploy.Trigger{
			{Config: trigger.Config{Kind: trigger.GitHub, Insecure: true}, Name: "x", Path: "/x", Routes: []deploy.Route{{Function: "Fetch"}}},
			{Config: trigger.Config{Kind: trigger.GitHub}, Name: "y", Path: "/y", Routes: []deploy.Route{{Function: "Fetch"}}}, // nothing verifies it
		},
	})
	header := http.Header{"X-Github-Event": {"push"}, "Content-Type": {"application/json"}}
	if a := g.do("POST", "/x", header, strings.NewReader("{}")); a.StatusCode != 202 {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
	g.do("POST", "/y", header, strings.NewReader("{}")).refused(t, 404, "not_found")
	g.alexa("{}").refused(t, 404, "not_found")
	g.invoke("HelloIntent", "1").refused(t, 404, "unknown_function")
	if log := g.log.String(); !strings.Contains(log, `msg="trigger left out"`) {
		t.Errorf("log: %s", log)
	}
}

func TestNew_RefusesWhatCannotWork(t *testing.T) {
	q := shared
	empty := deploy.NewCatalog(nil)
	open := deploy.NewCatalog(&deploy.Manifest{Triggers: []*deploy.Trigger{{Config: trigger.Config{Kind: trigger.GitHub}, Path: "/x", Routes: []deploy.Route{{Function: "f"}}}}})
	for name, o := range map[string]Options{
		"no queue":           {Catalog: empty},
		"no catalog":         {Queue: q},
		"body limit":         {Queue: q, Catalog: empty, MaxBody: queue.MaxBody + 1},
		"in flight":          {Queue: q, Catalog: empty, MaxInFlight: -1},
		"bytes in flight":    {Queue: q, Catalog: empty, MaxBody: 1000, MaxInFlightBytes: 999},
		"fewer than default": {Queue: q, Catalog: empty, MaxInFlightBytes: DefaultMaxBody - 1},
		"unverified trigger": {Queue: q, Catalog: open},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestServer_TurnsAPanicIntoAnAnswerAndALine(t *testing.T) {
	g := start(t)
	q := g.server.queue
	g.server.queue = nil // the next use of it panics
	g.invoke("Fetch", "1").refused(t, 500, "internal")
	if log := g.log.String(); !strings.Contains(log, "panic while serving") || !strings.Contains(log, "status=500") {
		t.Errorf("log: %s", log)
	}
	g.server.queue = q
	g.do("GET", "/healthz", nil, nil).want(t, 200, `{"status":"ok"}`)
}

func TestServer_LogsOneLinePerRequestWithoutBodiesQueriesAndSecrets(t *testing.T) {
	g := start(t)
	a := g.do("POST", "/functions/Fetch?q=topsecret", http.Header{"Authorization": {"Bearer " + token}}, strings.NewReader(`"topsecret"`))
	b := g.push(`{"ref":"topsecret","commits":[]}`)
	c := g.push(`{"ref":"topsecret","commits":[]}`, "X-Hub-Signature-256", "sha256="+strings.Repeat("ab", 32))
	g.alexa(strings.ReplaceAll(string(trigger.Sample(trigger.Alexa)), trigger.SampleSkillID, "topsecret"))
	g.do("GET", "/healthz", nil, nil).want(t, 200, `{"status":"ok"}`) // has none: it is asked every few seconds
	g.Close()                                                         // waits for the lines
	log := g.log.String()
	if n := strings.Count(log, "msg=request"); n != 4 {
		t.Errorf("%d lines, want 4", n)
	}
	for _, never := range []string{"topsecret", secret, token, strings.Repeat("ab", 32), trigger.SampleSkillID} {
		if strings.Contains(log, never) {
			t.Errorf("the log has %q", never)
		}
	}
	for _, always := range []string{
		"method=POST", "path=/functions/Fetch ", "status=200", "duration=", "bytes=", "source=http", "function=Fetch",
		"source=github-acme", "status=202", "status=401", "code=forged", "code=wrong_skill", "source=alexa",
		"request_id=" + a.Header.Get("X-Request-Id"), "event=" + a.Header.Get("Funker-Event-Id"),
		"event=" + b.Header.Get("Funker-Event-Id"), "request_id=" + c.Header.Get("X-Request-Id"),
	} {
		if !strings.Contains(log, always) {
			t.Errorf("the log has no %q", always)
		}
	}
	if t.Failed() {
		t.Log(log)
	}
}
