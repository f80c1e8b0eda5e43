package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/funker-dispatch/funker-dispatch/ingress"
)

// tlsOptions say where the public listener gets its certificates: from files, or by ACME (RFC 8555). The zero value is
// HTTP without TLS.
type tlsOptions struct {
	cert, key string // files

	domains   []string
	email     string // for the authority
	directory string // URL; "": Let's Encrypt
	ca        string // file with the certificates that the directory's is checked with; "": those of the system

	// When to renew. No flags set them: the defaults are right for certificates that live for days.
	renewCheck time.Duration // how often to look; 0: certmagic.DefaultRenewCheckInterval
	renewRatio float64       // of the life that is left then; 0: certmagic.DefaultRenewalWindowRatio

	plain string // address of the listener for who comes without TLS; "": there is none
}

func (o *tlsOptions) add(f *pflag.FlagSet) {
	f.StringVar(&o.cert, "tls-cert", "", "file with the certificate of the public listener and its chain, in PEM; it is read again when it changes")
	f.StringVar(&o.key, "tls-key", "", "file with the key of --tls-cert, in PEM")
	f.StringSliceVar(&o.domains, "tls-domain", nil, "host name for which to get a certificate by ACME, which accepts the terms of the authority; can be repeated")
	f.StringVar(&o.email, "tls-email", "", "address to which the authority of --tls-domain may write")
	f.StringVar(&o.directory, "tls-acme-directory", "", "URL of the ACME directory (default Let's Encrypt)")
	f.StringVar(&o.ca, "tls-acme-ca", "", "file with the certificates, in PEM, that the directory's own is checked with (default those of the system)")
	f.StringVar(&o.plain, "http-listen", "", "beside TLS: HTTP address that answers challenges of ACME, sends browsers on to HTTPS and refuses events")
}

func (o *tlsOptions) on() bool { return o.cert != "" || len(o.domains) > 0 }

func (o *tlsOptions) check(ctx context.Context) error {
	switch {
	case (o.cert == "") != (o.key == ""):
		return usagef("--tls-cert and --tls-key go together")
	case o.cert != "" && len(o.domains) > 0:
		return usagef("--tls-cert and --tls-domain exclude each other: the certificate is in a file, or it is got by ACME")
	case len(o.domains) == 0 && o.email+o.directory+o.ca != "":
		return usagef("--tls-email, --tls-acme-directory and --tls-acme-ca go with --tls-domain")
	case !o.on() && o.plain != "":
		return usagef("--http-listen stands beside a listener with TLS: set --tls-cert or --tls-domain, or use --listen alone")
	}
	if o.plain != "" {
		if err := checkAddress(ctx, "http-listen", o.plain); err != nil {
			return err
		}
	}
	return o.checkACME()
}

// hostName is RFC 1123, section 2.1, in lower case.
var hostName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (o *tlsOptions) checkACME() error {
	var names []string
	for _, d := range o.domains {
		name := strings.ToLower(strings.TrimSuffix(d, "."))
		if net.ParseIP(name) != nil || !hostName.MatchString(name) {
			return usagef("--tls-domain %q: write the host name that senders use, such as hooks.example.com; one with other letters as it is in DNS, xn--…", d)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	o.domains = names
	if o.directory == "" {
		return nil
	}
	if u, err := url.Parse(o.directory); err != nil || u.Scheme != "https" || u.Host == "" {
		return usagef("--tls-acme-directory %q: write a URL that begins with https://", o.directory)
	}
	return nil
}

// certificates are those of a listener.
type certificates interface {
	config() *tls.Config
	// follow takes over new certificates until ctx ends.
	follow(ctx context.Context) error
	expiries() []expiry
	close()
}

// secured is a listener with TLS.
type secured struct {
	certificates
	name string // "public" or "admin", for the log and the metric
}

// secure gives the listeners their certificates, and binds the one beside a public one with TLS.
func (g *gateway) secure(ctx context.Context, front *ingress.Server) error {
	if err := g.securePublic(ctx, front); err != nil {
		return err
	}
	if err := g.secureAdmin(); err != nil {
		return err
	}
	if len(g.secured) == 0 {
		return nil
	}
	return g.metrics.Register(expiryMetric(g.secured))
}

func (g *gateway) securePublic(ctx context.Context, front *ingress.Server) (err error) {
	o := g.options.tls
	if o.plain != "" {
		if g.plain, err = listen(ctx, "http-listen", o.plain, nil); err != nil {
			return err
		}
	}
	var challenge func(http.ResponseWriter, *http.Request) bool
	switch {
	case o.cert != "":
		files, err := openCertificateFiles(o.cert, o.key, g.options.log)
		if err != nil {
			return fmt.Errorf("--tls-cert, --tls-key: %w", err)
		}
		g.use(g.public, "public", files)
	case len(o.domains) > 0:
		a, err := newACME(o, g.options.data, g.public, g.plain, g.options.log)
		if err != nil {
			return err
		}
		g.use(g.public, "public", a)
		challenge = a.issuer.HandleHTTPChallenge
	}
	if g.plain != nil {
		g.plain.server = front.Plain(challenge)
	}
	return nil
}

// use gives a listener its certificates.
func (g *gateway) use(l *listener, name string, c certificates) {
	l.server.TLSConfig, l.tls = c.config(), true
	g.secured = append(g.secured, secured{c, name})
}

// followCertificates keeps certificates good until ctx ends, and warns of those that are about to expire.
func (g *gateway) followCertificates(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range g.secured {
		group.Go(func() error { return s.follow(ctx) })
		group.Go(func() error { warnOfExpiry(ctx, s, g.options.log.With("listener", s.name)); return nil })
	}
	return group.Wait()
}

// every calls do after each interval, until ctx ends.
func every(ctx context.Context, interval time.Duration, do func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			do()
		case <-ctx.Done():
			return
		}
	}
}
