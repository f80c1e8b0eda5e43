package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// adminFlags say how to reach the queue of a gateway, or its admin API.
type adminFlags struct {
	url, data, key string
	login          loginFlags
	remoteFlags
}

// addRemote is add for commands that also go through the admin API.
func (a *adminFlags) addRemote(cmd *cobra.Command) {
	a.add(cmd)
	a.remoteFlags.add(cmd)
}

func (a *adminFlags) add(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringVar(&a.url, "nats-url", defaultNATS, "NATS address of the gateway, or of the NATS server that it uses")
	f.StringVar(&a.data, "data", "data", "data folder of the gateway, for its key; without one, the gateway in a container of this machine")
	f.StringVar(&a.key, "key", "", `key file (default admin.nk in the data folder); "": none`)
	a.login.add(f)
}

// with connects, runs f and closes the connection.
func (a *adminFlags) with(cmd *cobra.Command, f func(context.Context, *queue.Queue) error) error {
	if a.api != "" {
		return usagef("--url: %s goes through NATS: say where that is with --nats-url and --key", cmd.CommandPath())
	}
	log, err := logger(cmd)
	if err != nil {
		return err
	}
	if a.inContainer(cmd) {
		return a.withContainer(cmd.Context(), log, f)
	}
	url, key, err := a.where(cmd)
	if err != nil {
		return err
	}
	q, err := a.login.dial(cmd, url, key, queue.RoleAdmin)
	if errors.Is(err, queue.ErrKey) {
		return fmt.Errorf("%w: use %s of the data folder (--key or --data)", err, queue.AdminKey)
	}
	if err != nil {
		return fmt.Errorf("%w (is the gateway running, and --nats-url and --data right?)", err)
	}
	return errors.Join(f(cmd.Context(), q), q.Close())
}

// where returns the NATS address and the key file of the gateway. At a NATS server of its own no key is made: one that
// wants a key or credentials is given them.
func (a *adminFlags) where(cmd *cobra.Command) (url, key string, err error) {
	outside, err := queue.OutsideOf(a.data)
	if err != nil {
		return "", "", err
	}
	url, key = a.url, a.keyFile()
	if outside != "" && !cmd.Flags().Changed("nats-url") {
		url = outside
	}
	if a.key == "" && (outside != "" || cmd.Flags().Changed("key")) {
		key = ""
	}
	return url, key, nil
}

func (a *adminFlags) keyFile() string {
	if a.key != "" {
		return a.key
	}
	return filepath.Join(a.data, queue.AdminKey)
}

// inContainer reports whether nothing says where the gateway is, and it has no data folder here.
func (a *adminFlags) inContainer(cmd *cobra.Command) bool {
	for _, name := range []string{"nats-url", "nats-creds", "data", "key"} {
		if cmd.Flags().Changed(name) {
			return false
		}
	}
	_, err := os.Stat(a.keyFile())
	outside, unread := queue.OutsideOf(a.data)
	return errors.Is(err, fs.ErrNotExist) && outside == "" && unread == nil
}

// withContainer is with, for a gateway in a container of this machine.
func (a *adminFlags) withContainer(ctx context.Context, log *slog.Logger, f func(context.Context, *queue.Queue) error) error {
	engine, err := deploy.OpenEngine("")
	if err != nil {
		return a.nowhere(err)
	}
	defer engine.Close()
	c, key, err := findContainer(ctx, engine)
	if err != nil {
		return a.nowhere(err)
	}
	q, err := queue.DialWith(queue.DialOptions{
		URL: "nats://" + c.ID[:12], Key: key, Role: queue.RoleAdmin, Log: log,
		Dialer: func() (net.Conn, error) { return c.pipe(ctx) },
	})
	if err != nil {
		return fmt.Errorf("gateway in the container %s: %w", c.Name, err)
	}
	return errors.Join(f(ctx, q), q.Close())
}

func (a *adminFlags) nowhere(err error) error {
	return fmt.Errorf("where is the gateway? There is no key %s, and in a container: %w (say where with --data, or with --nats-url and --key)", a.keyFile(), err)
}
