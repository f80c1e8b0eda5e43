package main

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector takes spans over OTLP/HTTP, with OpenTelemetry's own types for that.
type collector struct {
	*httptest.Server
	mu       sync.Mutex
	spans    []sentSpan
	requests []http.Header
	refuse   func(n int) int // the status of the nth request, from 1; 0: take it. nil: take all
	faults   []string
}

// sentSpan is what a test wants to know of one.
type sentSpan struct {
	service, name, trace, id, parent string
	kind                             tracepb.Span_SpanKind
	failed                           bool
	links                            []string // trace/span
	attributes                       map[string]string
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(c)
	t.Cleanup(func() {
		c.Close()
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, f := range c.faults {
			t.Error(f)
		}
	})
	return c
}

// ServeHTTP implements http.Handler.
func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = append(c.requests, r.Header)
	if c.refuse != nil {
		if status := c.refuse(len(c.requests)); status != 0 {
			w.WriteHeader(status)
			return
		}
	}
	if err == nil && r.Header.Get("Content-Encoding") == "gzip" {
		var z *gzip.Reader
		if z, err = gzip.NewReader(bytes.NewReader(body)); err == nil {
			body, err = io.ReadAll(z)
		}
	}
	var batch coltracepb.ExportTraceServiceRequest
	if err == nil {
		err = proto.UnmarshalOptions{DiscardUnknown: false}.Unmarshal(body, &batch)
	}
	if err != nil || r.URL.Path != otlpPath || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-protobuf" ||
		len(batch.ProtoReflect().GetUnknown()) > 0 {
		c.faults = append(c.faults, fmt.Sprintf("the collector got %s %s %v: %v", r.Method, r.URL, r.Header, err))
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, resource := range batch.ResourceSpans {
		service := attributesOf(resource.GetResource().GetAttributes())["service.name"]
		for _, scope := range resource.ScopeSpans {
			for _, s := range scope.Spans {
				c.spans = append(c.spans, newSentSpan(service, s))
			}
		}
	}
}

func newSentSpan(service string, s *tracepb.Span) sentSpan {
	n := sentSpan{
		service: service, name: s.Name, trace: hex.EncodeToString(s.TraceId), id: hex.EncodeToString(s.SpanId), parent: hex.EncodeToString(s.ParentSpanId),
		kind: s.Kind, failed: s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR, attributes: attributesOf(s.Attributes),
	}
	for _, l := range s.Links {
		n.links = append(n.links, hex.EncodeToString(l.TraceId)+"/"+hex.EncodeToString(l.SpanId))
	}
	return n
}

func attributesOf(all []*commonpb.KeyValue) map[string]string {
	m := map[string]string{}
	for _, a := range all {
		switch v := a.Value.Value.(type) {
		case *commonpb.AnyValue_StringValue:
			m[a.Key] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			m[a.Key] = fmt.Sprint(v.IntValue)
		case *commonpb.AnyValue_BoolValue:
			m[a.Key] = fmt.Sprint(v.BoolValue)
		}
	}
	return m
}

// all are the spans that have come whose name begins like this.
func (c *collector) all(prefix string) (found []sentSpan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if strings.HasPrefix(s.name, prefix) {
			found = append(found, s)
		}
	}
	return found
}

// await returns the n spans with a name, once they have come.
func (c *collector) await(t *testing.T, n int, name string) []sentSpan {
	t.Helper()
	within(t, fmt.Sprintf("the collector has %d spans %s", n, name), func() bool { return len(c.all(name)) >= n })
	found := c.all(name)
	if len(found) != n {
		t.Fatalf("there are %d spans %s, want %d: %+v", len(found), name, n, found)
	}
	return found
}

func (c *collector) seen() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.requests)
}
