package queue

import (
	"context"
	"errors"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// traced returns a tracer and where its spans are.
func traced(t testing.TB) (trace.Tracer, *tracetest.InMemoryExporter) {
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	t.Cleanup(func() {
		if err := provider.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return provider.Tracer("test"), spans
}

func TestTrace_TheSpanTravelsWithTheEvent(t *testing.T) {
	tracer, _ := traced(t)
	ctx, span := tracer.Start(t.Context(), "x")
	defer span.End()
	e := &Event{ID: NewID(), Source: "s", Function: "f", Header: map[string]string{"Traceparent": "of the sender"}}
	e.Carry(ctx)
	e.Tracestate, e.TraceLink = "vendor=1", e.Traceparent
	got, err := decode(encode(e, "x"))
	if err != nil {
		t.Fatal(err)
	}
	sc := trace.SpanContextFromContext(got.SpanIn(t.Context()))
	if want := span.SpanContext(); sc.TraceID() != want.TraceID() || sc.SpanID() != want.SpanID() || !sc.IsSampled() || !sc.IsRemote() || sc.TraceState().String() != "vendor=1" {
		t.Errorf("got %+v, want %+v", sc, want)
	}
	if got.TraceID() != span.SpanContext().TraceID().String() || !got.LinkedSpan().IsValid() || got.Header["Traceparent"] != "of the sender" {
		t.Errorf("got %+v", got)
	}
}

func TestTrace_WhatIsNoSpanIsNone(t *testing.T) {
	for _, text := range []string{"", "x", "00-0-0-00", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"} {
		e := &Event{Traceparent: text, TraceLink: text}
		if e.TraceID() != "" || e.LinkedSpan().IsValid() || trace.SpanContextFromContext(e.SpanIn(t.Context())).IsValid() {
			t.Errorf("%q is taken for a span", text)
		}
	}
}

func TestTrace_ABatchIsOneSpan(t *testing.T) {
	tracer, spans := traced(t)
	q := openWith(t, Options{Dir: t.TempDir(), Tracer: tracer}, "f")
	events := []*Event{{Source: "s", Function: "f", Body: []byte("1")}, {Source: "s", Function: "f", Body: []byte("2")}}
	if _, err := q.PublishAll(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	names := map[string]int{}
	for _, s := range spans.GetSpans() {
		names[s.Name]++
	}
	if names["publish FUNKER_EVENTS"] != 1 || names["sync FUNKER_EVENTS"] != 1 || events[0].TraceID() == "" || events[0].Traceparent != events[1].Traceparent {
		t.Errorf("spans %v, events in %q and %q", names, events[0].Traceparent, events[1].Traceparent)
	}
}

func TestTrace_AnErrorIsInTheSpan(t *testing.T) {
	tracer, spans := traced(t)
	q := openWith(t, Options{Dir: t.TempDir(), Tracer: tracer}, "f")
	_, err := q.Call(t.Context(), &Event{Source: "s", Function: "f", Body: []byte("1"), Deadline: time.Now().Add(time.Second)})
	failed, ok := errors.AsType[*CallError](err)
	if !ok {
		t.Fatalf("nobody answers, and the call got %v", err)
	}
	for _, s := range spans.GetSpans() {
		for _, a := range s.Attributes {
			if string(a.Key) == "error.type" && a.Value.AsString() == failed.Code {
				return
			}
		}
	}
	t.Errorf("no span says %s: %+v", failed.Code, spans.GetSpans())
}

// BenchmarkTrace is the way of an event from its publish to its acknowledgement, without a sync: not traced, and with all
// spans made and dropped.
func BenchmarkTrace(b *testing.B) {
	provider := sdktrace.NewTracerProvider()
	defer func() { _ = provider.Shutdown(context.Background()) }()
	for name, tracer := range map[string]trace.Tracer{"off": nil, "on": provider.Tracer("test")} {
		b.Run(name, func(b *testing.B) {
			q := openWith(b, Options{Dir: b.TempDir(), Durability: DurabilityNone, Tracer: tracer}, "f")
			done := make(chan struct{}, 1)
			work(b, q, "f", 1, func(*Event) Result { done <- struct{}{}; return Result{Outcome: OutcomeOK} })
			b.ReportAllocs()
			for b.Loop() {
				if _, err := q.PublishAll(b.Context(), []*Event{{Source: "s", Function: "f", Body: []byte("1")}}); err != nil {
					b.Fatal(err)
				}
				<-done
			}
		})
	}
}
