package main

import (
	"path/filepath"
	"strings"
	"testing"
)

const healthManifest = "functions: {HelloIntent: {addresses: [\"127.0.0.1:9\"]}}\n"

func TestHealthcheck_TellsOfAGateway(t *testing.T) {
	dir := t.TempDir()
	g := serve(t, dir, write(t, dir, "functions.yaml", healthManifest), "--no-worker")
	if got := mustCLI(t, "healthcheck", g.public+healthPath); got != `{"status":"ok"}`+"\n" {
		t.Errorf("got %q", got)
	}
	g.stop()
	code, _, stderr := cli(t, "healthcheck", g.public+healthPath)
	if code != exitFailed || !strings.Contains(stderr, "connection refused") {
		t.Errorf("of a gateway that has gone: exit code %d, %s", code, stderr)
	}
}

func TestHealthcheck_TellsOfAWorkerWhetherItIsConnected(t *testing.T) {
	dir := t.TempDir()
	manifest := write(t, dir, "functions.yaml", healthManifest)
	nats := fixedAddress(t)
	first := serve(t, dir, manifest, "--no-worker", "--nats-listen", nats)
	m, _, _ := background(t, `health sign" url=(\S+)`, "worker", "--manifest", manifest, "--nats-url", first.nats,
		"--key", filepath.Join(first.data, "worker.nk"), "--health", "127.0.0.1:0")
	asked := func() (int, string) { code, _, stderr := cli(t, "healthcheck", m[1]); return code, stderr }
	connected := func() bool { code, _ := asked(); return code == exitOK }
	within(t, "the worker is connected", connected)
	first.stop()
	within(t, "the worker says what is wrong", func() bool {
		code, stderr := asked()
		return code == exitFailed && strings.Contains(stderr, "not connected to the queue")
	})
	serve(t, dir, manifest, "--no-worker", "--nats-listen", nats)
	within(t, "the worker is connected again", connected)
}

func TestHealthcheck_ReadsTheAddressFromTheCommandLineOfTheFirstProcess(t *testing.T) {
	t.Setenv("FUNKER_HEALTH", "127.0.0.1:3002")
	for line, want := range map[string]string{
		"/funker-dispatch serve":                                       "http://127.0.0.1:3000/healthz",
		"/funker-dispatch serve --listen :8080":                        "http://127.0.0.1:8080/healthz",
		"/funker-dispatch serve --listen=[::]:8080 --no-worker":        "http://127.0.0.1:8080/healthz",
		"/funker-dispatch serve --listen [fd00::1]:80 --grace 1s":      "http://[fd00::1]:80/healthz",
		"/funker-dispatch serve --tls-domain hooks.example.com":        "http://127.0.0.1:3001/healthz",
		"/funker-dispatch serve --tls-cert=c --tls-key=k --admin :81":  "http://127.0.0.1:81/healthz",
		"/funker-dispatch serve --tls-domain x --admin-tls-cert=c":     "https://127.0.0.1:3001/healthz",
		"/sbin/docker-init -- /funker-dispatch --log-level warn serve": "http://127.0.0.1:3000/healthz",
		"funker-dispatch worker --nats-url nats://queue:4222":          "http://127.0.0.1:3002/healthz",
		"funker-dispatch worker --health 10.0.0.7:3003":                "http://10.0.0.7:3003/healthz",
		"funker-dispatch worker --health=":                             "",
		"/funker-dispatch function hello --once":                       "",
	} {
		if got, err := healthURL(strings.Fields(line)); got != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", line, got, err, want)
		}
	}
}

func TestHealthcheck_AsksThePortOfTheOriginal(t *testing.T) {
	t.Setenv("port", "8081")
	if got, err := healthURL([]string{"/funker-dispatch", "serve"}); got != "http://127.0.0.1:8081/healthz" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestHealthcheck_RefusesWhatItCannotAsk(t *testing.T) {
	for line, want := range map[string]string{
		"/bin/sleep 1h":                          "say which URL to ask",
		"funker-dispatch serve --lisden :1":      "unknown flag",
		"funker-dispatch serve --listen nowhere": "missing port",
	} {
		if got, err := healthURL(strings.Fields(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q, %v, want %q", line, got, err, want)
		}
	}
}
