package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/console"
	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/funker"
	"github.com/funker-dispatch/funker-dispatch/ingress"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

func demoCommand() *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a gateway with three functions on free ports, and show calls, events, retries, dead letters and replays",
		Args:  takes(),
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "leave it running, to play with")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		dir, err := os.MkdirTemp("", "funker-demo-")
		if err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
		d := newDemo(cmd.OutOrStdout(), dir)
		d.keep = keep
		return errors.Join(d.run(cmd.Context()), os.RemoveAll(dir))
	}
	return cmd
}

// demo is one run of the command.
type demo struct {
	out          io.Writer
	dir          string
	keep         bool
	manifest     *deploy.Manifest
	gateway      *gateway
	address      map[string]string // of the functions
	stopFunction map[string]func() error
	failing      atomic.Int32 // how many calls of CommitFetch fail from now on
}

func newDemo(out io.Writer, dir string) *demo {
	return &demo{out: out, dir: dir, address: map[string]string{}, stopFunction: map[string]func() error{}}
}

// demoFunctions are the functions of the demo, the samples that answer as them, and their settings.
var demoFunctions = []struct{ name, sample, settings string }{
	{"HelloIntent", "hello", ""}, {"HostnameIntent", "hostname", ""},
	{"CommitFetch", "commits", ", retry: {attempts: 2, initial: 200ms}"},
}

// moody is CommitFetch: it fails as long as the demo wants it to.
func (d *demo) moody(fn function) function {
	return func(ctx context.Context, in json.RawMessage) (any, error) {
		if d.failing.Add(-1) >= 0 {
			return nil, errors.New("the database is locked")
		}
		return fn(ctx, in)
	}
}

func (d *demo) run(ctx context.Context) (err error) {
	defer func() {
		for _, stop := range d.stopFunction {
			err = errors.Join(err, stop())
		}
	}()
	if err := d.build(ctx); err != nil {
		return err
	}
	stopping, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- d.gateway.run(stopping) }()
	err = d.tell(ctx)
	if err == nil && d.keep {
		if err = d.leave(ctx); err == nil {
			d.invite()
			<-ctx.Done()
		}
	}
	stop()
	return errors.Join(err, <-done)
}

// build starts the functions, makes a gateway, and applies a manifest for them: as with serve, a person can change it then.
func (d *demo) build(ctx context.Context) error {
	var functions strings.Builder
	for _, f := range demoFunctions {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("listen for %s: %w", f.name, err)
		}
		fn := samples[f.sample]
		if f.sample == "commits" {
			fn = d.moody(fn)
		}
		d.start(f.name, l, fn)
		d.address[f.name] = l.Addr().String()
		fmt.Fprintf(&functions, "  %s: {addresses: [\"%s\"]%s}\n", f.name, l.Addr(), f.settings)
	}
	secret := filepath.Join(d.dir, "github.secret")
	if err := os.WriteFile(secret, []byte(queue.NewID()), 0o600); err != nil {
		return fmt.Errorf("write secret: %w", err)
	}
	text := "functions:\n" + functions.String() + "triggers:\n  - {alexa: " + trigger.SampleSkillID + ", verify: id-only}\n" +
		"  - {github: acme, secret-file: " + secret + ", function: CommitFetch}\n"
	if err := os.WriteFile(filepath.Join(d.dir, "functions.yaml"), []byte(text), 0o600); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	begin := time.Now()
	var err error
	d.gateway, err = newGateway(ctx, gatewayOptions{
		data: filepath.Join(d.dir, "data"), listen: "127.0.0.1:0", admin: "127.0.0.1:0", natsListen: "127.0.0.1:0",
		grace: time.Second, ingress: ingress.Options{Functions: true}, log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	if _, err := d.gateway.keeper.put(ctx, "functions.yaml", console.Change{Text: text}); err != nil {
		return errors.Join(err, d.gateway.close())
	}
	d.manifest = d.gateway.keeper.catalog.Manifest()
	d.step("A gateway with this manifest, ready after %s:\n%s", time.Since(begin).Round(time.Millisecond), indent(text))
	return nil
}

func (d *demo) start(name string, l net.Listener, fn function) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- funker.Serve(ctx, l, fn, funker.Options{Log: slog.New(slog.DiscardHandler)}) }()
	d.stopFunction[name] = func() error { cancel(); return <-done }
}

