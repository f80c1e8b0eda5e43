package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/ingress"
)

// garbageTarget lets the heap grow further between collections than Go does by itself: the live heap is a few
// megabytes, and collecting it after every few megabytes of requests costs a fifth of the throughput.
const garbageTarget = 400

func serveCommand() *cobra.Command {
	o := gatewayOptions{}
	var manifest manifestFlags
	var functionsToken string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway: HTTP in, queue, and a worker for functions that this machine reaches",
		Long: `serve takes events on the public listener, stores them in the data folder and calls the functions of the
manifest. It stops gracefully on SIGTERM and SIGINT.

The manifest is functions.yaml, or the services.json of the original funker-dispatch. The variables of the
original work too: port (public port), authorizedApplicationId (the Alexa skill id for a services.json) and
DOCKER_SOCKET.`,
		Example: `  funker-dispatch serve --manifest functions.yaml --data /var/lib/funker`,
		Args:    cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&o.data, "data", "data", "data folder: streams, keys, admin token")
	f.StringVar(&o.listen, "listen", ":3000", "public HTTP address")
	f.StringVar(&o.admin, "admin", "127.0.0.1:3001", "admin HTTP address, loopback only")
	f.StringVar(&o.natsListen, "nats-listen", "127.0.0.1:4222", "NATS address for workers and the nats CLI")
	f.BoolVar(&o.noWorker, "no-worker", false, "run no worker in this process")
	f.DurationVar(&o.grace, "grace", defaultGrace, "how long stopping waits for what runs")
	f.BoolVar(&o.ingress.Functions, "functions", false, "serve POST /functions/{name} on the public listener")
	f.StringVar(&functionsToken, "functions-token-file", "", "file with the bearer token that POST /functions/{name} requires")
	f.Int64Var(&o.ingress.MaxBody, "max-body", ingress.DefaultMaxBody, "largest request body, in bytes")
	f.IntVar(&o.ingress.MaxInFlight, "max-in-flight", ingress.DefaultMaxInFlight, "requests at a time; more are answered 503")
	manifest.add(f)
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		begin := time.Now()
		debug.SetGCPercent(garbageTarget)
		if o.log, err = logger(cmd); err != nil {
			return err
		}
		if err = o.fromOriginal(f); err != nil {
			return err
		}
		if o.manifest, err = manifest.load(o.log); err != nil {
			return err
		}
		if o.ingress.FunctionsToken, err = readToken(functionsToken); err != nil {
			return err
		}
		if o.ingress.Functions && functionsToken == "" {
			o.log.Warn("INSECURE: POST /functions/{name} is open to everybody; set --functions-token-file")
		}
		g, err := newGateway(cmd.Context(), o)
		if err != nil {
			return err
		}
		o.log.Info("ready", "public", g.public.url(), "admin", g.admin.url(), "nats", g.queue.URL(), "data", o.data,
			"functions", len(o.manifest.Functions), "triggers", len(o.manifest.Triggers), "after", time.Since(begin).Round(time.Millisecond))
		return g.run(cmd.Context())
	}
	return cmd
}

// fromOriginal honours the environment of the original funker-dispatch, and checks addresses.
func (o *gatewayOptions) fromOriginal(f *pflag.FlagSet) error {
	if port := os.Getenv("port"); port != "" && !f.Changed("listen") {
		o.listen = ":" + port
	}
	if socket := os.Getenv("DOCKER_SOCKET"); socket != "" {
		if info, err := os.Stat(socket); err != nil || info.Mode()&fs.ModeSocket == 0 {
			return fmt.Errorf("DOCKER_SOCKET %s is not a socket: is Docker running, and the socket mounted?", socket)
		}
	}
	host, _, err := net.SplitHostPort(o.admin)
	if err != nil {
		return usagef("--admin %q: %w", o.admin, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return usagef("--admin %q: the admin listener has no TLS and stays on a loopback address, such as 127.0.0.1:3001", o.admin)
	}
	return nil
}

func readToken(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("functions token: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", fmt.Errorf("functions token: %s is empty", file)
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
	f.StringVar(&m.file, "manifest", "", "manifest file (default functions.yaml, else services.json)")
	f.StringVar(&m.githubSecret, "github-secret-file", "", "for a services.json: file with the secret of the GitHub webhook")
	f.BoolVar(&m.insecure, "insecure", false, "for a services.json: accept requests that nothing verifies")
}

func (m *manifestFlags) load(log *slog.Logger) (*deploy.Manifest, error) {
	options := deploy.ServicesOptions{SkillID: os.Getenv("authorizedApplicationId"), Insecure: m.insecure}
	if m.githubSecret != "" {
		secret, err := readToken(m.githubSecret)
		if err != nil {
			return nil, err
		}
		options.GitHubSecret = deploy.Secret(secret)
	}
	file, err := m.find()
	if err != nil {
		return nil, err
	}
	manifest, err := deploy.LoadWith(file, options)
	if err != nil {
		return nil, err
	}
	for _, w := range manifest.Warnings {
		log.Warn("manifest", "file", file, "warning", w)
	}
	for _, t := range manifest.Triggers {
		if t.Insecure {
			log.Warn("INSECURE: anybody can send events to this trigger", "trigger", t.Source(), "path", t.Path)
		}
	}
	return manifest, nil
}

func (m *manifestFlags) find() (string, error) {
	if m.file != "" {
		return m.file, nil
	}
	for _, file := range defaultManifests {
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			return file, nil
		}
	}
	return "", fmt.Errorf("no manifest: write %s (see docs/manifest.md), or name one with --manifest", defaultManifests[0])
}
