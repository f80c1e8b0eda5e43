package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// expiryWarning is how long before its end a certificate is worth a warning. One that lives for less than eight
	// weeks is so in the last quarter of its life: it is renewed before that, or something is wrong.
	expiryWarning = 14 * 24 * time.Hour
	warnAgain     = 24 * time.Hour
)

// expiry is how long a certificate is valid.
type expiry struct {
	name  string
	from  time.Time
	until time.Time // zero: there is no certificate yet
}

func (e expiry) isNear(now time.Time) bool {
	return !e.until.IsZero() && e.until.Sub(now) < min(expiryWarning, e.until.Sub(e.from)/4)
}

// warnOfExpiry logs which certificates are about to expire, each once a day, until ctx ends.
func warnOfExpiry(ctx context.Context, c certificates, log *slog.Logger) {
	warned := map[string]time.Time{}
	every(ctx, time.Minute, func() {
		now := time.Now()
		for _, e := range c.expiries() {
			if e.isNear(now) && now.Sub(warned[e.name]) >= warnAgain {
				log.Warn("the certificate is about to expire, or has", "name", e.name, "expires", e.until)
				warned[e.name] = now
			}
		}
	})
}

var certificateExpiry = prometheus.NewDesc("funker_tls_certificate_expiry_timestamp_seconds",
	"When a certificate expires, in Unix time; 0: there is none yet.", []string{"listener", "name"}, nil)

// expiryMetric is a prometheus.Collector.
type expiryMetric []secured

func (m expiryMetric) Describe(descs chan<- *prometheus.Desc) { descs <- certificateExpiry }

func (m expiryMetric) Collect(metrics chan<- prometheus.Metric) {
	for _, s := range m {
		for _, e := range s.expiries() {
			value := 0.0
			if !e.until.IsZero() {
				value = float64(e.until.Unix())
			}
			metrics <- prometheus.MustNewConstMetric(certificateExpiry, prometheus.GaugeValue, value, s.name, e.name)
		}
	}
}
