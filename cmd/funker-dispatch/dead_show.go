package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

func deadShowCommand(admin *adminFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show one dead letter: why it was given up, every attempt, body", Args: takes("ID"),
		Long: `show takes the id of an event that is dead, or the place of the dead letter itself (FUNKER_DEAD/3).`,
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		d, err := read(admin, cmd, "/api/v1/dead/"+url.PathEscape(args[0]), nil, func(ctx context.Context, q *queue.Queue) (l letter, err error) {
			if l.DeadLetter, err = q.DeadLetter(ctx, args[0]); err != nil {
				return l, err
			}
			l.Event, err = q.Get(ctx, l.Origin)
			return l, err
		})
		if err != nil {
			return err
		}
		return printEither(cmd, *out, d, printLetter)
	}
	return cmd
}

// letter is a dead letter and its event.
type letter struct {
	queue.DeadLetter
	Event queue.Record `json:"event"`
}

func printLetter(w io.Writer, d letter) error {
	r := d.Event
	t := newTable(w)
	fmt.Fprintf(t, "id\t%s\ndead letter\t%s\nevent\t%s\nsource\t%s\nfunction\t%s\n", d.ID, d.Origin, cmp.Or(d.Record, "gone"), d.Source, d.Function)
	if !d.First.IsZero() {
		fmt.Fprintf(t, "accepted\t%s\n", exactly(d.First))
	}
	attempts := "attempts"
	if d.Attempts == 1 {
		attempts = "attempt"
	}
	fmt.Fprintf(t, "given up\t%s\nreason\t%s, after %d %s\nlast error\t%s\n", exactly(d.Time), d.Reason, d.Attempts, attempts, lastError(d.DeadLetter))
	if d.State != queue.StateDead {
		fmt.Fprintf(t, "now\t%s\n", outcomeText(r))
	}
	printStory(t, r)
	if err := t.Flush(); err != nil {
		return err
	}
	return printBody(w, r.Body)
}
