//go:build swarm

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSwarm_TheManualWorksWordForWord runs the commands of the first section of docs/swarm.md. Each is tried until it
// succeeds: a person looks before going on.
func TestSwarm_TheManualWorksWordForWord(t *testing.T) {
	n := newNode(t)
	n.docker("tag", n.image, "funker-dispatch")
	section, _, _ := strings.Cut(documents(t)["docs/swarm.md"], "\n## One machine")
	dir := t.TempDir()
	write(t, dir, "functions.yaml", blocks(section, "yaml")[0])
	path := n.onPath(dir)
	t.Cleanup(func() { n.removeStack("HelloIntent") })
	answers := map[string]string{
		"sh alexa.sh":                 "Hello from your own swarm.",
		"funker-dispatch events list": "HelloIntent",
		"funker-dispatch stats":       "drift 0",
	}
	for _, block := range blocks(section, "sh") {
		for line := range strings.Lines(block) {
			if line = strings.TrimSpace(line); line != "docker swarm init" { // newNode has done that
				n.shell(dir, path, line, answers[line])
				delete(answers, line)
			}
		}
	}
	if len(answers) > 0 {
		t.Errorf("the manual does not say any more: %v", answers)
	}
}

func (n node) removeStack(function string) {
	n.clean("service", "rm", function)
	within(n.T, "nothing is left of the stack", func() bool {
		err := exec.Command("docker", "stack", "rm", "funker").Run()
		return err == nil && exec.Command("docker", "network", "inspect", "funker").Run() != nil && exec.Command("docker", "network", "inspect", "funker-control").Run() != nil
	})
	within(n.T, "the volume is removed, whose files belong to the user of this stack", func() bool {
		return exec.Command("docker", "volume", "rm", "--force", "funker_data").Run() == nil
	})
}

func TestSwarm_TheStackBehindTheSocketProxyMakesAndCallsFunctions(t *testing.T) {
	n := newNode(t)
	n.docker("tag", n.image, "funker-dispatch")
	t.Setenv("FUNKER_PROXY_IMAGE", n.proxyImage())
	doc := documents(t)["docs/swarm.md"]
	dir := t.TempDir()
	write(t, dir, "functions.yaml", blocks(doc, "yaml")[0])
	path := n.onPath(dir)
	t.Cleanup(func() { n.removeStack("HelloIntent") })
	deploy := "docker stack deploy -c deploy/stack.yml -c deploy/stack-socket-proxy.yml funker"
	if !strings.Contains(doc, deploy) {
		t.Errorf("docs/swarm.md does not say %s", deploy)
	}
	n.shell(dir, path, deploy, "")
	n.shell(dir, path, "funker-dispatch apply functions.yaml", "")
	n.shell(dir, path, "funker-dispatch sign alexa > alexa.sh && sh alexa.sh", "Hello from your own swarm.")
	n.shell(dir, path, "funker-dispatch functions", "HelloIntent")
	for _, role := range []string{"gateway", "worker"} {
		id := n.docker("ps", "--quiet", "--filter", "label=funker.role="+role)
		got := n.docker("inspect", "--format", "{{.Config.User}} {{range .Mounts}}{{.Type}}:{{.Destination}} {{end}}", id)
		if !strings.HasPrefix(got, "65532:65532 ") || !strings.Contains(got, "volume:/var/run/docker.sock") || strings.Contains(got, "bind:") {
			t.Errorf("the %s can reach Docker past the filter: %s", role, got)
		}
	}
}

// proxyImage makes an image of HAProxy that is started as that of a registry is.
func (n node) proxyImage() string {
	n.Helper()
	base := n.script("function-image", "haproxy", n.TempDir())
	n.docker("tag", base, "haproxy-base")
	out, err := n.try(strings.NewReader("FROM haproxy-base\nENTRYPOINT []\n"), "build", "--tag", "haproxy-test", "-")
	if err != nil {
		n.Fatalf("build image: %v: %s", err, out)
	}
	return "haproxy-test"
}

// onPath makes a folder for commands in dir, with this program, and gives dir the stack files. It returns a PATH.
func (n node) onPath(dir string) string {
	n.Helper()
	self, err := os.Executable()
	if err != nil {
		n.Fatal(err)
	}
	deploy, err := filepath.Abs(stacks)
	if err != nil {
		n.Fatal(err)
	}
	bin := n.TempDir()
	wrapper := write(n.T, bin, "funker-dispatch", "#!/bin/sh\n"+asProgram+"=1 exec "+self+" \"$@\"\n")
	if err := errors.Join(os.Chmod(wrapper, 0o700), os.Symlink(deploy, filepath.Join(dir, "deploy"))); err != nil {
		n.Fatal(err)
	}
	return bin + ":" + os.Getenv("PATH")
}

// shell runs a line until it succeeds and prints want.
func (n node) shell(dir, path, line, want string) {
	n.Helper()
	var out []byte
	defer func() { n.Logf("$ %s\n%s", line, out) }()
	within(n.T, line+" succeeds", func() bool {
		cmd := exec.CommandContext(n.Context(), "sh", "-c", line)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+path)
		var err error
		out, err = cmd.CombinedOutput()
		return err == nil && strings.Contains(string(out), want)
	})
}
