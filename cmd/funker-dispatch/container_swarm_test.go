//go:build swarm

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// docker runs the stock command with the engine of DOCKER_HOST, and returns what it prints.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	if os.Getenv("DOCKER_HOST") == "" {
		t.Fatal("set DOCKER_HOST to an engine for tests")
	}
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// ownImage makes an image with nothing but this program, and returns its id.
func ownImage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "funker-dispatch"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	archive := filepath.Join(dir, "image.tar")
	if out, err := exec.Command("tar", "-C", dir, "-cf", archive, "funker-dispatch").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	return docker(t, "import", archive)
}

// startGateway runs a command of ours in a container with these flags, on no network unless they say so.
func startGateway(t *testing.T, image, command string, flags ...string) (id string) {
	t.Helper()
	args := []string{"run", "-d", "--label", "funker.role=gateway"}
	if !slices.Contains(flags, "--network") {
		args = append(args, "--network", "none")
	}
	id = docker(t, slices.Concat(args, flags, []string{image, "/funker-dispatch"}, strings.Fields(command))...)
	t.Cleanup(func() { docker(t, "rm", "-f", "-v", id) })
	within(t, "the gateway in the container is ready", func() bool { return strings.Contains(docker(t, "logs", id), "msg=ready") })
	return id
}

func TestContainer_EveryCommandFindsTheGatewayOfThisMachine(t *testing.T) {
	image := ownImage(t)
	t.Chdir(t.TempDir())
	docker(t, "network", "create", "--subnet", "10.97.0.0/16", "control")
	t.Cleanup(func() { docker(t, "network", "rm", "control") })
	for name, c := range map[string]struct {
		command string
		flags   []string
	}{
		"with flags":     {"serve --data /somewhere --nats-listen 127.0.0.1:4333", nil},
		"with variables": {"serve --no-worker", []string{"-e", "FUNKER_DATA=/var/data", "-e", "FUNKER_NATS_LISTEN=0.0.0.0:4222"}},
		"on a network":   {"serve --no-worker --nats-listen 10.97.0.0/16:4222", []string{"--network", "control"}},
	} {
		t.Run(name, func(t *testing.T) {
			id := startGateway(t, image, c.command, c.flags...)
			mustCLI(t, "apply", write(t, t.TempDir(), "functions.yaml", oneTrigger))
			if got := mustCLI(t, "functions"); !strings.Contains(got, "Echo") {
				t.Errorf("functions: %s", got)
			}
			event := strings.TrimSpace(mustCLI(t, "invoke", "Echo", "--async"))
			for _, command := range [][]string{
				{"events", "list"}, {"events", "show", event}, {"events", "replay", event}, {"dead", "list"}, {"stats"}, {"verify"},
				{"backup", filepath.Join(t.TempDir(), "backup")},
			} {
				mustCLI(t, command...)
			}
			if got := mustCLI(t, "events", "list"); !strings.Contains(got, event) {
				t.Errorf("events list: %s", got)
			}
			within(t, "nothing is left running in the container", func() bool {
				return len(strings.Split(docker(t, "top", id), "\n")) == 2
			})
		})
	}
}

func TestContainer_SaysWhyThereIsNone(t *testing.T) {
	image := ownImage(t)
	t.Chdir(t.TempDir())
	wantFailure := func(want string) {
		t.Helper()
		if code, _, stderr := cli(t, "stats"); code != exitFailed || !strings.Contains(stderr, want) {
			t.Errorf("exit code %d, got %s, want %q", code, stderr, want)
		}
	}
	wantFailure("no container with the label funker.role=gateway runs on this machine")
	startGateway(t, image, "serve --no-worker", "--name", "first")
	startGateway(t, image, "serve --no-worker", "--name", "second")
	wantFailure("several gateways run on this machine (")
}

func TestContainer_ThatRunsSomethingElseIsNoGateway(t *testing.T) {
	image := ownImage(t)
	t.Chdir(t.TempDir())
	id := docker(t, "run", "-d", "--network", "none", "--label", "funker.role=gateway", image, "/funker-dispatch", "function", "hello")
	t.Cleanup(func() { docker(t, "rm", "-f", id) })
	if code, _, stderr := cli(t, "stats"); code != exitFailed || !strings.Contains(stderr, "does not run serve") {
		t.Errorf("exit code %d, got %s", code, stderr)
	}
}
