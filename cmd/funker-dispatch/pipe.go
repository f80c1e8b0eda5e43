package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// The command line reaches a gateway in a container of this machine through the Docker Engine: it runs this program there
// once more, as "pipe", for the key and for each connection.

// pipeCommand is run in the container of a gateway, with the command of that container as its arguments.
func pipeCommand() *cobra.Command {
	var printKey bool
	cmd := &cobra.Command{
		Use: "pipe -- serve [FLAG…]", Short: "Connect standard input and output to the NATS address of the gateway in this container",
		Hidden: true, Args: cobra.MinimumNArgs(1),
	}
	cmd.Flags().BoolVar(&printKey, "print-key", false, "print the key admin.nk instead")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		data, address, err := whereServes(args)
		if err != nil {
			return err
		}
		if printKey {
			key, err := os.ReadFile(filepath.Join(data, queue.AdminKey))
			if err == nil {
				_, err = cmd.OutOrStdout().Write(key)
			}
			return err
		}
		conn, err := dialHere(cmd.Context(), address)
		if err != nil {
			return err
		}
		return splice(cmd.Context(), conn, cmd.InOrStdin(), cmd.OutOrStdout())
	}
	return cmd
}

// whereServes reads the data folder and the NATS address from the arguments of serve, and the environment.
func whereServes(args []string) (data, address string, err error) {
	cmd, rest, err := command(new(bool)).Find(args)
	if err != nil || cmd.Name() != "serve" {
		return "", "", fmt.Errorf("this container does not run serve, but %q", args)
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return "", "", err
	}
	if err := fromEnv(cmd.Flags()); err != nil {
		return "", "", err
	}
	if data, err = cmd.Flags().GetString("data"); err == nil {
		address, err = cmd.Flags().GetString("nats-listen")
	}
	return data, address, err
}

// dialHere connects to an address that is listened on in this container.
func dialHere(ctx context.Context, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if host, err = queue.OwnHost(host); err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(host, port))
}

// splice copies both ways until one of them ends.
func splice(ctx context.Context, conn net.Conn, in io.Reader, out io.Writer) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	go func() { // ends with the process, or when its input does
		_, _ = io.Copy(conn, in) // what matters is that it ends
		conn.Close()
	}()
	_, err := io.Copy(out, conn)
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return errors.Join(err, conn.Close())
}

// gatewayContainer is a gateway in a container of this machine.
type gatewayContainer struct {
	engine *deploy.Engine
	deploy.GatewayContainer
}

// findContainer returns the gateway in a container, with its key. The caller closes the engine.
func findContainer(ctx context.Context, engine *deploy.Engine) (*gatewayContainer, []byte, error) {
	found, err := engine.Gateway(ctx)
	if err != nil {
		return nil, nil, err
	}
	c := &gatewayContainer{engine, found}
	conn, err := c.pipe(ctx, "--print-key")
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	key, err := io.ReadAll(conn)
	if err != nil {
		return nil, nil, fmt.Errorf("read the key in the container %s: %w", c.Name, err)
	}
	return c, key, nil
}

// pipe runs pipe in the container.
func (c *gatewayContainer) pipe(ctx context.Context, flags ...string) (net.Conn, error) {
	i := slices.Index(c.Command, "serve")
	if i < 1 {
		return nil, fmt.Errorf("the container %s does not run serve, but %q", c.Name, c.Command)
	}
	command := slices.Concat([]string{c.Command[i-1], "pipe"}, flags, []string{"--"}, c.Command[i:])
	return c.engine.Exec(ctx, c.ID, command)
}
