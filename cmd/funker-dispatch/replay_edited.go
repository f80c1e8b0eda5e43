package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// edit is a body in place of that of an event.
type edit struct {
	data string // as readData takes it
	to   string
	out  *format
}

// replayEdited runs one event again with another body.
func replayEdited(admin *adminFlags, cmd *cobra.Command, args []string, e edit) error {
	for _, flag := range []string{"dry-run", "after", "rate"} {
		if cmd.Flags().Changed(flag) {
			return usagef("--edited goes without --%s", flag)
		}
	}
	if len(args) != 1 {
		return usagef("--edited is for one event: name it")
	}
	body, err := readData(cmd, e.data)
	if err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	r, err := admin.remote(cmd)
	if err != nil {
		return err
	}
	if r != nil {
		var replayed queue.Replayed
		_, err := r.ask(cmd.Context(), http.MethodPost, "/api/v1/events/"+url.PathEscape(args[0])+"/edit", query("to", e.to), string(body), &replayed)
		if err != nil {
			return about(args[0], err)
		}
		return e.print(cmd.OutOrStdout(), replayed)
	}
	return admin.with(cmd, func(ctx context.Context, q *queue.Queue) error {
		replayed, err := q.ReplayEdited(ctx, args[0], e.to, body)
		if err != nil {
			return fmt.Errorf("replay %s: %w", args[0], err)
		}
		return e.print(cmd.OutOrStdout(), replayed)
	})
}

func (e edit) print(w io.Writer, r queue.Replayed) error {
	if *e.out == "json" {
		return printJSON(w, r)
	}
	_, err := fmt.Fprintf(w, "%s queued for %s as %s, replay of %s, edited\n", r.ID, r.To, r.As, r.From)
	return err
}
