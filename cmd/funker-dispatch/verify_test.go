package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// waiting starts a gateway without a worker and publishes events.
func waiting(t *testing.T, events int) gatewayUnderTest {
	t.Helper()
	dir := t.TempDir()
	g := serve(t, dir, write(t, dir, "functions.yaml", "functions: {Waits: {addresses: [\"127.0.0.1:1\"]}}\n"), "--no-worker")
	for range events {
		mustCLI(t, "invoke", "Waits", "--async", "-d", `{"text":"`+strings.Repeat("x", 1000)+`"}`, "--nats-url", g.nats, "--data", g.data)
	}
	return g
}

func TestVerify_ExitsWithOneAndATableOfWhatIsWrong(t *testing.T) {
	g := waiting(t, 3)
	live := []string{"verify", "--nats-url", g.nats, "--data", g.data}
	offline := []string{"verify", "--offline", "--data", g.data}
	if out := mustCLI(t, live...); !strings.HasSuffix(out, "nothing is wrong\n") || !regexp.MustCompile(`FUNKER_LOG +\d+ +- `).MatchString(out) {
		t.Errorf("sound: got %s", out)
	}
	if code, _, stderr := cli(t, offline...); code != exitFailed || !strings.Contains(stderr, "in use") {
		t.Errorf("offline while a gateway runs: got %d %s", code, stderr)
	}
	g.stop()
	mustCLI(t, offline...)

	file := filepath.Join(g.data, "jetstream", "jetstream", "$G", "streams", "FUNKER_EVENTS", "msgs", "1.blk")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1 // in the second of three
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, stderr := cli(t, offline...)
	if code != exitFailed || !strings.Contains(strings.Join(strings.Fields(out), " "), "PROBLEM FUNKER_EVENTS 2 ") || !strings.Contains(stderr, "problems found: 1") {
		t.Errorf("offline: got %d %s%s", code, out, stderr)
	}
	g = serve(t, filepath.Dir(g.data), g.manifest, "--no-worker")
	code, out, _ = cli(t, "verify", "--nats-url", g.nats, "--data", g.data, "-o", "json")
	var r queue.VerifyReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitFailed || len(r.Findings) != 1 || r.Findings[0].First != 2 {
		t.Errorf("live: got %d %s, %v", code, out, err)
	}
	if farCode, far, _ := cli(t, g.far("verify", "-o", "json")...); farCode != code || far != out {
		t.Errorf("with --url: got %d %s, want %d %s", farCode, far, code, out)
	}
}

func TestVerify_SaysWhatItCannotVerify(t *testing.T) {
	for _, args := range [][]string{
		{"verify", "--offline", "--data", t.TempDir()},
		{"verify", "--data", t.TempDir()},
		{"backup", filepath.Join(t.TempDir(), "new"), "--data", t.TempDir()},
		{"restore", t.TempDir(), "--data", t.TempDir()},
	} {
		if code, _, stderr := cli(t, args...); code != exitFailed || stderr == "" {
			t.Errorf("%v: got %d %s", args, code, stderr)
		}
	}
}
