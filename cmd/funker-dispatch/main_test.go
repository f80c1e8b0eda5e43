package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	runAsProgram()
	goleak.VerifyTestMain(m,
		// http.DefaultClient keeps idle connections of `sign --send` and of the tests.
		goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"),
		// certmagic has one rate limiter for each authority, for as long as the process lives, and looks every 5 s whether a
		// lock is still held.
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"))
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
	write(t, dir, "secret", "s3cret")
	senders := write(t, dir, "senders.yaml", "functions: {A: }\ntriggers: [{github: acme, secret-file: secret, function: A}]\n")
	for _, c := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"version"}, exitOK, ""},
		{[]string{"--help"}, exitOK, ""},
		{[]string{"completion", "bash"}, exitOK, ""},
		{[]string{"--version"}, exitOK, ""},
		{[]string{"nonsense"}, exitUsage, "unknown command \"nonsense\" of funker-dispatch\nSee 'funker-dispatch --help'."},
		{[]string{"evnts"}, exitUsage, "did you mean events?"},
		{[]string{"events", "list", "--limit", "0"}, exitUsage, "--limit"},
		{[]string{"dead", "list", "--limit", "1001"}, exitUsage, "take 1 to 1000"},
		{[]string{"events", "lst"}, exitUsage, "unknown command \"lst\" of funker-dispatch events; did you mean list?\nSee 'funker-dispatch events --help'."},
		{[]string{"events", "show"}, exitUsage, "ID is missing: funker-dispatch events show ID"},
		{[]string{"events", "list", "--nonsense"}, exitUsage, "See 'funker-dispatch events list --help'."},
		{[]string{"invoke", "A", "B"}, exitUsage, "there is an argument too much, \"B\": funker-dispatch invoke FUNCTION"},
		{[]string{"sign"}, exitUsage, "TRIGGER is missing"},
		{[]string{"serve", "--durability", "some", "--manifest", good}, exitUsage, "take group, always or none"},
		{[]string{"serve", "--nonsense"}, exitUsage, "unknown flag"},
		{[]string{"serve", "extra"}, exitUsage, "extra"},
		{[]string{"function", "nonsense"}, exitUsage, "there is no \"nonsense\": take commits, echo, hello or hostname"},
		{[]string{"function"}, exitUsage, "is missing"},
		{[]string{"invoke", "A", "-d", "{"}, exitUsage, "JSON"},
		{[]string{"invoke", "A", "-d", "no-such-file.json"}, exitUsage, "JSON"},
		{[]string{"invoke", "A", "-d", bad}, exitUsage, bad + " is a file: to read it write @" + bad},
		{[]string{"events", "replay", "A", "--edited", bad}, exitUsage, bad + " is a file: to read it write @" + bad},
		{[]string{"sign", "github", "-d", bad, "--manifest", senders}, exitUsage, bad + " is a file: to read it write @" + bad},
		{[]string{"serve", "--admin", "0.0.0.0:3001", "--manifest", good}, exitUsage, "loopback"},
		{[]string{"serve", "--max-events", "10", "--manifest", good}, exitUsage, "--max-events 10: choose 16MiB or more"},
		{[]string{"serve", "--ack-wait", "1ms", "--manifest", good}, exitUsage, "--ack-wait 1ms: choose"},
		{[]string{"serve", "--grace", "-1s", "--manifest", good}, exitUsage, "--grace -1s: choose 0s or more"},
		{[]string{"worker", "--grace", "-1s", "--manifest", good}, exitUsage, "--grace -1s: choose 0s or more"},
		{[]string{"serve", "--max-in-flight", "0", "--manifest", good}, exitUsage, "--max-in-flight 0: choose 1 or more"},
		{[]string{"serve", "--max-body", "67108865", "--manifest", good}, exitUsage, "--max-body 67108865: choose 1 to 67108864"},
		{[]string{"serve", "--max-in-flight-bytes", "100", "--manifest", good}, exitUsage, "--max-in-flight-bytes 100: choose"},
		{[]string{"serve", "--listen", "3000", "--manifest", good}, exitUsage, `--listen "3000": address 3000: missing port`},
		{[]string{"serve", "--listen", "127.0.0.1:99999", "--manifest", good}, exitUsage, `--listen "127.0.0.1:99999"`},
		{[]string{"serve", "--nats-listen", "nats", "--manifest", good}, exitUsage, `--nats-listen "nats"`},
		{[]string{"serve", "--manifest", bad}, exitFailed, "bad.yaml:2:1"},
		{[]string{"serve", "--manifest", filepath.Join(dir, "none.yaml")}, exitFailed, "none.yaml"},
		{[]string{"serve", "--manifest", good, "--data", filepath.Join(dir, "d1"), "--listen", l.Addr().String(), "--nats-listen", "127.0.0.1:0"}, exitFailed, "--listen: listen tcp"},
		{[]string{"serve", "--manifest", good, "--data", filepath.Join(dir, "d2"), "--nats-listen", l.Addr().String()}, exitFailed, "in use: --nats-listen"},
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
	if _, long, _ := cli(t, "--version"); long != mustCLI(t, "version") {
		t.Errorf("--version prints %q", long)
	}
	t.Setenv("FUNKER_GRACE", "soon")
	if code, _, stderr := cli(t, "serve", "--manifest", good); code != exitUsage || !strings.Contains(stderr, "FUNKER_GRACE") {
		t.Errorf("bad variable: got %d %s", code, stderr)
	}
}
