package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/funker"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// workshop is a gateway with functions that fail when the test wants it.
type workshop struct {
	gatewayUnderTest
	t     *testing.T
	fault atomic.Pointer[funker.Failure] // of all functions
	mu    sync.Mutex
	runs  map[string]int // of successes, by function and body
}

func newWorkshop(t *testing.T, functions ...string) *workshop {
	t.Helper()
	w := &workshop{t: t, runs: map[string]int{}}
	dir := t.TempDir()
	manifest := "functions:\n"
	for _, f := range functions {
		manifest += fmt.Sprintf("  %s: {addresses: [%q], concurrency: 4, retry: {attempts: 2, initial: 1ms, max: 1ms}}\n", f, w.start(f))
	}
	w.gatewayUnderTest = serve(t, dir, write(t, dir, "functions.yaml", manifest), "--functions")
	return w
}

func (w *workshop) start(name string) string {
	w.t.Helper()
	l, err := new(net.ListenConfig).Listen(w.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- funker.Serve(ctx, l, func(_ context.Context, in json.RawMessage) (any, error) {
			if f := w.fault.Load(); f != nil {
				return nil, f
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.runs[name+string(in)]++
			return "sawn", nil
		})
	}()
	w.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	return l.Addr().String()
}

// ran counts the successes of a function, in all or with one body.
func (w *workshop) ran(function, body string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, runs := range w.runs {
		if strings.HasPrefix(key, function+body) {
			n += runs
		}
	}
	return n
}

// send stores an event and returns its id.
func (w *workshop) send(function, body string) string {
	w.t.Helper()
	return strings.TrimSpace(w.cli("invoke", function, "--async", "-d", body))
}

func (w *workshop) args(args []string) []string {
	return append(args, "--nats-url", w.nats, "--data", w.data)
}

func (w *workshop) cli(args ...string) string { w.t.Helper(); return mustCLI(w.t, w.args(args)...) }

// fails runs a command that has to fail, and returns what it says.
func (w *workshop) fails(code int, args ...string) (stdout, stderr string) {
	w.t.Helper()
	got, stdout, stderr := cli(w.t, w.args(args)...)
	if got != code {
		w.t.Errorf("%v: exit code %d, want %d: %s", args, got, code, stderr)
	}
	return stdout, stderr
}

func (w *workshop) want(text string, args ...string) string {
	w.t.Helper()
	got := w.cli(args...)
	if !strings.Contains(got, text) {
		w.t.Errorf("%v: no %q in:\n%s", args, text, got)
	}
	return got
}

// letters are the ids of the dead letters that `dead list` shows.
func (w *workshop) letters(flags ...string) (ids []string) {
	w.t.Helper()
	var list []queue.DeadLetter
	if err := json.Unmarshal([]byte(w.cli(append([]string{"dead", "list", "-o", "json"}, flags...)...)), &list); err != nil {
		w.t.Fatal(err)
	}
	for _, d := range list {
		ids = append(ids, d.ID)
	}
	return ids
}

func TestDead_AreListedShownReplayedAndDropped(t *testing.T) {
	w := newWorkshop(t, "Saw", "File")
	w.want("no dead letters", "dead", "list")
	if got := w.cli("dead", "list", "-o", "json"); strings.TrimSpace(got) != "[]" {
		t.Errorf("no dead letters as JSON: %s", got)
	}
	w.fault.Store(&funker.Failure{Message: "the blade is blunt", Retry: true})
	var sent []string
	for i := range 5 {
		sent = append(sent, w.send("Saw", fmt.Sprintf(`{"n":%d}`, i)))
	}
	within(t, "all are dead", func() bool { return len(w.letters()) == 5 })
	list := w.want("exhausted", "dead", "list", "--function", "Saw", "--reason", "exhausted", "--source", "cli", "--since", "1h")
	if !strings.Contains(list, sent[0]) || !strings.Contains(list, "the blade is blunt") || !regexp.MustCompile(`exhausted +2 `).MatchString(list) {
		t.Errorf("list:\n%s", list)
	}
	w.want("no dead letters", "dead", "list", "--function", "File")
	w.want("no dead letters", "dead", "list", "--reason", "refused")
	w.want("no dead letters", "dead", "list", "--until", "1h")
	show := w.want("exhausted, after 2 attempts", "dead", "show", sent[2])
	for _, want := range []string{sent[2], "FUNKER_DEAD/", "function_failed: the blade is blunt", "attempt 2", `"n": 2`} {
		if !strings.Contains(show, want) {
			t.Errorf("no %q in:\n%s", want, show)
		}
	}
	w.want("dead: exhausted", "events", "show", sent[2])
	if got := w.want("dead: exhausted", "events", "list", "--outcome", "dead"); strings.Count(got, "dead: exhausted") != 5 {
		t.Errorf("list of the dead:\n%s", got)
	}
	w.want("5 exhausted", "stats")

	w.fault.Store(nil)
	w.want("5 would be replayed", "dead", "replay", "--all", "--dry-run")
	w.want("1 would be replayed", "dead", "replay", sent[0], "--dry-run")
	w.want(sent[0]+" queued for Saw as FUNKER_RETRY/", "dead", "replay", sent[0])
	within(t, "the replay has run", func() bool { return w.ran("Saw", `{"n":0}`) == 1 && len(w.letters()) == 4 })
	all := w.want("(ok now) function_failed: the blade", "dead", "list", "--all")
	place := regexp.MustCompile(`(FUNKER_DEAD/\d+) +` + sent[0]).FindStringSubmatch(all)
	if place == nil {
		t.Fatalf("no place in:\n%s", all)
	}
	w.want("now", "dead", "show", place[1])
	for _, verb := range []string{"show", "replay", "drop"} {
		_, stderr := w.fails(exitFailed, "dead", verb, sent[0])
		want := fmt.Sprintf("funker-dispatch: %s is not dead: it is ok now; see `events show %[1]s`, or name a letter by its place from `dead list --all`\n", sent[0])
		if stderr != want {
			t.Errorf("%s of an event that is not dead: got %s", verb, stderr)
		}
	}

	if _, stderr := w.fails(exitUsage, "dead", "drop", "--all"); !strings.Contains(stderr, "--yes") {
		t.Errorf("drop of many without --yes: %s", stderr)
	}
	w.want("4 would be dropped", "dead", "drop", "--all", "--dry-run")
	w.want(sent[1]+" dropped", "dead", "drop", sent[1])
	w.want("dropped", "events", "list", "--outcome", "dropped")
	stdout, stderr := w.fails(exitFailed, "dead", "drop", sent[2], sent[1], sent[3], "--yes")
	if !strings.Contains(stdout, sent[2]+" dropped") || !strings.Contains(stdout, sent[3]+" dropped") || !strings.Contains(stderr, "1 of 3") {
		t.Errorf("drop of three, one of them dropped before: %s%s", stdout, stderr)
	}
	w.want("1 replayed", "dead", "replay", "--function", "Saw")
	within(t, "no dead letter is left", func() bool { return len(w.letters()) == 0 && w.ran("Saw", "") == 2 })
	w.want("drift 0", "stats")
}
