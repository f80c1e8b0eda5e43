package main

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
)

// serveAtTerminal is all that a person sees of a `serve` that is stopped once text is there.
func serveAtTerminal(t *testing.T, data, manifest, text string) (screen string) {
	t.Helper()
	end, tty := terminal(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"serve", "--no-worker", "--manifest", manifest, "--data", data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0"}, io.Discard, tty)
	}()
	screen = seen(t, end, text)
	stop()
	screen += seen(t, end, "msg=stopped")
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d", code)
	}
	return screen
}

func TestServe_ShowsTheTokenOnceToThePersonWhoStartsIt(t *testing.T) {
	dir := t.TempDir()
	data, manifest := filepath.Join(dir, "data"), write(t, dir, "functions.yaml", someManifest)
	screen := serveAtTerminal(t, data, manifest, "shown once")
	token := tokenIn(t, filepath.Join(data, tokenFile))
	log, said, _ := strings.Cut(screen, "\r\nThe console is at http://127.0.0.1:")
	if strings.Contains(log, token) || strings.Count(said, "\r\n    "+token+"\r\n") != 1 || strings.Count(said, token) != 1 {
		t.Errorf("got %s", screen)
	}
	if screen := serveAtTerminal(t, data, manifest, "msg=ready"); strings.Contains(screen, token) || strings.Contains(screen, "console") {
		t.Errorf("at the second start: %s", screen)
	}
}
