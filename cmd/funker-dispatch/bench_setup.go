package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/funker"
	"github.com/funker-dispatch/funker-dispatch/ingress"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/worker"
)

// start runs the functions, the baseline, the gateways and the worker of the second one.
func (b *bench) start(ctx context.Context) (stop func() error, err error) {
	running, cancel := context.WithCancel(ctx)
	var group errgroup.Group
	stop = func() error {
		b.client.CloseIdleConnections()
		cancel()
		return group.Wait()
	}
	if err := b.startFunctions(running, &group); err != nil {
		return nil, errors.Join(err, stop())
	}
	if err := b.startBaselines(running, &group); err != nil {
		return nil, errors.Join(err, stop())
	}
	if err := b.startGateways(ctx, running, &group, slog.New(slog.DiscardHandler)); err != nil {
		return nil, errors.Join(err, stop())
	}
	return stop, nil
}

// hanging is the function that takes one event and never answers, so that all others wait.
const hanging = "Hanging"

// startFunctions runs the functions that are measured, in the group, until ctx ends.
func (b *bench) startFunctions(ctx context.Context, group *errgroup.Group) error {
	answers, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	hangs, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(fmt.Errorf("listen: %w", err), answers.Close())
	}
	b.address, b.hangs = answers.Addr().String(), hangs.Addr().String()
	group.Go(func() error {
		<-ctx.Done()
		return hangs.Close()
	})
	reply := json.RawMessage(`{"ok":true}`)
	group.Go(func() error {
		return funker.Serve(ctx, answers, func(context.Context, json.RawMessage) (json.RawMessage, error) { return reply, nil },
			funker.Options{Concurrency: 256, Log: slog.New(slog.DiscardHandler)})
	})
	return b.writeManifest("", "")
}

// startBaselines serves the bare handlers, in the group, until ctx ends.
func (b *bench) startBaselines(ctx context.Context, group *errgroup.Group) error {
	file, err := b.appendFile("bare")
	if err != nil {
		return err
	}
	b.stored = file
	mux := http.NewServeMux()
	mux.Handle("/call", bareHandler(b.address))
	mux.Handle("/store", bareStore(file))
	l, err := listen(ctx, "baseline", "127.0.0.1:0", &http.Server{Handler: mux, ReadHeaderTimeout: time.Second})
	if err != nil {
		return errors.Join(err, file.Close())
	}
	b.bare = l.url()
	group.Go(func() error {
		<-ctx.Done()
		return errors.Join(l.server.Close(), file.Close())
	})
	group.Go(func() error {
		if err := l.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return nil
}

func (b *bench) startGateways(ctx, running context.Context, group *errgroup.Group, log *slog.Logger) (err error) {
	if b.gateway, err = b.newGateway(ctx, "own", log); err != nil {
		return err
	}
	b.public = b.gateway.public.url()
	group.Go(func() error { return b.gateway.run(running) })
	if b.remote, err = b.newGateway(ctx, "remote", log); err != nil {
		return err
	}
	group.Go(func() error { return b.remote.run(running) })
	q, err := queue.Dial(b.remote.queue.URL(), filepath.Join(b.dir, "remote", queue.WorkerKey), queue.RoleWorker, log)
	if err != nil {
		return err
	}
	w := worker.New(worker.Options{Queue: q, Catalog: deploy.NewCatalog(b.remote.options.manifest), Payload: payloadOf, Log: log})
	group.Go(func() error { return errors.Join(w.Run(running, after(running, time.Second)), q.Close()) })
	return nil
}

func (b *bench) newGateway(ctx context.Context, name string, log *slog.Logger) (*gateway, error) {
	m, err := deploy.Load(b.manifest())
	if err != nil {
		return nil, err
	}
	return newGateway(ctx, gatewayOptions{
		data: filepath.Join(b.dir, name), manifest: m, listen: "127.0.0.1:0", admin: "127.0.0.1:0", natsListen: "127.0.0.1:0",
		noWorker: name == "remote", grace: time.Second, ingress: ingress.Options{Functions: true}, log: log,
	})
}

// manifest is the file with the functions.
func (b *bench) manifest() string { return filepath.Join(b.dir, "functions.yaml") }

// writeManifest writes a manifest of the functions into the folder, with more of them and of triggers, and the secret that
// signs pushes.
func (b *bench) writeManifest(functions, triggers string) error {
	text := fmt.Appendf(nil, `
functions:
  Bench: {addresses: [%[1]q], concurrency: 64}
  Fetch: {addresses: [%[1]q], concurrency: 1}
  %[2]s: {addresses: [%[3]q], concurrency: 1, timeout: 24h}
%[4]striggers:
  - {github: bench, secret-file: secret, function: Fetch}
  - {github: hangs, secret-file: secret, function: %[2]s}
%[5]s`, b.address, hanging, b.hangs, functions, triggers)
	if err := errors.Join(os.WriteFile(b.manifest(), text, 0o600), os.WriteFile(filepath.Join(b.dir, "secret"), []byte(benchSecret), 0o600)); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return nil
}
