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
(` + strings.Join(trigger.Kinds(), ", ") + `) or, where there are several, its name. URL is the gateway, ` + defaultURL + ` by default.
The curl command holds the signature, never the secret; but for a sender that signs nothing it holds what the sender
sends along. Of alexa and sns only Amazon has the key: add test-secret-file to a trigger of theirs to try it.`,
		Example: `  funker-dispatch sign github --send
  funker-dispatch sign alexa -d @request.json https://gateway.example.org`,
		Args: takes("TRIGGER", "[URL]"),
	}
	cmd.Flags().StringVarP(&data, "body", "d", "", "body: JSON, @FILE or @- (default: a sample)")
	cmd.Flags().StringVar(&event, "event", "", "name of the event, where the sender has it in a header (default: that of the sample)")
	cmd.Flags().BoolVar(&send, "send", false, "send the request and print the answer")
	manifest.add(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		m, err := manifest.load(slog.New(slog.DiscardHandler), func(t *deploy.Trigger) bool { return isCalled(t, args[0]) })
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
		answer.print(cmd.OutOrStdout())
		if answer.code >= 300 {
			return errors.New("the gateway refused the request")
		}
		return nil
	}
	return cmd
}

func isCalled(t *deploy.Trigger, name string) bool {
	return name == t.Kind || name == t.Name || name == t.Source()
}

func findTrigger(m *deploy.Manifest, name string) (*deploy.Trigger, error) {
	var found []*deploy.Trigger
	var known []string
	for _, t := range m.Triggers {
		known = append(known, t.Source())
		if isCalled(t, name) {
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

// request is a signed request.
type request struct {
	url    string
	header http.Header
	body   []byte
}

func sample(cmd *cobra.Command, t *deploy.Trigger, data, event string) (request, error) {
	now := time.Now()
	body := trigger.SampleFor(t.Config, now)
	if data != "" {
		var err error
		if body, err = readData(cmd, data); err != nil {
			return request{}, fmt.Errorf("read body: %w", err)
		}
	}
	r, err := signed(t, body, event, now)
	switch {
	case errors.Is(err, errNameless):
		return r, usagef("%w: leave --event out", err)
	case err != nil:
		return r, fmt.Errorf("sign: %w", err)
	}
	return r, nil
}

// signed is the request that the sender of a trigger sends at the time now, without its URL. event is the name of the
// event, where the sender has that in a header; "": the one that the body has.
func signed(t *deploy.Trigger, body []byte, event string, now time.Time) (request, error) {
	header, err := trigger.Sign(t.Config, body, now)
	if err != nil {
		return request{}, err
	}
	if event != "" {
		name := trigger.NameHeader(t.Config)
		if name == "" {
			return request{}, fmt.Errorf("%s %w", t.Source(), errNameless)
		}
		header.Set(name, event)
	}
	return request{header: header, body: body}, nil
}

var errNameless = errors.New("has the name of the event in the body, or signs it")

// curl prints the request for a POSIX shell.
func (r request) curl() string {
	var b strings.Builder
	b.WriteString("curl -sS -X POST")
	for _, k := range slices.Sorted(maps.Keys(r.header)) {
		b.WriteString(" \\\n  -H " + shellQuote(k+": "+r.header.Get(k)))
	}
	b.WriteString(" \\\n  --data-binary " + shellQuote(string(r.body)) + " \\\n  " + shellQuote(r.url))
	return b.String()
}

// shellQuote writes a word for a POSIX shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

type answer struct {
	code   int
	status string
	header http.Header
	body   []byte
}

// print leaves out the headers that are not ours.
func (a answer) print(w io.Writer) {
	fmt.Fprintln(w, a.status)
	for _, name := range slices.Sorted(maps.Keys(a.header)) {
		if strings.HasPrefix(name, "Funker-") {
			fmt.Fprintf(w, "%s: %s\n", name, oneLine(a.header.Get(name)))
		}
	}
	fmt.Fprintf(w, "%s\n", bytes.TrimSpace(a.body))
}

func (r request) send(ctx context.Context) (answer, error) {
	return r.sendBy(ctx, http.DefaultClient)
}

// maxAnswer is how much of an answer is read, in bytes: Alexa takes 120 KB, and others are short.
const maxAnswer = 1 << 20

func (r request) sendBy(ctx context.Context, client *http.Client) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(r.body))
	if err != nil {
		return answer{}, fmt.Errorf("make request: %w", err)
	}
	req.Header = r.header
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("send: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return answer{}, fmt.Errorf("read answer: %w", err)
	}
	return answer{resp.StatusCode, resp.Status, resp.Header, body}, nil
}
