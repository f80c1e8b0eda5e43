package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

// strangers open one connection after the other, as senders do, and verify the certificate, its time included.
type strangers struct {
	address string
	roots   *x509.CertPool

	mu      sync.Mutex
	made    int
	serials map[string]bool
	refused []error
}

func (s *strangers) come(ctx context.Context) {
	for ctx.Err() == nil {
		leaf, err := servedAt(s.address, s.roots)
		s.mu.Lock()
		s.made++
		if err != nil {
			s.refused = append(s.refused, err)
		} else {
			s.serials[leaf.SerialNumber.String()] = true
		}
		s.mu.Unlock()
	}
}

func (s *strangers) seen() int { s.mu.Lock(); defer s.mu.Unlock(); return len(s.serials) }

func TestACME_RenewsWithoutARestartAndWithoutARefusedConnection(t *testing.T) {
	public := fixedAddress(t)
	// A certificate is renewed after 3 % of its life, with nearly two minutes left for a slow machine.
	s := startACMEFor(t, 2*time.Minute, portOf(t, public), 1)
	dir, _ := tlsFolder(t)
	manifest, err := deploy.Parse("functions.yaml", []byte(tlsManifest), dir)
	if err != nil {
		t.Fatal(err)
	}
	var log buffer
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	g, err := newGateway(ctx, gatewayOptions{
		data: filepath.Join(dir, "data"), manifest: manifest, listen: public, admin: "127.0.0.1:0", natsListen: "127.0.0.1:0", noWorker: true, grace: time.Second,
		tls: tlsOptions{domains: []string{hooks}, email: "me@example.com", directory: s.directory, ca: s.ca.file, renewCheck: 200 * time.Millisecond, renewRatio: 0.97},
		log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- g.run(ctx) }()
	within(t, "there is a certificate", func() bool { return presented(public) != nil })

	_, text := get(t, secureClient(t, s.ca.pool), s.roots)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(text)) {
		t.Fatalf("no certificate: %s", text)
	}
	old := newCaller(t, "https://"+public+healthPath, roots)
	old.call()
	all := &strangers{address: public, roots: roots, serials: map[string]bool{}}
	coming, leave := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() { all.come(coming) })
	}
	within(t, "two new certificates are served", func() bool { return all.seen() >= 3 })
	leave()
	clients.Wait()
	if len(all.refused) > 0 {
		t.Errorf("%d of %d connections were refused: %v", len(all.refused), all.made, errors.Join(all.refused...))
	}
	if reused := old.call(); !reused {
		t.Error("a connection from before the renewals was closed")
	}
	for _, e := range g.secured[0].expiries() {
		if left := time.Until(e.until); left <= 0 || left > 2*time.Minute {
			t.Errorf("the metric says that it expires in %s", left)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	t.Logf("%d connections, %d certificates", all.made, len(all.serials))
}

// caller keeps its connection.
type caller struct {
	t      *testing.T
	url    string
	client *http.Client
}

func newCaller(t *testing.T, url string, roots *x509.CertPool) *caller {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: hooks}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &caller{t, url, &http.Client{Transport: transport}}
}

// call reports whether it used the connection of the call before.
func (c *caller) call() (reused bool) {
	c.t.Helper()
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }}
	r, err := http.NewRequestWithContext(httptrace.WithClientTrace(c.t.Context(), trace), http.MethodGet, c.url, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	res, err := c.client.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	if res.Body.Close(); res.StatusCode != http.StatusOK {
		c.t.Errorf("got %s", res.Status)
	}
	return reused
}
