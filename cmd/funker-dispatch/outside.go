package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// loginFlags say how to log in at a NATS server that is not embedded in a gateway.
type loginFlags struct{ creds, ca, domain string }

func (l *loginFlags) add(f *pflag.FlagSet) {
	f.StringVar(&l.creds, "nats-creds", "", "at a NATS server of your own: file with the credentials of a user, in place of a key")
	f.StringVar(&l.ca, "nats-ca", "", "file with the certificates, in PEM, that a NATS server of your own with TLS is checked with (default those of the system)")
	f.StringVar(&l.domain, "nats-domain", "", "JetStream domain of the streams, when they are not at the server of --nats-url itself")
}

// outsideFlags put the streams of a gateway at a NATS server of somebody else's.
type outsideFlags struct {
	queue.Outside
	login loginFlags
}

func (o *outsideFlags) add(f *pflag.FlagSet) {
	f.StringVar(&o.URL, "nats-url", "", "address of a NATS server of your own that keeps the events, such as nats://HOST:4222 or tls://HOST:4222, several separated by commas (default: the one in this process)")
	f.StringVar(&o.KeyFile, "key", "", "with --nats-url: file with an nkey, in place of --nats-creds")
	o.login.add(f)
	f.IntVar(&o.Replicas, "nats-replicas", 0, "with --nats-url: how many servers keep each stream: 1, 3 or 5 (default 3 in a cluster, else 1)")
	f.StringSliceVar(&o.PlacementTags, "nats-placement-tag", nil, "with --nats-url: tag of the servers that keep the streams; can be repeated")
	f.StringVar(&o.PlacementCluster, "nats-placement-cluster", "", "with --nats-url: name of the cluster that keeps the streams")
}

// read returns nil for a gateway with an embedded server.
func (o *outsideFlags) read(f *pflag.FlagSet, name string) (*queue.Outside, error) {
	if o.URL == "" {
		for _, flag := range []string{"key", "nats-creds", "nats-ca", "nats-domain", "nats-replicas", "nats-placement-tag", "nats-placement-cluster"} {
			if f.Changed(flag) {
				return nil, usagef("--%s goes with --nats-url", flag)
			}
		}
		return nil, nil
	}
	for _, flag := range []string{"nats-listen", "workers-without-key", "durability", "cluster-peers", "cluster-key", "cluster-listen", "cluster-patience"} {
		if f.Changed(flag) {
			return nil, usagef("--%s is about the NATS server of this process, and with --nats-url there is none: leave one out", flag)
		}
	}
	o.Node, o.CredsFile, o.CAFile, o.Domain = name, o.login.creds, o.login.ca, o.login.domain
	if err := o.Check(); err != nil {
		return nil, usagef("--nats-url: %w", err)
	}
	return &o.Outside, nil
}

// dial connects as an admin or a worker. Without a key or credentials the server says whether it takes that.
func (l *loginFlags) dial(cmd *cobra.Command, url, key string, role queue.Role) (*queue.Queue, error) {
	log, err := logger(cmd)
	if err != nil {
		return nil, err
	}
	o := queue.DialOptions{URL: url, CredsFile: l.creds, CAFile: l.ca, Domain: l.domain, Role: role, Log: log}
	if l.creds == "" && !strings.Contains(url, "@") {
		o.KeyFile = key
	}
	o.Open = o.KeyFile == ""
	return queue.DialWith(o)
}
