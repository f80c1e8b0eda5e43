package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/worker"
)

const defaultNATS = "nats://127.0.0.1:4222"

var defaultWorkerKey = filepath.Join("data", queue.WorkerKey)

func workerCommand() *cobra.Command {
	var manifest manifestFlags
	var engine engineFlags
	var url, key, health string
	var login loginFlags
	var grace time.Duration
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Run a worker for this machine, connected to a gateway",
		Long: `worker takes work from a gateway's queue and calls its functions. It needs the gateway's NATS address and the
key file worker.nk of its data folder; where "serve" runs with --workers-without-key it needs no key.

The gateway says which functions there are, also when they change. A manifest file takes the place of that.`,
		Example: `  funker-dispatch worker --nats-url nats://10.0.0.5:4222 --key /run/secrets/worker.nk`,
		Args:    takes(),
	}
	cmd.Flags().StringVar(&url, "nats-url", defaultNATS, "NATS address of the gateway, or of the NATS server that it uses")
	cmd.Flags().StringVar(&key, "key", defaultWorkerKey, `key file; "", or the default one where it does not exist: no key`)
	login.add(cmd.Flags())
	cmd.Flags().StringVar(&health, "health", "", "HTTP address of GET /healthz, which says whether the worker is connected (default none)")
	cmd.Flags().DurationVar(&grace, "grace", defaultGrace, "how long stopping waits for what runs")
	cmd.Flags().StringVar(&manifest.file, "manifest", "", "manifest file (default functions.yaml or services.json in this folder, else what the gateway says); its triggers are not read")
	engine.add(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if grace < 0 {
			return usagef("--grace %s: choose 0s or more", grace)
		}
		tuneHeap(memory())
		log, err := logger(cmd)
		if err != nil {
			return err
		}
		catalog := deploy.NewCatalog(nil)
		file := manifest.find()
		if file != "" {
			m, err := deploy.LoadFunctions(file)
			if err != nil {
				return err
			}
			catalog.Set(m)
		}
		if _, err := os.Stat(key); key == defaultWorkerKey && errors.Is(err, fs.ErrNotExist) {
			log.Info("connecting without a key: there is no key file", "key", key)
			key = ""
		}
		docker, err := engine.open(deploy.OpenReader)
		if err != nil {
			return err
		}
		traces, err := openTraces(cmd.Context(), "funker-worker", log)
		if err != nil {
			return err
		}
		end := after(cmd.Context(), grace+answerTime)
		defer func() { traces.close(end) }()
		q, err := login.dial(cmd, url, key, queue.RoleWorker)
		if err != nil {
			return err
		}
		stopHealth, err := serveHealth(cmd.Context(), health, q.Connected, log)
		if err != nil {
			return errors.Join(err, q.Close())
		}
		defer stopHealth()
		w := worker.New(worker.Options{Queue: q, Catalog: catalog, Payload: payloadOf, Watch: watchTasks(docker, engine.network), Node: engine.node, Log: log, Tracer: traces.tracer()})
		group, ctx := errgroup.WithContext(cmd.Context())
		if file == "" {
			group.Go(func() error { return followGateway(ctx, q, catalog, log) })
		}
		group.Go(func() error { return w.Run(ctx, after(ctx, grace)) })
		return errors.Join(group.Wait(), q.Close(), closeEngine(docker))
	}
	return cmd
}

// followGateway keeps the catalog as the gateway has it.
func followGateway(ctx context.Context, q *queue.Queue, catalog *deploy.Catalog, log *slog.Logger) error {
	return q.FollowFunctions(ctx, func(data []byte) {
		m, err := deploy.FromGateway(data)
		if err != nil {
			log.Error("the functions of the gateway cannot be read: those before stay", "error", err)
			return
		}
		catalog.Set(m)
		log.Info("functions of the gateway", "functions", len(m.Functions))
	})
}
