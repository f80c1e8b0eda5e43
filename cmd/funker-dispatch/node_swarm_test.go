//go:build swarm || swarm3

package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// node is a Docker Engine for tests, a manager of a swarm; DOCKER_HOST names it.
type node struct {
	*testing.T
	image string // ID of the image of this program
}

func newNode(t *testing.T) node {
	t.Helper()
	if os.Getenv("DOCKER_HOST") == "" {
		t.Fatal("there is no engine for tests: run .ci/dockerd go test …, or .ci/swarm3 run go test …")
	}
	n := node{T: t}
	if n.docker("info", "--format", "{{.Swarm.ControlAvailable}}") == "false" {
		n.docker("swarm", "init", "--advertise-addr", os.Getenv("DOCKERD_ADDR"))
	}
	n.image = ourImage(t)
	return n
}

// try runs docker.
func (n node) try(stdin io.Reader, args ...string) (string, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(n.Context(), "docker", args...)
	cmd.Stdin, cmd.Stderr = stdin, &stderr
	out, err := cmd.Output()
	if err != nil {
		return stderr.String(), err
	}
	return strings.TrimSpace(string(out)), nil
}

func (n node) docker(args ...string) string {
	n.Helper()
	out, err := n.try(nil, args...)
	if err != nil {
		n.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

// clean runs docker at the end of a test, when its context has ended.
func (n node) clean(args ...string) {
	if out, err := exec.Command("docker", args...).CombinedOutput(); err != nil {
		n.Errorf("docker %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// script runs one of the programs in .ci and returns what it prints.
func (n node) script(name string, args ...string) string {
	n.Helper()
	cmd := exec.Command(filepath.Join(root, ".ci", name), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		n.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// ourImage builds the last stage of Dockerfile, without the compiling in a container, once.
func ourImage(t *testing.T) string {
	t.Helper()
	id, err := builtImage()
	if err != nil {
		t.Fatalf("build image: %v: %s", err, id)
	}
	return id
}

var builtImage = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "funker-image-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	text, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		return "", err
	}
	_, stage, _ := strings.Cut(string(text), "\nFROM scratch\n")
	stage = strings.ReplaceAll(stage, "--from=build ", "")
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\n"+stage), 0o600); err != nil {
		return "", err
	}
	script := `mkdir -p etc/ssl/certs out/root/data out/root/tmp && chmod 770 out/root/data && chmod 1777 out/root/tmp &&
		cp /etc/ssl/certs/ca-certificates.crt etc/ssl/certs/ && CGO_ENABLED=0 go build -C "$OLDPWD" -o "$PWD/out/funker-dispatch" . &&
		DOCKER_BUILDKIT=1 /usr/bin/docker build --quiet .`
	out, err := exec.Command("sh", "-c", "cd "+dir+" && "+script).CombinedOutput()
	return strings.TrimSpace(string(out)), err
})
