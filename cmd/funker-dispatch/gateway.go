package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/funker-dispatch/funker-dispatch/console"
	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/ingress"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
	"github.com/funker-dispatch/funker-dispatch/worker"
)

type gatewayOptions struct {
	data         string
	manifest     *deploy.Manifest // nil: the stored one
	manifestFile string
	services     deploy.ServicesOptions // for a services.json that is applied
	listen       string                 // public
	admin        string
	adminOpen    bool // the admin listener may be reached from elsewhere without TLS
	adminTLS     adminTLS
	adminHosts   []string // besides localhost and addresses
	natsListen   string
	anyWorker    bool           // without a key
	cluster      *queue.Cluster // nil: this gateway stands alone
	outside      *queue.Outside // nil: the NATS server is in this process
	durability   queue.Durability
	maxEvents    int64
	ackWait      time.Duration
	noWorker     bool
	engine       *deploy.Engine // of this machine; nil: functions are found by DNS, and nobody looks after services
	network      string         // of the functions
	node         string         // name of this machine, for people
	grace        time.Duration
	tls          tlsOptions
	ingress      ingress.Options // without queue, catalog, log and tracer
	tracer       trace.Tracer    // nil: nothing is traced
	log          *slog.Logger
}

// gateway is all of `serve`:
//
//	public listener ── ingress ──┐            ┌── worker ── functions
//	                             ├── queue ───┤
//	admin listener ─── console ──┘    │       └── NATS listener ── workers of other nodes, nats CLI
//	                                keeper: which manifest is in force
//
// Everything is bound when newGateway returns, so an address in use is an ordinary error.
type gateway struct {
	options  gatewayOptions
	queue    *queue.Queue
	keeper   *keeper
	services *services // nil without an engine
	metrics  *prometheus.Registry
	lobby    *lobby // until the listeners are bound
	worker   *worker.Worker
	public   *listener
	plain    *listener // beside a public one with TLS; nil: there is none
	admin    *listener

	secured []secured // listeners with TLS
	tokens  tokens    // of the admin listener
}

type listener struct {
	net.Listener
	server *http.Server
	tls    bool
}

func (l *listener) url() string {
	if l.tls {
		return "https://" + l.Addr().String()
	}
	return "http://" + l.Addr().String()
}

func (l *listener) serve() error {
	if l.tls {
		return l.server.ServeTLS(l, "", "")
	}
	return l.server.Serve(l)
}

// listeners are those that are bound.
func (g *gateway) listeners() []*listener {
	return slices.DeleteFunc([]*listener{g.public, g.plain, g.admin}, func(l *listener) bool { return l == nil })
}

// store has no metrics yet.
func (o *gatewayOptions) store() queue.Options {
	return queue.Options{
		Dir: o.data, Listen: o.natsListen, MaxEvents: o.maxEvents, Durability: o.durability, AckWait: o.ackWait, Log: o.log,
		Cluster: o.cluster, Outside: o.outside, WorkersWithoutKey: o.anyWorker, Tracer: o.tracer,
	}
}

