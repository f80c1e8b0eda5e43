package main

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

func backupCommand() *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use: "backup DIR", Short: "Save all streams of a gateway that runs", Args: takes("DIR"),
		Long: `backup writes all streams, with what has been done of them, to a new folder. The gateway goes on working. Every message
is verified on the way; what is wrong is saved as far as it can be read, printed as verify prints it, and the exit code
is 1.

It runs on the gateway's machine, or wherever NATS and the key admin.nk are: not with --url.

Keys, the admin token and the manifest are not in a backup. Each stream is saved as "nats backup stream" does it.`,
		Example: `  funker-dispatch backup /backup/$(date +%F)`,
	}
	admin.addRemote(cmd) // to say that it does not help
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if admin.api != "" {
			return usagef("backup reads the streams over NATS, which --url is not: leave --url (FUNKER_URL) out and run it on the gateway's machine, " +
				"where it finds the gateway in a container too; from elsewhere reach NATS through a tunnel, ssh -L 4222:127.0.0.1:4222, with --key")
		}
		log, err := logger(cmd)
		if err != nil {
			return err
		}
		return admin.with(cmd, func(ctx context.Context, q *queue.Queue) error {
			r, err := q.Backup(ctx, args[0], readingProgress(log))
			err = printReport(cmd.OutOrStdout(), *out, r, err)
			if err == nil && *out == "text" {
				fmt.Fprintln(cmd.OutOrStdout(), "saved to", args[0])
			}
			return err
		})
	}
	return cmd
}

// restoreGarbage bounds the memory of a restore, in which the server keeps whatever it wrote in the last ten seconds.
const restoreGarbage = 25

func restoreCommand() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use: "restore DIR", Short: "Make a new data folder from a backup", Args: takes("DIR"),
		Long: `restore reads a backup into a folder that is empty or does not exist, and verifies what is on disk then. Start a gateway
on that folder afterwards: it makes new keys and a new admin token. Events that were waiting or in retry when the backup
was made run then; those that were done do not. An event that was just running, or being moved, may run again.`,
		Example: `  funker-dispatch restore /backup/2026-11-23 --data /var/lib/funker`,
	}
	cmd.Flags().StringVar(&data, "data", "data", "data folder to make")
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		log, err := logger(cmd)
		if err != nil {
			return err
		}
		debug.SetGCPercent(restoreGarbage)
		r, err := queue.Restore(cmd.Context(), args[0], data, log, readingProgress(log))
		if err == nil {
			log.Info("restored", "data", data)
		}
		return printReport(cmd.OutOrStdout(), *out, r, err)
	}
	return cmd
}
