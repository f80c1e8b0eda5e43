package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// stored is a gateway that keeps its manifest.
type stored struct {
	gatewayUnderTest
	t   *testing.T
	dir string
}

func serveStored(t *testing.T, args ...string) *stored {
	t.Helper()
	s := &stored{t: t, dir: t.TempDir()}
	s.start(args...)
	return s
}

func (s *stored) start(args ...string) {
	s.t.Helper()
	s.data = filepath.Join(s.dir, "data")
	args = append([]string{"serve", "--data", s.data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0",
		"--grace", "2s", "--functions"}, args...)
	m, log, stop := background(s.t, `msg=ready public=(\S+) admin=(\S+) nats=(\S+)`, args...)
	s.public, s.admin, s.nats, s.log, s.stop = m[1], m[2], m[3], log, stop
}

// apply returns what the command prints, and its errors.
func (s *stored) apply(text string, args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	file := write(s.t, s.t.TempDir(), "functions.yaml", text)
	return cli(s.t, append([]string{"apply", file, "--nats-url", s.nats, "--data", s.data}, args...)...)
}

func (s *stored) mustApply(text, want string, args ...string) {
	s.t.Helper()
	code, stdout, stderr := s.apply(text, args...)
	if code != exitOK || strings.Join(strings.Fields(stdout), " ") != want {
		s.t.Errorf("exit code %d, got %q, %q; want %q", code, stdout, stderr, want)
	}
}

// push sends an event that nothing verifies, and returns the status.
func (s *stored) push(path string) int {
	s.t.Helper()
	code, _, _ := post(s.t, s.public+path, `{}`, "X-GitHub-Event", "push")
	return code
}

const (
	oneTrigger  = "functions: {Echo: {timeout: 5s}}\ntriggers: [{github: one, insecure: true, function: Echo}]\n"
	twoTriggers = "functions: {Echo: {timeout: 6s}, Other: }\ntriggers: [{github: two, insecure: true, function: Other}]\n"
)

func TestApply_PutsAManifestInForceWithoutARestart(t *testing.T) {
	s := serveStored(t)
	if !strings.Contains(s.log.String(), "no functions yet: funker-dispatch apply FILE") {
		t.Errorf("the log does not say what to do: %s", s.log)
	}
	if code := s.push("/github/one"); code != http.StatusNotFound {
		t.Errorf("before: got %d, want 404", code)
	}
	s.mustApply(oneTrigger, "to be added function Echo to be added trigger github-one", "--dry-run")
	if code := s.push("/github/one"); code != http.StatusNotFound {
		t.Errorf("after a dry run: got %d, want 404", code)
	}
	s.mustApply(oneTrigger, "added function Echo added trigger github-one")
	if code := s.push("/github/one"); code != http.StatusAccepted {
		t.Errorf("after: got %d, want 202", code)
	}
	s.mustApply(oneTrigger, "nothing to change")
	s.mustApply(twoTriggers, "changed function Echo timeout added function Other added trigger github-two removed trigger github-one")
	if one, two := s.push("/github/one"), s.push("/github/two"); one != http.StatusNotFound || two != http.StatusAccepted {
		t.Errorf("got %d and %d, want 404 and 202", one, two)
	}
	if code, body, _ := post(t, s.public+"/functions/Other", `{}`, "Prefer", "respond-async"); code != http.StatusAccepted {
		t.Errorf("a new function: got %d %s", code, body)
	}
	s.mustApply("functions: {}", "removed function Echo removed function Other removed trigger github-two")
	if code := s.push("/github/two"); code != http.StatusNotFound {
		t.Errorf("after its removal: got %d, want 404", code)
	}
}

