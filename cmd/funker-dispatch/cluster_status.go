package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

const clusterEvery = 500 * time.Millisecond // how often --wait looks

func clusterStatusCommand() *cobra.Command {
	var admin adminFlags
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "status", Short: "Show the gateways, who leads, and whether all copies are current", Args: takes(),
		Long: `status prints the gateways of the cluster as the one sees them that answers, who of them looks after the streams and
services, and what each keeps of every stream. What is not as it should be comes last; the exit code is 1 then.

Upgrade one gateway after the other, with "cluster status --wait 5m" in between.`,
		Example: `  funker-dispatch cluster status
  funker-dispatch cluster status --wait 5m`,
	}
	admin.addRemote(cmd)
	out := outputFlag(cmd)
	cmd.Flags().DurationVar(&wait, "wait", 0, "how long to wait until all is as it should be")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := awaitCluster(cmd, &admin, wait)
		if err != nil {
			return err
		}
		if err := printEither(cmd, *out, s, printCluster); err != nil {
			return err
		}
		if len(s.Problems) > 0 {
			return errors.New("the cluster is not as it should be")
		}
		return nil
	}
	return cmd
}

// awaitCluster looks again until nothing is wrong or the time is over. A gateway that does not answer meanwhile may be the
// one that starts again.
func awaitCluster(cmd *cobra.Command, admin *adminFlags, wait time.Duration) (s queue.ClusterState, err error) {
	look := func() error {
		s, err = read(admin, cmd, "/api/v1/cluster", nil, func(ctx context.Context, q *queue.Queue) (queue.ClusterState, error) { return q.ClusterState(ctx) })
		return err
	}
	for end := time.Now().Add(wait); ; {
		if err := look(); err == nil && len(s.Problems) == 0 || !time.Now().Before(end) {
			return s, err
		}
		select {
		case <-time.After(clusterEvery):
		case <-cmd.Context().Done():
			return s, context.Cause(cmd.Context())
		}
	}
}

func printCluster(w io.Writer, s queue.ClusterState) error {
	if s.Node == "" {
		_, err := fmt.Fprintln(w, "This gateway is in no cluster: what is stored is on its disk alone, or at the NATS server that it was given.")
		return err
	}
	t := newTable(w)
	fmt.Fprintln(t, "GATEWAY\tREACHED\tLEADS\tVERSION")
	for _, g := range s.Gateways {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", g.Name, yes(g.Reached), yes(g.Name == s.Leader), cmp.Or(g.Version, "-"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if err := printCopies(w, s); err != nil {
		return err
	}
	for i, p := range s.Problems {
		if i == 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, p)
	}
	return nil
}

// printCopies prints a line for each stream, and a column for each gateway.
func printCopies(w io.Writer, s queue.ClusterState) error {
	t := newTable(w)
	fmt.Fprint(t, "STREAM")
	for _, g := range s.Gateways {
		fmt.Fprintf(t, "\t%s", strings.ToUpper(g.Name))
	}
	fmt.Fprintln(t)
	for _, c := range s.Streams {
		fmt.Fprint(t, c.Stream)
		for _, g := range s.Gateways {
			fmt.Fprintf(t, "\t%s", copyText(c, g))
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "-"
}

// copyText is what a gateway keeps of a stream: "-" when that is nothing, or not known.
func copyText(s queue.StreamCopies, g queue.GatewayState) string {
	for _, c := range s.Copies {
		switch {
		case c.Gateway != g.Name:
			continue
		case g.Name == s.Leader:
			return "leads"
		case c.Current:
			return "current"
		case !g.Reached:
			return "away"
		}
		return fmt.Sprintf("%d behind", c.Lag)
	}
	return "-"
}
