package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// asProgram makes the test binary the program itself, for processes that are killed.
const asProgram = "FUNKER_TEST_AS_PROGRAM"

func runAsProgram() {
	if os.Getenv(asProgram) != "" {
		main()
	}
}

// child starts one command line in a process of its own and waits until its log has the text.
func child(t *testing.T, ready string, args ...string) (kill func()) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var log buffer
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		// The process may have been killed already.
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(kill)
	within(t, "the log of "+args[0]+" says "+ready, func() bool { return strings.Contains(log.String(), ready) })
	return kill
}

func TestServe_KilledGatewayLosesNoAcceptedEventAndItsWorkerComesBack(t *testing.T) {
	dir := t.TempDir()
	fetch, _ := startFunction(t, "commits")
	write(t, dir, "secret", "hook")
	manifest := write(t, dir, "functions.yaml", fmt.Sprintf(`
functions: {CommitFetch: {addresses: [%q]}}
triggers: [{github: acme, secret-file: secret, function: CommitFetch}]
`, fetch))
	data, public, nats := filepath.Join(dir, "data"), fixedAddress(t), fixedAddress(t)
	gateway := []string{"serve", "--manifest", manifest, "--data", data, "--listen", public, "--admin", "127.0.0.1:0", "--nats-listen", nats, "--no-worker"}
	send := func() { mustCLI(t, "sign", "github", "--send", "--manifest", manifest, "http://"+public) }
	succeeded := func() int {
		var list []struct{ State string }
		out := mustCLI(t, "events", "list", "--outcome", "ok", "--limit", "100", "-o", "json", "--nats-url", "nats://"+nats, "--data", data)
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			t.Fatal(err)
		}
		return len(list)
	}

	kill := child(t, "msg=ready", gateway...)
	for range 10 {
		send()
	}
	kill()
	kill = child(t, "msg=ready", gateway...)
	background(t, "worker ready", "worker", "--nats-url", "nats://"+nats, "--key", filepath.Join(data, "worker.nk"), "--manifest", manifest)
	within(t, "the events of the killed gateway have run", func() bool { return succeeded() == 10 })
	kill()
	child(t, "msg=ready", gateway...)
	send()
	within(t, "the worker takes work of the new gateway", func() bool { return succeeded() == 11 })
	admin := []string{"--nats-url", "nats://" + nats, "--data", data}
	begin := time.Now()
	mustCLI(t, append([]string{"invoke", "CommitFetch", "--timeout", "15s"}, admin...)...)
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("the worker took %s for the first call of the new gateway", d)
	}
}

func TestServe_StoppingAnswersTheCallsThatRun(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	begun, conns := make(chan struct{}, 1), make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		begun <- struct{}{}
		conns <- c // never answered
	}()
	manifest := write(t, dir, "functions.yaml", fmt.Sprintf("functions: {Hangs: {addresses: [%q]}}\n", l.Addr()))
	g := serve(t, dir, manifest, "--functions", "--grace", "300ms")
	answered := make(chan string, 1)
	go func() {
		code, body, _ := post(t, g.public+"/functions/Hangs", "{}")
		answered <- fmt.Sprint(code, " ", body)
	}()
	select {
	case <-begun:
	case got := <-answered:
		t.Fatalf("the call did not reach the function: %s", got)
	}
	begin := time.Now()
	if code := g.stop(); code != exitOK {
		t.Errorf("exit code %d: %s", code, g.log)
	}
	if d := time.Since(begin); d > 6*time.Second {
		t.Errorf("stopping took %s with a grace of 300ms", d)
	}
	if got := <-answered; !strings.HasPrefix(got, "503") || !strings.Contains(got, "stopping") {
		t.Errorf("the call was answered %s", got)
	}
	if err := (<-conns).Close(); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
