package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/console"
	"github.com/funker-dispatch/funker-dispatch/deploy"
)

// local are the flags of a command that reaches the gateway over NATS.
func (s *stored) local(args ...string) []string {
	return append(args, "--nats-url", s.nats, "--data", s.data)
}

// waiting is how many events of a function wait, and whether it is paused.
func (s *stored) waiting(function string) (n uint64, paused bool) {
	s.t.Helper()
	for _, f := range s.functions() {
		if f.Function == function {
			return f.Waiting, f.Paused
		}
	}
	s.t.Fatalf("there is no %s", function)
	return 0, false
}

// storedText is the manifest that is stored.
func (s *stored) storedText() string {
	s.t.Helper()
	return string(s.api(s.t, "GET", manifestPath, "").body)
}

// scrape returns the metrics.
func (s *stored) scrape() string {
	s.t.Helper()
	token, err := readToken(filepath.Join(s.data, tokenFile))
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.admin+"/metrics", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// later sends an event, with the reference of a push.
func (s *stored) later(function string) {
	s.t.Helper()
	code, body, _ := post(s.t, s.public+"/functions/"+function, `{"ref":"r","commits":[]}`, "Prefer", "respond-async")
	if code != http.StatusAccepted {
		s.t.Fatalf("got %d %s", code, body)
	}
}

// countIn returns how many lines a journal has, which its first run makes.
func countIn(journal string) func() int {
	return func() int {
		data, err := os.ReadFile(journal)
		if err != nil {
			return 0
		}
		return strings.Count(string(data), "\n")
	}
}

func TestPause_HoldsEventsAndRefusesCallsUntilResume(t *testing.T) {
	node, journal := startNode(t, t.TempDir())
	ran := countIn(journal)
	s := serveStored(t)
	text := fmt.Sprintf(`# ours
functions:
  Count:
    addresses: [%q] # here
triggers:
- {alexa: %s, verify: id-only, function: Count, apology: Not now.}
`, node, skill)
	s.mustApply(text, "added function Count added trigger alexa")
	s.later("Count")
	within(t, "the first one has run", func() bool { return ran() == 1 })
	if got := mustCLI(t, s.local("functions", "pause", "Count")...); got != "Count is paused: its events wait, its calls are refused\n" {
		t.Errorf("got %q", got)
	}
	if got := mustCLI(t, s.local("functions", "pause", "Count")...); got != "nothing to change\n" {
		t.Errorf("paused twice: got %q", got)
	}
	for range 5 {
		s.later("Count")
	}
	code, body, _ := post(t, s.public+"/functions/Count", `{}`)
	if code != http.StatusServiceUnavailable || !strings.Contains(body, `"code":"paused"`) {
		t.Errorf("call: got %d %s", code, body)
	}
	code, body, header := post(t, s.public+"/alexa", alexaBody("AnyIntent"))
	if code != 200 || header.Get("Funker-Error") != "paused" || !strings.Contains(body, "Not now.") {
		t.Errorf("Alexa: got %d %v %s", code, header, body)
	}
	if code, _, stderr := cli(t, s.local("invoke", "Count")...); code != exitFailed || !strings.Contains(stderr, "Count is paused: funker-dispatch functions resume Count") {
		t.Errorf("invoke: exit code %d, %s", code, stderr)
	}
	s.stop()
	s.start()
	s.later("Count")
	if n, paused := s.waiting("Count"); n != 6 || !paused {
		t.Errorf("after a restart %d wait, paused %v", n, paused)
	}
	for _, command := range []string{"functions", "stats"} {
		if got := mustCLI(t, s.local(command)...); !strings.Contains(got, "Count is paused: 6 wait") {
			t.Errorf("%s: %s", command, got)
		}
	}
	if got := s.scrape(); !strings.Contains(got, `funker_function_paused{function="Count"} 1`) {
		t.Errorf("metrics: %s", got)
	}
	if n := ran(); n != 1 {
		t.Errorf("%d have run, want the first one only", n)
	}
	mustCLI(t, s.local("functions", "resume", "Count")...)
	within(t, "all have run", func() bool { return ran() == 7 })
	if got := s.storedText(); got != text {
		t.Errorf("the manifest is now\n%s", got)
	}
	if code, body, _ := post(t, s.public+"/functions/Count", `{"ref":"r","commits":[]}`); code != http.StatusOK {
		t.Errorf("call after resume: got %d %s", code, body)
	}
}

func TestPause_HoldsAWorkerElsewhere(t *testing.T) {
	node, journal := startNode(t, t.TempDir())
	ran := countIn(journal)
	s := serveStored(t, "--no-worker")
	s.mustApply(fmt.Sprintf("functions: {Count: {addresses: [%q], paused: true}}\n", node), "added function Count")
	t.Chdir(t.TempDir()) // no manifest here: the gateway says what there is
	background(t, `msg="worker ready" functions=1`, "worker", "--nats-url", s.nats, "--key", filepath.Join(s.data, "worker.nk"))
	within(t, "the worker is heard", func() bool { return len(s.functions()[0].Nodes) == 1 })
	for range 5 {
		s.later("Count")
	}
	if n, _ := s.waiting("Count"); n != 5 || ran() != 0 {
		t.Errorf("%d wait, %d have run", n, ran())
	}
	if got := mustCLI(t, s.far("functions", "resume", "Count")...); got != "Count is not paused any more: it goes on with what waits\n" {
		t.Errorf("got %q", got)
	}
	within(t, "all have run", func() bool { return ran() == 5 })
}

func TestFunctionChange_IsAnEditOfTheStoredManifest(t *testing.T) {
	s := serveStored(t, "--no-worker")
	s.apiRefused(t, "POST", "/api/v1/functions/Hello/pause", "", 404, "unknown_function")
	s.mustApply("# ours\nfunctions:\n  Hello:\n    image: a:b # the first\n  Called:\n", "added function Hello added function Called")
	for _, c := range []struct {
		args []string
		want string
	}{
		{s.local("functions", "scale", "Hello", "3"), "    replicas: {min: 3, max: 3}\n"},
		{s.far("functions", "scale", "Hello", "0-8"), "    replicas: {min: 0, max: 8}\n"},
		{s.far("functions", "pause", "Hello"), "    paused: true\n"},
		{s.local("functions", "pause", "Called"), "  Called: {paused: true}\n"},
	} {
		mustCLI(t, c.args...)
		if got := s.storedText(); !strings.Contains(got, c.want) || !strings.Contains(got, "# ours\n") || !strings.Contains(got, "a:b # the first\n") {
			t.Errorf("%v: stored\n%s", c.args, got)
		}
	}
	s.apiRefused(t, "POST", "/api/v1/functions/Called/scale?min=1&max=2", "", 409, "not_deployed")
	s.apiRefused(t, "POST", "/api/v1/functions/Hello/scale?min=3&max=2", "", 400, "bad_query")
	s.apiRefused(t, "POST", "/api/v1/functions/Hello/scale?min=3", "", 400, "bad_query")
	for args, want := range map[string]string{
		"pause Nobody": "does not name this function", "scale Called 2": "has no image", "scale Hello 0": "pause the function", "scale Hello many": `how many tasks is "many"`,
	} {
		if code, _, stderr := cli(t, s.local(append([]string{"functions"}, strings.Fields(args)...)...)...); code == exitOK || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d, %s", args, code, stderr)
		}
	}
	got := s.api(t, "POST", "/api/v1/functions/Hello/resume", "")
	var a console.Applied
	if err := json.Unmarshal(got.body, &a); err != nil || got.StatusCode != 200 || len(a.Changes) != 1 || a.Changes[0].Action != deploy.ActionChanged || a.Revision == 0 {
		t.Errorf("got %d %s, %v", got.StatusCode, got.body, err)
	}
}

