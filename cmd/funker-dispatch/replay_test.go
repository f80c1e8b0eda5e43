package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// sendMany stores events.
func (w *workshop) sendMany(function string, n int) {
	w.t.Helper()
	for i := range n {
		code, body, _ := post(w.t, w.public+"/functions/"+function, fmt.Sprintf(`{"n":%d}`, i), "Prefer", "respond-async")
		if code != 202 {
			w.t.Fatalf("got %d %s", code, body)
		}
	}
}

// ranOften waits until a function has run so often, and every run has ended.
func (w *workshop) ranOften(function string, n int) {
	w.t.Helper()
	within(w.t, fmt.Sprintf("%s has run %d times", function, n), func() bool { return w.ran(function, "") >= n })
	within(w.t, "all runs have ended", func() bool {
		var s stats
		if err := json.Unmarshal([]byte(w.cli("stats", "-o", "json")), &s); err != nil {
			w.t.Fatal(err)
		}
		return s.Balance.Waiting+s.Balance.Running+s.Balance.Scheduled == 0
	})
	if got := w.ran(function, ""); got != n {
		w.t.Errorf("%s has run %d times, want %d", function, got, n)
	}
}

func TestEventsReplay_ByFilterOnlyWhatItChooses(t *testing.T) {
	w := newWorkshop(t, "Saw", "File")
	w.sendMany("Saw", 30)
	w.sendMany("File", 3)
	w.ranOften("Saw", 30)
	w.ranOften("File", 3)
	preview := w.want("30 would be replayed", "events", "replay", "--function", "Saw", "--dry-run")
	if strings.Count(preview, "http") != queue.DefaultLimit || !strings.Contains(preview, "… and 10 more") {
		t.Errorf("dry run:\n%s", preview)
	}
	w.want("33 would be replayed: File 3, Saw 30", "events", "replay", "--since", "1h", "--dry-run")
	if got := w.cli("events", "replay", "--function", "Saw", "--dry-run", "-o", "json"); strings.Count(got, `"origin":"FUNKER_EVENTS/`) != 30 {
		t.Errorf("dry run as JSON: %s", got)
	}
	if code, _, stderr := cli(t, w.args([]string{"events", "list", "--limit", "5"})...); code != exitOK || stderr != "these are the newest 5, older ones are left out: --limit\n" {
		t.Errorf("a list that is cut: %d %q", code, stderr)
	}
	w.ranOften("Saw", 30)
	w.want("30 replayed", "events", "replay", "--function", "Saw", "--source", "http", "--outcome", "ok", "--rate", "0")
	w.ranOften("Saw", 60)
	w.want("3 replayed", "events", "replay", "--function", "File", "--to", "Saw")
	w.ranOften("Saw", 63)
	w.ranOften("File", 3)
	w.want("0 replayed", "events", "replay", "--until", "1h")
	w.want("0 replayed", "events", "replay", "--outcome", "dead")
	for _, args := range []string{"events replay", "events list", "dead replay", "dead drop", "dead list"} {
		if _, stderr := w.fails(exitFailed, append(strings.Fields(args), "--function", "Swa")...); !strings.Contains(stderr, "unknown function: Swa (known: File, Saw)") {
			t.Errorf("%s of a function that is misspelt: %s", args, stderr)
		}
		if _, stderr := w.fails(exitFailed, append(strings.Fields(args), "--source", "htp")...); !strings.Contains(stderr, "unknown source: htp (known: http)") {
			t.Errorf("%s of a source that is misspelt: %s", args, stderr)
		}
	}
	if _, stderr := w.fails(exitFailed, "events", "replay", "--function", "File", "--to", "Hammer"); !strings.Contains(stderr, "unknown function: Hammer") {
		t.Errorf("to an unknown function: %s", stderr)
	}
}

