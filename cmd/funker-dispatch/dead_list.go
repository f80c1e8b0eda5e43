package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

func deadListCommand(admin *adminFlags) *cobra.Command {
	var flags deadFlags
	cmd := &cobra.Command{
		Use: "list", Short: "List the newest dead letters", Args: takes(),
		Example: `  funker-dispatch dead list --function CommitFetch --since 24h`,
	}
	flags.add(cmd.Flags())
	cmd.Flags().BoolVar(&flags.filter.All, "all", false, "those too that were replayed since")
	limit := limitFlag(cmd)
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f, err := flags.parse()
		if err != nil {
			return err
		}
		f.Limit = int(*limit)
		letters, err := read(admin, cmd, "/api/v1/dead", deadQuery(f), func(ctx context.Context, q *queue.Queue) ([]queue.DeadLetter, error) {
			if err := q.CheckNames(ctx, f.Function, f.Source); err != nil {
				return nil, err
			}
			return q.DeadLetters(ctx, f)
		})
		if err != nil {
			return err
		}
		limit.tell(cmd, len(letters))
		switch {
		case *out == "json":
			return printList(cmd.OutOrStdout(), letters)
		case f.All:
			return printAllLetters(cmd.OutOrStdout(), letters)
		}
		return printLetters(cmd.OutOrStdout(), letters)
	}
	return cmd
}

// errorWidth is how much of a last error a list shows, in characters.
const errorWidth = 60

func printLetters(w io.Writer, letters []queue.DeadLetter) error {
	if len(letters) == 0 {
		_, err := fmt.Fprintln(w, "no dead letters")
		return err
	}
	t := newTable(w)
	fmt.Fprintln(t, letterHead())
	for _, d := range letters {
		fmt.Fprintln(t, letterRow(d))
	}
	return t.Flush()
}

// printAllLetters is printLetters for letters that only their places tell apart: the same event may have been dead before.
func printAllLetters(w io.Writer, letters []queue.DeadLetter) error {
	if len(letters) == 0 {
		return printLetters(w, letters)
	}
	t := newTable(w)
	fmt.Fprintf(t, "PLACE\t%s\n", letterHead())
	for _, d := range letters {
		fmt.Fprintf(t, "%s\t%s\n", d.Origin, letterRow(d))
	}
	return t.Flush()
}

func letterHead() string {
	return fmt.Sprintf("ID\tGIVEN UP (%s)\tFUNCTION\tSOURCE\tREASON\tATTEMPTS\tLAST ERROR", zone())
}

func letterRow(d queue.DeadLetter) string {
	why := lastError(d)
	if d.State != queue.StateDead {
		why = "(" + string(d.State) + " now) " + why
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%d\t%s", d.ID, d.Time.Local().Format(time.DateTime), d.Function, d.Source, d.Reason, d.Attempts, cut(why, errorWidth))
}

// lastError is "timeout: no answer within 1s".
func lastError(d queue.DeadLetter) string {
	return oneLine(strings.TrimPrefix(d.Code+": "+d.Error, ": "))
}

// cut shortens s to n characters.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
