package main

import (
	"log/slog"
	"sync"
	"time"
)

// traceWarnEvery is how often a collector that does not answer is worth a line of the log.
const traceWarnEvery = time.Minute

// traceErrors logs what the SDK of OpenTelemetry cannot do, at a bounded rate: it is an otel.ErrorHandler.
type traceErrors struct {
	log   *slog.Logger
	every time.Duration

	mu      sync.Mutex
	last    time.Time
	skipped int // since the last line
}

// Handle implements otel.ErrorHandler.
func (h *traceErrors) Handle(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); h.last.IsZero() || now.Sub(h.last) >= h.every {
		h.log.Warn("traces are incomplete", "error", err, "not_logged", h.skipped)
		h.last, h.skipped = now, 0
		return
	}
	h.skipped++
}