func TestApply_OfABadManifestLeavesTheOneBefore(t *testing.T) {
	s := serveStored(t)
	s.mustApply(oneTrigger, "added function Echo added trigger github-one")
	for text, want := range map[string]string{
		"functions: {Echo: {adresses: [a]}, F: {timeout: 3}}":                                        "functions.yaml:1:49: timeout \"3\" has no unit", // found here
		"functions: {F: }\ntriggers: [{github: two, secret-file: /no/such/file, function: F}]":       "functions.yaml:2:39: secret-file",               // found there
		"functions: {F: }\ntriggers: [{github: two, secret-file: relative, function: F}]":            "is relative: the gateway reads it",
		"functions: {F: }\ntriggers: [{github: two, insecure: true, function: G}]\nversion: \"3\"\n": "version \"3\" is unknown",
	} {
		code, stdout, stderr := s.apply(text)
		if code != exitFailed || stdout != "" || !strings.Contains(stderr, want) || !strings.Contains(stderr, "nothing has changed") {
			t.Errorf("exit code %d, got %q, %q; want %q", code, stdout, stderr, want)
		}
	}
	if one, two := s.push("/github/one"), s.push("/github/two"); one != http.StatusAccepted || two != http.StatusNotFound {
		t.Errorf("got %d and %d, want 202 and 404", one, two)
	}
}

func TestApply_PrintsJSON(t *testing.T) {
	s := serveStored(t)
	var a applied
	_, stdout, _ := s.apply(oneTrigger, "-o", "json")
	if err := json.Unmarshal([]byte(stdout), &a); err != nil || a.Revision != 1 || len(a.Changes) != 2 || a.Changes[0].Action != deploy.ActionAdded {
		t.Errorf("got %s, %v", stdout, err)
	}
}

func TestApply_SurvivesARestart(t *testing.T) {
	s := serveStored(t)
	s.mustApply(oneTrigger, "added function Echo added trigger github-one")
	s.stop()
	s.start()
	if code := s.push("/github/one"); code != http.StatusAccepted {
		t.Errorf("got %d, want 202", code)
	}
	s.mustApply(oneTrigger, "nothing to change")
	s.mustApply(twoTriggers, "changed function Echo timeout added function Other added trigger github-two removed trigger github-one")
}

func TestApply_ByManyAtOnceLeavesOneOfThem(t *testing.T) {
	s := serveStored(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			text := fmt.Sprintf("functions: {F%d: }\ntriggers: [{github: t%d, insecure: true, function: F%d}]\n", i, i, i)
			if code, _, stderr := s.apply(text); code != exitOK {
				t.Errorf("exit code %d: %s", code, stderr)
			}
		})
	}
	all.Wait()
	var open []int
	for i := range 8 {
		if s.push(fmt.Sprintf("/github/t%d", i)) == http.StatusAccepted {
			open = append(open, i)
		}
	}
	states := s.functions()
	if len(open) != 1 || len(states) != 1 || states[0].Function != fmt.Sprintf("F%d", open[0]) {
		t.Fatalf("got triggers %v and functions %+v, want one whole manifest", open, states)
	}
	s.stop()
	s.start()
	if after := s.functions(); len(after) != 1 || after[0].Function != states[0].Function {
		t.Errorf("after a restart: got %+v, want %+v", after, states)
	}
}

func (s *stored) functions() []functionState {
	s.t.Helper()
	var states []functionState
	stdout := mustCLI(s.t, "functions", "-o", "json", "--nats-url", s.nats, "--data", s.data)
	if err := json.Unmarshal([]byte(stdout), &states); err != nil {
		s.t.Fatal(err)
	}
	return states
}

func TestApply_IsRefusedByAGatewayWithAManifestFile(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "functions.yaml", oneTrigger)
	g := serve(t, dir, file, "--no-worker")
	s := &stored{gatewayUnderTest: g, t: t, dir: dir}
	for _, args := range [][]string{nil, {"--dry-run"}} {
		if code, _, stderr := s.apply(twoTriggers, args...); code != exitFailed || !strings.Contains(stderr, "takes its manifest from the file "+file) {
			t.Errorf("exit code %d: %s", code, stderr)
		}
	}
}

