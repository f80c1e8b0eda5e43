package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
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

	"github.com/funker-dispatch/funker-dispatch/ingress"
)

// healthTimeout is shorter than the time after which Docker ends a check, so that there is a reason to read.
const healthTimeout = 4 * time.Second

func healthcheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "healthcheck [URL]",
		Short: "Ask the gateway or the worker of this container whether it works",
		Long: `healthcheck asks GET /healthz, prints the answer, and fails unless it is 200. Without a URL it asks the first process
of the container at the address that its command line names. A function is not asked: it would take that for a call. A
gateway that waits for the other ones of its cluster answers 503, so that nobody sends it anything, and passes the check:
to start it again would not help.`,
		Example: `  funker-dispatch healthcheck http://127.0.0.1:3000/healthz`,
		Args:    cobra.MaximumNArgs(1),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		url, client := strings.Join(args, ""), http.DefaultClient
		if url == "" {
			client = ownClient
			line, err := os.ReadFile("/proc/1/cmdline")
			if err != nil {
				return fmt.Errorf("first process: %w", err)
			}
			if url, err = healthURL(strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")); err != nil || url == "" {
				return err
			}
		}
		return checkHealth(cmd.Context(), client, url, cmd.OutOrStdout())
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
	flags := cmd.Flags()
	switch cmd.Name() {
	case "serve":
		if !flags.Changed("tls-cert") && !flags.Changed("tls-domain") {
			return healthzAt("http", publicAddress(flags))
		}
		admin := flags.Lookup("admin").Value.String() // the certificate of the public listener may not be there yet
		if flags.Changed("admin-tls-cert") {
			return healthzAt("https", admin)
		}
		return healthzAt("http", admin)
	case "worker":
		return healthzAt("http", flags.Lookup("health").Value.String())
	}
	return "", nil
}

// ownClient asks a process beside this one, whose certificate is for another name than 127.0.0.1. Nothing secret is sent,
// and nothing that is answered is used but the status.
var ownClient = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}

func healthzAt(scheme, address string) (string, error) {
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
	return scheme + "://" + net.JoinHostPort(host, port) + healthPath, nil
}

// stillWaits reports whether a gateway is well itself, and waits for others.
func stillWaits(status int, body []byte) bool {
	var health struct{ Status string }
	return status == http.StatusServiceUnavailable && json.Unmarshal(body, &health) == nil && health.Status == ingress.StatusWaiting
}

func checkHealth(ctx context.Context, client *http.Client, url string, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return usagef("%w", err)
	}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 4096))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", url, err)
	}
	if answer.StatusCode != http.StatusOK && !stillWaits(answer.StatusCode, body) {
		return fmt.Errorf("%s: %s: %s", url, answer.Status, body)
	}
	_, err = fmt.Fprintf(stdout, "%s\n", body)
	return err
}
