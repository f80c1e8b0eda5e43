package ingress

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// alexa serves a verified request of Alexa. From here on the status is 200:
// after any other, Alexa would speak its own text.
func (s *Server) alexa(x *exchange, t *table, h *hook, event trigger.Event, body []byte) error {
	if event.Answer == trigger.AnswerStored {
		s.noteAlexa(x, t, h, event, body)
		x.answer(http.StatusOK, contentAlexa, alexaSilence)
		return nil
	}
	ask := func() said { return s.askForAlexa(x, t, h, event, body) }
	if event.Identity == "" {
		x.answer(http.StatusOK, contentAlexa, ask().reply)
		return nil
	}
	a, repeat, ok := s.repeats.first(x.r.Context(), h.repeatKey(event, body), x.start, ask)
	if err := x.r.Context().Err(); err != nil && !ok {
		return err
	}
	if !ok {
		x.fail(refuse(codeInternal, "the first one of these requests broke"))
		a.reply = apology(h.Trigger, event)
	} else if repeat {
		x.repeat(h.source, a)
	}
	x.answer(http.StatusOK, contentAlexa, a.reply)
	return nil
}

// repeatKey tells a repeat from another request: by its id, which Amazon signs.
// Where nothing is signed, anybody can write an old id into a new request, such as
// a sample that was edited, so there the body has to be the same too.
func (h *hook) repeatKey(event trigger.Event, body []byte) string {
	key := h.source + "\x00" + event.Identity
	if h.IDOnly || h.Insecure {
		sum := sha256.Sum256(body)
		key += "\x00" + string(sum[:])
	}
	return key
}

// noteAlexa stores what Alexa only wants to tell.
func (s *Server) noteAlexa(x *exchange, t *table, h *hook, event trigger.Event, body []byte) {
	f, err := s.find(t, s.functionFor(t, h, event))
	if err == nil {
		_, err = s.publish(x, []*queue.Event{h.stored(x, event, f.Name, body)})
		x.fail(err)
	}
}

// askForAlexa runs the function. What it replies, or an apology, is for all that
// send this request, so it does not end with the client that sent it first.
func (s *Server) askForAlexa(x *exchange, t *table, h *hook, event trigger.Event, body []byte) said {
	reply, err := s.replyForAlexa(x, t, h, event, body)
	if err != nil {
		x.fail(err)
		reply = apology(h.Trigger, event)
	}
	return said{reply: reply, code: x.code, event: x.event, function: x.function}
}

func (s *Server) replyForAlexa(x *exchange, t *table, h *hook, event trigger.Event, body []byte) ([]byte, error) {
	f, err := s.find(t, s.functionFor(t, h, event))
	if err != nil {
		return nil, err
	}
	e := h.stored(x, event, f.Name, body)
	e.DeliveryID = ""
	limit := min(cmp.Or(h.Timeout, deploy.DefaultAlexaTimeout), limitOf(f))
	reply, err := s.call(context.WithoutCancel(x.r.Context()), x, e, f, limit)
	if err != nil {
		return nil, err
	}
	if err := checkAlexaReply(event, reply); err != nil {
		x.err = err // nobody else is told
		return nil, err
	}
	if len(reply) > largeAlexaReply {
		s.log.Warn("a reply is larger than Alexa may take", "bytes", len(reply), "function", f.Name, "request_id", x.id)
	}
	return reply, nil
}

// repeat notes that the answer is an earlier one.
func (x *exchange) repeat(source string, a said) {
	x.source, x.function, x.code = source, a.function, a.code
	if a.event != "" {
		x.setEvent(a.event)
	}
	if a.code != "" {
		x.w.Header().Set("Funker-Error", a.code)
	}
	x.w.Header().Set("Funker-Repeat", "true")
}

// Amazon's documents said 24 KB for a response for long, and say 120 KB now.
const (
	largeAlexaReply = 24 << 10
	maxAlexaReply   = 120 << 10
)

// checkAlexaReply says what is wrong with a function's reply: Alexa would say that
// the skill is broken, and nobody here would know.
func checkAlexaReply(event trigger.Event, reply []byte) error {
	if len(reply) > maxAlexaReply {
		return &queue.CallError{Code: queue.CodeReplyTooLarge, Message: fmt.Sprintf("the reply has %d bytes, Alexa takes %d", len(reply), maxAlexaReply)}
	}
	var envelope, response map[string]json.RawMessage
	var version string
	switch {
	case json.Unmarshal(reply, &envelope) != nil:
		return badReply("the reply is no JSON object")
	case json.Unmarshal(envelope["version"], &version) != nil || version == "":
		return badReply(`the reply has no "version", such as "1.0"`)
	case json.Unmarshal(envelope["response"], &response) != nil || response == nil:
		return badReply(`the reply has no object "response"`)
	}
	group, _, _ := strings.Cut(event.Name, ".")
	if group != "AudioPlayer" && group != "PlaybackController" {
		return nil
	}
	for _, key := range []string{"outputSpeech", "card", "reprompt"} {
		if value := string(response[key]); value != "" && value != "null" {
			return badReply(fmt.Sprintf("the reply to %s has %q: it may only have directives", event.Name, key))
		}
	}
	return nil
}

func badReply(message string) error {
	return &queue.CallError{Code: queue.CodeBadReply, Message: message}
}

// functionFor chooses the function by the intent, or by the type of a request
// that has none: as the trigger maps it, by its own name, or the trigger's
// function.
func (s *Server) functionFor(t *table, h *hook, event trigger.Event) string {
	name := cmp.Or(event.Intent, event.Name)
	if f, ok := h.Intents[name]; ok {
		return f
	}
	if _, ok := t.functions[name]; ok || s.found(name) {
		return name
	}
	return h.Function
}
