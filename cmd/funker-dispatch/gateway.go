package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/funker-dispatch/funker-dispatch/console"
	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/ingress"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
	"github.com/funker-dispatch/funker-dispatch/worker"
)

// tokenFile in the data folder holds the bearer token of the admin listener.
const tokenFile = "admin.token"

type gatewayOptions struct {
	data       string
	manifest   *deploy.Manifest
	listen     string // public
	admin      string
	natsListen string
	noWorker   bool
	grace      time.Duration
	ingress    ingress.Options // without queue, catalog and log
	log        *slog.Logger
}

// gateway is all of `serve`:
//
//	public listener ── ingress ──┐            ┌── worker ── functions
//	                             ├── queue ───┤
//	admin listener ─── console ──┘            └── NATS listener ── workers of other nodes, nats CLI
//
// Everything is bound when newGateway returns, so an address in use is an ordinary error.
type gateway struct {
	options gatewayOptions
	queue   *queue.Queue
	worker  *worker.Worker
	public  *listener
	admin   *listener
}

type listener struct {
	net.Listener
	server *http.Server
}

func (l *listener) url() string { return "http://" + l.Addr().String() }

func newGateway(ctx context.Context, o gatewayOptions) (*gateway, error) {
	q, err := queue.Open(ctx, queue.Options{Dir: o.data, Listen: o.natsListen, Log: o.log})
	if err != nil {
		return nil, err
	}
	g := &gateway{options: o, queue: q}
	if err := g.build(ctx); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

func (g *gateway) build(ctx context.Context) error {
	o := g.options
	catalog := deploy.NewCatalog(o.manifest)
	group, adding := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for _, fn := range o.manifest.Functions {
		group.Go(func() error { return g.queue.AddFunction(adding, fn.Name) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	token, err := adminToken(filepath.Join(o.data, tokenFile))
	if err != nil {
		return err
	}
	in := o.ingress
	in.Queue, in.Catalog, in.Log = g.queue, catalog, o.log
	front, err := ingress.New(in)
	if err != nil {
		return err
	}
	if g.public, err = listen(ctx, "public", o.listen, front.HTTP()); err != nil {
		return err
	}
	back := console.New(console.Options{Queue: g.queue, Catalog: catalog, Token: token, Log: o.log})
	server := &http.Server{Handler: back, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	if g.admin, err = listen(ctx, "admin", o.admin, server); err != nil {
		return err
	}
	g.worker = worker.New(worker.Options{Queue: g.queue, Catalog: catalog, Payload: trigger.Payload, Log: o.log})
	return nil
}

func listen(ctx context.Context, name, address string, server *http.Server) (*listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s listener: %w", name, err)
	}
	return &listener{l, server}, nil
}

// adminToken reads the token, or makes one at the first start.
func adminToken(file string) (string, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		token := rand.Text()
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			return "", fmt.Errorf("write admin token: %w", err)
		}
		return token, nil
	}
	if err != nil {
		return "", fmt.Errorf("read admin token: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", fmt.Errorf("admin token file %s is empty: remove it and a new one is made", file)
	}
	return token, nil
}

// run serves until ctx is cancelled, then stops in the order of a request: no new requests, those in flight are
// answered, the worker finishes, the queue closes.
func (g *gateway) run(ctx context.Context) error {
	working, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	group, serving := errgroup.WithContext(ctx)
	for _, l := range []*listener{g.public, g.admin} {
		group.Go(func() error {
			if err := l.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	if !g.options.noWorker {
		group.Go(func() error { return g.worker.Run(working, after(serving, g.options.grace)) })
	}
	group.Go(func() error {
		<-serving.Done()
		var both sync.WaitGroup
		both.Go(func() { g.shutdown(g.public) })
		both.Go(func() { g.shutdown(g.admin) })
		both.Wait()
		stopWork()
		return nil
	})
	err := group.Wait()
	return errors.Join(err, g.close())
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
	for _, l := range []*listener{g.public, g.admin} {
		if l != nil {
			// After a shutdown the listener is closed already.
			_ = l.Close()
		}
	}
	return g.queue.Close()
}