func TestFunctionChange_IsRefusedByAGatewayWithAManifestFile(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "functions.yaml", "functions: {Hello: {paused: true}}\n")
	g := serve(t, dir, file, "--no-worker", "--functions")
	if p := g.apiRefused(t, "POST", "/api/v1/functions/Hello/resume", "", 409, "manifest_file"); !strings.Contains(p.Detail, file) {
		t.Errorf("got %+v", p)
	}
	if code, body, _ := post(t, g.public+"/functions/Hello", `{}`); code != http.StatusServiceUnavailable || !strings.Contains(body, `"code":"paused"`) {
		t.Errorf("call: got %d %s", code, body)
	}
}

func TestDocs_CommandsThatChangeFunctionsRun(t *testing.T) {
	s := serveStored(t, "--no-worker")
	const text = "functions:\n  CommitCount:\n    timeout: 5s\n  HelloIntent:\n    image: a:b\n"
	s.mustApply(text, "added function CommitCount added function HelloIntent")
	out, err := apiScript(t, s.gatewayUnderTest, "/api/v1/functions/CommitCount/pause").CombinedOutput()
	if err != nil || strings.Count(string(out), `"action":"changed"`) != 3 {
		t.Errorf("%v\n%s", err, out)
	}
	if got, want := s.storedText(), strings.Replace(text, "    image", "    replicas: {min: 0, max: 8}\n    image", 1); got != want {
		t.Errorf("got\n%s", got)
	}
}
