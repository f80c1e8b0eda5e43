package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

func deadReplayCommand(admin *adminFlags) *cobra.Command {
	var to string
	var flags deadFlags
	b := bulkFlags{verb: "replayed"}
	cmd := &cobra.Command{
		Use: "replay [ID…]", Short: "Run dead letters again: one, many, or all that match",
		Long: `replay runs the events of dead letters again, once the function is mended. The dead letter stays as a record, and
is not listed any more.`,
		Example: `  funker-dispatch dead replay 01M842QYXBY30YRMXP32G27KPE
  funker-dispatch dead replay --function CommitFetch --reason exhausted --dry-run
  funker-dispatch dead replay --all`,
	}
	flags.add(cmd.Flags())
	cmd.Flags().Bool("all", false, "all dead letters")
	cmd.Flags().StringVar(&to, "to", "", "give them to this function in place of their own")
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
			return b.runChosen(cmd, r, "/api/v1/dead/replay", chosenBy(deadQuery(f), "to", to, "all", all(cmd)))
		}
		if r != nil {
			return b.runNamed(cmd, args, replayer(r.replayDead, to, b.out))
		}
		return admin.with(cmd, func(ctx context.Context, q *queue.Queue) error {
			if err := errors.Join(checkTo(ctx, q, to), q.CheckNames(ctx, f.Function, f.Source)); err != nil {
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
			return b.run(ctx, cmd, args, chosen, replayer(q.ReplayDead, to, b.out))
		})
	}
	return cmd
}