// tell is what the demo shows.
func (d *demo) tell(ctx context.Context) error {
	for _, chapter := range []func(context.Context) error{d.tellCall, d.tellRetry, d.tellDead, d.tellKilled, d.tellStored} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) tellCall(ctx context.Context) error {
	return d.alexa(ctx, "An Alexa request, answered in the same request by the function HelloIntent:")
}

// tellRetry sends a push whose first attempt fails, and sends it again.
func (d *demo) tellRetry(ctx context.Context) error {
	d.failing.Store(1)
	push, id, text, err := d.push(ctx)
	if err != nil {
		return err
	}
	d.step("A signed GitHub push: verified, on disk, then answered.\n%s", indent(text))
	r, err := d.await(ctx, id, queue.StateOK)
	if err != nil {
		return err
	}
	d.step("The function CommitFetch failed at first, and was tried again:\n%s", indent(attempts(r)))
	again, err := d.sendTo(ctx, push)
	if err != nil {
		return err
	}
	d.step("The same delivery once more is a repeat: the first id, and no second run.\n%s", indent(again))
	return nil
}

// tellDead sends a push whose attempts all fail, and replays it.
func (d *demo) tellDead(ctx context.Context) error {
	d.failing.Store(1000)
	_, id, _, err := d.push(ctx)
	if err != nil {
		return err
	}
	if _, err := d.await(ctx, id, queue.StateDead); err != nil {
		return err
	}
	letters, err := d.gateway.queue.DeadLetters(ctx, queue.DeadFilter{})
	if err != nil {
		return err
	}
	var list, story bytes.Buffer
	if err := printLetters(&list, letters); err != nil {
		return err
	}
	d.step("CommitFetch is out of order. The next push is given up after two attempts, and kept, as `dead list` shows:\n%s", indent(list.String()))
	d.failing.Store(0)
	if _, err := d.gateway.queue.Replay(ctx, letters[0].Origin, ""); err != nil {
		return err
	}
	r, err := d.await(ctx, id, queue.StateOK)
	if err != nil {
		return err
	}
	if err := printRecord(&story, withoutBody(r)); err != nil {
		return err
	}
	d.step("CommitFetch is mended, and the dead letter replayed. Its whole story, as `events show` tells it:\n%s", indent(story.String()))
	return nil
}

func (d *demo) tellKilled(ctx context.Context) error {
	if err := d.stopFunction["HelloIntent"](); err != nil {
		return err
	}
	delete(d.stopFunction, "HelloIntent")
	return d.alexa(ctx, "HelloIntent is killed. Alexa hears an apology, and the header says why, at once:")
}

func (d *demo) tellStored(ctx context.Context) error {
	records, err := d.gateway.queue.List(ctx, queue.Filter{})
	if err != nil {
		return err
	}
	var list bytes.Buffer
	if err := printRecords(&list, records); err != nil {
		return err
	}
	d.step("What is stored, as `events list` shows it:\n%s", indent(list.String()))
	return nil
}

// leave makes the gateway one to play with: all functions run, and one dead letter waits for a person.
func (d *demo) leave(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", d.address["HelloIntent"])
	if err != nil {
		return fmt.Errorf("listen for HelloIntent again: %w", err)
	}
	d.start("HelloIntent", l, samples["hello"])
	d.failing.Store(1000)
	_, id, _, err := d.push(ctx)
	if err != nil {
		return err
	}
	if _, err := d.await(ctx, id, queue.StateDead); err != nil {
		return err
	}
	d.failing.Store(0)
	d.step("HelloIntent is back. A third push was given up while CommitFetch was out of order; it is for you to replay:\n  %s", id)
	return nil
}

