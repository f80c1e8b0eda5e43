package worker

import (
	"context"
	"net"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// attemptTrace is the span of one attempt, and what it is made of. Its zero value traces nothing and costs nothing.
type attemptTrace struct {
	tracer trace.Tracer // nil: nothing is traced
	ctx    context.Context
	span   trace.Span
}

// startAttempt begins the span of an attempt, a child of the one in which the event was stored, called or replayed. It
// returns the event with this span in its place, for whoever makes the payload.
func (w *Worker) startAttempt(e *queue.Event) (attemptTrace, *queue.Event) {
	if w.Tracer == nil {
		return attemptTrace{}, e
	}
	t := attemptTrace{tracer: w.Tracer}
	options := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(
			semconv.MessagingSystemKey.String("nats"), semconv.MessagingOperationTypeProcess, semconv.MessagingOperationName("process"),
			semconv.MessagingMessageID(e.ID), semconv.MessagingMessageBodySize(len(e.Body)), semconv.FaaSTriggerPubSub,
			attribute.String("funker.source", e.Source), attribute.String("funker.function", e.Function),
			attribute.Int("funker.attempt", e.Attempt+1), attribute.String("funker.node", w.Node)),
	}
	if e.ReplayOf != "" {
		options = append(options, trace.WithAttributes(attribute.String("funker.replay_of", e.ReplayOf)))
	}
	if link := e.LinkedSpan(); link.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: link}))
	}
	t.ctx, t.span = t.tracer.Start(e.SpanIn(context.Background()), "process "+e.Function, options...)
	traced := *e
	traced.Carry(t.ctx)
	return t, &traced
}

// end says what came of the attempt. When the function has provably not started, there was none: the span is not ended,
// and so nobody hears of it. An event that waits for a task would otherwise have two a second.
func (t attemptTrace) end(r queue.Result) {
	if t.tracer == nil || r.Outcome == queue.OutcomeNotStarted {
		return
	}
	t.span.SetAttributes(attribute.String("funker.outcome", string(r.Outcome)))
	if r.Outcome != queue.OutcomeOK {
		t.span.SetAttributes(semconv.ErrorTypeKey.String(r.Code))
		t.span.SetStatus(codes.Error, r.Message)
	}
	t.span.End()
}

// call calls a task of the function in a span of its own. It is not ended either when the task provably has not started
// the function.
func (t attemptTrace) call(function, address string, call func() ([]byte, error)) ([]byte, error) {
	if t.tracer == nil {
		return call()
	}
	_, span := t.tracer.Start(t.ctx, "invoke "+function, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(semconv.FaaSInvokedName(function), semconv.FaaSInvokedProviderKey.String("funker"), semconv.NetworkTransportTCP),
		trace.WithAttributes(addressOf(address)...))
	reply, err := call()
	if neverStarted(err) {
		return reply, err
	}
	if err != nil {
		r := classify(err)
		span.SetAttributes(semconv.ErrorTypeKey.String(r.Code))
		span.SetStatus(codes.Error, r.Message)
	}
	span.End()
	return reply, err
}

func addressOf(address string) []attribute.KeyValue {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return []attribute.KeyValue{semconv.ServerAddress(address)}
	}
	attributes := []attribute.KeyValue{semconv.ServerAddress(host)}
	if n, err := strconv.Atoi(port); err == nil {
		attributes = append(attributes, semconv.ServerPort(n))
	}
	return attributes
}
