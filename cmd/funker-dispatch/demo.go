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
	"time"

	"github.com/spf13/cobra"

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
		Short: "Run a gateway with three functions on free ports, send it an Alexa request and a GitHub push, and show what happens",
		Args:  cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "leave it running, to play with")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		dir, err := os.MkdirTemp("", "funker-demo-")
		if err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
		d := &demo{out: cmd.OutOrStdout(), dir: dir, keep: keep, stopFunction: map[string]func() error{}}
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
	stopFunction map[string]func() error
}

// demoFunctions are the functions of the demo and the samples that answer as them.
var demoFunctions = []struct{ name, sample string }{{"HelloIntent", "hello"}, {"HostnameIntent", "hostname"}, {"CommitFetch", "commits"}}

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
		d.invite()
		<-ctx.Done()
	}
	stop()
	return errors.Join(err, <-done)
}

// build starts the functions, writes a manifest for them, and makes a gateway.
func (d *demo) build(ctx context.Context) error {
	var functions strings.Builder
	for _, f := range demoFunctions {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("listen for %s: %w", f.name, err)
		}
		d.start(f.name, l, samples[f.sample])
		fmt.Fprintf(&functions, "  %s: {addresses: [\"%s\"], concurrency: 4}\n", f.name, l.Addr())
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
	var err error
	if d.manifest, err = deploy.Parse("functions.yaml", []byte(text), d.dir); err != nil {
		return err
	}
	begin := time.Now()
	d.gateway, err = newGateway(ctx, gatewayOptions{
		data: filepath.Join(d.dir, "data"), manifest: d.manifest, listen: "127.0.0.1:0", admin: "127.0.0.1:0", natsListen: "127.0.0.1:0",
		grace: time.Second, ingress: ingress.Options{Functions: true}, log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
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
	if err := d.alexa(ctx, "An Alexa request, answered in the same request by the function HelloIntent:"); err != nil {
		return err
	}
	push, id, err := d.push(ctx)
	if err != nil {
		return err
	}
	again, err := d.sendTo(ctx, push)
	if err != nil {
		return err
	}
	d.step("The same delivery once more is a repeat: the first id, and no second run.\n%s", indent(again))
	r, err := d.gateway.queue.Replay(ctx, id, "")
	if err != nil {
		return err
	}
	record, err := d.await(ctx, id, 2)
	if err != nil {
		return err
	}
	var story, list bytes.Buffer
	if err := printRecord(&story, withoutBody(record)); err != nil {
		return err
	}
	d.step("Replayed as run %s, marked as a replay. Its whole story, as `events show` tells it:\n%s", r.Run, indent(story.String()))
	if err := d.stopFunction["HelloIntent"](); err != nil {
		return err
	}
	delete(d.stopFunction, "HelloIntent")
	if err := d.alexa(ctx, "HelloIntent is killed. Alexa hears an apology, and the header says why, at once:"); err != nil {
		return err
	}
	records, err := d.gateway.queue.List(ctx, queue.Filter{})
	if err != nil {
		return err
	}
	if err := printRecords(&list, records); err != nil {
		return err
	}
	d.step("What is stored, as `events list` shows it:\n%s", indent(list.String()))
	return nil
}

func (d *demo) alexa(ctx context.Context, title string) error {
	t, _ := d.manifest.Trigger("/alexa")
	cfg := triggerConfig(t)
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

// push sends a signed push and waits until it has run.
func (d *demo) push(ctx context.Context) (request, string, error) {
	t, _ := d.manifest.Trigger("/github/acme")
	cfg := triggerConfig(t)
	body := trigger.SampleFor(cfg, time.Now())
	header, err := trigger.Sign(cfg, body, time.Now())
	if err != nil {
		return request{}, "", err
	}
	r := request{d.gateway.public.url() + t.Path, header, body}
	text, err := d.sendTo(ctx, r)
	if err != nil {
		return request{}, "", err
	}
	d.step("A signed GitHub push: verified, on disk, then answered.\n%s", indent(text))
	var stored struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal([]byte(text[strings.IndexByte(text, '\n')+1:]), &stored); err != nil {
		return request{}, "", fmt.Errorf("read answer: %w", err)
	}
	record, err := d.await(ctx, stored.ID, 1)
	if err != nil {
		return request{}, "", err
	}
	d.step("The function CommitFetch has run it:\n%s", indent(attemptLine(record.Attempts[0])))
	return r, stored.ID, nil
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

// await waits until an event has so many attempts.
func (d *demo) await(ctx context.Context, id string, attempts int) (queue.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := d.gateway.queue.Get(ctx, id)
		if err != nil {
			return r, err
		}
		if len(r.Attempts) >= attempts {
			return r, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return r, fmt.Errorf("event %s has %d attempts, want %d: %w", id, len(r.Attempts), attempts, ctx.Err())
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
		"curl " + d.gateway.public.url() + "/functions/CommitFetch -H 'Content-Type: application/json' -d '{}'",
		"curl -H \"Authorization: Bearer $(cat " + filepath.Join(data, tokenFile) + ")\" " + d.gateway.admin.url() + "/intents/",
		"funker-dispatch sign github --send --manifest " + filepath.Join(d.dir, "functions.yaml") + " " + d.gateway.public.url(),
		"funker-dispatch events list --nats-url " + d.gateway.queue.URL() + " --data " + data,
		"export NATS_URL=" + d.gateway.queue.URL() + " NATS_NKEY=" + filepath.Join(data, queue.AdminKey),
		"nats stream ls", "nats req funker.events 20", "nats req funker.replay <id>",
	}, "\n")))
}

func (d *demo) step(text string, args ...any) {
	fmt.Fprintf(d.out, "\n"+strings.TrimRight(text, "\n")+"\n", args...)
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n  ")
}
