package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/funker"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// far are the flags for a gateway elsewhere.
func (g gatewayUnderTest) far(args ...string) []string {
	return append(args, "--url", g.admin, "--token-file", filepath.Join(g.data, tokenFile))
}

// ages are what differs between two looks.
var ages = regexp.MustCompile(`\d\S*s ago|"free": \d+`)

func TestURL_CommandsSayTheSameAsOverNATS(t *testing.T) {
	w := newWorkshop(t, "Saw", "File")
	w.cli("invoke", "Saw")
	id := w.send("File", `{"n":1}`)
	w.ranOften("File", 1) // before all functions fail
	dead, _ := reader{w}.dieAs("Saw")
	w.rests()
	for _, line := range []string{
		"functions", "triggers", "triggers http", "stats", "stats -o json", "events list", "events list -o json --function File --since 1h --outcome ok --kind event",
		"events list --limit 1", "events show " + id, "events show FUNKER_CALLS/1 -o json", "dead list", "dead list --all --reason refused", "dead show " + dead, "dead show FUNKER_DEAD/1 -o json",
	} {
		code, stdout, stderr := cli(t, w.args(strings.Fields(line))...)
		farCode, farStdout, farStderr := cli(t, w.far(strings.Fields(line)...)...)
		if code != exitOK || farCode != exitOK || ages.ReplaceAllString(stdout, "") != ages.ReplaceAllString(farStdout, "") || stderr != farStderr {
			t.Errorf("%s: exit codes %d and %d, got\n%s%swant\n%s%s", line, code, farCode, farStdout, farStderr, stdout, stderr)
		}
	}
	for _, line := range []string{"events list --function Swa", "dead list --source htp", "events show " + queue.NewID(), "dead show " + id, "triggers htp"} {
		code, _, stderr := cli(t, w.far(strings.Fields(line)...)...)
		if code != exitFailed || stderr == "" {
			t.Errorf("%s: exit code %d: %s", line, code, stderr)
		}
	}
}

// rests waits until nothing changes by itself any more: an event that has ended still runs until it is acknowledged.
func (w *workshop) rests() {
	w.t.Helper()
	within(w.t, "nothing runs", func() bool {
		var s stats
		if err := json.Unmarshal([]byte(w.cli("stats", "-o", "json")), &s); err != nil {
			w.t.Fatal(err)
		}
		busy := func(f queue.FunctionStats) bool { return f.Calls.Running+f.Replays.Running+f.Events.Running > 0 }
		return s.Balance.Waiting+s.Balance.Running+s.Balance.Scheduled == 0 && !slices.ContainsFunc(s.Functions, busy)
	})
}

// dieAs stores an event of a function that becomes a dead letter.
func (r reader) dieAs(function string) (id, place string) {
	r.t.Helper()
	r.fault.Store(&funker.Failure{Message: "the blade is broken"})
	defer r.fault.Store(nil)
	id = r.send(function, `{"n":1}`)
	var d queue.DeadLetter
	within(r.t, "the event is dead", func() bool {
		code, stdout, _ := cli(r.t, r.args([]string{"dead", "show", id, "-o", "json"})...)
		return code == exitOK && json.Unmarshal([]byte(stdout), &d) == nil
	})
	return id, d.Origin
}

