package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// answerSlack is how much longer than a call its answer may take.
const answerSlack = 10 * time.Second

// call calls a function and returns its reply.
func (r *remote) call(ctx context.Context, function, body string, timeout time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout+answerSlack)
	defer cancel()
	resp, err := r.open(ctx, http.MethodPost, functionPath(function, "/call"), query("timeout", timeout.String()), body, "Content-Type", "application/json")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read the reply: %w", err)
	}
	return reply, nil
}

// store gives a function an event and returns its id.
func (r *remote) store(ctx context.Context, function, body string) (string, error) {
	var stored struct{ ID string }
	_, err := r.ask(ctx, http.MethodPost, functionPath(function, "/event"), nil, body, &stored, "Content-Type", "application/json")
	return stored.ID, err
}

func functionPath(function, what string) string {
	return "/api/v1/functions/" + url.PathEscape(function) + what
}
