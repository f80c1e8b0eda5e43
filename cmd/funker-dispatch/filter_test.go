package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// pushTo makes GitHub push a body to a trigger.
func (w *workshop) pushTo(path, event, body string) {
	w.t.Helper()
	header, err := trigger.Sign(trigger.Config{Kind: trigger.GitHub, Secrets: []trigger.Secret{[]byte(hookSecret)}}, []byte(body), time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	header.Set(trigger.NameHeader(trigger.Config{Kind: trigger.GitHub}), event)
	var flat []string
	for name := range header {
		flat = append(flat, name, header.Get(name))
	}
	if code, answer, _ := post(w.t, w.public+path, body, flat...); code != 202 {
		w.t.Fatalf("%s: got %d %s", body, code, answer)
	}
}

// newFilterShop is a gateway whose trigger github-acme has stored three events: pushes to two branches, and an issue.
func newFilterShop(t *testing.T) *workshop {
	t.Helper()
	w := &workshop{t: t, runs: map[string]int{}}
	dir := t.TempDir()
	write(t, dir, "hook", hookSecret)
	manifest := `functions: {Saw: {addresses: ["` + w.start("Saw") + `"]}, File: }
triggers: [{github: acme, secret-file: hook, function: Saw}]
`
	w.gatewayUnderTest = serve(t, dir, write(t, dir, "functions.yaml", manifest))
	w.pushTo("/github/acme", "push", `{"ref":"refs/heads/main","commits":[],"repository":{"full_name":"acme/site"}}`)
	w.pushTo("/github/acme", "push", `{"ref":"refs/heads/release/1","commits":[],"repository":{"full_name":"acme/site"}}`)
	w.pushTo("/github/acme", "issues", `{"action":"opened","issue":{"number":7},"ref":7}`)
	return w
}

func (w *workshop) trial(args ...string) filterReport {
	w.t.Helper()
	var r filterReport
	out := w.cli(append(append([]string{"events", "test-filter"}, args...), "-o", "json")...)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		w.t.Fatalf("%s: %v", out, err)
	}
	return r
}

func TestEventsTestFilter_AsksOfStoredEvents(t *testing.T) {
	w := newFilterShop(t)
	for expression, want := range map[string][3]int{ // passed, refused, failed
		`body.ref == "refs/heads/main"`:                                      {1, 2, 0},
		`event == "push" && source == "github-acme"`:                         {2, 1, 0},
		`headers["x-github-event"] == "issues" && "content-type" in headers`: {1, 2, 0},
		`body.action == "opened" && body.issue.number == 7`:                  {1, 2, 0},
		`body.ref.startsWith("refs/heads/release/")`:                         {2, 1, 1},
		`headers.exists(h, h.contains("signature"))`:                         {0, 3, 0},
	} {
		r := w.trial(expression)
		if got := [3]int{r.Passed, r.Refused, r.Failed}; got != want || r.Tested != 3 || len(r.Results) != 3 {
			t.Errorf("%s: got %v of %d, want %v", expression, got, r.Tested, want)
		}
	}
	if r := w.trial(`event == "push"`, "--limit", "1", "--function", "Saw", "--source", "github-acme", "--since", "1h"); r.Tested != 1 || r.Refused != 1 {
		t.Errorf("got %+v, want the newest alone", r)
	}
	if r := w.trial(`event == "push"`, "--until", "1h"); r.Tested != 0 || r.Results == nil {
		t.Errorf("got %+v, want none", r)
	}
	w.want("2 of 3 would pass, 1 of them because the filter could not be asked", "events", "test-filter", `body.ref.startsWith("refs/heads/release/")`)
	w.want("no such overload", "events", "test-filter", `body.ref.startsWith("refs/heads/release/")`)
	w.want("no events", "events", "test-filter", `true`, "--until", "1h")
	if got := w.ran("Saw", ""); got != 3 {
		t.Errorf("Saw has run %d times, want 3", got)
	}
}

func TestEventsTestFilter_TriesTheRoutesOfAManifest(t *testing.T) {
	w := newFilterShop(t)
	file := write(t, t.TempDir(), "next.yaml", `functions: {Saw: , File: }
triggers:
  - github: acme
    secret-file: not-on-this-machine
    routes:
      - {function: Saw, branches: [main]}
      - {function: File, events: [push], repositories: [acme/*], if: "body.ref != 'refs/heads/main'"}
  - {alexa: id, verify: id-only}
`)
	r := w.trial("--trigger", "acme", "--manifest", file)
	passed := map[string]int{}
	for _, one := range r.Results {
		if one.Passes {
			passed[one.Route]++
		}
	}
	if r.Tested != 3 || len(r.Results) != 6 || passed["Saw"] != 1 || passed["File"] != 1 || r.Passed != 2 || r.Failed != 0 {
		t.Errorf("got %+v", r)
	}
	if r := w.trial("--trigger", "github-acme", "--manifest", file, "--route", "File"); len(r.Results) != 3 || r.Passed != 1 {
		t.Errorf("got %+v, want the route to File alone", r)
	}
	w.want("2 of 6 would pass", "events", "test-filter", "--trigger", "github", "--manifest", file)
	for want, args := range map[string][]string{
		"line 1, column 9: undeclared reference to 'bdy'": {"true && bdy.a == 1"},
		"not true or false: compare it":                   {"body.draft"},
		"there is no filter":                              {},
		"exclude each other":                              {"true", "--trigger", "acme"},
		"no trigger \"none\" in the manifest":             {"--trigger", "none", "--manifest", file},
		"github-acme has no route to \"Hammer\"":          {"--trigger", "acme", "--route", "Hammer", "--manifest", file},
		"the trigger alexa has no routes":                 {"--trigger", "alexa", "--manifest", file},
	} {
		if _, stderr := w.fails(exitUsage, append([]string{"events", "test-filter"}, args...)...); !strings.Contains(stderr, want) {
			t.Errorf("%v: got %s, want %s", args, stderr, want)
		}
	}
	if _, stderr := w.fails(exitFailed, "events", "test-filter", "true", "--source", "github-acem"); !strings.Contains(stderr, "unknown source: github-acem") {
		t.Errorf("a source that is misspelt: %s", stderr)
	}
}