func TestURL_ReplaysDropsAndTails(t *testing.T) {
	w := newWorkshop(t, "Saw", "File")
	a, b, nobody := w.send("Saw", `{"n":1}`), w.send("Saw", `{"n":2}`), queue.NewID()
	w.ranOften("Saw", 2)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var seen buffer
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, w.far("events", "tail", "-o", "json"), &seen, io.Discard) }()
	within(t, "tail prints an attempt", func() bool {
		mustCLI(t, w.far("events", "replay", a, "--to", "File")...)
		return strings.Contains(seen.String(), `"function":"File"`)
	})
	stop()
	if code := <-ended; code != exitOK {
		t.Errorf("tail: exit code %d", code)
	}
	code, stdout, stderr := cli(t, w.far("events", "replay", a, nobody, b)...)
	if code != exitFailed || strings.Count(stdout, "queued for Saw") != 2 || !strings.Contains(stderr, nobody) || !strings.Contains(stderr, "1 of 3 could not be replayed") {
		t.Errorf("replay: exit code %d: %s%s", code, stdout, stderr)
	}
	w.ranOften("Saw", 4)
	first, second := w.die("Saw"), w.die("Saw")
	if got := mustCLI(t, w.far("dead", "replay", first)...); !strings.Contains(got, "queued for Saw") {
		t.Errorf("dead replay: %s", got)
	}
	w.ranOften("Saw", 5)
	if got := mustCLI(t, w.far("dead", "drop", second)...); got != second+" dropped\n" {
		t.Errorf("dead drop: %s", got)
	}
	for _, line := range []string{"dead replay " + first, "dead drop " + second} {
		if code, _, stderr := cli(t, w.far(strings.Fields(line)...)...); code != exitFailed || !strings.Contains(stderr, strings.Fields(line)[2]) {
			t.Errorf("%s again: exit code %d: %s", line, code, stderr)
		}
	}
}

func (w *workshop) die(function string) string {
	w.t.Helper()
	id, _ := reader{w}.dieAs(function)
	return id
}

