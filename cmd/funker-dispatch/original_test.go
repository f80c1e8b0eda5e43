package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

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
