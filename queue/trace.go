package queue

import (
	"cmp"
	"context"
	"errors"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// An event carries the span in which it was stored, in headers of its message, as W3C Trace Context writes it. The headers
// have names of our own: traceparent itself may make the server trace the message, and a sender's header of that name is
// kept beside it. They stay with the event in retries, hand-backs and dead letters. A replay begins another trace, with a
// link to the one before. One that is made by a process without a tracer, such as the command line, carries the link alone:
// its attempts begin traces.
const (
	headerTraceparent = "Funker-Traceparent"
	headerTracestate  = "Funker-Tracestate"
	headerTraceLink   = "Funker-Trace-Link"
)

// messagingSystem is the value of messaging.system.
const messagingSystem = "nats"

// traceFormat reads and writes what both headers hold: https://www.w3.org/TR/trace-context/
var traceFormat propagation.TraceContext

// carrier makes an event a propagation.TextMapCarrier.
type carrier Event

// Get implements propagation.TextMapCarrier.
func (c *carrier) Get(key string) string {
	switch key {
	case "traceparent":
		return c.Traceparent
	case "tracestate":
		return c.Tracestate
	}
	return ""
}

// Set implements propagation.TextMapCarrier.
func (c *carrier) Set(key, value string) {
	switch key {
	case "traceparent":
		c.Traceparent = value
	case "tracestate":
		c.Tracestate = value
	}
}

// Keys implements propagation.TextMapCarrier.
func (c *carrier) Keys() []string { return []string{"traceparent", "tracestate"} }

// SpanIn returns ctx with the span that the event carries; ctx itself when it carries none.
func (e *Event) SpanIn(ctx context.Context) context.Context {
	if e.Traceparent == "" {
		return ctx
	}
	return traceFormat.Extract(ctx, (*carrier)(e))
}

// Carry makes the event carry the span of ctx, in place of the one that it carries.
func (e *Event) Carry(ctx context.Context) {
	e.Traceparent, e.Tracestate = "", ""
	traceFormat.Inject(ctx, (*carrier)(e))
}

// LinkedSpan returns the span of the run that this is a replay of, when the replay has no span of its own; else one that is
// not valid.
func (e *Event) LinkedSpan() trace.SpanContext {
	if e.TraceLink == "" {
		return trace.SpanContext{}
	}
	return (&Event{Traceparent: e.TraceLink}).span()
}

// span is the one that the event carries.
func (e *Event) span() trace.SpanContext {
	return trace.SpanContextFromContext(e.SpanIn(context.Background()))
}

// TraceID returns the trace that the event belongs to, as 32 hexadecimal digits; "" when there is none.
func (e *Event) TraceID() string {
	if e.Traceparent == "" {
		return ""
	}
	if span := e.span(); span.HasTraceID() {
		return span.TraceID().String()
	}
	return ""
}

// logOf is the log, for lines about an event.
func (q *Queue) logOf(e *Event) *slog.Logger {
	log := q.log.With("event", e.ID)
	if id := e.TraceID(); id != "" {
		log = log.With("trace_id", id)
	}
	return log
}

// startPublish begins the span in which events of one request are stored; all of them carry it. tracer is not nil.
func (q *Queue) startPublish(ctx context.Context, events []*Event) (context.Context, trace.Span) {
	ctx, span := q.tracer.Start(ctx, "publish "+streamEvents, trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(sending("publish", streamEvents)...))
	for _, e := range events {
		e.Carry(ctx)
	}
	return ctx, span
}

// endPublish says what was stored. Who sends an event again hears the id of the first copy: the span has it too.
func endPublish(span trace.Span, events []*Event, receipts []Receipt, err error) {
	if span.IsRecording() {
		if len(events) == 1 {
			e := events[0]
			span.SetAttributes(attribute.String("funker.source", e.Source), attribute.String("funker.function", e.Function),
				semconv.MessagingMessageBodySize(len(e.Body)))
		} else {
			span.SetAttributes(semconv.MessagingBatchMessageCount(len(events)))
		}
		if err == nil && len(receipts) == 1 {
			span.SetAttributes(semconv.MessagingMessageID(receipts[0].ID), attribute.Bool("funker.duplicate", receipts[0].Duplicate))
		}
	}
	endSpan(span, err)
}

// startCall begins the span in which a caller waits for a function. tracer is not nil.
func (q *Queue) startCall(ctx context.Context, e *Event) (context.Context, trace.Span) {
	ctx, span := q.tracer.Start(ctx, "call "+e.Function, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(sending("call", streamCalls)...),
		trace.WithAttributes(attribute.String("funker.source", e.Source), attribute.String("funker.function", e.Function),
			semconv.MessagingMessageBodySize(len(e.Body))))
	e.Carry(ctx)
	return ctx, span
}

// startReplay begins a trace for a replay, or goes on with that of ctx. It has a link to the span that the event carries,
// and takes its place there. tracer is not nil.
func (q *Queue) startReplay(ctx context.Context, e *Event) (context.Context, trace.Span) {
	options := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(sending("replay", streamRetry)...),
		trace.WithAttributes(semconv.MessagingMessageID(e.ID), attribute.String("funker.source", e.Source),
			attribute.String("funker.function", e.Function), attribute.String("funker.replay_of", e.ReplayOf)),
	}
	before := e.span()
	if !before.IsValid() {
		before = e.LinkedSpan()
	}
	if before.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: before}))
	}
	ctx, span := q.tracer.Start(ctx, "replay "+e.Function, options...)
	e.Carry(ctx)
	e.TraceLink = ""
	return ctx, span
}

func sending(name, stream string) []attribute.KeyValue {
	return []attribute.KeyValue{
		semconv.MessagingSystemKey.String(messagingSystem), semconv.MessagingOperationTypeSend,
		semconv.MessagingOperationName(name), semconv.MessagingDestinationName(stream),
	}
}

// flushTraced is flush in a span of its own, where the one who waits has a span.
func (q *Queue) flushTraced(ctx context.Context, stream string) error {
	if q.tracer == nil || !trace.SpanFromContext(ctx).IsRecording() {
		return q.flush(ctx, stream)
	}
	ctx, span := q.tracer.Start(ctx, "sync "+stream)
	err := q.flush(ctx, stream)
	endSpan(span, err)
	return err
}

func endSpan(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
		span.SetAttributes(semconv.ErrorTypeKey.String(errorType(err)))
	}
	span.End()
}

// errorType is a word for an error, of which there are few.
func errorType(err error) string {
	var call *CallError
	switch {
	case errors.As(err, &call):
		return cmp.Or(call.Code, semconv.ErrorTypeOther.Value.AsString())
	case errors.Is(err, ErrFull):
		return "store_full"
	case errors.Is(err, ErrUnavailable):
		return "unavailable"
	case errors.Is(err, ErrTooLarge):
		return "body_too_large"
	}
	return semconv.ErrorTypeOther.Value.AsString()
}
