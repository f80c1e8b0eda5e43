package ingress

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// hook serves a request on the path of a trigger.
func (s *Server) hook(x *exchange, t *table, h *hook) error {
	body, err := s.body(x)
	if err != nil {
		x.source = h.source
		return asSender(h, err)
	}
	return s.deliver(x, t, h, body)
}

// deliver serves a request of a sender, once its body is read.
func (s *Server) deliver(x *exchange, t *table, h *hook, body []byte) error {
	x.source = h.source
	event, err := h.verify(trigger.Request{Header: x.r.Header, Body: body, Time: x.start})
	if err != nil {
		return asSender(h, err)
	}
	if h.Kind == deploy.KindAlexa {
		return s.alexa(x, t, h, event, body)
	}
	return s.webhook(x, h, event, body)
}

// stored makes what the queue keeps of a verified request.
func (h *hook) stored(x *exchange, event trigger.Event, function string, body []byte) *queue.Event {
	return &queue.Event{
		Source: h.source, Function: function,
		ContentType: x.r.Header.Get("Content-Type"), Header: canonical(event.Header),
		DeliveryID: event.DeliveryID, Body: body,
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

// webhook stores an event whose sender does not wait for the function.
func (s *Server) webhook(x *exchange, h *hook, event trigger.Event, body []byte) error {
	switch {
	case event.Answer == trigger.AnswerControl:
		x.answerJSON(http.StatusOK, accepted{Status: "connected"})
		return nil
	case len(h.Events) > 0 && !slices.Contains(h.Events, event.Name):
		x.answerJSON(http.StatusAccepted, accepted{Status: "ignored"})
		return nil
	}
	return s.queued(x, h.stored(x, event, h.Function, body))
}

// alexa serves a verified request of Alexa. From here on the status is 200:
// after any other, Alexa would speak its own text.
func (s *Server) alexa(x *exchange, t *table, h *hook, event trigger.Event, body []byte) error {
	f, err := t.find(h.functionFor(t, event))
	if event.Answer == trigger.AnswerStored {
		if err == nil {
			_, err = s.publish(x, h.stored(x, event, f.Name, body))
			x.fail(err)
		}
		x.answer(http.StatusOK, contentAlexa, alexaSilence)
		return nil
	}
	var reply []byte
	if err == nil {
		e := h.stored(x, event, f.Name, body)
		e.DeliveryID = ""
		reply, err = s.call(x, e, min(cmp.Or(h.Timeout, deploy.DefaultAlexaTimeout), limitOf(f)))
	}
	if err != nil {
		x.fail(err)
		reply = apology(h.Trigger, event)
	}
	x.answer(http.StatusOK, contentAlexa, reply)
	return nil
}

// functionFor chooses the function by the intent, or by the type of a request
// that has none: as the trigger maps it, by its own name, or the trigger's
// function.
func (h *hook) functionFor(t *table, event trigger.Event) string {
	name := cmp.Or(event.Intent, event.Name)
	if f, ok := h.Intents[name]; ok {
		return f
	}
	if _, ok := t.functions[name]; ok {
		return name
	}
	return h.Function
}
