package ingress

import (
	"context"
	"net/http"

	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// hook serves a request on the path of a trigger.
func (s *Server) hook(x *exchange, t *table, h *hook) error {
	x.source, x.manner = h.source, h.manner()
	limit := s.forEvent()
	if h.Kind == trigger.Alexa {
		limit = s.forCall()
	}
	if err := h.inflate(x, limit); err != nil {
		return err
	}
	body, err := s.body(x, limit)
	if err != nil {
		return err
	}
	return s.deliver(x, t, h, body)
}

// deliver serves a request of a sender, once its body is read.
func (s *Server) deliver(x *exchange, t *table, h *hook, body []byte) error {
	x.source, x.manner = h.source, h.manner()
	r := trigger.Request{Header: x.r.Header, Query: x.r.URL.Query(), Body: body, Time: x.start}
	event, err := h.verify(x.r.Context(), r)
	if err != nil {
		return err
	}
	if event.Warning != "" {
		s.log.Warn("a sender says something that matters", "source", h.source, "what", event.Warning, "request_id", x.id)
	}
	if h.Kind == trigger.Alexa {
		return s.alexa(x, t, h, event, body)
	}
	return s.webhook(x, h, event, body)
}

// stored makes what the queue keeps of a verified request.
func (h *hook) stored(x *exchange, event trigger.Event, function string, body []byte) *queue.Event {
	return &queue.Event{
		Source: h.source, Function: function, Name: event.Name, Form: event.Form,
		ContentType: x.r.Header.Get("Content-Type"), Header: canonical(event.Header),
		DeliveryID: event.Identity, Body: body,
	}
}

// canonical gives the names the form that the queue keeps them in.
func canonical(header map[string]string) map[string]string {
	if len(header) == 0 {
		return nil
	}
	c := make(map[string]string, len(header))
	for name, value := range header {
		c[http.CanonicalHeaderKey(name)] = value
	}
	return c
}

// webhook stores the events of a request whose sender does not wait for a function.
func (s *Server) webhook(x *exchange, h *hook, event trigger.Event, body []byte) error {
	if event.Answer == trigger.AnswerControl {
		if err := s.confirm(x.r.Context(), event); err != nil {
			return err
		}
		x.succeed(http.StatusOK, event, accepted{Status: saidConnected})
		return nil
	}
	events, err := s.events(x, h, event, body)
	if err != nil {
		return err
	}
	if len(events) == 0 {
		x.ignored = nameOf(event)
		x.succeed(http.StatusAccepted, event, accepted{Status: saidIgnored})
		return nil
	}
	receipts, err := s.publish(x, events)
	if err != nil {
		return err
	}
	x.succeed(http.StatusAccepted, event, queuedAs(events, receipts))
	return nil
}

// nameOf is the name of an event, or of the first of its records.
func nameOf(event trigger.Event) string {
	if event.Name == "" && len(event.Records) > 0 {
		return event.Records[0].Name
	}
	return event.Name
}

// confirm tells the sender that somebody is here, where it wants that.
func (s *Server) confirm(ctx context.Context, event trigger.Event) error {
	if event.Confirm == "" {
		return nil
	}
	if _, err := s.fetch(ctx, event.Confirm); err != nil {
		return unfetched(err)
	}
	return nil
}
