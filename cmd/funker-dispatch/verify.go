package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

func verifyCommand() *cobra.Command {
	var admin adminFlags
	var offline bool
	cmd := &cobra.Command{
		Use: "verify", Short: "Read every stored message and check it", Args: takes(),
		Long: `verify reads every message of every stream, compares its body with its hash, and looks for messages that are gone.
It exits with 1 and a table of what is wrong, if anything is.

It asks a gateway that runs. With --offline it reads the data folder of one that does not: the only way to find damage
before a start after a crash, when the server cuts off whatever is behind it in the same file.`,
		Example: `  funker-dispatch verify
  funker-dispatch verify --offline --data /var/lib/funker`,
	}
	cmd.Flags().BoolVar(&offline, "offline", false, "read the files in --data, of a gateway that does not run; nothing is changed")
	admin.addRemote(cmd)
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		log, err := logger(cmd)
		if err != nil {
			return err
		}
		if offline {
			if cmd.Flags().Changed("url") {
				return usagef("--offline reads a folder of this machine, and --url asks a gateway elsewhere: leave one out")
			}
			r, err := queue.VerifyFolder(cmd.Context(), admin.data, readingProgress(log))
			return printReport(cmd.OutOrStdout(), *out, r, err)
		}
		far, err := admin.remote(cmd)
		if err != nil {
			return err
		}
		if far != nil {
			r, err := far.verify(cmd.Context(), readingProgress(log))
			return printReport(cmd.OutOrStdout(), *out, r, err)
		}
		return admin.with(cmd, func(ctx context.Context, q *queue.Queue) error {
			r, err := q.Verify(ctx, readingProgress(log))
			return printReport(cmd.OutOrStdout(), *out, r, err)
		})
	}
	return cmd
}

// readingProgress logs now and then how far a long reading is.
func readingProgress(log *slog.Logger) queue.Progress {
	last := time.Now()
	return func(stream string, done, total uint64) {
		if time.Since(last) > 5*time.Second {
			last = time.Now()
			log.Info("reading", "stream", stream, "done", done, "of", total)
		}
	}
}

// printReport returns err, or an error when the report has findings.
func printReport(w io.Writer, out format, r queue.VerifyReport, err error) error {
	if err != nil {
		return err
	}
	if out == "json" {
		err = printJSON(w, r)
	} else {
		err = printFindings(w, r)
	}
	return problems(r.Findings, err)
}

// problems returns err, or an error when there are findings.
func problems(f []queue.Finding, err error) error {
	if err == nil && len(f) > 0 {
		err = fmt.Errorf("problems found: %d", len(f))
	}
	return err
}

func printFindings(w io.Writer, r queue.VerifyReport) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "STREAM\tMESSAGES\tWITHOUT HASH\tFIRST\tLAST\tUNFINISHED WRITE")
	for _, s := range r.Streams {
		fmt.Fprintf(t, "%s\t%d\t%s\t%d\t%d\t%s\n", s.Name, s.Messages, unhashed(s), s.FirstSeq, s.LastSeq, unfinished(s.Torn))
	}
	return printProblems(t, r.Findings)
}

// printProblems ends a table with what is wrong.
func printProblems(t *tabwriter.Writer, findings []queue.Finding) error {
	if len(findings) == 0 {
		fmt.Fprintln(t, "nothing is wrong")
		return t.Flush()
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(t, "\nSTREAM\tSEQUENCES\tEVENT\tPROBLEM")
	for _, f := range findings {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", f.Stream, sequences(f), f.Event, f.Problem)
	}
	return t.Flush()
}

// unhashed is "-" for what never has a hash.
func unhashed(s queue.VerifiedStream) string {
	if !s.Hashed() {
		return "-"
	}
	return strconv.FormatUint(s.Unhashed, 10)
}

func unfinished(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10) + " bytes"
}

func sequences(f queue.Finding) string {
	switch f.First {
	case 0:
		return ""
	case f.Last:
		return strconv.FormatUint(f.First, 10)
	}
	return fmt.Sprintf("%d–%d", f.First, f.Last)
}