// Nobody wants the senders of all other events to be refused because one secret is missing.
func TestApply_AStoredManifestWithFaultsStillServesTheRest(t *testing.T) {
	s := serveStored(t)
	secret := write(t, s.dir, "secret", "swordfish")
	text := fmt.Sprintf("functions: {Echo: }\ntriggers:\n- {github: one, insecure: true, function: Echo}\n- {github: two, secret-file: %s, function: Echo}\n", secret)
	s.mustApply(text, "added function Echo added trigger github-one added trigger github-two")
	s.stop()
	if err := os.Remove(secret); err != nil {
		t.Fatal(err)
	}
	s.start()
	if one, two := s.push("/github/one"), s.push("/github/two"); one != http.StatusAccepted || two != http.StatusServiceUnavailable {
		t.Errorf("got %d and %d, want 202 and 503", one, two)
	}
	if log := s.log.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "manifest:4:30: secret-file") {
		t.Errorf("the log does not say what is wrong: %s", log)
	}
	s.mustApply(oneTrigger, "changed function Echo timeout removed trigger github-two")
}

func TestKeeper_TakesOverWhatOthersStore(t *testing.T) {
	s := serveStored(t)
	s.mustApply(oneTrigger, "added function Echo added trigger github-one")
	q, err := queue.Dial(s.nats, filepath.Join(s.data, queue.AdminKey), queue.RoleAdmin, silent)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if _, err := q.PutConfig(t.Context(), []byte(twoTriggers), 1); err != nil {
		t.Fatal(err)
	}
	within(t, "the trigger is there", func() bool { return s.push("/github/two") == http.StatusAccepted })
	if _, err := q.PutConfig(t.Context(), []byte("functions: [wrong]"), 2); err != nil {
		t.Fatal(err)
	}
	within(t, "the log says that it is refused", func() bool { return strings.Contains(s.log.String(), "is refused: the one before stays") })
	if code := s.push("/github/two"); code != http.StatusAccepted {
		t.Errorf("got %d, want 202", code)
	}
	s.mustApply(oneTrigger, "changed function Echo timeout removed function Other added trigger github-one removed trigger github-two")
	c, err := q.Config(t.Context())
	if err != nil || string(c.Text) != oneTrigger || c.Revision != 4 {
		t.Errorf("stored: got %+v, %v", c, err)
	}
}

func TestKeeper_MendsAManifestWhoseSecretComesLate(t *testing.T) {
	dir := t.TempDir()
	q, err := queue.Open(t.Context(), queue.Options{Dir: filepath.Join(dir, "data"), Log: silent})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	secret := filepath.Join(dir, "secret")
	text := fmt.Sprintf("functions: {Echo: }\ntriggers: [{github: two, secret-file: %s, function: Echo}]\n", secret)
	if _, err := q.PutConfig(t.Context(), []byte(text), 0); err != nil {
		t.Fatal(err)
	}
	k := newKeeper(gatewayOptions{log: silent}, q)
	if err := k.start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	k.mend(t.Context())
	if m := k.catalog.Manifest(); !m.Partial || m.Triggers[0].Closed == "" {
		t.Errorf("without the secret: got %+v", m.Triggers[0])
	}
	write(t, dir, "secret", "swordfish")
	k.mend(t.Context())
	if m := k.catalog.Manifest(); m.Partial || m.Triggers[0].Closed != "" || string(m.Triggers[0].Secrets[0]) != "swordfish" {
		t.Errorf("with the secret: got %+v", m.Triggers[0])
	}
}

func TestApply_WithoutAFileOrAGatewayFails(t *testing.T) {
	if code, _, stderr := cli(t, "apply", filepath.Join(t.TempDir(), "none.yaml")); code != exitFailed || !strings.Contains(stderr, "none.yaml") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if code, _, _ := cli(t, "apply"); code != exitUsage {
		t.Errorf("exit code %d, want %d", code, exitUsage)
	}
}

