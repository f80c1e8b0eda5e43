package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// pagedTrio is a trio whose gateways are started with the command lines of docs/cluster.md.
type pagedTrio struct {
	*loopbackTrio
	page string
}

var clusterAddress = regexp.MustCompile(`10\.0\.0\.(\d):6222`)

func newPagedTrio(t *testing.T) pagedTrio {
	t.Helper()
	p := pagedTrio{newLoopbackTrio(t), documents(t)["docs/cluster.md"]}
	function, _ := startFunction(t, "echo")
	write(t, p.dir, "functions.yaml", fmt.Sprintf("functions: {Echo: {addresses: [%q]}}", function))
	starts := p.lines("Three machines without Docker", "funker-dispatch serve ")
	if len(starts) != 1 {
		t.Fatalf("the page has other commands: %q", starts)
	}
	p.startAs("a", starts[0])
	p.startAs("b", strings.ReplaceAll(starts[0], "--cluster-name a", "--cluster-name b"))
	p.startAs("c", strings.ReplaceAll(starts[0], "--cluster-name a", "--cluster-name c"))
	for _, m := range p.gateways {
		m.awaitReady()
	}
	for _, line := range p.lines("Three machines without Docker", "funker-dispatch cluster status", "funker-dispatch apply") {
		p.run("a", line, exitOK)
	}
	return p
}

// lines are the commands of a section that begin with one of these words.
func (p pagedTrio) lines(section string, words ...string) (found []string) {
	p.t.Helper()
	_, text, ok := strings.Cut(p.page, "\n## "+section+"\n")
	if !ok {
		p.t.Fatalf("the page has no section %q", section)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	for _, block := range blocks(text, "sh") {
		for line := range strings.Lines(block) {
			if slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(line, w) }) {
				found = append(found, strings.TrimSpace(line))
			}
		}
	}
	if len(found) == 0 {
		p.t.Fatalf("%q has no command %q", section, words)
	}
	return found
}

func (p pagedTrio) gateway(name string) *member {
	return p.gateways[slices.Index([]string{"a", "b", "c"}, name)]
}

// startAs starts a gateway with a command line of the page, at addresses of this machine.
func (p pagedTrio) startAs(name, line string) {
	p.t.Helper()
	m := p.gateway(name)
	all := strings.Split(p.peers, ",")
	line = clusterAddress.ReplaceAllStringFunc(line, func(address string) string {
		return strings.SplitN(all[clusterAddress.FindStringSubmatch(address)[1][0]-'1'], "=", 2)[1]
	})
	line = strings.NewReplacer("/var/lib/funker", m.data, "cluster.key", p.key).Replace(line)
	if !strings.Contains(line, p.peers) || !strings.Contains(line, "--cluster-name "+name) {
		p.t.Fatalf("the command is another one: %s", line)
	}
	m.args = append(strings.Fields(line)[1:], "--functions", "--listen", m.public, "--admin", m.admin, "--nats-listen", m.nats, "--manifest", "")
	m.start()
}

// run runs a command of the page where a gateway is.
func (p pagedTrio) run(name, line string, want int) (stdout string) {
	p.t.Helper()
	args := strings.Fields(strings.NewReplacer("functions.yaml", filepath.Join(p.dir, "functions.yaml"), "/backup/", p.dir+"/").Replace(line))[1:]
	code, stdout, stderr := cli(p.t, append(args, "--nats-url", p.gateway(name).nats, "--data", p.gateway(name).data)...)
	if code != want {
		p.t.Fatalf("%s: exit code %d: %s%s", line, code, stdout, stderr)
	}
	return stdout
}

// publish stores events through any gateway.
func (p pagedTrio) publish(n int) {
	p.t.Helper()
	for i := range n {
		p.within("an event is stored", func() bool {
			code, _, _ := cli(p.t, p.args("invoke", "Echo", "--async", "-d", fmt.Sprint(i))...)
			return code == exitOK
		})
	}
}

var balanceLine = regexp.MustCompile(`(\d+) accepted \+ 0 replays = 0 waiting \+ 0 running \+ 0 scheduled \+ (\d+) succeeded \+ 0 dead .*; drift 0`)

// succeeded waits until a gateway knows that all events have succeeded, and at least so many: one that was not confirmed
// while a gateway was lost may be stored, too.
func (p pagedTrio) succeeded(name string, n int) {
	p.t.Helper()
	var got string
	withinLimit(p.t, 2*time.Minute, func() string { return name + " knows of all events: " + got }, func() bool {
		_, got, _ = cli(p.t, "stats", "--nats-url", p.gateway(name).nats, "--data", p.gateway(name).data)
		m := balanceLine.FindStringSubmatch(got)
		if m == nil || m[1] != m[2] {
			return false
		}
		accepted, err := strconv.Atoi(m[1])
		return err == nil && accepted >= n
	})
}

