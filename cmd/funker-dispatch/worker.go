package main

import (
	"errors"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
	"github.com/funker-dispatch/funker-dispatch/worker"
)

const defaultNATS = "nats://127.0.0.1:4222"

func workerCommand() *cobra.Command {
	var manifest manifestFlags
	var url, key string
	var grace time.Duration
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Run a worker for this machine, connected to a gateway",
		Long: `worker takes work from a gateway's queue and calls the functions of the manifest. It needs the gateway's
NATS address and the key file worker.nk of its data folder.`,
		Example: `  funker-dispatch worker --nats-url nats://10.0.0.5:4222 --key /run/secrets/worker.nk`,
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&url, "nats-url", defaultNATS, "NATS address of the gateway")
	cmd.Flags().StringVar(&key, "key", filepath.Join("data", queue.WorkerKey), "key file")
	cmd.Flags().DurationVar(&grace, "grace", defaultGrace, "how long stopping waits for what runs")
	cmd.Flags().StringVar(&manifest.file, "manifest", "", "manifest file (default functions.yaml, else services.json); its triggers are not read")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		log, err := logger(cmd)
		if err != nil {
			return err
		}
		file, err := manifest.find()
		if err != nil {
			return err
		}
		m, err := deploy.LoadFunctions(file)
		if err != nil {
			return err
		}
		q, err := queue.Dial(url, key, queue.RoleWorker, log)
		if err != nil {
			return err
		}
		w := worker.New(worker.Options{Queue: q, Catalog: deploy.NewCatalog(m), Payload: trigger.Payload, Log: log})
		return errors.Join(w.Run(cmd.Context(), after(cmd.Context(), grace)), q.Close())
	}
	return cmd
}
