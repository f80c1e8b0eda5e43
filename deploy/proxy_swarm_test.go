//go:build swarm

package deploy_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// proxy passes on the engine's socket, so that a test can take it away and bring it back.
type proxy struct {
	t       *testing.T
	path    string
	listen  net.Listener
	passing sync.WaitGroup

	mu   sync.Mutex
	up   bool
	open []net.Conn
}

func newProxy(t *testing.T) *proxy {
	p := &proxy{t: t, path: filepath.Join(t.TempDir(), "docker.sock")}
	p.start()
	t.Cleanup(p.stop)
	return p
}

func (p *proxy) host() string { return "unix://" + p.path }

func (p *proxy) start() {
	p.t.Helper()
	var err error
	p.listen, err = net.Listen("unix", p.path)
	ok(p.t, err)
	p.up = true
	p.passing.Go(p.serve)
}

// stop ends all connections and removes the socket.
func (p *proxy) stop() {
	p.listen.Close()
	p.mu.Lock()
	for _, c := range p.open {
		c.Close()
	}
	p.up, p.open = false, nil
	p.mu.Unlock()
	p.passing.Wait()
}

func (p *proxy) serve() {
	for {
		conn, err := p.listen.Accept()
		if err != nil {
			return
		}
		engine, err := net.Dial("unix", strings.TrimPrefix(os.Getenv("DOCKER_HOST"), "unix://"))
		if err != nil {
			conn.Close()
			continue
		}
		p.connect(conn, engine)
	}
}

func (p *proxy) connect(conn, engine net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.up { // stop came between
		conn.Close()
		engine.Close()
		return
	}
	p.open = append(p.open, conn, engine)
	p.passing.Go(func() { pass(conn, engine) })
	p.passing.Go(func() { pass(engine, conn) })
}

func pass(to, from net.Conn) {
	_, _ = io.Copy(to, from) // ends with one of the connections, and then ends both
	to.Close()
	from.Close()
}