func newGateway(ctx context.Context, o gatewayOptions) (*gateway, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	waiting, err := openLobby(ctx, o)
	if err != nil {
		return nil, err
	}
	store := o.store()
	store.Metrics = registry
	q, err := queue.Open(ctx, store)
	if err != nil {
		waiting.close()
		return nil, err
	}
	g := &gateway{options: o, queue: q, metrics: registry, lobby: waiting}
	if err := g.build(ctx); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

func (g *gateway) build(ctx context.Context) error {
	o := g.options
	g.keeper = newKeeper(o, g.queue)
	catalog := g.keeper.catalog
	if err := g.keeper.start(ctx, o.manifest); err != nil {
		return err
	}
	view := &functionsView{queue: g.queue, catalog: catalog}
	if o.engine != nil {
		var err error
		if g.services, err = newServices(ctx, o.engine, o.network, catalog, g.queue, o.log); err != nil {
			return err
		}
		view.services, g.keeper.services = g.services.states, g.services
	}
	if err := g.queue.Serve("functions", functionsLimit, view.answer); err != nil {
		return err
	}
	if o.cluster != nil {
		if err := writeTokens(o.data, o.cluster); err != nil {
			return err
		}
	}
	if err := g.tokens.open(o.data, o.log); err != nil {
		return err
	}
	in := o.ingress
	in.Queue, in.Catalog, in.Found, in.Log, in.Metrics, in.Tracer = g.queue, catalog, g.queue.Served, o.log, g.metrics, o.tracer
	front, err := ingress.New(in)
	if err != nil {
		return err
	}
	triggers := triggersOf(front)
	err = g.queue.Serve("triggers", triggersLimit, func(_ context.Context, source string) (any, error) { return triggers(source) })
	if err != nil {
		return err
	}
	g.lobby.close()
	if g.public, err = listen(ctx, "listen", o.listen, front.HTTP()); err != nil {
		return err
	}
	scrapes := promhttp.HandlerFor(g.metrics, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, EnableOpenMetrics: true})
	back := console.New(console.Options{
		Queue: g.queue, Catalog: catalog, Token: g.tokens.admin, ReadToken: g.tokens.read, Metrics: scrapes, Triggers: triggers, Log: o.log,
		Functions: view.all, Manifests: manifests{g.keeper}, Tests: g.trials(), Public: g.publicSide(), Logs: logsOf(o.engine), Hosts: o.adminHosts,
		CheckJSON: trigger.CheckJSON,
	})
	if g.admin, err = listen(ctx, "admin", o.admin, adminServer(back, o.log)); err != nil {
		return err
	}
	if err := g.secure(ctx, front); err != nil {
		return err
	}
	g.worker = worker.New(worker.Options{Queue: g.queue, Catalog: catalog, Payload: payloadOf, Watch: watchTasks(o.engine, o.network), Node: o.node, Log: o.log, Tracer: o.tracer})
	return nil
}

func listen(ctx context.Context, flag, address string, server *http.Server) (*listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	return &listener{Listener: l, server: server}, nil
}

// run serves until ctx is cancelled, then stops in the order of a request: no new requests, those in flight are
// answered, the worker finishes, the queue closes.
func (g *gateway) run(ctx context.Context) error {
	working, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	group, serving := errgroup.WithContext(ctx)
	for _, l := range g.listeners() {
		group.Go(func() error {
			g.awaitWorker(serving)
			if err := l.serve(); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	if !g.options.noWorker {
		group.Go(func() error { return g.worker.Run(working, after(serving, g.options.grace)) })
	}
	group.Go(func() error { return g.keeper.follow(serving) })
	group.Go(func() error { return g.followCertificates(serving) })
	if g.services != nil {
		group.Go(func() error { g.queue.WhileLeading(serving, g.services.run); return nil })
	}
	group.Go(func() error {
		select {
		case err := <-g.queue.Failed():
			return fmt.Errorf("the queue has failed: %w", err)
		case <-serving.Done():
			return nil
		}
	})
	group.Go(func() error {
		<-serving.Done()
		g.options.log.Info("stopping", "reason", context.Cause(serving))
		var all sync.WaitGroup
		for _, l := range g.listeners() {
			all.Go(func() { g.shutdown(l) })
		}
		all.Wait()
		stopWork()
		return nil
	})
	err := errors.Join(group.Wait(), g.close())
	g.options.log.Info("stopped")
	return err
}

// awaitWorker lets a request that came early wait at the listener: a call would be told that no worker has its function.
func (g *gateway) awaitWorker(serving context.Context) {
	if g.options.noWorker {
		return
	}
	select {
	case <-g.worker.Ready():
	case <-serving.Done():
	}
}

// shutdown waits until the requests in flight are answered. At the end of the grace period the worker ends the calls
// that still run; answerTime later whoever has no answer yet is cut off.
func (g *gateway) shutdown(l *listener) {
	ctx, cancel := context.WithTimeout(context.Background(), g.options.grace+answerTime)
	defer cancel()
	if err := l.server.Shutdown(ctx); err != nil {
		g.options.log.Warn("requests cut off while stopping", "error", errors.Join(err, l.server.Close()))
	}
}

const (
	// defaultGrace leaves time to stop within the ten seconds after which Docker kills.
	defaultGrace = 8 * time.Second
	answerTime   = time.Second
)

// after returns a context that ends some time after ctx does.
func after(ctx context.Context, d time.Duration) context.Context {
	later, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() { time.AfterFunc(d, cancel) })
	return later
}

// close releases what newGateway took.
func (g *gateway) close() error {
	g.lobby.close()
	for _, l := range g.listeners() {
		// After a shutdown the listener is closed already.
		_ = l.Close()
	}
	for _, s := range g.secured {
		s.close()
	}
	return errors.Join(g.queue.Close(), closeEngine(g.options.engine))
}
