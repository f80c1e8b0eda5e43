package console

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// functions is what cmd hands over: what the manifest and the queue say, and a node for each function that has an image.
func (a *admin) functions(ctx context.Context) (any, error) {
	stats, err := a.queue.Stats(ctx)
	if err != nil {
		return nil, err
	}
	var all []functionState
	for _, f := range a.catalog.Manifest().Functions {
		s := functionState{Function: f.Name, Image: f.Image, Paused: f.Paused, Lifecycle: string(f.Lifecycle)}
		for _, one := range stats {
			if one.Function == f.Name {
				s.Waiting = one.Events.Waiting
			}
		}
		if f.Image != "" {
			s.Service = &serviceState{Image: f.Image, Wanted: f.Replicas.Min, Running: 2, Starting: 1}
			s.Nodes = []nodeState{{Node: "pi1", Tasks: 1, Slots: 4, Idle: 1}, {Node: "pi2", Tasks: 1, Slots: 4, Idle: 4}}
		} else {
			s.Problem = "no worker serves it"
		}
		all = append(all, s)
	}
	return append(all, a.found...), nil
}

const threeFunctions = `# ours
functions:
  Hello:
    image: acme/hello:1 # the first
    replicas: {min: 3, max: 5}
    env: {PASSWORD: swordfish}
  Bye: {timeout: 5s}
triggers:
- {github: acme, insecure: true, function: Hello}
`

func TestFunctionsPage_SaysWhereEachRunsAndWhyOneDoesNot(t *testing.T) {
	t.Parallel()
	a := edited(t, threeFunctions)
	a.found = []functionState{{Function: attack(1), Found: true, Lifecycle: "auto"}}
	b := a.signedIn(readToken)
	p := b.get("/functions")
	p.shows(t, `<a class="long" href="/functions/Hello">Hello</a>`, "2 of 3", "pi1, pi2", "3 of 8", "It does not run: no worker serves it", ">found<")
	if strings.Contains(p.text, attack(1)) {
		t.Error("a name is not escaped")
	}
	p = b.get("/functions/Hello")
	p.shows(t, "acme/hello:1", "3 to 5", "PASSWORD", `href="/triggers/github-acme"`, `href="/events?function=Hello"`, "2 of 3 running, 1 starting")
	if strings.Contains(p.text, "swordfish") {
		t.Error("the page has a value of the environment")
	}
	if strings.Contains(p.text, "<button>Pause") {
		t.Error("a reader may pause it")
	}
	if p := b.get("/functions/Nobody"); p.status != http.StatusNotFound {
		t.Errorf("a function that is not there: got %d", p.status)
	}
	b.get(functionPath(attack(1))).shows(t, "a worker has found it")
}

func TestFunctionPage_PausesResumesAndScales(t *testing.T) {
	t.Parallel()
	a := edited(t, threeFunctions)
	b := a.signedIn(token)
	for _, c := range []struct {
		action string
		form   url.Values
		says   string
		stored string
	}{
		{"pause", nil, "Paused. What runs goes on to its end", "    paused: true\n    image: acme/hello:1 # the first\n"},
		{"resume", nil, "It goes on with what waits.", "  Hello:\n    image: acme/hello:1 # the first\n"},
		{"scale", url.Values{"min": {"0"}, "max": {"9"}}, "The number of its tasks is in the manifest.", "replicas: {min: 0, max: 9}\n"},
		{"scale", url.Values{"min": {"4"}, "max": {"2"}}, "the least and the greatest number of tasks", "replicas: {min: 0, max: 9}\n"},
	} {
		if p := b.post("/functions/Hello/"+c.action, c.form); p.status != 303 || p.location != "/functions/Hello" {
			t.Errorf("%s: got %d to %q: %s", c.action, p.status, p.location, p.text)
		}
		b.get("/functions/Hello").shows(t, c.says)
		if got := a.storedText(); !strings.Contains(got, c.stored) || !strings.HasPrefix(got, "# ours\n") {
			t.Errorf("%s: stored\n%s", c.action, got)
		}
	}
	b.post("/functions/Bye/scale", url.Values{"min": {"1"}, "max": {"2"}})
	b.get("/functions/Bye").shows(t, "Nothing has changed: the function has no image")
	if log := a.log.String(); strings.Count(log, `action="POST /functions/Hello/pause" status=303 revision=`) != 1 {
		t.Errorf("no line about the change:\n%s", log)
	}
	before := a.storedText()
	reader := a.signedIn(readToken)
	if p := reader.post("/functions/Hello/pause", nil); p.status != 403 {
		t.Errorf("reader: got %d", p.status)
	}
	if p := b.post("/functions/Hello/pause", nil, "Sec-Fetch-Site", "cross-site"); p.status != 403 {
		t.Errorf("another site: got %d", p.status)
	}
	if a.storedText() != before {
		t.Error("it was paused all the same")
	}
}

