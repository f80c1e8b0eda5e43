package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

func eventsCommand() *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Look at stored events and calls, and run them again",
		Args:  takesCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	admin.addRemote(cmd)
	cmd.AddCommand(listCommand(&admin), showCommand(&admin), tailCommand(&admin), replayCommand(&admin), testFilterCommand(&admin))
	return cmd
}

// span is a time range on a command line.
type span struct{ since, until string }

func (s *span) add(f *pflag.FlagSet) {
	f.StringVar(&s.since, "since", "", "not older than: 90s, 2h30m, or a time like 2026-11-23T08:00:00Z or, here, \"2026-11-23 08:00\"")
	f.StringVar(&s.until, "until", "", "not newer than, likewise")
}

func (s *span) times() (since, until time.Time, err error) {
	if since, err = moment("since", s.since); err == nil {
		until, err = moment("until", s.until)
	}
	return since, until, err
}

// layouts of times: RFC 3339, and as our tables print them, in local time.
var layouts = []string{time.RFC3339, time.DateTime, "2006-01-02 15:04", time.DateOnly}

// moment reads a point in time: a duration before now, or one of the layouts.
func moment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return time.Now().Add(-d), nil
	}
	for _, layout := range layouts {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("--%s %q: take a duration like 2h30m or a time like 2026-11-23T08:00:00Z, \"2026-11-23 08:00\" or 2026-11-23", flag, text)
}

// eventFlags choose events and calls.
type eventFlags struct {
	filter  queue.Filter
	outcome string
	span    span
}

func (e *eventFlags) add(f *pflag.FlagSet, kind string) {
	f.StringVar(&e.filter.Kind, "kind", kind, "only: event or call")
	f.StringVar(&e.filter.Function, "function", "", "only those of this function")
	f.StringVar(&e.filter.Source, "source", "", "only those that came through this trigger")
	f.StringVar(&e.outcome, "outcome", "", "only: "+join(queue.States()))
	e.span.add(f)
}

func (e *eventFlags) parse() (f queue.Filter, err error) {
	f = e.filter
	if f.Kind != "" && f.Kind != "event" && f.Kind != "call" {
		return f, usagef("--kind %q: take event or call", f.Kind)
	}
	if f.State, err = queue.ParseState(e.outcome); err != nil {
		return f, usagef("--outcome: %w", err)
	}
	f.Since, f.Until, err = e.span.times()
	return f, err
}

func join[T ~string](words []T) string {
	var s []string
	for _, w := range words {
		s = append(s, string(w))
	}
	return strings.Join(s, ", ")
}

func listCommand(admin *adminFlags) *cobra.Command {
	var chosen eventFlags
	cmd := &cobra.Command{
		Use: "list", Short: "List the newest events and calls", Args: takes(),
		Example: `  funker-dispatch events list --function CommitFetch --outcome retry --since 24h`,
	}
	chosen.add(cmd.Flags(), "")
	limit := limitFlag(cmd)
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f, err := chosen.parse()
		if err != nil {
			return err
		}
		f.Limit = int(*limit)
		records, err := read(admin, cmd, "/api/v1/events", eventQuery(f), func(ctx context.Context, q *queue.Queue) ([]queue.Record, error) {
			if err := q.CheckNames(ctx, f.Function, f.Source); err != nil {
				return nil, err
			}
			return q.List(ctx, f)
		})
		if err != nil {
			return err
		}
		limit.tell(cmd, len(records))
		if *out == "json" {
			return printList(cmd.OutOrStdout(), records)
		}
		return printRecords(cmd.OutOrStdout(), records)
	}
	return cmd
}

func showCommand(admin *adminFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show one event or call: headers, body, every attempt", Args: takes("ID"),
		Long: `show takes the id of an event or call, the sequence number of an event, or a stream and a sequence
(FUNKER_CALLS/7).`,
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := read(admin, cmd, "/api/v1/events/"+url.PathEscape(args[0]), nil, func(ctx context.Context, q *queue.Queue) (queue.Record, error) {
			return q.Get(ctx, args[0])
		})
		if err != nil {
			return err
		}
		return printEither(cmd, *out, r, printRecord)
	}
	return cmd
}

func tailCommand(admin *adminFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use: "tail", Short: "Print every attempt as it ends, until Ctrl-C", Args: takes(),
		Long: `tail prints every attempt as it ends, until Ctrl-C. With --url it says so when the connection is lost, connects again, and
goes on where it was: nothing is missing, and nothing comes twice.`,
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := admin.remote(cmd)
		if err != nil {
			return err
		}
		if r != nil {
			return printTail(cmd.Context(), cmd.OutOrStdout(), *out, r.tail(cmd.ErrOrStderr()).run)
		}
		return admin.with(cmd, func(ctx context.Context, q *queue.Queue) error {
			return printTail(ctx, cmd.OutOrStdout(), *out, q.Tail)
		})
	}
	return cmd
}

// printTail prints what tail gives, until ctx is cancelled or it cannot be printed.
func printTail(ctx context.Context, w io.Writer, out format, tail func(context.Context, func(queue.Attempt)) error) error {
	var failed error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := tail(ctx, func(a queue.Attempt) {
		if out == "json" {
			failed = json.NewEncoder(w).Encode(a)
		} else {
			_, failed = fmt.Fprintf(w, "%s %s %s %s: %s\n", a.Time.Local().Format(clock), a.Event, a.Source, attemptName(a), attemptLine(a))
		}
		if failed != nil {
			cancel()
		}
	})
	return cmp.Or(failed, err)
}
