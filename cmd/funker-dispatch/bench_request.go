package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// bodySize is the size of the calls and events that are measured, in bytes.
const bodySize = 1024

// post returns the id in the answer.
func (b *bench) post(ctx context.Context, url string, header http.Header, body []byte, want int) (id string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	if header == nil {
		header = http.Header{"Content-Type": {"application/json"}}
	}
	req.Header = header
	resp, err := b.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != want {
		err = fmt.Errorf("%s: %s", resp.Status, answer)
	}
	return resp.Header.Get("Funker-Event-Id"), err
}

// call calls a function through the gateway.
func (b *bench) call(ctx context.Context) error {
	_, err := b.post(ctx, b.public+"/functions/Bench", nil, payload(), http.StatusOK)
	return err
}

func payload() []byte { return []byte(`{"data":"` + strings.Repeat("x", bodySize-11) + `"}`) }

// allHaveRun waits until the pushes have run.
func (b *bench) allHaveRun(ctx context.Context) error { return empty(ctx, b.gateway.queue, "Fetch") }

// benchSecret signs the pushes.
const benchSecret = "bench-secret"

// pushTo returns what sends a signed push to the gateway and writes down the id of the event.
func (b *bench) pushTo(path string) func(context.Context) error {
	push := b.signedPush()
	return func(ctx context.Context) error {
		id, err := push(ctx, b.public+path)
		if err != nil {
			return err
		}
		return b.note(id)
	}
}

// signedPush returns what sends a push to a URL and returns the id of the event.
func (b *bench) signedPush() func(ctx context.Context, url string) (id string, err error) {
	rest := `","commits":[],"repository":{"full_name":"` + strings.Repeat("x", bodySize-90) + `"}}`
	cfg := trigger.Config{Kind: trigger.GitHub, Secrets: []trigger.Secret{[]byte(benchSecret)}}
	return func(ctx context.Context, url string) (string, error) {
		body := []byte(`{"ref":"` + queue.NewID() + rest) // equal bodies are one event
		header, err := trigger.Sign(cfg, body, time.Now())
		if err != nil {
			return "", fmt.Errorf("sign a push: %w", err)
		}
		return b.post(ctx, url, header, body, http.StatusAccepted)
	}
}