// attempts are the attempts of an event, one in a line.
func attempts(r queue.Record) string {
	var b strings.Builder
	for _, a := range r.Attempts {
		fmt.Fprintf(&b, "attempt %d: %s\n", a.Number, attemptLine(a))
	}
	return b.String()
}

func (d *demo) alexa(ctx context.Context, title string) error {
	t, _ := d.manifest.Trigger("/alexa")
	cfg := t.Config
	body := trigger.SampleFor(cfg, time.Now())
	header, err := trigger.Sign(cfg, body, time.Now())
	if err != nil {
		return err
	}
	begin := time.Now()
	a, err := request{d.gateway.public.url() + t.Path, header, body}.send(ctx)
	if err != nil {
		return err
	}
	took := time.Since(begin).Round(10 * time.Microsecond)
	text := fmt.Sprintf("POST %s → %s in %s\n", t.Path, a.status, took)
	if why := a.header.Get("Funker-Error"); why != "" {
		text += "Funker-Error: " + why + "\n"
	}
	d.step("%s\n%s", title, indent(text+string(a.body)))
	return nil
}

// push sends a signed push. It returns the request, the id of the event and the answer.
func (d *demo) push(ctx context.Context) (r request, id, text string, err error) {
	t, _ := d.manifest.Trigger("/github/acme")
	cfg := t.Config
	body := trigger.SampleFor(cfg, time.Now())
	header, err := trigger.Sign(cfg, body, time.Now())
	if err != nil {
		return r, "", "", err
	}
	r = request{d.gateway.public.url() + t.Path, header, body}
	if text, err = d.sendTo(ctx, r); err != nil {
		return r, "", "", err
	}
	var stored struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal([]byte(text[strings.IndexByte(text, '\n')+1:]), &stored); err != nil {
		return r, "", "", fmt.Errorf("read answer: %w", err)
	}
	return r, stored.ID, text, nil
}

func (d *demo) sendTo(ctx context.Context, r request) (string, error) {
	a, err := r.send(ctx)
	if err != nil {
		return "", err
	}
	if a.code != 202 {
		return "", fmt.Errorf("push was answered %s: %s", a.status, a.body)
	}
	return "POST /github/acme → " + a.status + "\n" + string(a.body), nil
}

// await waits until an event stands so.
func (d *demo) await(ctx context.Context, id string, state queue.State) (queue.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := d.gateway.queue.Get(ctx, id)
		if err != nil {
			return r, err
		}
		if r.State == state {
			return r, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return r, fmt.Errorf("event %s is %s, want %s: %w", id, r.State, state, ctx.Err())
		}
	}
}

func withoutBody(r queue.Record) queue.Record {
	r.Body = fmt.Appendf(nil, "(a body of %d bytes)", r.Size)
	return r
}

func (d *demo) invite() {
	data := filepath.Join(d.dir, "data")
	d.step("Still running; Ctrl-C ends it and removes %s. To play:\n%s", d.dir, indent(strings.Join([]string{
		"open " + d.gateway.admin.page() + " in a browser, and sign in with the token " + d.gateway.tokens.admin,
		"curl " + d.gateway.public.url() + "/functions/CommitFetch -H 'Content-Type: application/json' -d '{}'",
		"curl -H \"Authorization: Bearer $(cat " + filepath.Join(data, tokenFile) + ")\" " + d.gateway.admin.url() + "/intents/",
		"funker-dispatch sign github --send --manifest " + filepath.Join(d.dir, "functions.yaml") + " " + d.gateway.public.url(),
		"funker-dispatch events list --nats-url " + d.gateway.queue.URL() + " --data " + data,
		"export NATS_URL=" + d.gateway.queue.URL() + " NATS_NKEY=" + filepath.Join(data, queue.AdminKey),
		"nats stream ls", "nats req funker.events 20", "nats req funker.dead 20", "nats req funker.replay <id>",
	}, "\n")))
}

func (d *demo) step(text string, args ...any) {
	fmt.Fprintf(d.out, "\n"+strings.TrimRight(text, "\n")+"\n", args...)
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n  ")
}
