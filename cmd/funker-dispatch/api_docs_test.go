package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// apiScript is the block of docs/api.md that has a text, for a gateway.
func apiScript(t *testing.T, g gatewayUnderTest, text string) *exec.Cmd {
	t.Helper()
	need(t, "curl")
	for _, block := range blocks(documents(t)[filepath.Join("docs", "api.md")], "sh") {
		if strings.Contains(block, text) {
			script := strings.NewReplacer("http://127.0.0.1:3001", g.admin, "curl ", "curl -fsS ").Replace(block)
			cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
			cmd.Dir = filepath.Dir(g.data)
			cmd.WaitDelay = time.Second // curl may outlive the shell
			return cmd
		}
	}
	t.Fatalf("docs/api.md has no commands with %s", text)
	return nil
}

func TestDocs_CommandsOfTheManifestAndTheStreamRun(t *testing.T) {
	w := &workshop{t: t, runs: map[string]int{}}
	s := serveStored(t)
	w.gatewayUnderTest = s.gatewayUnderTest
	if code, _, stderr := s.apply(fmt.Sprintf("functions: {CommitCount: {addresses: [%q]}}\n", w.start("CommitCount"))); code != exitOK {
		t.Fatal(stderr)
	}
	out, err := apiScript(t, s.gatewayUnderTest, manifestPath).CombinedOutput()
	if err != nil || strings.Count(string(out), `"changes":[]`) != 2 {
		t.Errorf("manifest: %v\n%s", err, out)
	}
	cmd := apiScript(t, s.gatewayUnderTest, "/api/v1/stream")
	var seen buffer
	cmd.Stdout, cmd.Stderr = &seen, &seen
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	within(t, "the stream has an attempt", func() bool {
		w.send("CommitCount", `{"n":1}`)
		return strings.Contains(seen.String(), "event: attempt\ndata: {")
	})
	if code := s.stop(); code != exitOK {
		t.Errorf("exit code %d: %s", code, s.log)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("a gateway that stops does not end the stream: %v", err)
	}
}

func TestDocs_CommandsThatTestAndCallRun(t *testing.T) {
	w := &workshop{t: t, runs: map[string]int{}}
	s := serveStored(t)
	w.gatewayUnderTest = s.gatewayUnderTest
	secret := write(t, s.dir, "hook", "s3cret")
	if code, _, stderr := s.apply(fmt.Sprintf("functions: {CommitCount: {addresses: [%q]}}\ntriggers: [{github: acme, secret-file: %s, function: CommitCount}]\n",
		w.start("CommitCount"), secret)); code != exitOK {
		t.Fatal(stderr)
	}
	for text, want := range map[string]string{"/samples": `"status":202`, "/CommitCount/call": `{"id":"01`} {
		if out, err := apiScript(t, s.gatewayUnderTest, text).CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v\n%s", text, err, out)
		}
	}
	w.ranOften("CommitCount", 3)
	if code := s.stop(); code != exitOK {
		t.Errorf("exit code %d: %s", code, s.log)
	}
}
