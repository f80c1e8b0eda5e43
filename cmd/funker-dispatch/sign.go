package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

const defaultURL = "http://127.0.0.1:3000"

func signCommand() *cobra.Command {
	var manifest manifestFlags
	var data, event string
	var send bool
	cmd := &cobra.Command{
		Use:   "sign TRIGGER [URL]",
		Short: "Print a correctly signed sample request as a curl command, or send it",
		Long: `sign makes the request that a genuine sender would make to a trigger of the manifest. TRIGGER is its kind
(alexa, github) or, where there are several, its name. URL is the gateway, ` + defaultURL + ` by default.
The curl command holds the signature, never the secret.`,
		Example: `  funker-dispatch sign github --send
  funker-dispatch sign alexa -d @request.json https://gateway.example.org`,
		Args: cobra.RangeArgs(1, 2),
	}
	cmd.Flags().StringVarP(&data, "body", "d", "", "body: JSON, @FILE or @- (default: a sample)")
	cmd.Flags().StringVar(&event, "event", "", "GitHub's event name (default: that of the sample, else push)")
	cmd.Flags().BoolVar(&send, "send", false, "send the request and print the answer")
	manifest.add(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		m, err := manifest.load(slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		t, err := findTrigger(m, args[0])
		if err != nil {
			return err
		}
		r, err := sample(cmd, t, data, event)
		if err != nil {
			return err
		}
		r.url = defaultURL + t.Path
		if len(args) == 2 {
			r.url = strings.TrimRight(args[1], "/") + t.Path
		}
		if !send {
			_, err = fmt.Fprintln(cmd.OutOrStdout(), r.curl())
			return err
		}
		answer, err := r.send(cmd.Context())
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\n", answer.status, bytes.TrimSpace(answer.body))
		if answer.code >= 300 {
			return errors.New("the gateway refused the request")
		}
		return nil
	}
	return cmd
}

func findTrigger(m *deploy.Manifest, name string) (*deploy.Trigger, error) {
	var found []*deploy.Trigger
	var known []string
	for i := range m.Triggers {
		t := m.Triggers[i]
		known = append(known, t.Source())
		if name == t.Kind || name == t.Name || name == t.Source() {
			found = append(found, t)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, usagef("no trigger %q in the manifest; it has: %s", name, strings.Join(known, ", "))
	}
	return nil, usagef("several triggers are called %q; take one of: %s", name, strings.Join(known, ", "))
}

func triggerConfig(t *deploy.Trigger) trigger.Config {
	return trigger.Config{Kind: t.Kind, SkillIDs: t.SkillIDs, Secret: t.Secret, IDOnly: t.IDOnly, Insecure: t.Insecure}
}

// request is a signed request.
type request struct {
	url    string
	header http.Header
	body   []byte
}

func sample(cmd *cobra.Command, t *deploy.Trigger, data, event string) (request, error) {
	cfg := triggerConfig(t)
	body := trigger.SampleFor(cfg, time.Now())
	if data != "" {
		var err error
		if body, err = readData(cmd, data); err != nil {
			return request{}, fmt.Errorf("read body: %w", err)
		}
	}
	header, err := trigger.Sign(cfg, body, time.Now())
	if err != nil {
		return request{}, fmt.Errorf("sign: %w", err)
	}
	if event != "" && t.Kind == trigger.GitHub {
		header.Set("X-GitHub-Event", event)
	}
	return request{header: header, body: body}, nil
}

// curl prints the request for a POSIX shell.
func (r request) curl() string {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	var b strings.Builder
	b.WriteString("curl -sS -X POST")
	for _, k := range slices.Sorted(maps.Keys(r.header)) {
		b.WriteString(" \\\n  -H " + quote(k+": "+r.header.Get(k)))
	}
	b.WriteString(" \\\n  --data-binary " + quote(string(r.body)) + " \\\n  " + quote(r.url))
	return b.String()
}

type answer struct {
	code   int
	status string
	header http.Header
	body   []byte
}

func (r request) send(ctx context.Context) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(r.body))
	if err != nil {
		return answer{}, fmt.Errorf("make request: %w", err)
	}
	req.Header = r.header
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("send: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, fmt.Errorf("read answer: %w", err)
	}
	return answer{resp.StatusCode, resp.Status, resp.Header, body}, nil
}
