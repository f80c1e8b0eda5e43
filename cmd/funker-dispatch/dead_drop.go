package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

func deadDropCommand(admin *adminFlags) *cobra.Command {
	var yes bool
	var flags deadFlags
	b := bulkFlags{verb: "dropped"}
	cmd := &cobra.Command{
		Use: "drop [ID…]", Short: "Drop dead letters: one, many, or all that match",
		Long: `drop deletes dead letters that nobody needs to run again. The events stay on record, as dropped, with their
attempts; "events replay" still runs them.`,
		Example: `  funker-dispatch dead drop 01M842QYXBY30YRMXP32G27KPE
  funker-dispatch dead drop --function CommitFetch --reason refused --yes`,
	}
	flags.add(cmd.Flags())
	cmd.Flags().Bool("all", false, "all dead letters")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask, also for more than one")
	b.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := flags.choose(cmd, args, &b)
		if err != nil {
			return err
		}
		r, err := admin.remote(cmd)
		if err != nil {
			return err
		}
		if r != nil && len(args) == 0 {
			return dropFar(cmd, r, &b, chosenBy(deadQuery(f), "all", all(cmd)), yes)
		}
		if r != nil {
			return b.runNamed(cmd, args, dropper(r.drop, b.out))
		}
		return admin.with(cmd, func(ctx context.Context, q *queue.Queue) error {
			if err := q.CheckNames(ctx, f.Function, f.Source); err != nil {
				return err
			}
			c := deadChoice{queue: q, filter: f, named: args, after: b.after}
			if b.dryRun {
				return c.preview(ctx, cmd.OutOrStdout(), b)
			}
			chosen, err := c.chosen(ctx)
			if err != nil {
				return err
			}
			if chosen.total > 1 && !yes {
				if err := confirm(cmd, fmt.Sprintf("Drop %d dead letters?", chosen.total)); err != nil {
					return err
				}
			}
			return b.run(ctx, cmd, args, chosen, dropper(q.Drop, b.out))
		})
	}
	return cmd
}

// dropFar drops what a filter chooses at a gateway somewhere else.
func dropFar(cmd *cobra.Command, r *remote, b *bulkFlags, chosen url.Values, yes bool) error {
	const path = "/api/v1/dead/drop"
	if !yes && !b.dryRun {
		p, err := r.preview(cmd.Context(), path, chosen)
		if err != nil {
			return err
		}
		if p.Chosen > 1 {
			if err := confirm(cmd, fmt.Sprintf("Drop %d dead letters?", p.Chosen)); err != nil {
				return err
			}
		}
	}
	return b.runChosen(cmd, r, path, chosen)
}

// all is the parameter of --all, which chooses all dead letters.
func all(cmd *cobra.Command) string {
	if cmd.Flags().Changed("all") {
		return cmd.Flags().Lookup("all").Value.String()
	}
	return ""
}

// dropper drops one dead letter and says so.
func dropper(drop func(context.Context, string) error, out *format) func(context.Context, string) (string, error) {
	return func(ctx context.Context, ref string) (string, error) {
		if err := drop(ctx, ref); err != nil {
			return "", err
		}
		if *out == "json" {
			return jsonLine(map[string]string{"dropped": ref})
		}
		return ref + " dropped\n", nil
	}
}

// confirm asks the person at the terminal. Where there is none, nobody can be asked.
func confirm(cmd *cobra.Command, question string) error {
	if !isTerminal(cmd.InOrStdin()) {
		return usagef("%s Add --yes", question)
	}
	fmt.Fprint(cmd.ErrOrStderr(), question+" [y/N] ")
	answer := make(chan string, 1)
	go func() { // ends with the process when Ctrl-C is the answer
		line, _ := bufio.NewReader(cmd.InOrStdin()).ReadString('\n') // no answer is no
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case a := <-answer:
		if a == "y" || a == "yes" {
			return nil
		}
	case <-cmd.Context().Done():
		fmt.Fprintln(cmd.ErrOrStderr())
	}
	return errors.New("nothing was dropped")
}
