package main

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/funker-dispatch/funker-dispatch/ingress"
)

// lobby is where a gateway of a cluster answers before it serves: it waits until most gateways are there. Whoever looks
// after it hears that it is alive: Swarm tells the other gateways its address only then, so all would wait for ever.
type lobby struct {
	l      *listener
	served sync.WaitGroup
}

// openLobby listens where the health check asks. It returns nil for a gateway that stands alone.
func openLobby(ctx context.Context, o gatewayOptions) (*lobby, error) {
	if o.cluster == nil {
		return nil, nil
	}
	flag, address := "listen", o.listen
	if o.tls.on() { // as in healthURL
		flag, address = "admin", o.admin
	}
	l, err := listen(ctx, flag, address, &http.Server{
		Handler: http.HandlerFunc(ingress.Wait), ReadHeaderTimeout: adminHeaderTime, ReadTimeout: adminHeaderTime, WriteTimeout: adminHeaderTime, IdleTimeout: time.Second,
	})
	if err != nil {
		return nil, err
	}
	serve := func() error { return l.server.Serve(l) }
	if o.tls.on() && o.adminTLS.on() {
		serve = func() error { return l.server.ServeTLS(l, o.adminTLS.cert, o.adminTLS.key) }
	}
	y := &lobby{l: l}
	y.served.Go(func() {
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			o.log.Error("nobody hears that this gateway waits for others", "error", err)
		}
	})
	return y, nil
}

// close leaves the address to the listener that serves.
func (y *lobby) close() {
	if y == nil {
		return
	}
	_ = y.l.server.Close() // what it says about a listener that is closed already
	y.served.Wait()
}
