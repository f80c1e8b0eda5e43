package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/ingress"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

func serveCommand() *cobra.Command {
	o := gatewayOptions{}
	var manifest manifestFlags
	var engine engineFlags
	var functionsToken, durability string
	var cluster clusterOptions
	var outside outsideFlags
	var held bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway: HTTP in, queue, and a worker for functions that this machine reaches",
		Long: `serve takes events on the public listener, stores them in the data folder and calls the functions of the
manifest. It stops gracefully on SIGTERM and SIGINT.

The manifest is the one that "funker-dispatch apply" stored last. With --manifest, or with a functions.yaml or a
services.json of the original funker-dispatch in this folder, it is that file instead, and nothing can be applied.

The variables of the original work too: port (public port), authorizedApplicationId (the Alexa skill id for a
services.json) and DOCKER_SOCKET.`,
		Example: `  funker-dispatch serve --data /var/lib/funker
  funker-dispatch serve --manifest functions.yaml`,
		Args: takes(),
	}
	f := cmd.Flags()
	f.StringVar(&o.data, "data", "data", "data folder: streams, keys, admin token")
	f.StringVar(&o.listen, "listen", ":3000", "public HTTP address")
	f.StringVar(&o.admin, "admin", "127.0.0.1:3001", "admin HTTP address: console, API, metrics")
	f.BoolVar(&o.adminOpen, "admin-insecure", false, "let --admin be an address that is not loopback: tokens and sessions go over the network in the clear, unless a proxy in front has TLS")
	f.StringVar(&o.natsListen, "nats-listen", "127.0.0.1:4222", "NATS address for workers and the nats CLI; a range, such as 10.253.0.0/16:4222, is the address of this machine in it")
	f.BoolVar(&o.anyWorker, "workers-without-key", false, "let everybody who reaches the NATS address be a worker: only on a network that nobody else is on")
	f.StringVar(&durability, "durability", string(queue.DurabilityGroup), "when an event counts as stored: after a sync that all who wait share (group), after one of its own (always), or without one (none)")
	f.Var((*size)(&o.maxEvents), "max-events", "largest size of the stored events, such as 4GiB (default 4GiB, or half of a smaller disk; in a cluster what it has already)")
	f.DurationVar(&o.ackWait, "ack-wait", queue.DefaultAckWait, "how long an event of a worker that died waits until another worker gets it")
	f.BoolVar(&o.noWorker, "no-worker", false, "run no worker in this process")
	f.DurationVar(&o.grace, "grace", defaultGrace, "how long stopping waits for what runs")
	f.BoolVar(&o.ingress.Functions, "functions", false, "serve POST /functions/{name} on the public listener")
	f.StringVar(&functionsToken, "functions-token-file", "", "file with the bearer token that POST /functions/{name} requires")
	f.Int64Var(&o.ingress.MaxBody, "max-body", ingress.DefaultMaxBody, fmt.Sprintf("largest request body, in bytes, at most %d", queue.MaxBody))
	f.IntVar(&o.ingress.MaxInFlight, "max-in-flight", ingress.DefaultMaxInFlight, "requests at a time; more are answered 503")
	f.Int64Var(&o.ingress.MaxInFlightBytes, "max-in-flight-bytes", 0, "bytes of large bodies at a time; more are answered 503 (default an eighth of the memory, at most 256 MiB)")
	f.Var((*ranges)(&o.ingress.TrustedProxies), "trusted-proxies", "addresses of the proxies in front, such as 10.252.0.0/24: X-Forwarded-For and Forwarded from them say who the client is, for the log")
	f.BoolVar(&o.ingress.TrustTraces, "trust-traceparent", false, "continue the trace that a request says it belongs to, whoever sends it; otherwise a trace of its own has a link to that one")
	cluster.add(f)
	outside.add(f)
	f.BoolVar(&held, "hold", false, "take no events and run none, only keep the store open for backup and restore: see docs/cluster-move.md")
	o.tls.add(f)
	o.adminTLS.add(f)
	f.StringSliceVar(&o.adminHosts, "admin-host", nil, "without TLS: name under which browsers reach the admin listener, such as that of a proxy in front; localhost and addresses are known; can be repeated")
	manifest.add(f)
	engine.add(f)
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		begin := time.Now()
		tuneHeap(memory())
		if o.ingress.MaxInFlightBytes == 0 {
			o.ingress.MaxInFlightBytes = inFlightBytes(memory(), o.ingress.MaxBody)
		}
		if o.log, err = logger(cmd); err != nil {
			return err
		}
		if o.durability, err = queue.ParseDurability(durability); err != nil {
			return usagef("--durability: %w", err)
		}
		if o.durability == queue.DurabilityNone {
			o.log.Warn("NOT DURABLE: a power cut may lose events that were accepted", "durability", durability)
		}
		if err = o.fromOriginal(f); err != nil {
			return err
		}
		if err = o.check(cmd.Context()); err != nil {
			return err
		}
		if o.outside, err = outside.read(f, cluster.name); err != nil {
			return err
		}
		if o.outside == nil {
			o.cluster, err = cluster.read()
		}
		if err != nil {
			return err
		}
		if o.cluster != nil && o.durability == queue.DurabilityNone {
			return usagef("--durability none does not go with --cluster-peers: a cluster syncs what it confirms")
		}
		if held && o.cluster == nil {
			return usagef("--hold is for the gateways of a cluster: for one that stands alone stop it, and use backup --offline or restore --data")
		}
		if held {
			return hold(cmd.Context(), &o, begin)
		}
		if err = o.read(manifest); err != nil {
			return err
		}
		if o.anyWorker {
			o.log.Warn("INSECURE: whoever reaches the NATS address is a worker and gets events", "nats", o.natsListen)
		}
		if o.ingress.FunctionsToken, err = readToken(functionsToken); err != nil {
			return fmt.Errorf("--functions-token-file: %w", err)
		}
		if o.engine, err = engine.open(deploy.OpenEngine); err != nil {
			return err
		}
		o.network, o.node = engine.network, engine.node
		if o.ingress.Functions && functionsToken == "" {
			o.log.Warn("INSECURE: POST /functions/{name} is open to everybody; set --functions-token-file")
		}
		traces, err := openTraces(cmd.Context(), "funker-gateway", o.log)
		if err != nil {
			return err
		}
		end := after(cmd.Context(), o.grace+answerTime)
		defer func() { traces.close(end) }()
		o.tracer = traces.tracer()
		g, err := newGateway(cmd.Context(), o)
		if err != nil {
			return err
		}
		m := g.keeper.catalog.Manifest()
		o.log.Info("ready", "public", g.public.url(), "admin", g.admin.url(), "nats", g.queue.URL(), "data", o.data,
			"functions", len(m.Functions), "triggers", len(m.Triggers), "after", time.Since(begin).Round(time.Millisecond))
		if err := g.tokens.introduce(cmd.ErrOrStderr(), g.admin); err != nil {
			return errors.Join(err, g.close())
		}
		return g.run(cmd.Context())
	}
	return cmd
}

