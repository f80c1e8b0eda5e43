package ingress

import (
	"net/http"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// startSpan begins the span of a request. What its sender says of a trace becomes a link, as OpenTelemetry advises for a
// public endpoint: as a parent it would let anybody put spans into traces that are ours, and decide what is sampled. With
// trustTraces it is the parent.
func (s *Server) startSpan(x *exchange) {
	if s.tracer == nil || x.r.URL.Path == healthPath {
		return
	}
	ctx := x.r.Context()
	options := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(x.start),
		trace.WithAttributes(
			methodOf(x.r), semconv.URLPath(clip(x.r.URL.Path)), semconv.URLScheme(schemeOf(x.r)),
			semconv.NetworkProtocolVersion(strings.TrimPrefix(x.r.Proto, "HTTP/")), semconv.ClientAddress(x.client),
			attribute.String("funker.request_id", x.id)),
	}
	remote := propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(x.r.Header))
	if sender := trace.SpanContextFromContext(remote); s.trustTraces {
		ctx = remote
	} else if sender.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: sender}))
	}
	ctx, x.span = s.tracer.Start(ctx, spanName(x.r), options...)
	x.r = x.r.WithContext(ctx)
	if id := x.span.SpanContext().TraceID(); id.IsValid() {
		x.trace = id.String()
	}
}

// endSpan says how a request was answered. A route is the path of a trigger, which the manifest names: what else people
// try is none.
func (s *Server) endSpan(x *exchange) {
	if x.span == nil {
		return
	}
	if x.span.IsRecording() {
		if route := s.routeOf(x); route != "" {
			x.span.SetName(spanName(x.r) + " " + route)
			x.span.SetAttributes(semconv.HTTPRoute(route))
		}
		x.span.SetAttributes(semconv.HTTPResponseStatusCode(x.status), semconv.HTTPRequestBodySize(int(max(x.size, 0))))
		if x.source != "" {
			x.span.SetAttributes(attribute.String("funker.source", x.source))
		}
		if x.code != "" {
			x.span.SetAttributes(semconv.ErrorTypeKey.String(x.code))
		} else if x.status >= http.StatusInternalServerError {
			x.span.SetAttributes(semconv.ErrorTypeKey.String(strconv.Itoa(x.status)))
		}
		if x.status >= http.StatusInternalServerError {
			x.span.SetStatus(codes.Error, x.message)
		}
	}
	x.span.End()
}

func (s *Server) routeOf(x *exchange) string {
	path := x.r.URL.Path
	switch _, hook := s.current().hooks[path]; {
	case hook, path == "/":
		return path
	case strings.HasPrefix(path, functionsPath) && s.functions:
		return functionsPath + "{name}"
	}
	return ""
}

// spanName is the name of a span without a route, as the conventions for HTTP have it.
func spanName(r *http.Request) string {
	if m := methodOf(r); m != semconv.HTTPRequestMethodOther {
		return m.Value.AsString()
	}
	return "HTTP"
}

// methodOf keeps to the methods that are known: see http.request.method.
func methodOf(r *http.Request) attribute.KeyValue {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch,
		http.MethodConnect, http.MethodTrace:
		return semconv.HTTPRequestMethodKey.String(r.Method)
	}
	return semconv.HTTPRequestMethodOther
}

func schemeOf(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}
