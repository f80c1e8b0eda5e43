package ingress

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// requestTimes are the durations of requests, from their header to their answer, by source and class of the status:
// "2xx". A trigger that is removed takes its series along.
func requestTimes() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "funker_request_duration_seconds",
		Help: "Time of one request, from its header to its answer, by its source and the class of its status.",
		// 1 ms to a minute: an accept is a sync of the disk, and a call is as long as its function.
		Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 13),
	}, []string{"source", "status"})
}

// observe times a request that is answered. It is called with the lock: a source that is removed meanwhile would come back.
func (s *senders) observe(source string, x *exchange) {
	if x.r.URL.Path == healthPath {
		return
	}
	observer := s.times.WithLabelValues(source, statusClass(x.status))
	seconds := time.Since(x.start).Seconds()
	if exemplars, ok := observer.(prometheus.ExemplarObserver); ok && x.span != nil && x.span.SpanContext().IsSampled() {
		exemplars.ObserveWithExemplar(seconds, prometheus.Labels{"trace_id": x.trace})
		return
	}
	observer.Observe(seconds)
}

func statusClass(status int) string {
	switch status / 100 {
	case 2:
		return "2xx"
	case 3:
		return "3xx"
	case 4:
		return "4xx"
	}
	return "5xx"
}