func TestURL_ReplaysAndDropsWhatAFilterChooses(t *testing.T) {
	w := newWorkshop(t, "Saw", "File")
	w.sendMany("Saw", 7)
	w.sendMany("File", 2)
	w.ranOften("Saw", 7)
	w.ranOften("File", 2)
	far := func(want string, line string) {
		t.Helper()
		if got := mustCLI(t, w.far(strings.Fields(line)...)...); got != want+"\n" {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
	far("9 would be replayed: File 2, Saw 7", "events replay --since 1h --dry-run")
	far("7 replayed", "events replay --function Saw --rate 3 --to File") // three requests
	w.ranOften("File", 9)
	w.ranOften("Saw", 7)
	for range 3 {
		w.die("Saw")
	}
	far("3 would be dropped", "dead drop --all --dry-run")
	if code, _, stderr := cli(t, w.far("dead", "drop", "--all")...); code != exitUsage || !strings.Contains(stderr, "Drop 3 dead letters? Add --yes") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	far("3 replayed", "dead replay --reason refused --rate 0")
	w.ranOften("Saw", 10)
	w.die("Saw")
	far("1 dropped", "dead drop --function Saw --yes")
	far("0 dropped", "dead drop --all")
}

func TestURL_AppliesAManifest(t *testing.T) {
	s := serveStored(t)
	apply := func(text string, args ...string) (int, string, string) {
		t.Helper()
		return cli(t, append(s.far("apply", write(t, t.TempDir(), "functions.yaml", text)), args...)...)
	}
	for _, c := range []struct{ text, flag, want string }{
		{oneTrigger, "--dry-run=true", "to be added function Echo to be added trigger github-one"},
		{oneTrigger, "--dry-run=false", "added function Echo added trigger github-one"},
		{oneTrigger, "--dry-run=false", "nothing to change"},
		{"functions: {}", "--dry-run=false", "removed function Echo removed trigger github-one"},
	} {
		code, stdout, stderr := apply(c.text, c.flag)
		if got := strings.Join(strings.Fields(stdout), " "); code != exitOK || got != c.want {
			t.Errorf("exit code %d, got %q, %q, want %q", code, got, stderr, c.want)
		}
	}
	missing := "functions: {Echo: }\ntriggers:\n- {github: one, secret-file: /nowhere/secret, function: Echo}\n"
	code, _, stderr := apply(missing) // which only the gateway can know
	if code != exitFailed || !strings.Contains(stderr, "functions.yaml:3:") || !strings.Contains(stderr, "/nowhere/secret") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestURL_SaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	g := serve(t, dir, write(t, dir, "functions.yaml", oneTrigger), "--no-worker")
	good, bad, none := filepath.Join(g.data, tokenFile), write(t, dir, "token", "wrong\n"), filepath.Join(dir, "none")
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	elsewhere := httptest.NewServer(http.RedirectHandler(g.admin+"/api/v1/stats", http.StatusTemporaryRedirect))
	t.Cleanup(elsewhere.Close)
	for _, c := range []struct {
		line string
		code int
		text string
	}{
		{"stats --url " + g.admin, exitUsage, "--token-file"},
		{"stats --url " + g.admin + " --token-file " + none, exitFailed, "--token-file"},
		{"stats --url " + g.admin + " --token-file " + bad, exitFailed, "does not know this token"},
		{"stats --url gateway:3001 --token-file " + good, exitUsage, "https://"},
		{"stats --url http://192.0.2.1:3001 --token-file " + good, exitUsage, "in the clear"},
		{"stats --key x --url " + g.admin + " --token-file " + good, exitUsage, "leave one out"},
		{"stats --url " + other.URL + " --token-file " + good, exitFailed, "no answer of a gateway"},
		{"stats --url http://127.0.0.1:1 --token-file " + good, exitFailed, "refused"},
		{"backup " + none + " --url " + g.admin + " --token-file " + good, exitUsage, "on the gateway's machine"},
		{"verify --offline --url " + g.admin + " --token-file " + good, exitUsage, "leave one out"},
		{"stats --token x --url " + g.admin + " --token-file " + good, exitUsage, "leave one out"},
		{"stats --url " + strings.Replace(g.admin, "//", "//me:secret@", 1) + " --token-file " + good, exitUsage, "take the address"},
		{"stats --url " + elsewhere.URL + " --token-file " + good, exitFailed, g.admin + "/api/v1/stats is the gateway"},
		{"stats --ca-file " + none + " --url " + g.admin + " --token-file " + good, exitFailed, "--ca-file"},
		{"invoke Ecco --url " + g.admin + " --token-file " + good, exitFailed, "unknown function: Ecco"},
		{"invoke Echo --url " + g.admin + " --token-file " + good, exitFailed, "worker"},
		{"invoke Echo -d { --url " + g.admin + " --token-file " + good, exitUsage, "-d:"},
		{"invoke Echo --timeout 2m --url " + g.admin + " --token-file " + good, exitFailed, "at most 1m20s"},
		{"events test-filter true --function Ecco --url " + g.admin + " --token-file " + good, exitFailed, "unknown function: Ecco"},
		{"events replay --function Echo -o json --url " + g.admin + " --token-file " + good, exitUsage, "no -o json"},
		{"events replay 1 --dry-run --url " + g.admin + " --token-file " + good, exitUsage, "goes with a filter"},
		{"events replay --function Ecco --url " + g.admin + " --token-file " + good, exitFailed, "unknown function: Ecco"},
		{"apply functions.yaml --url " + g.admin + " --token-file " + good, exitFailed, "takes its manifest from the file"},
	} {
		line := strings.ReplaceAll(c.line, "apply functions.yaml", "apply "+g.manifest)
		if code, _, stderr := cli(t, strings.Fields(line)...); code != c.code || !strings.Contains(stderr, c.text) {
			t.Errorf("%s: exit code %d: %s", c.line, code, stderr)
		}
	}
}

func TestURL_ComesFromTheEnvironmentToo(t *testing.T) {
	dir := t.TempDir()
	g := serve(t, dir, write(t, dir, "functions.yaml", oneTrigger), "--no-worker")
	t.Setenv("FUNKER_URL", g.admin)
	t.Setenv("FUNKER_TOKEN_FILE", filepath.Join(g.data, tokenFile))
	if got := mustCLI(t, "triggers"); !strings.Contains(got, "github-one") {
		t.Errorf("got %s", got)
	}
	if got := mustCLI(t, "stats", "-o", "json"); !json.Valid([]byte(got)) {
		t.Errorf("got %s", got)
	}
}
