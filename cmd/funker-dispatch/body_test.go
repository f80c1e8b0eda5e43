package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// largestPush is a push of 25 MiB, the largest that GitHub sends. No two pages of it are the same.
func largestPush() []byte {
	push := append([]byte(`{"ref":"refs/heads/main","commits":[],"pad":"`), bytes.Repeat([]byte("x"), 25<<20)...)
	for i := 4096; i < len(push); i += 4096 {
		copy(push[i-8:], fmt.Sprintf("%08x", i))
	}
	return append(push[:25<<20-2], `"}`...)
}

// answering is a function that takes any bytes and gives its answers in turn, the last one again and again.
func answering(t *testing.T, check func(request []byte), answers ...string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			request, err := io.ReadAll(c)
			check(request)
			if err == nil {
				_, err = io.WriteString(c, answers[0])
			}
			if err := errors.Join(err, c.Close()); err != nil {
				t.Errorf("function: %v", err)
			}
			answers = answers[min(1, len(answers)-1):]
		}
	})
	t.Cleanup(func() { l.Close(); done.Wait() })
	return l.Addr().String()
}

// sendPush sends a body as GitHub does and returns the id of its event.
func sendPush(t *testing.T, url, secret string, body []byte) string {
	t.Helper()
	header, err := trigger.Sign(trigger.Config{Kind: trigger.GitHub, Secrets: []trigger.Secret{[]byte(secret)}}, body, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	id := regexp.MustCompile(`"id":"(\w{26})"`).FindSubmatch(answer)
	if err != nil || res.StatusCode != http.StatusAccepted || id == nil {
		t.Fatalf("got %d %s, %v", res.StatusCode, answer, err)
	}
	return string(id[1])
}

func TestServe_ALargestPushReachesAFunctionOfARemoteWorker(t *testing.T) {
	dir, push := t.TempDir(), largestPush()
	var runs, wrong atomic.Int64
	const failed = `{"funkerError":{"message":"not yet","retry":true}}`
	address := answering(t, func(request []byte) {
		if !bytes.Equal(request, push) {
			wrong.Add(1)
		}
		runs.Add(1)
	}, failed, failed, `"done"`)
	write(t, dir, "secret", "hook")
	manifest := write(t, dir, "functions.yaml", fmt.Sprintf(`
functions: {Fetch: {addresses: [%q], retry: {attempts: 2, initial: 100ms}}}
triggers: [{github: acme, secret-file: secret, function: Fetch}]
`, address))
	g := serve(t, dir, manifest, "--no-worker")
	background(t, "worker ready", "worker", "--nats-url", g.nats, "--key", filepath.Join(g.data, "worker.nk"), "--manifest", manifest)
	admin := []string{"--nats-url", g.nats, "--data", g.data}
	begin := time.Now()
	id := sendPush(t, g.public+"/github/acme", "hook", push)
	t.Logf("accepted in %s", time.Since(begin))
	list := func() string { return mustCLI(t, append([]string{"events", "list", "-o", "json"}, admin...)...) }
	ran := func(n int64) func() bool { return func() bool { return runs.Load() >= n } }
	within(t, "the first attempt", ran(1))
	within(t, "the second attempt", ran(2))
	within(t, "the event is dead", func() bool { return strings.Contains(list(), `"state": "dead"`) })
	mustCLI(t, append([]string{"events", "replay", id}, admin...)...)
	within(t, "the replay", ran(3))
	within(t, "the replay has succeeded", func() bool { return strings.Contains(list(), `"state": "ok"`) })
	if want := fmt.Sprintf(`"size": %d`, len(push)); !strings.Contains(list(), want) {
		t.Errorf("got %s, want %s", list(), want)
	}
	if runs.Load() != 3 || wrong.Load() != 0 {
		t.Errorf("%d runs, %d of them with another body; want 3 and 0", runs.Load(), wrong.Load())
	}
}
