package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// healthTimeout is shorter than the time after which Docker ends a check, so that there is a reason to read.
const healthTimeout = 4 * time.Second

func healthcheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "healthcheck [URL]",
		Short: "Ask the gateway or the worker of this container whether it works",
		Long: `healthcheck asks GET /healthz, prints the answer, and fails unless it is 200. Without a URL it asks the first process
of the container at the address that its command line names. A function is not asked: it would take that for a call.`,
		Example: `  funker-dispatch healthcheck http://127.0.0.1:3000/healthz`,
		Args:    cobra.MaximumNArgs(1),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		url := strings.Join(args, "")
		if url == "" {
			line, err := os.ReadFile("/proc/1/cmdline")
			if err != nil {
				return fmt.Errorf("first process: %w", err)
			}
			if url, err = healthURL(strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")); err != nil || url == "" {
				return err
			}
		}
		return checkHealth(cmd.Context(), url, cmd.OutOrStdout())
	}
	return cmd
}

// healthURL returns where a process with this command line and the environment of this one answers, "" when it is one
// that nobody asks.
func healthURL(line []string) (string, error) {
	i := slices.IndexFunc(line, func(arg string) bool { return filepath.Base(arg) == "funker-dispatch" }) // behind an init
	if i < 0 {
		return "", fmt.Errorf("the first process is %s: say which URL to ask", strings.Join(line, " "))
	}
	cmd, args, err := command(new(bool)).Find(line[i+1:])
	if err != nil {
		return "", fmt.Errorf("the first process: %w", err)
	}
	if err := cmd.ParseFlags(args); err != nil {
		return "", fmt.Errorf("the first process: %w", err)
	}
	if err := fromEnv(cmd.Flags()); err != nil {
		return "", err
	}
	var address string
	switch cmd.Name() {
	case "serve":
		// A certificate is for another name than 127.0.0.1, or not there yet.
		if address = publicAddress(cmd.Flags()); cmd.Flags().Changed("tls-cert") || cmd.Flags().Changed("tls-domain") {
			address = cmd.Flags().Lookup("admin").Value.String()
		}
	case "worker":
		address = cmd.Flags().Lookup("health").Value.String()
	}
	return healthzAt(address)
}

func healthzAt(address string) (string, error) {
	if address == "" {
		return "", nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("address %q: %w", address, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port) + healthPath, nil
}

func checkHealth(ctx context.Context, url string, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return usagef("%w", err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 4096))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", url, err)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, answer.Status, body)
	}
	_, err = fmt.Fprintf(stdout, "%s\n", body)
	return err
}
