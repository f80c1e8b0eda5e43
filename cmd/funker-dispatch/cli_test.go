package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) { b.mu.Lock(); defer b.mu.Unlock(); return b.b.Write(p) }
func (b *buffer) String() string              { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }

// cliLimit is how long a command line may take, and patience how long a condition: long enough for a machine that does
// many other things, which are no fault.
const (
	cliLimit = 5 * time.Minute
	patience = time.Minute
)

// cli runs one command line to its end.
func cli(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs buffer
	ctx, cancel := context.WithTimeout(t.Context(), cliLimit)
	defer cancel()
	code = run(ctx, args, &out, &errs)
	return code, out.String(), errs.String()
}

func mustCLI(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := cli(t, args...)
	if code != exitOK {
		t.Fatalf("%v: exit code %d: %s", args, code, stderr)
	}
	return stdout
}

// background runs one command line until the test ends or stop is called, and returns once its log matches ready.
func background(t *testing.T, ready string, args ...string) (match []string, log *buffer, stop func() int) {
	t.Helper()
	log = &buffer{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() { done <- run(ctx, args, io.Discard, log) }()
	stop = sync.OnceValue(func() int { cancel(); return <-done })
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("end of the log of %v:\n%s", args, tail(log.String(), 40))
		}
	})
	pattern := regexp.MustCompile(ready)
	within(t, "the log says "+ready, func() bool {
		match = pattern.FindStringSubmatch(log.String())
		if match == nil && len(done) > 0 {
			t.Fatalf("%v has ended: %s", args, log)
		}
		return match != nil
	})
	return match, log, stop
}

func within(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// gatewayUnderTest is a `serve` with its addresses.
type gatewayUnderTest struct {
	public, admin, nats, data, manifest string
	log                                 *buffer
	stop                                func() int
}

func serve(t *testing.T, dir, manifest string, args ...string) gatewayUnderTest {
	t.Helper()
	g := gatewayUnderTest{data: filepath.Join(dir, "data"), manifest: manifest}
	args = append([]string{"serve", "--manifest", manifest, "--data", g.data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
		"--nats-listen", "127.0.0.1:0", "--grace", "2s"}, args...)
	m, log, stop := background(t, `msg=ready public=(\S+) admin=(\S+) nats=(\S+)`, args...)
	g.public, g.admin, g.nats, g.log, g.stop = m[1], m[2], m[3], log, stop
	if !slices.Contains(args, "--no-worker") {
		within(t, "the worker is ready", func() bool { return strings.Contains(log.String(), "worker ready") })
	}
	return g
}

func startFunction(t *testing.T, name string) (address string, stop func() int) {
	t.Helper()
	m, _, stop := background(t, `function ready.* address=(\S+)`, "function", name, "--listen", "127.0.0.1:0")
	return m[1], stop
}

// post sends JSON, with more headers: names and values in turn.
func post(t *testing.T, url, body string, header ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer), resp.Header
}

// need returns the path of a program; without it the test is skipped, and fails in CI.
func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	switch {
	case err == nil:
		return path
	case os.Getenv("CI") == "true":
		t.Fatalf("CI must install %s", program)
	}
	t.Skipf("NOT TESTED: %s is not installed", program)
	return ""
}
