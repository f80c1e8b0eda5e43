//go:build swarm

package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// filter starts HAProxy with a file of deploy/socket-proxy before the engine for tests. It returns the client of its socket.
func filter(t *testing.T, role string) *http.Client {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join(stacks, "socket-proxy", role+".cfg"))
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "engine.sock")
	cfg := strings.NewReplacer("/engine/engine.sock", socket, "/var/run/docker.sock", strings.TrimPrefix(os.Getenv("DOCKER_HOST"), "unix://")).Replace(string(text))
	var log buffer
	cmd := exec.Command(need(t, "haproxy"), "-f", write(t, dir, "haproxy.cfg", cfg))
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	within(t, "HAProxy listens", func() bool {
		c, err := net.Dial("unix", socket)
		return err == nil && c.Close() == nil
	})
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestSwarm_TheSocketProxyLetsThroughWhatARoleNeedsAndNothingElse(t *testing.T) {
	newNode(t)
	// The engine takes the first letters of an id for an id, and refuses to remove networks of its own with 403 as well:
	// no id starts with a capital letter.
	for role, calls := range map[string]struct{ passes, stops string }{
		"worker": {
			passes: `GET /_ping, HEAD /_ping, GET /version, GET /v1.41/info, GET /v1.41/containers/json?all=1, GET /v1.41/events?since=1&until=2`,
			stops: `GET /v1.41/services, GET /secrets, GET /containers/Nothing/json, GET /containers/Nothing/archive?path=/, GET /containers/Nothing/logs,
				GET /containers/json/../Nothing/archive?path=/, GET /containers/json%2f..%2fNothing/archive, GET //containers/Nothing/json, GET /v1.41/containers/json/,
				POST /containers/json, POST /containers/create, POST /containers/Nothing/exec, DELETE /containers/Nothing, PUT /containers/Nothing/archive, POST /events`,
		},
		"gateway": {
			passes: `HEAD /_ping, GET /v1.41/info, GET /v1.41/services?status=1, GET /services/Nothing, GET /tasks, GET /nodes, GET /networks, GET /secrets, GET /configs,
				GET /distribution/registry.invalid/a/b:1/json, GET /images/a/b:1/json, POST /services/create, POST /v1.41/services/Nothing/update?version=1,
				DELETE /services/Nothing, POST /v1.41/networks/create, DELETE /networks/Nothing`,
			stops: `GET /containers/json, GET /events, GET /services/Nothing/logs, GET /configs/Nothing, POST /containers/create, POST /services/create/../../containers/create,
				POST /networks/Nothing/connect, POST /secrets/create, DELETE /secrets/Nothing, POST /nodes/Nothing/update, DELETE /nodes/Nothing, POST /swarm/leave,
				POST /swarm/update, POST /images/create, POST /build, DELETE /containers/Nothing, PUT /services/Nothing, POST /networks/prune`,
		},
	} {
		client := filter(t, role)
		for call := range strings.SplitSeq(calls.passes, ",") {
			if code := ask(t, client, call); code == http.StatusForbidden {
				t.Errorf("%s: %s is stopped", role, call)
			}
		}
		for call := range strings.SplitSeq(calls.stops, ",") {
			if code := ask(t, client, call); code != http.StatusForbidden {
				t.Errorf("%s: %s passes, with %d", role, call, code)
			}
		}
	}
}

// ask sends "METHOD PATH" as it is written, without a body, and returns the status.
func ask(t *testing.T, client *http.Client, call string) int {
	t.Helper()
	method, path, _ := strings.Cut(strings.TrimSpace(call), " ")
	r, err := http.NewRequestWithContext(t.Context(), method, "http://docker"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	return a.StatusCode
}
