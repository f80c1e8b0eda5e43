package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// clusterOptions make a gateway one of several with one store. The zero value is a gateway that stands alone.
type clusterOptions struct {
	name, peers, listen, key string
	patience                 time.Duration
}

func (o *clusterOptions) add(f *pflag.FlagSet) {
	f.StringVar(&o.peers, "cluster-peers", "", "all gateways of a cluster, this one too: a=HOST:6222,b=HOST:6222,c=HOST:6222 (default: it stands alone)")
	f.StringVar(&o.name, "cluster-name", "", "which of --cluster-peers this gateway is, for ever; with --nats-url its name for people (default the host name)")
	f.StringVar(&o.key, "cluster-key", "", `file with the secret that the gateways share; "funker-dispatch cluster key" makes one`)
	f.StringVar(&o.listen, "cluster-listen", "", "address for the other gateways (default the port of this gateway in --cluster-peers, on all interfaces)")
	f.DurationVar(&o.patience, "cluster-patience", queue.DefaultPatience, "how long a silent leader is waited for until another gateway takes its place")
}

// read returns nil for a gateway that stands alone.
func (o *clusterOptions) read() (*queue.Cluster, error) {
	if o.peers == "" {
		if o.name+o.key+o.listen != "" {
			return nil, usagef("--cluster-name, --cluster-key and --cluster-listen go with --cluster-peers")
		}
		return nil, nil
	}
	if o.name == "" || o.key == "" {
		return nil, usagef("--cluster-peers goes with --cluster-name and --cluster-key")
	}
	c := &queue.Cluster{Node: o.name, Listen: o.listen, Patience: o.patience, Version: version}
	var err error
	if c.Peers, err = queue.ParsePeers(o.peers); err != nil {
		return nil, usagef("--cluster-peers: %w", err)
	}
	text, err := os.ReadFile(o.key)
	if err != nil {
		return nil, fmt.Errorf("--cluster-key: %w", err)
	}
	if c.Key, err = queue.ParseClusterKey(string(text)); err != nil {
		return nil, fmt.Errorf("--cluster-key %s: %w", o.key, err)
	}
	if err := c.Check(); err != nil {
		return nil, usagef("--cluster-peers: %w", err)
	}
	return c, nil
}

// writeTokens makes the token files that follow from the key of the cluster, so that a token is good at every gateway.
func writeTokens(data string, c *queue.Cluster) error {
	for _, name := range []string{tokenFile, readTokenFile} {
		secret, err := c.Key.Derive(name)
		if err != nil {
			return err
		}
		if err := queue.KeepFile(data, name, hex.EncodeToString(secret[:16])+"\n"); err != nil {
			return fmt.Errorf("write token: %w", err)
		}
	}
	return nil
}

func clusterCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cluster", Short: "Several gateways with one store", Args: takesCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(clusterKeyCommand(), clusterStatusCommand())
	return cmd
}

func clusterKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "key", Short: "Make the secret that the gateways of a cluster share", Args: takes(),
		Long: `key prints a new secret for --cluster-key. Whoever has it is a gateway, a worker and an admin of the cluster: keep it like
a password. Give the same file to all gateways.`,
		Example: `  funker-dispatch cluster key >cluster.key
  funker-dispatch cluster key | docker secret create funker-cluster -`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), queue.NewClusterKey())
			return err
		},
	}
}
