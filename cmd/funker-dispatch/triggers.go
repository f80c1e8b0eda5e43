package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/ingress"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

const triggersLimit = 10 * time.Second

// triggersOf returns what answers for the triggers of a gateway: all of them for "", else one with samples of what it
// refused. The error is queue.ErrNotFound.
func triggersOf(s *ingress.Server) func(source string) (any, error) {
	return func(source string) (any, error) {
		if source == "" {
			return s.Senders(), nil
		}
		return s.Sender(source)
	}
}

func triggersCommand() *cobra.Command {
	var admin adminFlags
	var headers bool
	cmd := &cobra.Command{
		Use: "triggers [NAME]", Short: "List the triggers, when their senders came last, and why one does not get through", Args: takes("[NAME]"),
		Long: `triggers prints a line for every trigger of the manifest in force: its path, what verifies its requests, when the last
one was accepted, when the sender asked last whether somebody is here (a ping), and how many requests were accepted,
ignored (no filter lets them through) and refused, by reason. All of that is since the gateway started. The line "http"
is POST /functions/, and "none" is what came to any other path.

With the name of a trigger it also prints the newest requests that were refused, without bodies. --headers adds their
headers: a value that may be secret is replaced by its length.`,
		Example: `  funker-dispatch triggers github-acme --headers`,
	}
	admin.addRemote(cmd)
	cmd.Flags().BoolVar(&headers, "headers", false, "print the headers of the refused requests")
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if headers && len(args) == 0 {
			return usagef("--headers goes with the name of a trigger")
		}
		if len(args) == 0 {
			states, err := read(&admin, cmd, "/api/v1/triggers", nil, askTriggers[[]ingress.SenderState](""))
			if err != nil {
				return err
			}
			return printEither(cmd, *out, states, printTriggers)
		}
		state, err := read(&admin, cmd, "/api/v1/triggers/"+url.PathEscape(args[0]), nil, askTriggers[ingress.SenderState](args[0]))
		if err != nil {
			return err
		}
		return printEither(cmd, *out, state, func(w io.Writer, s ingress.SenderState) error { return printTrigger(w, s, headers) })
	}
	return cmd
}

func askTriggers[T any](source string) func(context.Context, *queue.Queue) (T, error) {
	return func(ctx context.Context, q *queue.Queue) (T, error) {
		ctx, cancel := context.WithTimeout(ctx, triggersLimit)
		defer cancel()
		return queue.Ask[T](ctx, q, "triggers", source)
	}
}

func printTriggers(w io.Writer, states []ingress.SenderState) error {
	t := newTable(w)
	fmt.Fprintln(t, "TRIGGER\tPATH\tVERIFIED BY\tLAST EVENT\tCONNECTED\tACCEPTED\tIGNORED\tREFUSED")
	for _, s := range states {
		if s.Path != "" || len(s.Refused) > 0 {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", s.Source, cmp.Or(s.Path, "-"), cmp.Or(s.Verified, "-"),
				ago(s.Last), ago(s.Connected), s.Accepted, s.Ignored, refusedText(s.Refused))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range states {
		if s.Problem != "" {
			if _, err := fmt.Fprintf(w, "%s is closed: %s\n", s.Source, s.Problem); err != nil {
				return err
			}
		}
	}
	return nil
}

func ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return time.Since(t).Round(time.Second).String() + " ago"
}

// refusedText is "12 forged, 1 unsigned", the most first.
func refusedText(refused map[string]uint64) string {
	codes := slices.SortedFunc(maps.Keys(refused), func(a, b string) int {
		return cmp.Or(cmp.Compare(refused[b], refused[a]), strings.Compare(a, b))
	})
	for i, code := range codes {
		codes[i] = fmt.Sprintf("%d %s", refused[code], code)
	}
	return cmp.Or(strings.Join(codes, ", "), "-")
}

func printTrigger(w io.Writer, s ingress.SenderState, headers bool) error {
	if err := printTriggers(w, []ingress.SenderState{s}); err != nil {
		return err
	}
	if s.LastEvent != "" {
		fmt.Fprintf(w, "The last event is %s.\n", s.LastEvent)
	}
	if s.LastIgnored != "" {
		fmt.Fprintf(w, "The last event that no filter let through is called %q.\n", s.LastIgnored)
	}
	if len(s.Samples) == 0 {
		_, err := fmt.Fprintln(w, "\nNothing was refused since the gateway started.")
		return err
	}
	for _, r := range s.Samples {
		if err := printRefused(w, r, headers); err != nil {
			return err
		}
	}
	return nil
}

func printRefused(w io.Writer, r ingress.Refused, headers bool) error {
	body := "unknown size"
	if r.BodyBytes >= 0 {
		body = fmt.Sprintf("%d bytes", r.BodyBytes)
	}
	_, err := fmt.Fprintf(w, "\n%s  %d %s  %s %s from %s, body %s of %s, request %s\n  %s\n", exactly(r.Time), r.Status, r.Code, r.Method, r.Path,
		r.Remote, cmp.Or(r.ContentType, "no type"), body, r.RequestID, r.Message)
	if err != nil || !headers {
		return err
	}
	for _, h := range r.Headers {
		fmt.Fprintf(w, "    %s: %s\n", h.Name, h.Value)
	}
	if r.Omitted > 0 {
		_, err = fmt.Fprintf(w, "    … and %d more\n", r.Omitted)
	}
	return err
}
