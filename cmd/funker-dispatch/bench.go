package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
)

func benchCommand() *cobra.Command {
	b := bench{client: &http.Client{Transport: &lean{idle: map[string][]*leanConn{}}}}
	var backlog, kills int
	var cluster bool
	var settle time.Duration
	var data string
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure this machine: raw fsync, direct calls, calls through the gateway, durable accepts, verification",
		Long: `bench runs a function, a bare HTTP server that calls it without any queue, or appends to a file (the baselines), and a
gateway, all in this process, and measures them in turns. Then it measures what it costs to verify a request of each
kind, without HTTP and without a store. With --backlog the gateway is a process of its own. With --cluster three gateways
with one store are, and three workers: they are measured, and then gateways are killed under load. Compare ratios of one
run, not figures of two: machines are noisy.`,
		Args: takes(),
	}
	cmd.Flags().DurationVar(&b.time, "time", 400*time.Millisecond, "how long each figure is measured, per round")
	cmd.Flags().IntVar(&b.rounds, "rounds", 9, "rounds; the table shows medians")
	cmd.Flags().StringVar(&b.dir, "dir", "", "folder to measure the disk of (default: a temporary one)")
	cmd.Flags().StringVar(&data, "keep", "", "folder to keep the stores in: when bench was killed, the next one in the same folder checks that nothing is lost")
	cmd.Flags().IntVar(&backlog, "backlog", 0, "instead: store so many events that nobody takes, and measure what comes after them")
	cmd.Flags().DurationVar(&settle, "settle", 0, "with --backlog: how long to wait before what comes after it is measured")
	cmd.Flags().BoolVar(&cluster, "cluster", false, "instead: measure three gateways with one store, and what happens when one of them goes")
	cmd.Flags().IntVar(&kills, "kills", 5, "with --cluster: how often the gateway that leads the events is killed, and that with the lease")
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if b.rounds < 1 || b.time <= 0 || backlog < 0 || settle < 0 {
			return usagef("--rounds and --time must be positive, and --backlog and --settle not negative")
		}
		if cluster && (backlog > 0 || data != "") || kills < 1 {
			return usagef("--cluster goes with neither --backlog nor --keep, and --kills must be positive")
		}
		if settle > 0 && backlog == 0 {
			return usagef("--settle goes with --backlog")
		}
		if data != "" && (backlog > 0 || b.dir != "") {
			return usagef("--keep goes with neither --backlog nor --dir")
		}
		tuneHeap(memory())
		if data != "" {
			b.dir = data
			rows, err := b.runIn(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return printEither(cmd, *out, rows, printRows)
		}
		dir, err := os.MkdirTemp(b.dir, "funker-bench-")
		if err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
		b.dir = dir
		if cluster {
			report, err := b.cluster(cmd.Context(), kills)
			if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
				return err
			}
			return printEither(cmd, *out, report, printClusterBench)
		}
		if backlog > 0 {
			report, err := b.backlog(cmd.Context(), backlog, settle)
			if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
				return err
			}
			return printEither(cmd, *out, report, printBacklog)
		}
		rows, err := b.run(cmd.Context(), cmd.ErrOrStderr())
		if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
			return err
		}
		return printEither(cmd, *out, rows, printRows)
	}
	return cmd
}

// printEither prints a result in the form that was asked for.
func printEither[T any](cmd *cobra.Command, form format, v T, table func(io.Writer, T) error) error {
	if form == "json" {
		return printJSON(cmd.OutOrStdout(), v)
	}
	return table(cmd.OutOrStdout(), v)
}

type bench struct {
	time    time.Duration
	rounds  int
	dir     string
	address string   // of the function
	hangs   string   // address of one that never answers
	gateway *gateway // on loopback, with a worker of its own
	public  string   // URL of it, or of a gateway in a process of its own
	remote  *gateway // the same, but its worker is connected by TCP
	bare    string   // URL of the baselines
	stored  *os.File // what one of them appends to
	client  *http.Client
	journal *os.File // of the ids that were accepted; nil without a folder to keep
}

func (b *bench) run(ctx context.Context, out io.Writer) ([]row, error) {
	rows, err := b.path(ctx, out)
	if err != nil {
		return nil, err
	}
	costs, err := b.verify(ctx) // while nothing else goes on
	return append(rows, costs...), err
}

// path measures the data path.
func (b *bench) path(ctx context.Context, out io.Writer) ([]row, error) {
	stop, err := b.start(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.checkJournal(ctx, out); err != nil {
		return nil, errors.Join(err, stop())
	}
	file, err := b.appendFile("raw")
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	rows, err := b.measureAll(ctx, b.measurements(file))
	if err == nil {
		var r row
		if r, err = b.drain(ctx); err == nil {
			rows = append(rows, r)
		}
	}
	return rows, errors.Join(err, file.Close(), stop())
}

// runIn is run in a folder that is kept.
func (b *bench) runIn(ctx context.Context, out io.Writer) ([]row, error) {
	if err := b.openJournal(); err != nil {
		return nil, err
	}
	rows, err := b.run(ctx, out)
	if err == nil {
		err = b.journal.Truncate(0) // nothing was killed
	}
	return rows, errors.Join(err, b.journal.Close())
}
