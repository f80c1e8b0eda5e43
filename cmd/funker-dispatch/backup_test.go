package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestBackup_RestoredGatewayRunsWhatWaited(t *testing.T) {
	old := waiting(t, 5)
	backup, data := filepath.Join(t.TempDir(), "today"), filepath.Join(t.TempDir(), "data")
	if out := mustCLI(t, "backup", backup, "--nats-url", old.nats, "--data", old.data); !strings.HasSuffix(out, "nothing is wrong\nsaved to "+backup+"\n") {
		t.Errorf("backup: got %s", out)
	}
	if code, _, stderr := cli(t, "backup", backup, "--nats-url", old.nats, "--data", old.data); code != exitFailed || !strings.Contains(stderr, "exists") {
		t.Errorf("second backup: got %d %s", code, stderr)
	}
	old.stop()
	if code, _, stderr := cli(t, "restore", backup, "--data", old.data); code != exitFailed || !strings.Contains(stderr, "choose another folder with --data") {
		t.Errorf("restore into a used folder: got %d %s", code, stderr)
	}
	out := mustCLI(t, "restore", backup, "--data", data)
	if !strings.Contains(strings.Join(strings.Fields(out), " "), "FUNKER_EVENTS 5 0 1 5 ") {
		t.Errorf("restore: got %s", out)
	}
	for _, key := range []string{"admin.nk", "worker.nk", tokenFile} {
		if _, err := os.Stat(filepath.Join(data, key)); err == nil {
			t.Errorf("%s is restored", key)
		}
	}

	fn, _ := startFunction(t, "hello")
	manifest := write(t, t.TempDir(), "functions.yaml", fmt.Sprintf("functions: {Waits: {addresses: [%q]}}\n", fn))
	g := serve(t, filepath.Dir(data), manifest)
	within(t, "the events have run", func() bool {
		var list []struct{ State string }
		err := json.Unmarshal([]byte(mustCLI(t, "events", "list", "--outcome", "ok", "-o", "json", "--nats-url", g.nats, "--data", g.data)), &list)
		return err == nil && len(list) == 5
	})
	mustCLI(t, "verify", "--nats-url", g.nats, "--data", g.data)
}

// TestBackup_IsWhatTheNATSCommandMakes restores ours with theirs.
func TestBackup_IsWhatTheNATSCommandMakes(t *testing.T) {
	program := need(t, "nats")
	g := waiting(t, 3)
	backup := filepath.Join(t.TempDir(), "today")
	mustCLI(t, "backup", backup, "--nats-url", g.nats, "--data", g.data)
	g.stop()
	dir := t.TempDir()
	empty := serve(t, dir, write(t, dir, "functions.yaml", "functions: {Waits: {addresses: [\"127.0.0.1:1\"]}}\n"), "--no-worker")
	nats := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Env = append(os.Environ(), "NATS_URL="+empty.nats, "NATS_NKEY="+filepath.Join(empty.data, "admin.nk"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("nats %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	events := filepath.Join(backup, "FUNKER_EVENTS")
	nats("backup", "validate", events)
	if out := nats("backup", "info", events); !strings.Contains(out, "fn-Waits") {
		t.Errorf("got %s", out)
	}
	nats("stream", "rm", "FUNKER_EVENTS", "-f")
	nats("backup", "restore", "stream", events, "--no-progress")
	if out := nats("stream", "get", "FUNKER_EVENTS", "3"); !strings.Contains(out, "Funker-Function: Waits") {
		t.Errorf("got %s", out)
	}
}
