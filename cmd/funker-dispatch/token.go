package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// Files in the data folder with the tokens of the admin listener.
const (
	tokenFile     = "admin.token" // for everything
	readTokenFile = "read.token"  // for looking
)

// tokens are those of the admin listener.
type tokens struct {
	admin, read string
	file        string // of the first
	made        bool   // the first one, just now
}

// open reads the tokens, or makes them at the first start.
func (k *tokens) open(data string, log *slog.Logger) (err error) {
	k.file = filepath.Join(data, tokenFile)
	if k.admin, k.made, err = ownToken(k.file, log); err != nil {
		return err
	}
	k.read, _, err = ownToken(filepath.Join(data, readTokenFile), log)
	return err
}

// ownToken reads a token, or makes one. The log says where it is, and never what it is: logs are kept, and shipped
// elsewhere.
func ownToken(file string, log *slog.Logger) (token string, made bool, err error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		token = rand.Text()
		if err := queue.WriteFile(file, token+"\n"); err != nil {
			return "", false, fmt.Errorf("write token: %w", err)
		}
		log.Info("made a token for the admin side", "file", file)
		return token, true, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read token: %w", err)
	}
	if token = strings.TrimSpace(string(data)); token == "" {
		return "", false, fmt.Errorf("token file %s is empty: remove it and a new one is made", file)
	}
	return token, false, nil
}

// introduce shows the token to the person at the terminal who has started a gateway for the first time. Where w is no
// terminal but a file, a pipe or the log of a container it says nothing: what is written there is kept.
func (k *tokens) introduce(w io.Writer, admin *listener) error {
	if !k.made || !isTerminal(w) {
		return nil
	}
	_, err := fmt.Fprintf(w, "\nThe console is at %s\nSign in with this token, which is shown once and stays in %s:\n\n    %s\n\n", admin.page(), k.file, k.admin)
	return err
}

// page is the address for a browser on this machine.
func (l *listener) page() string {
	scheme, address, _ := strings.Cut(l.url(), "://")
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		address = net.JoinHostPort("localhost", port)
	}
	return scheme + "://" + address + "/"
}

func tokenCommand() *cobra.Command {
	var data string
	var readOnly bool
	cmd := &cobra.Command{
		Use: "token", Short: "Print the token of the console and the admin API", Args: takes(),
		Long: `token prints the token with which one signs in to the console, and which the admin API and --url take. It reads the
data folder of the gateway, where the token was made at the first start.`,
		Example: `  funker-dispatch token
  docker exec CONTAINER /funker-dispatch token`,
	}
	cmd.Flags().StringVar(&data, "data", "data", "data folder of the gateway")
	cmd.Flags().BoolVar(&readOnly, "read-only", false, "print the token that looks and changes nothing")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		file := filepath.Join(data, tokenFile)
		if readOnly {
			file = filepath.Join(data, readTokenFile)
		}
		token, err := readToken(file)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: name the data folder with --data; of a gateway in a container: docker exec CONTAINER /funker-dispatch token", err)
		}
		if err == nil {
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
		}
		return err
	}
	return cmd
}