func TestLogPage_ShowsLinesAndSaysWhyThereAreNone(t *testing.T) {
	t.Parallel()
	a := edited(t, threeFunctions)
	b := a.signedIn(readToken)
	b.get("/functions/Hello").shows(t, `href="/functions/Hello/logs"`)
	b.get("/functions/Hello/logs").shows(t, "There are no lines: this gateway has no Docker socket")
	a.handler.logs = func(_ context.Context, function string) ([]deploy.LogLine, error) {
		if function == "Hello" {
			return []deploy.LogLine{{Text: attack(3)}, {Text: "it broke", Error: true}}, context.DeadlineExceeded
		}
		return nil, deploy.ErrLogsDenied
	}
	p := b.get("/functions/Hello/logs")
	p.shows(t, `<span class="trouble">it broke</span>`, "Not all could be had: context deadline exceeded")
	if strings.Contains(p.text, attack(3)) {
		t.Error("a line is not escaped")
	}
	b.get("/functions/Bye/logs").shows(t, "There are no lines: what is before Docker&#39;s socket lets no logs through")
}

func TestFunctionPage_SaysThatTheManifestIsAFile(t *testing.T) {
	t.Parallel()
	a := edited(t, threeFunctions)
	a.shelf.closed = &Problem{Status: http.StatusConflict, Code: "manifest_file", Detail: "this gateway takes its manifest from a file"}
	p := a.signedIn(token).get("/functions/Hello")
	p.shows(t, "this gateway takes its manifest from a file")
	if strings.Contains(p.text, "<button>Pause") {
		t.Error("there is something to press")
	}
}

func TestOverview_SaysWhatIsPausedAndHowMuchWaits(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.queue.PausedBy(func(function string) bool { return function == "Waits" })
	if err := a.queue.AddFunction(t.Context(), "Waits", queue.Retry{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := a.queue.Publish(t.Context(), &queue.Event{Source: "s", Function: "Waits", Body: []byte("1")}); err != nil {
			t.Fatal(err)
		}
	}
	p := a.signedIn(readToken).get("/")
	p.shows(t, "Waits is paused: 2 events waiting", `href="/functions/Waits"`)
	if strings.Contains(p.text, "No worker serves Waits") {
		t.Error("it is said to lack a worker, which is not why it waits")
	}
}

func TestBrowser_PausesAndResumesAFunction(t *testing.T) {
	t.Parallel()
	a := edited(t, threeFunctions)
	s := a.screen(desktopWidth, desktopHeight)
	s.signIn(token)
	s.open("/functions")
	s.picture("functions")
	s.press("a[href='/functions/Hello']", "Triggers that run it")
	s.press("form[action$='/pause'] button", "It is paused: 0 wait")
	s.picture("function-paused")
	s.do("scale", chromedp.SetValue(chromedp.CSS("#max"), "7"))
	s.press("form[action$='/scale'] button", "The number of its tasks is in the manifest.")
	s.press("form[action$='/resume'] button", "It goes on with what waits.")
	if f, _ := a.catalog.Manifest().Function("Hello"); f.Paused || f.Replicas != (deploy.Replicas{Min: 3, Max: 7}) {
		t.Errorf("got %+v", f)
	}
	s.open("/manifest")
	if got := asks[string](s, `document.getElementById("text").value`); got != strings.Replace(threeFunctions, "max: 5", "max: 7", 1) {
		t.Errorf("the manifest is now\n%s", got)
	}
	reader := a.screen(phoneWidth, phoneHeight)
	reader.signIn(readToken)
	reader.open("/functions/Hello")
	if n := asks[int](reader, `document.querySelectorAll("main form").length`); n != 0 {
		t.Errorf("a reader has %d forms", n)
	}
}