func TestEventsReplay_ByIDGoesOnPastFailures(t *testing.T) {
	w := newWorkshop(t, "Saw", "File")
	a, b, nobody := w.send("Saw", `{"n":1}`), w.send("Saw", `{"n":2}`), queue.NewID()
	w.ranOften("Saw", 2)
	stdout, stderr := w.fails(exitFailed, "events", "replay", a, nobody, b)
	if !strings.Contains(stdout, a+" queued for Saw") || !strings.Contains(stdout, b+" queued for Saw") ||
		!strings.Contains(stderr, nobody) || !strings.Contains(stderr, "1 of 3 could not be replayed") {
		t.Errorf("got %s%s", stdout, stderr)
	}
	w.ranOften("Saw", 4)
	if _, stderr := w.fails(exitFailed, "events", "replay", nobody); strings.Count(stderr, nobody) != 2 { // which, and why
		t.Errorf("one that is not there: %s", stderr)
	}
	w.fails(exitFailed, "events", "replay", nobody, "--dry-run")
	var r queue.Replayed
	if err := json.Unmarshal([]byte(w.cli("events", "replay", a, "--to", "File", "-o", "json")), &r); err != nil || r.ID != a || r.To != "File" {
		t.Errorf("got %+v, %v", r, err)
	}
	w.ranOften("File", 1)
	if got := w.cli("events", "replay", a, b, "--after", a); strings.Contains(got, a) || !strings.Contains(got, b) {
		t.Errorf("after the first: %s", got)
	}
}

// lines is a writer that does something when it is written to for the n-th time.
type lines struct {
	buffer
	n  int
	do func()
}

func (l *lines) Write(p []byte) (int, error) {
	if l.n--; l.n == 0 {
		l.do()
	}
	return l.buffer.Write(p)
}

func TestEventsReplay_StoppedGoesOnWithTheCommandThatItPrints(t *testing.T) {
	w := newWorkshop(t, "Saw", "File")
	w.sendMany("Saw", 40)
	w.ranOften("Saw", 40)
	ctx, stop := context.WithCancel(t.Context())
	stdout, stderr := &lines{n: 7, do: stop}, &buffer{}
	args := []string{"events", "replay", "--function", "Saw", "--since", "1h", "-o", "json"}
	if code := run(ctx, w.args(args), stdout, stderr); code != exitFailed {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	done := strings.Count(stdout.String(), "queued_as")
	if done < 7 || done > 7+queue.BulkInFlight || !strings.Contains(stderr.String(), fmt.Sprintf("stopped after %d of 40", done)) {
		t.Fatalf("%d replayed: %s", done, stderr)
	}
	w.sendMany("Saw", 5) // what came in meanwhile was not meant
	_, again, ok := strings.Cut(stderr.String(), "Go on with:\n  funker-dispatch ")
	if !ok || !strings.Contains(again, fmt.Sprintf("--after FUNKER_EVENTS/%d ", done)) {
		t.Fatalf("no command to go on: %s", stderr)
	}
	if got := mustCLI(t, strings.Fields(again)...); strings.Count(got, "queued_as") != 40-done {
		t.Errorf("%s\nreplayed %d, want %d", again, strings.Count(got, "queued_as"), 40-done)
	}
	w.ranOften("Saw", 40+5+40)
}

func TestReplayAndDrop_WantToKnowWhat(t *testing.T) {
	for _, c := range []struct{ args, text string }{
		{"events replay", "name what to replay, or choose it with --function, --source, --outcome, --since, --until"},
		{"events replay --rate 5", "name what to replay"},
		{"events replay FUNKER_EVENTS/1 --since 1h", "but not both"},
		{"events replay --function F --rate -1", "--rate"},
		{"events replay --function F --kind letter", "event or call"},
		{"events replay --outcome strange", "there is no state"},
		{"dead replay", "name what to replay, or choose it with --all, --function"},
		{"dead drop --yes", "name what to drop"},
		{"dead drop FUNKER_DEAD/1 --all", "but not both"},
		{"dead list --reason strange", "there is no reason"},
		{"dead list --since yesterday", "2h30m"},
	} {
		if code, _, stderr := cli(t, strings.Fields(c.args)...); code != exitUsage || !strings.Contains(stderr, c.text) {
			t.Errorf("%s: exit code %d: %s", c.args, code, stderr)
		}
	}
}

func TestCommandLine_CanBeGivenToAShell(t *testing.T) {
	cmd := &cobra.Command{Use: "replay"}
	f := cmd.Flags()
	f.String("function", "", "")
	f.String("since", "", "")
	f.String("unset", "", "")
	f.Bool("all", false, "")
	f.Int("rate", 100, "")
	if err := f.Parse([]string{"--function", "it's mine", "--since", "1h", "--all", "--rate=5"}); err != nil {
		t.Fatal(err)
	}
	got := commandLine(cmd, []string{"FUNKER_EVENTS/1", "a b"}, map[string]string{"since": "2026-11-23T08:00:00Z"})
	if want := `replay --all --function 'it'\''s mine' --rate 5 --since 2026-11-23T08:00:00Z FUNKER_EVENTS/1 'a b'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
