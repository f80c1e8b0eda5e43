package queue

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
)

// attemptTimes are the durations of all attempts, of all workers: each ends with a line of the log, which the gateway hears
// as it is published. When it cannot keep up, some are missing.
func attemptTimes() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "funker_attempt_duration_seconds", Help: "Time of one attempt at running a function, on any worker, by how it ended.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 13), // 1 ms to a minute
	}, []string{"function", "outcome"})
}

// hearAttempts feeds the metric.
func (q *Queue) hearAttempts(times *prometheus.HistogramVec) error {
	_, err := q.nc.Subscribe(logSubject("*", "*"), func(m *nats.Msg) { observeAttempt(times, m) })
	if err != nil {
		return fmt.Errorf("listen for attempts: %w", err)
	}
	return nil
}

func observeAttempt(times *prometheus.HistogramVec, m *nats.Msg) {
	r := Result{Outcome: Outcome(m.Header.Get(headerOutcome)), Code: m.Header.Get(headerCode)}
	took, err := time.ParseDuration(m.Header.Get(headerDuration))
	if err != nil || !r.isAttempt() {
		return
	}
	observer := times.WithLabelValues(m.Header.Get(headerFunction), string(r.Outcome))
	e := Event{Traceparent: m.Header.Get(headerTraceparent)}
	span := trace.SpanContext{}
	if e.Traceparent != "" {
		span = e.span()
	}
	if exemplars, ok := observer.(prometheus.ExemplarObserver); ok && span.IsSampled() {
		exemplars.ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": span.TraceID().String()})
		return
	}
	observer.Observe(took.Seconds())
}

// isAttempt reports whether a line of the log is about a function that may have run.
func (r Result) isAttempt() bool {
	switch r.Outcome {
	case OutcomeOK, OutcomeFailed, OutcomeRetry, OutcomeDead, OutcomeInterrupted:
		return r.attempted() && r.Code != CodeCorrupt && r.Code != CodeBadPayload
	}
	return false
}
