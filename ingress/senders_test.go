package ingress

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// refusals are the counters of a registry, by "source code".
func refusals(t testing.TB, r prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, f := range families {
		switch f.GetName() {
		case "funker_refused_requests_total":
		case "funker_request_duration_seconds":
			continue
		default:
			t.Errorf("there is a metric %s", f.GetName())
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			counts[labels["source"]+" "+labels["code"]] = m.GetCounter().GetValue()
		}
	}
	return counts
}

// sender waits until the state of a source, which is noted after the answer, is as
// the test wants it.
func (g *gateway) sender(source string, is func(SenderState) bool) SenderState {
	g.t.Helper()
	var state SenderState
	g.within(source+" is noted", func() bool {
		var err error
		if state, err = g.server.Sender(source); err != nil {
			g.t.Fatal(err)
		}
		return is(state)
	})
	return state
}

func (s SenderState) total() (n uint64) {
	for _, count := range s.Refused {
		n += count
	}
	return n
}

func refusedTimes(n uint64) func(SenderState) bool {
	return func(s SenderState) bool { return s.total() >= n }
}

func TestSenders_CountRefusalsBySourceAndReason(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	g := start(t, func(o *Options) { o.Metrics = registry })
	body := string(trigger.Sample(trigger.GitHub))
	g.push(body, "X-Hub-Signature-256", "").refused(t, 401, "unsigned")
	g.push(body, "X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64)).refused(t, 401, "forged")
	g.push(body, "X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64)).refused(t, 401, "forged")
	g.do("GET", "/github/acme", nil, nil).refused(t, 405, "method_not_allowed")
	g.do("POST", "/", nil, strings.NewReader(body)).refused(t, 401, "unsigned") // told by its shape
	g.do("POST", "/", nil, strings.NewReader("{}")).refused(t, 400, "unknown_shape")
	g.do("POST", "/github/acmee", nil, strings.NewReader(body)).refused(t, 404, "not_found")
	g.do("POST", "/functions/Fetch", nil, strings.NewReader("1")).refused(t, 401, "unauthorized")
	g.invoke("Broken", `"function_failed"`).refused(t, 502, "function_failed")
	g.alexa(voice("IntentRequest", "BrokenIntent")).want(t, 200, spoken)
	g.do("GET", "/healthz", nil, nil).want(t, 200, `{"status":"ok"}`)
	g.Close() // waits until all is noted

	want := map[string]float64{
		"github-acme unsigned": 2, "github-acme forged": 2, "github-acme method_not_allowed": 1,
		"none unknown_shape": 1, "none not_found": 1, "http unauthorized": 1, "http function_failed": 1, "alexa function_failed": 1,
	}
	counted := refusals(t, registry)
	maps.DeleteFunc(counted, func(_ string, n float64) bool { return n == 0 })
	if !maps.Equal(counted, want) {
		t.Errorf("counted %v, want %v", counted, want)
	}
	states := map[string]float64{}
	for _, s := range g.server.Senders() {
		for code, n := range s.Refused {
			states[s.Source+" "+code] = float64(n)
		}
		if s.Samples != nil {
			t.Errorf("the list has samples of %s", s.Source)
		}
	}
	if !maps.Equal(states, want) {
		t.Errorf("states are %v, want %v", states, want)
	}
}

func TestSenders_KnowWhenASenderConnectedAndDelivered(t *testing.T) {
	g := start(t)
	begin := time.Now().Add(-time.Second)
	state := g.sender("github-acme", func(SenderState) bool { return true })
	if state.Path != "/github/acme" || state.Verified != "secret" || !state.Connected.IsZero() || !state.Last.IsZero() || state.Accepted != 0 {
		t.Errorf("before anything came: %+v", state)
	}
	g.push(`{"zen":"x","hook_id":1}`, "X-GitHub-Event", "ping").want(t, 200, `{"status":"connected"}`+"\n")
	g.push(`{"action":"opened"}`, "X-GitHub-Event", "issues").want(t, 202, `{"status":"ignored"}`+"\n")
	state = g.sender("github-acme", func(s SenderState) bool { return s.Ignored == 1 })
	if state.Connected.Before(begin) || !state.Last.IsZero() || state.LastIgnored != "issues" || state.Accepted != 0 || state.total() != 0 {
		t.Errorf("after a ping: %+v", state)
	}
	id := g.push(string(trigger.SampleFor(trigger.Config{Kind: trigger.GitHub}, time.Now()))).Header.Get("Funker-Event-Id")
	g.event()
	state = g.sender("github-acme", func(s SenderState) bool { return s.Accepted == 1 })
	if state.Last.Before(state.Connected) || state.LastEvent != id || state.total() != 0 {
		t.Errorf("after the push %s: %+v", id, state)
	}
	g.alexa(voice("LaunchRequest", ""))
	call := g.event()
	if alexa := g.sender("alexa", func(s SenderState) bool { return s.Accepted == 1 }); alexa.LastEvent != call.ID || alexa.Verified != "skill id" {
		t.Errorf("after the call %s: %+v", call.ID, alexa)
	}
}

func TestSenders_AreThoseOfTheManifest(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	g := start(t, func(o *Options) { o.Metrics = registry })
	late := &deploy.Trigger{Config: trigger.Config{Kind: trigger.GitHub, Insecure: true}, Name: "late", Path: "/github/late", Routes: []deploy.Route{{Function: "Fetch"}}}
	m := manifest()
	m.Triggers = append(m.Triggers, late, &deploy.Trigger{Config: trigger.Config{Kind: trigger.GitHub}, Name: "shut", Path: "/shut", Closed: "no secret"})
	g.catalog.Set(m)
	g.push("{}", "X-Hub-Signature-256", "").refused(t, 401, "unsigned")
	g.do("POST", "/github/late", nil, strings.NewReader("")).refused(t, 400, "empty_body")
	g.do("POST", "/shut", nil, strings.NewReader("{}")).refused(t, 503, "unavailable")
	g.sender("github-shut", refusedTimes(1))
	var got []string
	for _, s := range g.server.Senders() {
		got = append(got, fmt.Sprintf("%s %s %s%s", s.Source, s.Path, s.Verified, s.Problem))
	}
	want := []string{
		"alexa /alexa skill id", "github-acme /github/acme secret", "github-late /github/late INSECURE", "github-shut /shut no secret",
		"http /functions/ token", "none  ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}

	g.catalog.Set(manifest()) // late and shut are gone
	if _, err := g.server.Sender("github-late"); !errors.Is(err, queue.ErrNotFound) || !strings.Contains(err.Error(), "alexa, github-acme, http, none") {
		t.Errorf("got %v, want the sources that there are", err)
	}
	for series := range refusals(t, registry) {
		if strings.HasPrefix(series, "github-late") || strings.HasPrefix(series, "github-shut") {
			t.Errorf("there is still a series %s", series)
		}
	}
	if state := g.sender("github-acme", refusedTimes(1)); len(state.Samples) != 1 {
		t.Errorf("the trigger that stayed has lost its samples: %+v", state)
	}
	for _, s := range g.server.senders.samples.all {
		if s.Source != "github-acme" {
			t.Errorf("there is still a sample of %s", s.Source)
		}
	}
	g.server.senders.note(&exchange{r: httptest.NewRequest("POST", "/github/late", nil), source: "github-late", code: "forged", start: time.Now()})
	if n := refusals(t, registry)["none forged"]; n != 1 {
		t.Errorf("what came for a trigger that has gone meanwhile was counted %v times", n)
	}
}

func TestSenders_WithoutFunctionsOrToken(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"":         func(o *Options) { o.Functions = false },
		"INSECURE": func(o *Options) { o.FunctionsToken = "" },
	} {
		g := start(t, change)
		if state := g.sender("http", func(SenderState) bool { return true }); state.Verified != want {
			t.Errorf("got %+v, want %q", state, want)
		}
	}
}

func TestRefused_SampleHoldsNothingSecret(t *testing.T) {
	g := start(t)
	m := manifest()
	m.Triggers[1].Header = "X-Gitlab-Instance" // else harmless
	g.catalog.Set(m)
	forged := "sha256=" + strings.Repeat("ab", 32)
	a := g.do("POST", "/github/acme?token=topsecret", http.Header{
		"X-Hub-Signature-256": {forged, ""}, "X-Github-Event": {"push"}, "Content-Type": {"application/json"}, "User-Agent": {"GitHub-Hookshot/1"},
		"Authorization": {"Bearer topsecret"}, "Cookie": {"a=topsecret"}, "X-Gitlab-Instance": {"topsecret"}, "X-Any": {"topsecret"},
	}, strings.NewReader(`{"body":"topsecret"}`))
	message := a.refused(t, 401, "forged")
	state := g.sender("github-acme", refusedTimes(1))
	if len(state.Samples) != 1 {
		t.Fatalf("got %+v, want one sample", state)
	}
	sample := state.Samples[0]
	text, err := json.Marshal(sample)
	if err != nil {
		t.Fatal(err)
	}
	for _, never := range []string{"topsecret", forged, "abab", secret} {
		if strings.Contains(string(text), never) {
			t.Errorf("the sample has %q: %s", never, text)
		}
	}
	for _, line := range []HeaderLine{
		{"Host", strings.TrimPrefix(g.URL, "http://")}, {"X-Github-Event", "push"}, {"User-Agent", "GitHub-Hookshot/1"}, {"Content-Length", "20"},
		{"X-Hub-Signature-256", "(71 bytes)"}, {"X-Hub-Signature-256", "(0 bytes)"}, {"Authorization", "(16 bytes)"},
		{"X-Gitlab-Instance", "(9 bytes)"}, {"X-Any", "(9 bytes)"},
	} {
		if !slices.Contains(sample.Headers, line) {
			t.Errorf("there is no %v in %v", line, sample.Headers)
		}
	}
	if sample.Code != "forged" || sample.Status != 401 || sample.Message != message || sample.Method != "POST" || sample.Path != "/github/acme" ||
		sample.BodyBytes != 20 || sample.ContentType != "application/json" || sample.RequestID != a.Header.Get("X-Request-Id") ||
		!strings.HasPrefix(sample.Remote, "127.0.0.1:") || sample.Time.Before(g.begin) {
		t.Errorf("got %+v", sample)
	}
}

func TestRefused_SampleKnowsTheSizeOfABodyInChunks(t *testing.T) {
	g := start(t, func(o *Options) { o.MaxBody = 1000 })
	chunked := func(n int) answer {
		return g.do("POST", "/github/acme", nil, struct{ *strings.Reader }{strings.NewReader(strings.Repeat("x", n))})
	}
	chunked(999).refused(t, 401, "unsigned")
	chunked(1001).refused(t, 413, "body_too_large")
	for _, s := range g.sender("github-acme", refusedTimes(2)).Samples {
		if want := map[string]int64{"unsigned": 999, "body_too_large": -1}[s.Code]; s.BodyBytes != want {
			t.Errorf("%s: %d bytes, want %d", s.Code, s.BodyBytes, want)
		}
	}
}

func TestRefused_SampleIsSmallAndFitForATerminal(t *testing.T) {
	g := start(t)
	header := http.Header{"User-Agent": {strings.Repeat("ü", 20_000)}}
	for i := range 500 {
		header.Set(fmt.Sprintf("X-%03d", i), "x")
	}
	g.do("POST", "/%1b%5b2J%c2%9b"+strings.Repeat("x", 9_000), header, nil).refused(t, 404, "not_found")
	state := g.sender("none", refusedTimes(1))
	sample := state.Samples[0]
	if len(sample.Headers) != maxSampledHeaders || sample.Omitted < 400 {
		t.Errorf("%d headers, %d left out", len(sample.Headers), sample.Omitted)
	}
	if n := len([]rune(sample.Path)); n != maxSampledText+1 || !strings.HasPrefix(sample.Path, "/\ufffd[2J\ufffdxx") {
		t.Errorf("path of %d characters: %q", n, sample.Path)
	}
	text, err := json.Marshal(sample)
	if err != nil || len(text) > 12<<10 {
		t.Errorf("the sample takes %d bytes: %v", len(text), err)
	}
}

// flood makes exchanges of refused requests.
type flood struct {
	senders *senders
	now     time.Time
}

func newFlood() *flood {
	f := &flood{newSenders(functionsPath, "token"), time.Now()}
	m := manifest()
	for i := range 60 {
		m.Triggers = append(m.Triggers, &deploy.Trigger{Config: trigger.Config{Kind: trigger.GitHub, Insecure: true}, Name: fmt.Sprint(i)})
	}
	f.senders.follow(m)
	return f
}

func (f *flood) refuse(source, code string) {
	f.senders.note(&exchange{r: httptest.NewRequest("POST", "/x", nil), start: f.now, source: source, code: code, status: 401})
	f.now = f.now.Add(500 * time.Microsecond)
}

func TestRefused_AFloodPushesOutOnlyItsOwn(t *testing.T) {
	f := newFlood()
	f.refuse("github-acme", "stale")
	f.refuse("github-7", "forged")
	for i := range 60_000 { // half a minute
		f.refuse("github-acme", []string{"unsigned", "forged"}[i%2])
		f.refuse("none", "not_found")
		f.refuse(fmt.Sprint("github-", i%60), "unsigned")
	}
	s := &f.senders.samples
	if len(s.all) != samplesInAll {
		t.Errorf("%d samples, want %d", len(s.all), samplesInAll)
	}
	for _, source := range f.senders.order {
		if n := len(s.of(source)); n > samplesPerSource {
			t.Errorf("%d samples of %s", n, source)
		}
	}
	for source, code := range map[string]string{"github-acme": "stale", "github-7": "forged"} {
		if !slices.ContainsFunc(s.of(source), func(r Refused) bool { return r.Code == code }) {
			t.Errorf("the one %s of %s was pushed out", code, source)
		}
	}
	for _, code := range []string{"unsigned", "forged"} {
		newest := s.of("github-acme")[slices.IndexFunc(s.of("github-acme"), func(r Refused) bool { return r.Code == code })]
		if age := f.now.Sub(newest.Time); age > 2*sampleEvery {
			t.Errorf("the newest %s is %s old", code, age)
		}
	}
	if n := f.senders.all["none"].refused["not_found"].count; n != 60_000 {
		t.Errorf("counted %d of 60000", n)
	}
}

func TestServer_TakesGoodRequestsDuringAFloodOfBadOnes(t *testing.T) {
	g := start(t, func(o *Options) { o.Log = slog.New(slog.DiscardHandler) })
	const clients, each, good = 8, 250, 20
	body := string(trigger.Sample(trigger.GitHub))
	var flood sync.WaitGroup
	for i := range clients {
		flood.Go(func() {
			for range each {
				if i%2 == 0 {
					g.push(body, "X-Hub-Signature-256", "").refused(t, 401, "unsigned")
				} else {
					g.push(body, "X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64)).refused(t, 401, "forged")
				}
			}
		})
	}
	for range good {
		if a := g.push(fmt.Sprintf(`{"ref":%q,"commits":[]}`, queue.NewID())); a.StatusCode != 202 {
			t.Errorf("got %d %s", a.StatusCode, a.body)
		}
		g.event()
		if state, err := g.server.Sender("github-acme"); err != nil || len(state.Samples) > 2*samplesPerReason {
			t.Errorf("%d samples, %v", len(state.Samples), err)
		}
	}
	flood.Wait()
	g.Close() // waits until all is noted
	state := g.sender("github-acme", func(SenderState) bool { return true })
	if half := uint64(clients * each / 2); state.Accepted != good || state.Refused["unsigned"] != half || state.Refused["forged"] != half {
		t.Errorf("got %+v, want %d accepted and %d of each", state, good, half)
	}
}

func TestRefused_EveryReasonHasItsNewestAsLongAsThereIsRoom(t *testing.T) {
	s := samples{}
	begin := time.Now()
	var newest [10][samplesPerSource]time.Time
	for i := range 5_000 {
		source, code := i/3%10, i*7%samplesPerSource
		newest[source][code] = begin.Add(time.Duration(i))
		s.keep(Refused{Source: fmt.Sprint(source), Code: fmt.Sprint(code), Time: newest[source][code]})
	}
	for source, codes := range newest {
		for code, at := range codes {
			kept := s.of(fmt.Sprint(source))
			i := slices.IndexFunc(kept, func(r Refused) bool { return r.Code == fmt.Sprint(code) })
			if !at.IsZero() && (i < 0 || !kept[i].Time.Equal(at)) {
				t.Errorf("the newest of %d %d is not there", source, code)
			}
		}
	}
}

func TestRefused_ARequestOfAFloodCostsNoMemory(t *testing.T) {
	f := newFlood()
	for range samplesPerReason {
		f.refuse("none", "not_found")
	}
	x := &exchange{r: httptest.NewRequest("POST", "/x", nil), start: f.now, source: "none", code: "not_found"}
	if n := testing.AllocsPerRun(1000, func() { f.senders.note(x) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSenders_OneRequestOfAFlood(b *testing.B) {
	f := newFlood()
	x := &exchange{r: httptest.NewRequest("POST", "/x", nil), start: f.now, source: "none", code: "not_found"}
	b.ReportAllocs()
	for b.Loop() {
		f.senders.note(x)
	}
}

func TestGitHub_ACapturedDeliveryUnderAnotherIDIsARepeat(t *testing.T) {
	g := start(t)
	body := string(trigger.SampleFor(manifest().Triggers[1].Config, time.Now()))
	first, second := queue.NewID(), queue.NewID()
	id := g.push(body, "X-GitHub-Delivery", first).Header.Get("Funker-Event-Id")
	if e := g.event(); e.ID != id || e.Header["X-Github-Delivery"] != first {
		t.Errorf("the function got %+v, want the event %s", e, id)
	}
	again := g.push(body, "X-GitHub-Delivery", second, "X-GitHub-Event", "push")
	again.want(t, 202, fmt.Sprintf(`{"id":%q,"status":"queued","duplicate":true}`+"\n", id))
	again.header(t, "Funker-Event-Id", id)
	records, err := g.queue.List(t.Context(), queue.Filter{Kind: "event", Since: g.begin})
	if err != nil || len(records) != 1 {
		t.Errorf("stored: %v, %v", records, err)
	}
	g.idle()
}