func TestFunctions_SaysWhatWaitsAndWhyItDoesNotRun(t *testing.T) {
	s := serveStored(t, "--no-worker")
	if got := mustCLI(t, "functions", "--nats-url", s.nats, "--data", s.data); !strings.Contains(got, "no functions yet") {
		t.Errorf("got %q", got)
	}
	s.mustApply("functions: {Echo: {image: a:b, lifecycle: server}, Other: }\ntriggers: [{github: one, insecure: true, function: Echo}]\n",
		"added function Echo added function Other added trigger github-one")
	s.push("/github/one")
	states := s.functions()
	states[0].Last.Time, states[0].Last.ID = states[0].Last.Time.Truncate(0), ""
	want := functionState{
		Function: "Echo", Image: "a:b", Lifecycle: deploy.LifecycleServer, Waiting: 1, Problem: "no worker serves it",
		Last: &lastRun{Time: states[0].Last.Time, Outcome: queue.StateWaiting},
	}
	if !reflect.DeepEqual(states[0], want) || states[1].Last != nil || states[1].Waiting != 0 {
		t.Errorf("got %+v, want %+v", states, want)
	}
	got := mustCLI(t, "functions", "--nats-url", s.nats, "--data", s.data)
	if !strings.Contains(got, "Echo does not run: no worker serves it\n") {
		t.Errorf("got %s", got)
	}
}

func TestPrintFunctions_IsReadable(t *testing.T) {
	var b strings.Builder
	err := printFunctions(&b, []functionState{
		{Function: "Hello", Image: "hello:1", Lifecycle: deploy.LifecycleOneShot, Service: &serviceState{Wanted: 3, Running: 2},
			Nodes: []nodeState{{Node: "pi1", Tasks: 1, Slots: 1, Idle: 1}, {Node: "pi2", Tasks: 1, Slots: 1}, {Node: "pi3"}}, Waiting: 7, Problem: "no suitable node"},
		{Function: "Other", Lifecycle: deploy.LifecycleAuto, Nodes: []nodeState{{Node: "pi1", Tasks: 2, Slots: 8, Idle: 3}}},
	})
	want := `FUNCTION  IMAGE    LIFECYCLE  TASKS                 IDLE  BUSY  WAITING  LAST
Hello     hello:1  one-shot   2/3 (pi1 1, pi2 1)    1     1     7        -
Other     -        auto       2 (pi1 2)             3     5     0        -
Hello does not run: no suitable node
`
	if got := b.String(); err != nil || strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("%v, got\n%s\nwant\n%s", err, got, want)
	}
}

var silent = slog.New(slog.DiscardHandler)

func TestWorker_NeedsNoKeyWhereTheGatewayAllowsIt(t *testing.T) {
	address, _ := startFunction(t, "echo")
	file := write(t, t.TempDir(), "functions.yaml", fmt.Sprintf("functions: {Echo: {addresses: [%q], input: [a]}}", address))
	s := serveStored(t, "--no-worker", "--workers-without-key", "--manifest", file, "--nats-listen", "localhost:0")
	if !strings.Contains(s.log.String(), "INSECURE: whoever reaches the NATS address is a worker") {
		t.Errorf("the log does not warn: %s", s.log)
	}
	t.Chdir(t.TempDir())
	for name, args := range map[string][]string{"the default key file is missing": nil, "none is wanted": {"--key", ""}} {
		_, _, stop := background(t, "worker ready", append([]string{"worker", "--nats-url", s.nats, "--manifest", file}, args...)...)
		within(t, "the function answers: "+name, func() bool {
			code, reply, _ := post(t, s.public+"/functions/Echo", `{"a":1,"b":2}`)
			return code == http.StatusOK && strings.TrimSpace(reply) == `{"a":1}`
		})
		stop()
	}
	if code, _, _ := cli(t, "worker", "--nats-url", s.nats, "--manifest", file, "--key", "no-such-key"); code != exitFailed {
		t.Errorf("a key file that was named and does not exist: exit code %d", code)
	}
}
