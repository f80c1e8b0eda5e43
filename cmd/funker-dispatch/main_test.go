package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	runAsProgram()
	goleak.VerifyTestMain(m,
		// http.DefaultClient keeps idle connections of `sign --send` and of the tests.
		goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"))
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) { b.mu.Lock(); defer b.mu.Unlock(); return b.b.Write(p) }
func (b *buffer) String() string              { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }

// command runs one command line to its end.
func cli(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
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
	t.Cleanup(func() { stop() })
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
	deadline := time.After(20 * time.Second)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 20 s: %s", what)
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
	return g
}

func startFunction(t *testing.T, name string) (address string, stop func() int) {
	t.Helper()
	m, _, stop := background(t, `function ready.* address=(\S+)`, "function", name, "--listen", "127.0.0.1:0")
	return m[1], stop
}

func post(t *testing.T, url, body string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
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

// nodeFunction is what a user writes: the protocol with Node's standard library only.
const nodeFunction = `
const net = require("net"), fs = require("fs");
const server = net.createServer({allowHalfOpen: true}, socket => {
  let request = "";
  socket.setEncoding("utf8");
  socket.on("data", data => request += data);
  socket.on("end", () => {
    const push = JSON.parse(request);
    fs.appendFileSync(process.argv[2], push.ref + "\n");
    socket.end(JSON.stringify({ref: push.ref, commits: push.commits.length}));
  });
});
server.listen(0, "127.0.0.1", () => console.log("port " + server.address().port));
`

func startNode(t *testing.T, dir string) (address, journal string) {
	t.Helper()
	journal = filepath.Join(dir, "journal")
	cmd := exec.Command(need(t, "node"), write(t, dir, "function.js", nodeFunction), journal)
	var out buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	port := regexp.MustCompile(`port (\d+)`)
	within(t, "node listens", func() bool { return port.MatchString(out.String()) })
	return "127.0.0.1:" + port.FindStringSubmatch(out.String())[1], journal
}

const skill = "amzn1.ask.skill.5a3b1c0e-0000-4000-8000-000000000001"

func TestServe_AsANewUserWouldTryIt(t *testing.T) {
	dir := t.TempDir()
	hello, stopHello := startFunction(t, "hello")
	fetch, journal := startNode(t, dir)
	write(t, dir, "secret", "s3cret-of-the-hook")
	manifest := write(t, dir, "functions.yaml", fmt.Sprintf(`functions: {HelloIntent: {addresses: [%q]}, CommitFetch: {addresses: [%q]}}
triggers: [{alexa: %s, verify: id-only}, {github: acme, secret-file: secret, function: CommitFetch}]
`, hello, fetch, skill))
	g := serve(t, dir, manifest)
	admin := []string{"--nats-url", g.nats, "--data", g.data}

	alexa := mustCLI(t, "sign", "alexa", "--send", "--manifest", manifest, g.public)
	if !strings.Contains(alexa, "200 OK") || !strings.Contains(alexa, "Hello from your own swarm.") {
		t.Errorf("alexa: got %s", alexa)
	}
	push := mustCLI(t, "sign", "github", "--send", "--manifest", manifest, g.public)
	id := regexp.MustCompile(`"id":"(\w{26})"`).FindStringSubmatch(push)
	if id == nil || !strings.Contains(push, "202 Accepted") {
		t.Fatalf("push: got %s", push)
	}
	runs := func() int {
		data, err := os.ReadFile(journal)
		if err != nil {
			return 0
		}
		return bytes.Count(data, []byte("\n"))
	}
	show := func() string { return mustCLI(t, append([]string{"events", "show", id[1]}, admin...)...) }
	within(t, "the push has run", func() bool { return strings.Contains(show(), "CommitFetch ok") })
	if n := runs(); n != 1 {
		t.Errorf("the function's journal has %d runs, want 1", n)
	}
	mustCLI(t, append([]string{"events", "replay", id[1]}, admin...)...)
	within(t, "the replay has run", func() bool { return strings.Contains(show(), "replay of FUNKER_EVENTS/1") })
	if n := runs(); n != 2 {
		t.Errorf("the function's journal has %d runs, want 2", n)
	}
	var list []map[string]any
	if err := json.Unmarshal([]byte(mustCLI(t, append([]string{"events", "list", "-o", "json"}, admin...)...)), &list); err != nil || len(list) != 2 {
		t.Errorf("list: got %v, %v", list, err)
	}
	if got := mustCLI(t, append([]string{"invoke", "HelloIntent", "-d", `{"x":1}`}, admin...)...); !strings.Contains(got, "Hello from") {
		t.Errorf("invoke: got %s", got)
	}

	stopHello()
	begin := time.Now()
	code, body, header := post(t, g.public+"/alexa", alexaBody("HelloIntent"))
	if code != 200 || header.Get("Funker-Error") != "no_task" || !strings.Contains(body, "outputSpeech") || time.Since(begin) > 250*time.Millisecond {
		t.Errorf("killed function: got %d %s %v after %s", code, body, header, time.Since(begin))
	}
	if c, _, stderr := cli(t, append([]string{"invoke", "HelloIntent"}, admin...)...); c != exitFailed || !strings.Contains(stderr, "refused") {
		t.Errorf("invoke of a killed function: got %d %s", c, stderr)
	}
	if code := g.stop(); code != exitOK {
		t.Errorf("exit code %d: %s", code, g.log)
	}
	for _, secret := range []string{"s3cret-of-the-hook", `"commits"`} {
		if strings.Contains(g.log.String(), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
}

func alexaBody(intent string) string {
	return fmt.Sprintf(`{"version":"1.0","session":{"application":{"applicationId":%q}},"context":{"System":{"application":{"applicationId":%q}}},
"request":{"type":"IntentRequest","requestId":"r1","intent":{"name":%q}}}`, skill, skill, intent)
}

func TestWorker_TakesTheWorkOfAGatewayWithoutOne(t *testing.T) {
	dir := t.TempDir()
	hello, _ := startFunction(t, "hello")
	manifest := write(t, dir, "functions.yaml", fmt.Sprintf("functions: {Hello: {addresses: [%q]}}\n", hello))
	g := serve(t, dir, manifest, "--no-worker", "--functions")
	if code, body, _ := post(t, g.public+"/functions/Hello", "{}"); code != 503 || !strings.Contains(body, "no_worker") {
		t.Errorf("without a worker: got %d %s", code, body)
	}
	_, _, stop := background(t, "worker ready", "worker", "--nats-url", g.nats, "--key", filepath.Join(g.data, "worker.nk"), "--manifest", manifest)
	within(t, "the worker answers", func() bool {
		code, body, _ := post(t, g.public+"/functions/Hello", "{}")
		return code == 200 && strings.Contains(body, "Hello from")
	})
	if code := stop(); code != exitOK {
		t.Errorf("worker: exit code %d", code)
	}
	begin := time.Now()
	if code, body, _ := post(t, g.public+"/functions/Hello", "{}"); code != 503 || !strings.Contains(body, "no_worker") || time.Since(begin) > 250*time.Millisecond {
		t.Errorf("after the worker: got %d %s in %s", code, body, time.Since(begin))
	}
}

func TestServe_OriginalManifestAndVariables(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("authorizedApplicationId", skill)
	t.Setenv("DOCKER_SOCKET", socket)
	manifest := write(t, dir, "services.json", `{"version":"1.0","services":[
  {"type":"alexa","provider":"amazon","service":"HelloIntent","image":"me/hello"},{"type":"github","provider":"github","service":"CommitFetch"}]}`)
	g := serve(t, dir, manifest, "--insecure")
	code, body, header := post(t, g.public+"/", alexaBody("HelloIntent"))
	if code != 200 || header.Get("Funker-Error") != "no_task" {
		t.Errorf("alexa on /: got %d %s %v", code, body, header)
	}
	if code, body, _ := post(t, g.public+"/", `{"ref":"refs/heads/main","commits":[]}`); code != 202 {
		t.Errorf("push on /: got %d %s", code, body)
	}
	t.Setenv("DOCKER_SOCKET", manifest)
	if code, _, stderr := cli(t, "serve", "--manifest", manifest); code != exitFailed || !strings.Contains(stderr, "is not a socket") {
		t.Errorf("DOCKER_SOCKET that is a file: got %d %s", code, stderr)
	}
}

func TestServe_OriginalRequestsRunUnchanged(t *testing.T) {
	seed := os.Getenv("FUNKER_TEST_SEED")
	if seed == "" {
		t.Log("FUNKER_TEST_SEED is not set: the original's own files are not tried")
		return
	}
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(seed, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	dir := t.TempDir()
	t.Setenv("authorizedApplicationId", "amzn1.ask.skill.72fb1025-aacc-4d05-a582-21344940c023")
	hello, _ := startFunction(t, "hello")
	host, _ := startFunction(t, "hostname")
	fetch, _ := startFunction(t, "commits")
	serveOriginal := serve(t, t.TempDir(), filepath.Join(seed, "services.json"), "--insecure")
	if code, body, _ := post(t, serveOriginal.public+"/", read("github_push_event.json")); code != 202 {
		t.Errorf("push with the original's manifest: got %d %s", code, body)
	}
	manifest := write(t, dir, "functions.yaml", fmt.Sprintf(`
functions: {HelloIntent: {addresses: [%q]}, HostnameIntent: {addresses: [%q]}, CommitFetch: {addresses: [%q]}}
triggers: [{alexa: %s, verify: id-only}, {github: acme, insecure: true, function: CommitFetch}]
`, hello, host, fetch, os.Getenv("authorizedApplicationId")))
	g := serve(t, dir, manifest)
	for file, want := range map[string]string{"sample_request.json": "Hello from", "hostname_request.json": "My host is called"} {
		if code, body, _ := post(t, g.public+"/", read(file)); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: got %d %s", file, code, body)
		}
	}
	_, body, _ := post(t, g.public+"/", read("github_push_event.json"))
	id := regexp.MustCompile(`\w{26}`).FindString(body)
	within(t, "the push has run", func() bool {
		return strings.Contains(mustCLI(t, "events", "show", id, "--nats-url", g.nats, "--data", g.data), "CommitFetch ok")
	})
}

func TestDemo_EndsByItselfAndSaysWhatItDid(t *testing.T) {
	out := mustCLI(t, "demo")
	for _, want := range []string{"Hello from your own swarm.", `"status":"queued"`, `"duplicate":true`, "replay of FUNKER_EVENTS/1", "Funker-Error: no_task", "OUTCOME"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

func TestBench_PrintsEveryRow(t *testing.T) {
	var rows []row
	if err := json.Unmarshal([]byte(mustCLI(t, "bench", "--time", "50ms", "--rounds", "1", "-o", "json")), &rows); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.Rate <= 0 || r.P50 <= 0 || r.Failures > 0 {
			t.Errorf("got %+v", r)
		}
	}
	if len(rows) < 10 {
		t.Errorf("got %d rows", len(rows))
	}
}

func TestRun_ExitCodesAndMessages(t *testing.T) {
	dir := t.TempDir()
	bad := write(t, dir, "bad.yaml", "functions: {A: {adresses: []}}\nfoo: 1\n")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	good := write(t, dir, "good.yaml", "functions: {A: {addresses: [\"127.0.0.1:1\"]}}\n")
	file := write(t, dir, "file", "")
	for _, c := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"version"}, exitOK, ""},
		{[]string{"--help"}, exitOK, ""},
		{[]string{"completion", "bash"}, exitOK, ""},
		{[]string{"nonsense"}, exitUsage, "unknown command"},
		{[]string{"serve", "--nonsense"}, exitUsage, "unknown flag"},
		{[]string{"serve", "extra"}, exitUsage, "extra"},
		{[]string{"function", "nonsense"}, exitUsage, "nonsense"},
		{[]string{"invoke", "A", "-d", "{"}, exitUsage, "JSON"},
		{[]string{"serve", "--admin", "0.0.0.0:3001", "--manifest", good}, exitUsage, "loopback"},
		{[]string{"serve", "--manifest", bad}, exitFailed, "bad.yaml:2:1"},
		{[]string{"serve", "--manifest", filepath.Join(dir, "none.yaml")}, exitFailed, "none.yaml"},
		{[]string{"serve", "--manifest", good, "--data", filepath.Join(dir, "d1"), "--listen", l.Addr().String(), "--nats-listen", "127.0.0.1:0"}, exitFailed, "address already in use"},
		{[]string{"serve", "--manifest", good, "--data", filepath.Join(dir, "d2"), "--nats-listen", l.Addr().String()}, exitFailed, "in use"},
		{[]string{"serve", "--manifest", good, "--data", filepath.Join(file, "d3")}, exitFailed, "data folder"},
		{[]string{"events", "list", "--data", dir}, exitFailed, "admin.nk"},
		{[]string{"events", "list", "--since", "yesterday"}, exitUsage, "2h30m"},
		{[]string{"sign", "gitlab", "--manifest", good}, exitUsage, "no trigger"},
	} {
		code, _, stderr := cli(t, c.args...)
		if code != c.code || !strings.Contains(stderr, c.text) {
			t.Errorf("%v: got %d %q; want %d with %q", c.args, code, stderr, c.code, c.text)
		}
	}
	t.Setenv("FUNKER_GRACE", "soon")
	if code, _, stderr := cli(t, "serve", "--manifest", good); code != exitUsage || !strings.Contains(stderr, "FUNKER_GRACE") {
		t.Errorf("bad variable: got %d %s", code, stderr)
	}
}

func TestServe_RefusesADataFolderInUse(t *testing.T) {
	dir := t.TempDir()
	manifest := write(t, dir, "functions.yaml", "functions: {A: {addresses: [\"127.0.0.1:1\"]}}\n")
	g := serve(t, dir, manifest)
	code, _, stderr := cli(t, "serve", "--manifest", manifest, "--data", g.data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0")
	if code != exitFailed || !strings.Contains(stderr, "in use") || !strings.Contains(stderr, fmt.Sprint(os.Getpid())) {
		t.Errorf("got %d %s", code, stderr)
	}
}
