package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

func TestAdmin_WithoutAnythingSaysWhereItLooked(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("DOCKER_HOST", "unix:///no/such/socket")
	code, _, stderr := cli(t, "stats")
	if code != exitFailed || !strings.Contains(stderr, "There is no key data/admin.nk, and in a container: ") || !strings.Contains(stderr, "no Docker Engine answers") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if code, _, stderr := cli(t, "stats", "--data", "elsewhere"); code != exitFailed || strings.Contains(stderr, "container") {
		t.Errorf("a folder that was named: exit code %d: %s", code, stderr)
	}
}

func TestPipe_PrintsTheKeyOfTheDataFolder(t *testing.T) {
	s := serveStored(t, "--no-worker")
	got := mustCLI(t, "pipe", "--print-key", "--", "serve", "--data", s.data, "--no-worker")
	if !strings.HasPrefix(got, "SU") || strings.Count(got, "\n") != 1 {
		t.Errorf("got %q, want a seed", got)
	}
}

func TestPipe_ConnectsToTheAddressOfServe(t *testing.T) {
	s := serveStored(t, "--no-worker")
	address := strings.TrimPrefix(s.nats, "nats://")
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	for _, listen := range []string{address, "0.0.0.0:" + port, ":" + port, "localhost:" + port} {
		q, err := queue.DialWith(queue.DialOptions{
			URL: "nats://pipe", KeyFile: filepath.Join(s.data, queue.AdminKey), Role: queue.RoleAdmin, Log: silent,
			Dialer: func() (net.Conn, error) { return piped(t, listen), nil },
		})
		if err != nil {
			t.Errorf("%s: %v", listen, err)
			continue
		}
		if _, err := q.Stats(t.Context()); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
		if err := q.Close(); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
	}
}

// piped is the other end of a pipe command.
func piped(t *testing.T, listen string) net.Conn {
	t.Helper()
	here, there := net.Pipe()
	root := command(new(bool))
	root.SetArgs([]string{"pipe", "--", "serve", "--nats-listen", listen})
	root.SetIn(there)
	root.SetOut(there)
	done := make(chan error, 1)
	go func() {
		done <- root.ExecuteContext(context.WithoutCancel(t.Context()))
		there.Close()
	}()
	t.Cleanup(func() {
		here.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return here
}

func TestPipe_RefusesWhatIsNotServe(t *testing.T) {
	for _, args := range [][]string{{"function", "hello"}, {"serve", "--no-such-flag"}, {"serve", "--nats-listen", "no.such.host.invalid:4222"}, {"serve", "--nats-listen", "none"}} {
		var out bytes.Buffer
		root := command(new(bool))
		root.SetArgs(append([]string{"pipe", "--"}, args...))
		root.SetIn(strings.NewReader(""))
		root.SetOut(io.Discard)
		root.SetErr(&out)
		if err := root.Execute(); err == nil {
			t.Errorf("%q: it ran", args)
		}
	}
}