// read reads the manifest file, when there is one.
func (o *gatewayOptions) read(manifest manifestFlags) (err error) {
	if o.services, err = manifest.services(); err != nil {
		return err
	}
	if o.manifestFile = manifest.find(); o.manifestFile != "" {
		o.manifest, err = manifest.load(o.log, nil)
	}
	return err
}

// fromOriginal honours the environment of the original funker-dispatch, and checks addresses.
func (o *gatewayOptions) fromOriginal(f *pflag.FlagSet) error {
	o.listen = publicAddress(f)
	if socket := os.Getenv("DOCKER_SOCKET"); socket != "" {
		if info, err := os.Stat(socket); err != nil || info.Mode()&fs.ModeSocket == 0 {
			return fmt.Errorf("DOCKER_SOCKET %s is not a socket: is Docker running, and the socket mounted?", socket)
		}
	}
	return o.checkAdmin()
}

// publicAddress is --listen, or else the port of the original.
func publicAddress(f *pflag.FlagSet) string {
	listen := f.Lookup("listen")
	if port := os.Getenv("port"); port != "" && !listen.Changed {
		return ":" + port
	}
	return listen.Value.String()
}

// readToken reads a secret; without a file there is none.
func readToken(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", fmt.Errorf("%s is empty", file)
	}
	return token, nil
}

// manifestFlags say which manifest to read.
type manifestFlags struct {
	file         string
	githubSecret string
	insecure     bool
}

// defaultManifests are looked for in this order.
var defaultManifests = []string{"functions.yaml", "services.json"}

func (m *manifestFlags) add(f *pflag.FlagSet) {
	f.StringVar(&m.file, "manifest", "", "manifest file (default functions.yaml or services.json in this folder)")
	f.StringVar(&m.githubSecret, "github-secret-file", "", "for a services.json: file with the secret of the GitHub webhook")
	f.BoolVar(&m.insecure, "insecure", false, "for a services.json: accept requests that nothing verifies")
}

// load reads the manifest, with the secrets of some of its triggers; nil: all.
func (m *manifestFlags) load(log *slog.Logger, secretsOf func(*deploy.Trigger) bool) (*deploy.Manifest, error) {
	options, err := m.services()
	if err != nil {
		return nil, err
	}
	file := m.find()
	if file == "" {
		return nil, fmt.Errorf("no manifest: write %s (see docs/manifest.md), or name one with --manifest", defaultManifests[0])
	}
	manifest, err := deploy.LoadWith(file, options, secretsOf)
	if err != nil {
		return nil, err
	}
	remark(log, file, manifest)
	return manifest, nil
}

// services returns what a services.json does not say.
func (m *manifestFlags) services() (deploy.ServicesOptions, error) {
	options := deploy.ServicesOptions{SkillID: os.Getenv("authorizedApplicationId"), Insecure: m.insecure}
	secret, err := readToken(m.githubSecret)
	if err != nil {
		return options, fmt.Errorf("--github-secret-file: %w", err)
	}
	if secret != "" {
		options.GitHubSecret = trigger.Secret(secret)
	}
	return options, nil
}

// remark logs what an operator has to know of a manifest.
func remark(log *slog.Logger, file string, m *deploy.Manifest) {
	for _, w := range m.Warnings {
		log.Warn("manifest", "file", file, "warning", w)
	}
	for _, t := range m.Triggers {
		if t.Insecure {
			log.Warn("INSECURE: anybody can send events to this trigger", "trigger", t.Source(), "path", t.Path)
		}
	}
}

// find returns the manifest file, "" when none is named and none is in this folder.
func (m *manifestFlags) find() string {
	if m.file != "" {
		return m.file
	}
	for _, file := range defaultManifests {
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			return file
		}
	}
	return ""
}
