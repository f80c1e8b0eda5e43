package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// stats is what the gateway counts.
type stats struct {
	Functions []queue.FunctionStats `json:"functions"`
	Balance   *queue.Balance        `json:"balance"` // nil while the gateway has just started
	Usage     queue.Usage           `json:"usage"`
}

func statsCommand() *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use: "stats", Short: "Count what waits, runs and is dead, and prove that nothing is lost", Args: takes(),
		Long: `stats prints a line for every function, and the balance of all events and replays that are stored: each of them
waits, runs, is scheduled for another attempt, or has ended. The drift is how many are in none of these places. It
is always 0; the exit code is 1 when it is not. When the store or its disk is nearly full, the last line says so.`,
	}
	admin.addRemote(cmd)
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := read(&admin, cmd, "/api/v1/stats", nil, countAll)
		if err != nil {
			return err
		}
		if s.Balance == nil {
			return queue.ErrIndexing
		}
		err = printEither(cmd, *out, s, printStats)
		if s.Balance.Drift != 0 {
			err = errors.Join(err, fmt.Errorf("the drift is %d: some events are neither ended nor in a place from where they would go on", s.Balance.Drift))
		}
		return err
	}
	return cmd
}

func countAll(ctx context.Context, q *queue.Queue) (s stats, err error) {
	if s.Functions, err = q.Stats(ctx); err != nil {
		return s, err
	}
	b, err := q.Balance(ctx)
	if err != nil {
		return s, err
	}
	s.Balance = &b
	s.Usage, err = q.Usage(ctx)
	return s, err
}

func printStats(w io.Writer, s stats) error {
	t := newTable(w)
	fmt.Fprintln(t, "FUNCTION\tWAITING\tRUNNING\tSCHEDULED\tOLDEST WAITING\tDEAD")
	for _, f := range s.Functions {
		oldest := "-"
		if !f.Oldest.IsZero() {
			oldest = time.Since(f.Oldest).Round(time.Second).String()
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%s\t%s\n", f.Function, f.Calls.Waiting+f.Replays.Waiting+f.Events.Waiting,
			f.Calls.Running+f.Replays.Running+f.Events.Running, f.Scheduled, oldest, deadText(f.Dead))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	b := s.Balance
	fmt.Fprintf(w, `
%d accepted + %d replays = %d waiting + %d running + %d scheduled + %d succeeded + %d dead + %d dropped + %d unrecorded; drift %d
`, b.Accepted, b.Replays, b.Waiting, b.Running, b.Scheduled, b.Succeeded, b.Dead, b.Dropped, b.Unrecorded, b.Drift)
	for _, f := range s.Functions {
		if f.Paused {
			fmt.Fprintf(w, "%s is paused: %d wait\n", f.Function, f.Calls.Waiting+f.Replays.Waiting+f.Events.Waiting)
		}
	}
	for _, warning := range s.Usage.Warnings() {
		fmt.Fprintln(w, warning)
	}
	return nil
}

// deadText is "2 exhausted, 1 refused", the most frequent reason first.
func deadText(dead map[queue.Reason]int64) string {
	if len(dead) == 0 {
		return "0"
	}
	reasons := slices.SortedFunc(maps.Keys(dead), func(a, b queue.Reason) int {
		return cmp.Or(cmp.Compare(dead[b], dead[a]), cmp.Compare(a, b))
	})
	parts := make([]string, len(reasons))
	for i, r := range reasons {
		parts[i] = fmt.Sprintf("%d %s", dead[r], r)
	}
	return strings.Join(parts, ", ")
}
