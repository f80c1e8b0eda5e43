package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

func eventsCommand() *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Look at stored events and calls, and run them again",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	admin.add(cmd)
	cmd.AddCommand(listCommand(&admin), showCommand(&admin), tailCommand(&admin), replayCommand(&admin))
	return cmd
}

func listCommand(admin *adminFlags) *cobra.Command {
	var f queue.Filter
	var state, since, until string
	cmd := &cobra.Command{
		Use: "list", Short: "List the newest events and calls", Args: cobra.NoArgs,
		Example: `  funker-dispatch events list --function CommitFetch --outcome failed --since 24h`,
	}
	fl := cmd.Flags()
	fl.StringVar(&f.Kind, "kind", "", "only: event or call")
	fl.StringVar(&f.Function, "function", "", "only those of this function")
	fl.StringVar(&f.Source, "source", "", "only those that came through this trigger")
	fl.StringVar(&state, "outcome", "", "only: waiting, ok, failed, not-started, interrupted, expired, no-worker")
	fl.StringVar(&since, "since", "", "not older than: 90s, 2h30m, or a time like 2026-11-23T08:00:00Z")
	fl.StringVar(&until, "until", "", "not newer than, likewise")
	fl.IntVar(&f.Limit, "limit", queue.DefaultLimit, fmt.Sprintf("how many, at most %d", queue.MaxLimit))
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if f.Kind != "" && f.Kind != "event" && f.Kind != "call" {
			return usagef("--kind %q: take event or call", f.Kind)
		}
		if f.State, err = queue.ParseState(state); err != nil {
			return usagef("--outcome: %w", err)
		}
		if f.Since, err = moment("since", since); err != nil {
			return err
		}
		if f.Until, err = moment("until", until); err != nil {
			return err
		}
		return admin.with(cmd, func(ctx context.Context, q *queue.Queue) error {
			records, err := q.List(ctx, f)
			if err != nil {
				return err
			}
			if *out == "json" {
				return printJSON(cmd.OutOrStdout(), records)
			}
			return printRecords(cmd.OutOrStdout(), records)
		})
	}
	return cmd
}

// moment reads a point in time: a duration before now, or RFC 3339.
func moment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return time.Now().Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, usagef("--%s %q: take a duration like 2h30m or a time like 2026-11-23T08:00:00Z", flag, text)
	}
	return t, nil
}

func printRecords(w io.Writer, records []queue.Record) error {
	if len(records) == 0 {
		_, err := fmt.Fprintln(w, "no events")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tTIME\tKIND\tSOURCE\tFUNCTION\tOUTCOME\tRUNS\tBYTES")
	for _, r := range records {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\n", r.ID, r.Time.Local().Format(time.DateTime), r.Kind, r.Source, r.Function,
			r.State, len(r.Attempts), r.Size)
	}
	return t.Flush()
}

func showCommand(admin *adminFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show one event or call: headers, body, every attempt", Args: cobra.ExactArgs(1),
		Long: `show takes the id of an event or call, the sequence number of an event, or a stream and a sequence
(FUNKER_CALLS/7).`,
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return admin.with(cmd, func(ctx context.Context, q *queue.Queue) error {
			r, err := q.Get(ctx, args[0])
			if err != nil {
				return err
			}
			if *out == "json" {
				return printJSON(cmd.OutOrStdout(), r)
			}
			return printRecord(cmd.OutOrStdout(), r)
		})
	}
	return cmd
}

func printRecord(w io.Writer, r queue.Record) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "id\t%s\nkind\t%s\nstored as\t%s\ntime\t%s\nsource\t%s\nfunction\t%s\noutcome\t%s\n",
		r.ID, r.Kind, r.Origin, r.Time.Local().Format(time.RFC3339Nano), r.Source, r.Function, r.State)
	for _, k := range slices.Sorted(maps.Keys(r.Header)) {
		fmt.Fprintf(t, "header\t%s: %s\n", k, r.Header[k])
	}
	for _, a := range r.Attempts {
		fmt.Fprintf(t, "attempt\t%s\n", attemptLine(a))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, r.Body, "", "  "); err != nil {
		pretty.Reset()
		pretty.Write(r.Body)
	}
	_, err := fmt.Fprintf(w, "\n%s\n", bytes.TrimSpace(pretty.Bytes()))
	return err
}

func attemptLine(a queue.Attempt) string {
	s := fmt.Sprintf("%s %s %s in %s", a.Time.Local().Format("15:04:05.000"), a.Function, a.Outcome, a.Duration.Round(10*time.Microsecond))
	if a.ReplayOf != "" {
		s += " (replay of " + a.ReplayOf + ")"
	}
	if a.Code != "" {
		s += ": " + a.Code
	}
	if a.Error != "" {
		s += ": " + a.Error
	}
	return s
}

func tailCommand(admin *adminFlags) *cobra.Command {
	cmd := &cobra.Command{Use: "tail", Short: "Print every attempt as it ends", Args: cobra.NoArgs}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return admin.with(cmd, func(ctx context.Context, q *queue.Queue) error {
			var failed error
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			err := q.Tail(ctx, func(a queue.Attempt) {
				if *out == "json" {
					failed = json.NewEncoder(cmd.OutOrStdout()).Encode(a)
				} else {
					_, failed = fmt.Fprintf(cmd.OutOrStdout(), "%s %s %s\n", a.Event, a.Source, attemptLine(a))
				}
				if failed != nil {
					cancel()
				}
			})
			if failed != nil {
				return failed
			}
			return err
		})
	}
	return cmd
}

func replayCommand(admin *adminFlags) *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use: "replay ID…", Short: "Run events or calls again, as events", Args: cobra.MinimumNArgs(1),
		Long: `replay runs stored events or calls again. Nobody waits for the reply; see it with "events show". The original
record stays, and the replay is marked with it.`,
	}
	cmd.Flags().StringVar(&to, "to", "", "give them to this function in place of their own")
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return admin.with(cmd, func(ctx context.Context, q *queue.Queue) error {
			for _, id := range args {
				r, err := q.Replay(ctx, id, to)
				if err != nil {
					return fmt.Errorf("replay %s: %w", id, err)
				}
				if *out == "json" {
					err = printJSON(cmd.OutOrStdout(), r)
				} else {
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s queued for %s as %s, replay of %s\n", r.ID, r.To, r.As, r.From)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	return cmd
}
