package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const someManifest = "functions: {A: {addresses: [\"127.0.0.1:1\"]}}\n"

// tokenIn reads a token that the gateway has made, which only its owner may.
func tokenIn(t *testing.T, file string) string {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("%s: %v, %v", file, info, err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// askAs sends a request with a token and returns the status.
func askAs(t *testing.T, method, url, token string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

func TestServe_MakesTwoTokensAndKeepsThem(t *testing.T) {
	dir := t.TempDir()
	manifest := write(t, dir, "functions.yaml", someManifest)
	g := serve(t, dir, manifest)
	admin, read := tokenIn(t, filepath.Join(g.data, "admin.token")), tokenIn(t, filepath.Join(g.data, "read.token"))
	if admin == read || len(admin) < 26 || len(read) < 26 {
		t.Errorf("the tokens have %d and %d characters", len(admin), len(read))
	}
	if got := askAs(t, "GET", g.admin+"/api/v1/stats", read); got != 200 {
		t.Errorf("looking with the read-only token: got %d", got)
	}
	if got := askAs(t, "DELETE", g.admin+"/api/v1/dead/1", read); got != 403 {
		t.Errorf("changing with the read-only token: got %d", got)
	}
	if got := askAs(t, "DELETE", g.admin+"/api/v1/dead/1", admin); got != 404 {
		t.Errorf("changing with the admin token: got %d", got)
	}
	g.stop()
	log := g.log.String()
	if !strings.Contains(log, "read.token") || strings.Contains(log, admin) || strings.Contains(log, read) {
		t.Errorf("the log says where the tokens are, and not what: %s", log)
	}
	again := serve(t, dir, manifest)
	if got := askAs(t, "GET", again.admin+"/api/v1/stats", read); got != 200 || strings.Contains(again.log.String(), "made a token") {
		t.Errorf("after a restart: got %d, %s", got, again.log)
	}
}

func TestServe_TheAdminSideLeavesLoopbackOnlyWhenToldTo(t *testing.T) {
	dir := t.TempDir()
	manifest := write(t, dir, "functions.yaml", someManifest)
	args := []string{"serve", "--manifest", manifest, "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0", "--admin"}
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "example.org:0"} {
		if code, _, stderr := cli(t, append(args, address)...); code != exitUsage || !strings.Contains(stderr, "--admin-insecure") {
			t.Errorf("%s: got %d %s", address, code, stderr)
		}
	}
	_, log, stop := background(t, "msg=ready", append(args, "0.0.0.0:0", "--admin-insecure")...)
	if text := log.String(); !strings.Contains(text, `level=WARN msg="INSECURE: the admin listener`) {
		t.Errorf("no warning: %s", text)
	}
	if code := stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestToken_IsPrintedWhereTheDataFolderIs(t *testing.T) {
	dir := t.TempDir()
	g := serve(t, dir, write(t, dir, "functions.yaml", someManifest), "--no-worker")
	for flag, file := range map[string]string{"--read-only=false": tokenFile, "--read-only": readTokenFile} {
		if got, want := mustCLI(t, "token", "--data", g.data, flag), tokenIn(t, filepath.Join(g.data, file)); got != want+"\n" {
			t.Errorf("%s: got %q, want %q", flag, got, want)
		}
	}
	if code, _, stderr := cli(t, "token", "--data", dir); code != exitFailed || !strings.Contains(stderr, "docker exec") {
		t.Errorf("without a data folder: exit code %d: %s", code, stderr)
	}
}
