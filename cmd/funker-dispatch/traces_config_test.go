package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

func TestTraceConfig_FollowsTheSpecification(t *testing.T) {
	base := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}
	with := func(more map[string]string) map[string]string {
		all := map[string]string{}
		for _, m := range []map[string]string{base, more} {
			maps.Copy(all, m)
		}
		return all
	}
	for _, c := range []struct {
		env  map[string]string
		url  string // "": off
		text string // of the error
	}{
		{nil, "", ""},
		{base, "http://c:4318/v1/traces", ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c/otlp/"}, "https://c/otlp/v1/traces", ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:9/mine"}, "http://c:9/mine", ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:9"}, "http://c:9/", ""},
		{with(map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://d/x"}), "http://d/x", ""},
		{with(map[string]string{"OTEL_SDK_DISABLED": "TRUE"}), "", ""},
		{with(map[string]string{"OTEL_SDK_DISABLED": "no"}), "http://c:4318/v1/traces", ""},
		{with(map[string]string{"OTEL_TRACES_EXPORTER": "none"}), "", ""},
		{with(map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}), "http://c:4318/v1/traces", ""},
		{with(map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}), "", "take otlp or none"},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "c:4318"}, "", "is no URL of a collector"},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "grpc://c:4317"}, "", "is no URL of a collector"},
		{with(map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}), "http://c:4318/v1/traces", ""},
		{with(map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}), "", "port 4318"},
		{with(map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "Authorization"}), "", "is no list of headers"},
		{with(map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "a=secret%0Ab"}), "", "is no list of headers"},
		{with(map[string]string{"OTEL_EXPORTER_OTLP_TIMEOUT": "10s"}), "", "milliseconds"},
		{with(map[string]string{"OTEL_EXPORTER_OTLP_TIMEOUT": "0"}), "", "milliseconds"},
		{with(map[string]string{"OTEL_EXPORTER_OTLP_COMPRESSION": "br"}), "", "take gzip or none"},
		{with(map[string]string{"OTEL_EXPORTER_OTLP_CERTIFICATE": "/none.pem"}), "", "OTEL_EXPORTER_OTLP_CERTIFICATE: open /none.pem"},
		{with(map[string]string{"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "/none.pem"}), "", "CLIENT_KEY"},
	} {
		got, err := readTraceConfig(func(name string) string { return c.env[name] })
		switch {
		case c.text != "":
			if err == nil || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v: %v, want an error with %q", c.env, err, c.text)
			}
		case err != nil:
			t.Errorf("%v: %v", c.env, err)
		case got == nil != (c.url == ""), got != nil && got.endpoint.String() != c.url:
			t.Errorf("%v: %+v, want %q", c.env, got, c.url)
		}
	}
}

func TestTraceConfig_ReachesTheCollector(t *testing.T) {
	c := newCollector(t)
	env := map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL, "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20x%3Dy, x-tenant = a",
		"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "gzip", "OTEL_EXPORTER_OTLP_TIMEOUT": "20000",
	}
	config, err := readTraceConfig(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	if config.timeout != 20*time.Second {
		t.Errorf("timeout is %s", config.timeout)
	}
	client := newOTLPClient(config)
	if err := client.UploadTraces(soon(t), someSpans); err != nil {
		t.Fatal(err)
	}
	if err := client.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	c.await(t, 1, "some")
	h := c.requests[0]
	if h.Get("Authorization") != "Bearer x=y" || h.Get("X-Tenant") != "a" || h.Get("Content-Encoding") != "gzip" {
		t.Errorf("the collector got %v", h)
	}
}

var someSpans = []*tracepb.ResourceSpans{{ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{{Name: "some"}}}}}}

func TestOTLP_TriesAgainWhatMayHelp(t *testing.T) {
	for status, tries := range map[int]int{
		http.StatusServiceUnavailable: 2, http.StatusTooManyRequests: 2, http.StatusBadRequest: 1, http.StatusTemporaryRedirect: 1, http.StatusUnauthorized: 1,
	} {
		c := newCollector(t)
		c.refuse = func(n int) int {
			if n == 1 {
				return status
			}
			return 0
		}
		config, err := readTraceConfig(func(name string) string { return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL}[name] })
		if err != nil {
			t.Fatal(err)
		}
		client := newOTLPClient(config)
		if err := client.UploadTraces(soon(t), someSpans); (err == nil) != (tries == 2) || c.seen() != tries {
			t.Errorf("%d: %v after %d requests, want %d", status, err, c.seen(), tries)
		}
		if err := client.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestTraceErrors_AreLoggedAtABoundedRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log buffer
		h := &traceErrors{log: slog.New(slog.NewTextHandler(&log, nil)), every: traceWarnEvery}
		for range 600 {
			h.Handle(errors.New("collector not reached"))
			time.Sleep(time.Second) // of the bubble
		}
		if lines := strings.Count(log.String(), "traces are incomplete"); lines != 10 {
			t.Errorf("ten minutes of errors make %d lines:\n%s", lines, log.String())
		}
		if !strings.Contains(log.String(), "not_logged=59") {
			t.Errorf("the lines do not say how many errors are missing:\n%s", log.String())
		}
	})
}

// soon is a context for what shall not take longer than the test waits for other things.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}
