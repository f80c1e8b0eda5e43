package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

func TestAdmin_AWorkersKeyIsRefusedAtOnce(t *testing.T) {
	dir := t.TempDir()
	g := serve(t, dir, write(t, dir, "functions.yaml", "functions: {A: {addresses: [\"127.0.0.1:1\"]}}\n"))
	begin := time.Now()
	code, _, stderr := cli(t, "stats", "--nats-url", g.nats, "--key", filepath.Join(g.data, queue.WorkerKey))
	want := "funker-dispatch: this key may not do that: use admin.nk of the data folder (--key or --data)\n"
	if code != exitFailed || stderr != want || time.Since(begin) > 5*time.Second {
		t.Errorf("got %d %q after %s", code, stderr, time.Since(begin))
	}
	if _, _, stderr := cli(t, "stats", "--nats-url", g.nats, "--data", dir); !strings.Contains(stderr, "admin.nk") {
		t.Errorf("without a key: %q", stderr)
	}
}
