package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/pflag"

	"github.com/funker-dispatch/funker-dispatch/console"
)

// adminTLS are the certificate of the admin listener and its key, in files. The zero value is HTTP without TLS.
type adminTLS struct{ cert, key string }

func (a *adminTLS) add(f *pflag.FlagSet) {
	f.StringVar(&a.cert, "admin-tls-cert", "", "file with the certificate of the admin listener and its chain, in PEM; it is read again when it changes")
	f.StringVar(&a.key, "admin-tls-key", "", "file with the key of --admin-tls-cert, in PEM")
}

func (a *adminTLS) on() bool { return a.cert != "" }

// checkAdmin keeps an admin listener without TLS on loopback.
func (o *gatewayOptions) checkAdmin() error {
	host, _, err := net.SplitHostPort(o.admin)
	switch {
	case err != nil:
		return usagef("--admin %q: %w", o.admin, err)
	case (o.adminTLS.cert == "") != (o.adminTLS.key == ""):
		return usagef("--admin-tls-cert and --admin-tls-key go together")
	case o.adminTLS.on() && o.adminOpen:
		return usagef("--admin-insecure is for an admin listener without TLS: leave it out, as --admin-tls-cert is there")
	case o.adminTLS.on() || isLoopback(host):
		return nil
	case !o.adminOpen:
		return usagef("--admin %q: without TLS the admin listener stays on a loopback address, such as 127.0.0.1:3001. Give it a certificate "+
			"with --admin-tls-cert and --admin-tls-key; for an address that only a proxy with TLS, or a network of your own, reaches, add --admin-insecure", o.admin)
	}
	o.log.Warn("INSECURE: the admin listener can be reached from elsewhere and has no TLS: its tokens and sessions can be read on the way", "admin", o.admin)
	return nil
}

// Limits of the admin listener.
const (
	adminHeaderTime = 5 * time.Second // for the header of a request, and for the handshake of TLS
	adminIdleTime   = time.Minute     // of a connection
)

func adminServer(back *console.Server, log *slog.Logger) *http.Server {
	s := &http.Server{
		Handler: back, ReadHeaderTimeout: adminHeaderTime, IdleTimeout: adminIdleTime,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), // handshakes that fail, mostly
	}
	s.RegisterOnShutdown(back.Close)
	return s
}

// secureAdmin gives the admin listener its certificate, when it has one.
func (g *gateway) secureAdmin() error {
	o := g.options.adminTLS
	if !o.on() {
		return nil
	}
	files, err := openCertificateFiles(o.cert, o.key, g.options.log.With("listener", "admin"))
	if err != nil {
		return fmt.Errorf("--admin-tls-cert, --admin-tls-key: %w", err)
	}
	g.use(g.admin, "admin", files)
	return nil
}
