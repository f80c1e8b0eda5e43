package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// acmeFolder in the data folder holds the account, keys and certificates: files with mode 0600, folders with 0700.
const acmeFolder = "acme"

// acmeCertificates are got from an authority by ACME (RFC 8555), and renewed when two thirds of their life are over or the
// authority says so. It checks that the host is ours by TLS-ALPN-01 (RFC 8737) at the public listener, or by HTTP-01 at
// the one beside it.
type acmeCertificates struct {
	domains []string
	cache   *certmagic.Cache
	magic   *certmagic.Config
	issuer  *certmagic.ACMEIssuer
}

// newACME asks nobody yet. It needs the addresses of the public listener and of the one beside it, nil when there is none.
func newACME(o tlsOptions, data string, public, beside *listener, log *slog.Logger) (*acmeCertificates, error) {
	roots, err := readRoots(o.ca)
	if err != nil {
		return nil, fmt.Errorf("--tls-acme-ca: %w", err)
	}
	a := &acmeCertificates{domains: o.domains}
	logger := zap.New(&zapCore{log: log})
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return a.magic, nil },
		RenewCheckInterval: o.renewCheck,
		Logger:             logger,
	})
	a.magic = certmagic.New(a.cache, certmagic.Config{
		Storage:            &certmagic.FileStorage{Path: filepath.Join(data, acmeFolder)},
		DefaultServerName:  o.domains[0], // for clients that do not say whom they want
		OnEvent:            logIssued(log),
		RenewalWindowRatio: o.renewRatio,
		Logger:             logger,
	})
	host, port := hostPort(public)
	_, plainPort := hostPort(beside)
	a.issuer = certmagic.NewACMEIssuer(a.magic, certmagic.ACMEIssuer{
		CA: cmp.Or(o.directory, certmagic.LetsEncryptProductionCA), TrustedRoots: roots, Email: o.email, Agreed: true,
		ListenHost: host, AltTLSALPNPort: port, AltHTTPPort: plainPort, DisableHTTPChallenge: beside == nil,
		Logger: logger,
	})
	a.magic.Issuers = []certmagic.Issuer{a.issuer}
	return a, nil
}

// readRoots reads certificates to trust; without a file those of the system are meant.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate in PEM", file)
	}
	return roots, nil
}

// hostPort is where a listener is bound; "" and 0 for none.
func hostPort(l *listener) (host string, port int) {
	if l == nil {
		return "", 0
	}
	a, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return "", 0
	}
	if !a.IP.IsUnspecified() {
		host = a.IP.String()
	}
	return host, a.Port
}

func logIssued(log *slog.Logger) func(context.Context, string, map[string]any) error {
	return func(_ context.Context, event string, data map[string]any) error {
		if event == "cert_obtained" {
			log.Info("certificate issued", "name", data["identifier"], "renewal", data["renewal"])
		}
		return nil
	}
}

func (a *acmeCertificates) config() *tls.Config {
	c := a.magic.TLSConfig()
	c.MinVersion = tls.VersionTLS12
	return c
}

// follow takes certificates from the data folder, and gets and renews those that are missing or old. It tries again for
// 30 days, after a minute at first and every six hours at last. Until there is one, handshakes fail.
func (a *acmeCertificates) follow(ctx context.Context) error {
	if err := a.magic.ManageAsync(ctx, a.domains); err != nil {
		return fmt.Errorf("certificates by ACME: %w", err)
	}
	<-ctx.Done()
	return nil
}

func (a *acmeCertificates) expiries() []expiry {
	all := make([]expiry, len(a.domains))
	for i, name := range a.domains {
		all[i].name = name
		for _, c := range a.cache.AllMatchingCertificates(name) {
			if c.Leaf.NotAfter.After(all[i].until) {
				all[i].from, all[i].until = c.Leaf.NotBefore, c.Leaf.NotAfter
			}
		}
	}
	return all
}

func (a *acmeCertificates) close() { a.cache.Stop() }
