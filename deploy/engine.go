package deploy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"regexp"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/client"
)

// MinAPI is the oldest version of the Docker Engine API that is used: that of Docker 20.10.
const MinAPI = "1.41"

var (
	// ErrNoEngine means that no Docker Engine answers.
	ErrNoEngine = errors.New("no Docker Engine answers")
	// ErrEngineDenied means that this process may not use the socket of an engine.
	ErrEngineDenied = errors.New("no permission for the socket of the Docker Engine: run as a user of its group")
	// ErrReader means that a call would change something, or tell more than a worker has to know.
	ErrReader = errors.New("a worker makes no such call of the Docker Engine")
	// ErrNotManager means that the engine is not a manager of a swarm.
	ErrNotManager = errors.New("this node is not a manager of a swarm")
)

// Engine is a Docker Engine: that of this node, which knows the containers of this node, and on a manager also the
// services of the swarm. The files engine*.go are the only ones that know Docker's client.
type Engine struct {
	docker *client.Client
	inner  *client.Client // has the connections of a reader; else nil
}

// OpenEngine prepares the connection to an engine; host is "unix:///var/run/docker.sock", "tcp://127.0.0.1:2375", or ""
// for what DOCKER_HOST says, else Docker's own default. It does not connect: an engine may start later.
func OpenEngine(host string) (*Engine, error) {
	options := []client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}
	if host != "" {
		options = append(options, client.WithHost(host))
	}
	docker, err := client.NewClientWithOpts(options...)
	if err != nil {
		return nil, fmt.Errorf("address of the Docker Engine: %w", err)
	}
	return &Engine{docker: docker}, nil
}

// OpenReader is OpenEngine for a worker: whatever its code may try, the connection carries those calls only that
// docs/swarm.md lists, and the others fail with ErrReader.
func OpenReader(host string) (*Engine, error) {
	e, err := OpenEngine(host)
	if err != nil {
		return nil, err
	}
	e.inner = e.docker
	options := []client.Opt{client.WithHost(e.docker.DaemonHost()), client.WithAPIVersionNegotiation(),
		client.WithHTTPClient(&http.Client{Transport: reader{e.inner.HTTPClient().Transport}, CheckRedirect: client.CheckRedirect})}
	if os.Getenv(client.EnvOverrideCertPath) != "" {
		options = append(options, client.WithScheme("https"))
	}
	if e.docker, err = client.NewClientWithOpts(options...); err != nil {
		return nil, fmt.Errorf("address of the Docker Engine: %w", err)
	}
	return e, nil
}

// reader lets through what deploy/socket-proxy/worker.cfg does.
type reader struct{ inner http.RoundTripper }

var readerPath = regexp.MustCompile(`^/(v1\.[0-9]+/)?(_ping|version|info|containers/json|events)$`)

func (t reader) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || !readerPath.MatchString(r.URL.Path) {
		return nil, fmt.Errorf("%w: %s %s", ErrReader, r.Method, r.URL.Path)
	}
	return t.inner.RoundTrip(r)
}

// Close ends the idle connections.
func (e *Engine) Close() error {
	if e.inner != nil {
		return errors.Join(e.docker.Close(), e.inner.Close())
	}
	return e.docker.Close()
}

// explain makes an error of Docker's client one that says what to do.
func explain(err error) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case client.IsErrConnectionFailed(err) && errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", ErrEngineDenied, err)
	case client.IsErrConnectionFailed(err):
		return fmt.Errorf("%w: %w", ErrNoEngine, err)
	case cerrdefs.IsUnavailable(err):
		return fmt.Errorf("%w: %w", ErrNotManager, err)
	}
	return err
}
