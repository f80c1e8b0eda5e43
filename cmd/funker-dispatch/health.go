package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

const healthPath = "/healthz"

// serveHealth answers GET /healthz until stop is called: 200 while the worker is connected, else 503. Without an address
// nobody listens.
func serveHealth(ctx context.Context, address string, connected func() bool, log *slog.Logger) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+healthPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if connected() {
			fmt.Fprint(w, `{"status":"ok"}`)
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"status":"not connected to the queue"}`)
	})
	l, err := listen(ctx, "health", address, &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute})
	if err != nil {
		return nil, fmt.Errorf("%w: choose another --health", err)
	}
	log.Info("health sign", "url", l.url()+healthPath)
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := l.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("health listener ended", "error", err)
		}
	})
	return func() {
		_ = l.server.Close() // what it says about a listener that is closed already
		serving.Wait()
	}, nil
}