func TestDocs_AProxyAndThePagesCommandsSurviveTheLossOfAGateway(t *testing.T) {
	haproxy := need(t, "haproxy")
	p := newPagedTrio(t)
	front := fixedAddress(t)
	replace := []string{"10.0.0.10:3000", front}
	for i, m := range p.gateways {
		replace = append(replace, fmt.Sprintf("10.0.0.%d:3000", i+1), m.public)
	}
	config := strings.NewReplacer(replace...).Replace(blocks(p.page, "haproxy")[0])
	cmd := exec.Command(haproxy, "-f", write(t, p.dir, "haproxy.cfg", config+"\n"))
	var log buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		if _ = cmd.Wait(); t.Failed() {
			t.Logf("haproxy: %s", &log)
		}
	})
	call := func() int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+front+"/functions/Echo", strings.NewReader("1"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Prefer", "respond-async")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0
		}
		res.Body.Close()
		return res.StatusCode
	}
	sent := 0
	send := func(n int) {
		for range n {
			if status := call(); status != http.StatusAccepted {
				t.Errorf("a request is answered %d", status)
			}
			sent++
		}
	}
	within(t, "the proxy has found a gateway", func() bool { return call() == http.StatusAccepted })
	sent++
	send(10)
	p.gateway("b").kill()
	within(t, "the stream has a leader", func() bool { return call() == http.StatusAccepted })
	sent++
	send(30)
	p.within("the page's command says who is away", func() bool {
		code, stdout, _ := cli(t, p.args("cluster", "status")...)
		return code == exitFailed && strings.Contains(stdout, "the gateway b is not reached from ")
	})
	for _, line := range p.lines("At three in the morning", "funker-dispatch stats") {
		p.within(line+" is answered", func() bool { // not yet while consumers have no leader
			code, _, _ := cli(t, p.args(strings.Fields(line)[1:]...)...)
			return code == exitOK
		})
	}
	p.gateway("b").start()
	p.run("b", p.lines("Upgrade", "funker-dispatch cluster status")[0], exitOK)
	for _, name := range []string{"a", "b", "c"} {
		p.succeeded(name, sent)
	}
}

func TestDocs_AMachineThatIsLostIsReplacedByOneWithAnEmptyFolder(t *testing.T) {
	p := newPagedTrio(t)
	p.publish(20)
	p.succeeded("a", 20)
	c := p.gateway("c")
	c.kill()
	if err := os.RemoveAll(c.data); err != nil {
		t.Fatal(err)
	}
	p.startAs("c", p.lines("Replace a machine", "funker-dispatch serve ")[0])
	c.awaitReady()
	p.run("c", p.lines("Replace a machine", "funker-dispatch cluster status")[0], exitOK)
	p.gateway("b").kill() // c has to do for it at once
	p.publish(1)
	p.succeeded("c", 21)
}

func TestDocs_AnotherKeyIsTakenByARestartOfAll(t *testing.T) {
	p := newPagedTrio(t)
	p.publish(5)
	p.succeeded("b", 5)
	a := p.gateway("a")
	old, oldToken := fileText(t, filepath.Join(a.data, "admin.nk")), fileText(t, filepath.Join(a.data, tokenFile))
	if got := p.lines("Another key", "funker-dispatch cluster key >"); got[0] != "funker-dispatch cluster key > cluster.key" {
		t.Errorf("the page has another command: %q", got)
	}
	write(t, p.dir, "cluster.key", mustCLI(t, "cluster", "key"))
	begin := time.Now()
	for _, m := range p.gateways {
		m.terminate()
		m.start()
	}
	for _, m := range p.gateways {
		m.awaitReady()
	}
	t.Logf("all had another key after %s", time.Since(begin).Round(time.Millisecond))
	p.run("a", "funker-dispatch cluster status --wait 50s", exitOK)
	p.publish(5)
	p.succeeded("c", 10)
	oldKey := write(t, t.TempDir(), "admin.nk", string(old))
	if code, _, stderr := cli(t, "stats", "--nats-url", a.nats, "--key", oldKey); code != exitFailed || !strings.Contains(stderr, "Authorization Violation") {
		t.Errorf("the old key: exit code %d: %s", code, stderr)
	}
	if status, _ := fetchWith(t, "http://"+a.admin+"/api/v1/stats", strings.TrimSpace(string(oldToken))); status != http.StatusUnauthorized {
		t.Errorf("the old token is answered %d", status)
	}
}

func TestDocs_ABackupOfAClusterIsRestoredAsAGatewayThatStandsAlone(t *testing.T) {
	p := newPagedTrio(t)
	p.publish(10)
	p.succeeded("b", 10)
	line := p.lines("Backup", "funker-dispatch backup")[0]
	p.run("b", line, exitOK)
	backup, data := filepath.Join(p.dir, filepath.Base(line)), filepath.Join(p.dir, "restored")
	mustCLI(t, "restore", backup, "--data", data)
	if code, _, stderr := cli(t, "serve", "--data", data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0",
		"--cluster-name", "a", "--cluster-peers", strings.ReplaceAll(p.peers, "a="+strings.Split(p.peers, ",")[0][2:], "a="+fixedAddress(t)), "--cluster-key", p.key); code != exitFailed || !strings.Contains(stderr, "another gateway's") {
		t.Errorf("a cluster takes the folder: exit code %d: %s", code, stderr)
	}
	nats := fixedAddress(t)
	alone := newProcess(t, "alone", "msg=ready", "serve", "--data", data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--nats-listen", nats)
	alone.start()
	alone.awaitReady()
	if got := mustCLI(t, "cluster", "status", "--nats-url", nats, "--data", data); !strings.HasPrefix(got, "This gateway is in no cluster") {
		t.Errorf("got %q", got)
	}
	within(t, "it knows of all events", func() bool {
		_, got, _ := cli(t, "stats", "--nats-url", nats, "--data", data)
		m := balanceLine.FindStringSubmatch(got)
		return m != nil && m[1] == m[2] && len(m[1]) >= len("10")
	})
}
