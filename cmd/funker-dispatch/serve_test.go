package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

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
	if id == nil || !strings.HasPrefix(push, "202 Accepted\nFunker-Event-Id: "+id[1]+"\n{") || !strings.HasSuffix(push, "}\n") {
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
	if code != 200 || header.Get("Funker-Error") != "no_task" || !strings.Contains(body, "outputSpeech") || time.Since(begin) > 3*time.Second {
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
	if code, body, _ := post(t, g.public+"/functions/Hello", "{}"); code != 503 || !strings.Contains(body, "no_worker") || time.Since(begin) > 3*time.Second {
		t.Errorf("after the worker: got %d %s in %s", code, body, time.Since(begin))
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
	if code := g.stop(); code != exitOK || !strings.Contains(g.log.String(), `msg=stopping reason="context canceled"`) || !strings.HasSuffix(g.log.String(), "msg=stopped\n") {
		t.Errorf("stop: %d\n%s", code, g.log)
	}
}
