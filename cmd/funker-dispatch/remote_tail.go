package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/funker-dispatch/funker-dispatch/console"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

const (
	// tailSilence is how long the gateway may say nothing: it says every 15 s that it lives.
	tailSilence = 45 * time.Second
	// The pauses between attempts to reach a gateway that was lost double from the first to the last.
	tailFirstPause = time.Second
	tailLastPause  = 30 * time.Second
)

// tailReader is a reader of the stream of a gateway somewhere else, who comes back when the connection is lost.
type tailReader struct {
	remote  *remote
	stderr  io.Writer
	last    string // id, "" before the first
	silence time.Duration
	pause   time.Duration // before the next attempt
}

func (r *remote) tail(stderr io.Writer) *tailReader {
	return &tailReader{remote: r, stderr: stderr, silence: tailSilence, pause: tailFirstPause}
}

// run gives every attempt that ends to f, each once, as queue.Tail does, until ctx is cancelled. It returns an error when the
// gateway cannot be reached at first, or refuses.
func (t *tailReader) run(ctx context.Context, f func(queue.Attempt)) error {
	for {
		err := t.read(ctx, f)
		var refused *console.Problem
		switch {
		case ctx.Err() != nil:
			return nil
		case t.last == "", errors.As(err, &refused) && refused.Status < http.StatusInternalServerError:
			return err
		}
		fmt.Fprintf(t.stderr, "the connection is lost, and tried again in %s: %v\n", t.pause, err)
		select {
		case <-time.After(t.pause):
		case <-ctx.Done():
			return nil
		}
		t.pause = min(2*t.pause, tailLastPause)
	}
}

var (
	errSilent = errors.New("the gateway says nothing any more")
	errEnded  = errors.New("the gateway has ended the stream: it stops")
)

// read reads the stream on from where it was left, until that ends.
func (t *tailReader) read(ctx context.Context, f func(queue.Attempt)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(t.silence, func() { cancel(errSilent) })
	defer silent.Stop()
	var header []string
	if t.last != "" {
		header = []string{"Last-Event-ID", t.last}
	}
	resp, err := t.remote.open(ctx, http.MethodGet, "/api/v1/stream", nil, "", header...)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if t.last != "" {
		fmt.Fprintln(t.stderr, "connected again: what has happened meanwhile follows")
	}
	err = sentEvents(resp.Body, func(e sentEvent) error {
		silent.Reset(t.silence)
		t.pause = tailFirstPause
		if err := t.take(e, f); err != nil {
			return err
		}
		t.last = e.id
		return nil
	})
	switch {
	case context.Cause(ctx) != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("read the stream: %w", err)
	}
	return errEnded
}

func (t *tailReader) take(e sentEvent, f func(queue.Attempt)) error {
	switch e.name {
	case "attempt":
		var a queue.Attempt
		if err := json.Unmarshal(e.data, &a); err != nil {
			return err
		}
		f(a)
	case "lost":
		var lost struct{ Lines uint64 }
		if err := json.Unmarshal(e.data, &lost); err != nil {
			return err
		}
		if lost.Lines == 0 {
			fmt.Fprintln(t.stderr, "the gateway has another log than before: what came to its end meanwhile is not shown")
			return nil
		}
		fmt.Fprintf(t.stderr, "%d attempts are missing: the log has made room for newer ones\n", lost.Lines)
	}
	return nil
}
