package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

func backupCommand() *cobra.Command {
	var b backup
	cmd := &cobra.Command{
		Use: "backup DIR", Short: "Save all streams of a gateway", Args: cobra.MaximumNArgs(1),
		Long: `backup writes all streams, with what has been done of them, to a new folder. The gateway goes on working. Every message
is verified on the way; what is wrong is saved as far as it can be read, printed as verify prints it, and the exit code
is 1.

It runs on the gateway's machine, or wherever NATS and the key admin.nk are: not with --url. With --offline it reads the
data folder of a gateway that stands alone and does not run.

With --final it is the last backup of that store: see docs/cluster-move.md. No gateway starts on it any more, so nothing
can be added that the backup has not. Run the same command again when it was killed. A gateway that runs has to be
started with --hold before, in a cluster all of them. --reopen takes that back.

Keys, the admin token and the manifest are not in a backup. Each stream is saved as "nats backup stream" does it.`,
		Example: `  funker-dispatch backup /backup/$(date +%F)
  funker-dispatch backup /backup/last --final --offline --data /var/lib/funker`,
	}
	b.admin.addRemote(cmd) // to say that it does not help
	cmd.Flags().BoolVar(&b.offline, "offline", false, "read the folder in --data, of a gateway that stands alone and does not run")
	cmd.Flags().BoolVar(&b.final, "final", false, "make it the last one: no gateway starts on this store any more")
	cmd.Flags().BoolVar(&b.reopen, "reopen", false, "save nothing, and let a gateway start again on a store whose last backup was made")
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := b.check(args); err != nil {
			return err
		}
		log, err := logger(cmd)
		if err != nil {
			return err
		}
		return b.with(cmd, log, func(ctx context.Context, q *queue.Queue) error {
			if b.reopen {
				return q.Reopen(ctx)
			}
			save := q.Backup
			if b.final {
				save = q.FinalBackup
			}
			r, err := save(ctx, args[0], readingProgress(log))
			saved := err == nil // with findings or without
			err = printReport(cmd.OutOrStdout(), *out, r, err)
			if saved && *out == "text" {
				fmt.Fprintln(cmd.OutOrStdout(), "saved to", args[0])
			}
			return err
		})
	}
	return cmd
}

// backup is what to do.
type backup struct {
	admin                  adminFlags
	offline, final, reopen bool
}

func (b *backup) check(args []string) error {
	switch {
	case b.admin.api != "":
		return usagef("backup reads the streams over NATS, which --url is not: leave --url (FUNKER_URL) out and run it on the gateway's machine, " +
			"where it finds the gateway in a container too; from elsewhere reach NATS through a tunnel, ssh -L 4222:127.0.0.1:4222, with --key")
	case b.reopen && (len(args) > 0 || b.final):
		return usagef("--reopen saves nothing: leave DIR and --final out")
	case !b.reopen && len(args) == 0:
		return usagef("say where to save: backup DIR")
	}
	return nil
}

// with calls f with the store.
func (b *backup) with(cmd *cobra.Command, log *slog.Logger, f func(context.Context, *queue.Queue) error) error {
	if b.offline {
		return queue.WithFolder(cmd.Context(), queue.Options{Dir: b.admin.data, Log: log}, f)
	}
	return b.admin.with(cmd, f)
}

// restoreGarbage bounds the memory of a restore, in which the server keeps whatever it wrote in the last ten seconds.
const restoreGarbage = 25

func restoreCommand() *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use: "restore DIR", Short: "Make a new data folder from a backup, or fill a cluster", Args: takes("DIR"),
		Long: `restore reads a backup into a folder that is empty or does not exist, compares every message, and verifies what is on
disk then. Start a gateway on that folder afterwards: it makes new keys and a new admin token. Events that were waiting or
in retry when the backup was made run then; those that were done do not. An event that was just running, or being moved,
may run again.

With --cluster it restores into gateways that were started with --hold on new data folders: see docs/cluster-move.md. Run
the same command again when it was killed. When it is done start the gateways without --hold.`,
		Example: `  funker-dispatch restore /backup/2026-11-23 --data /var/lib/funker
  funker-dispatch restore /backup/last --cluster nats://h1:4222,nats://h2:4222,nats://h3:4222 --key admin.nk`,
	}
	f := cmd.Flags()
	f.StringVar(&admin.data, "data", "data", "data folder to make; with --cluster, that of one of the gateways, for its key")
	f.StringVar(&admin.url, "cluster", "", "NATS addresses of gateways that run with --hold: restore into them")
	f.StringVar(&admin.key, "key", "", "with --cluster: key file (default admin.nk in the data folder)")
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		log, err := logger(cmd)
		if err != nil {
			return err
		}
		if admin.url != "" {
			return admin.with(cmd, func(ctx context.Context, q *queue.Queue) error {
				r, err := q.Fill(ctx, args[0], readingProgress(log))
				return printFill(cmd.OutOrStdout(), *out, r, err)
			})
		}
		debug.SetGCPercent(restoreGarbage)
		r, err := queue.Restore(cmd.Context(), args[0], admin.data, log, readingProgress(log))
		if err == nil {
			log.Info("restored", "data", admin.data)
		}
		return printReport(cmd.OutOrStdout(), *out, r, err)
	}
	return cmd
}

// printFill returns err, or an error when the report has findings.
func printFill(w io.Writer, out format, r queue.FillReport, err error) error {
	if err != nil {
		return err
	}
	if out == "json" {
		err = printJSON(w, r)
	} else {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "STREAM\tIN BACKUP\tTHE SAME\tDUE SINCE\tEXPIRED\tFIRST\tLAST\tCONSUMERS")
		for _, s := range r.Streams {
			fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", s.Name, s.InBackup, s.Same, s.Due, s.Expired, s.FirstSeq, s.LastSeq, s.Consumers)
		}
		err = printProblems(t, r.Findings)
	}
	return problems(r.Findings, err)
}
