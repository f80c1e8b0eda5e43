package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// traceFlushTime bounds how long stopping waits for a collector that takes the last spans slowly, or not at all.
const traceFlushTime = 2 * time.Second

// traces send the spans of this process to a collector, past the events: in batches, and what the collector does not take
// in time is dropped.
type traces struct {
	provider *sdktrace.TracerProvider // nil: nothing is traced
	log      *slog.Logger
}

// openTraces reads the standard variables of OpenTelemetry. Without an endpoint nothing is traced. service names the
// process where OTEL_SERVICE_NAME does not.
func openTraces(ctx context.Context, service string, log *slog.Logger) (*traces, error) {
	config, err := readTraceConfig(os.Getenv)
	if err != nil {
		return nil, err
	}
	if config == nil {
		return &traces{}, nil
	}
	// The SDK has no other place for what its exporters cannot do. It says the same with every batch.
	otel.SetErrorHandler(&traceErrors{log: log, every: traceWarnEvery})
	exporter, err := otlptrace.New(ctx, newOTLPClient(config))
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	origin, err := resource.New(ctx, resource.WithHost(), resource.WithTelemetrySDK(),
		resource.WithAttributes(semconv.ServiceName(service), semconv.ServiceVersion(version)), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("traces: resource: %w", err)
	}
	// The sampler, the limits of spans and those of batches come from the environment too.
	provider := sdktrace.NewTracerProvider(sdktrace.WithResource(origin), sdktrace.WithBatcher(exporter))
	log.Info("traces are sent", "collector", config.shown())
	return &traces{provider, log}, nil
}

// tracer is nil when nothing is traced.
func (t *traces) tracer() trace.Tracer {
	if t.provider == nil {
		return nil
	}
	return t.provider.Tracer("github.com/funker-dispatch/funker-dispatch", trace.WithInstrumentationVersion(version),
		trace.WithSchemaURL(semconv.SchemaURL))
}

// close sends what is left, until ctx ends and no longer than traceFlushTime.
func (t *traces) close(ctx context.Context) {
	if t.provider == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, traceFlushTime)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.Warn("the last spans were not sent", "error", err)
	}
}
