package ingress

import (
	"cmp"
	"context"
	"crypto/subtle"
	"net/http"
	"strings"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// sourceHTTP is the source of what came through POST /functions/{name}.
const sourceHTTP = "http"

// function serves POST /functions/{name}: the reply of the function, or 202 when
// the caller prefers not to wait.
func (s *Server) function(x *exchange, t *table, name string) error {
	if !s.mayCall(x.r) {
		x.w.Header().Set("Www-Authenticate", "Bearer")
		return refuse(codeUnauthorized, "send the header Authorization: Bearer with the token for functions")
	}
	f, err := s.find(t, name)
	if err != nil {
		return err
	}
	async, limit := prefersAsync(x.r.Header["Prefer"]), s.forCall()
	if async {
		limit = s.forEvent()
	}
	body, err := s.body(x, limit)
	if err != nil {
		return err
	}
	if err := trigger.CheckJSON(body); err != nil {
		return err
	}
	// The body was just found to be JSON, whatever curl calls it by default.
	e := &queue.Event{Source: sourceHTTP, Function: f.Name, ContentType: contentJSON, Body: body}
	if async {
		x.w.Header().Set("Preference-Applied", "respond-async")
		receipts, err := s.publish(x, []*queue.Event{e})
		if err != nil {
			return err
		}
		x.answerJSON(http.StatusAccepted, queuedAs([]*queue.Event{e}, receipts))
		return nil
	}
	reply, err := s.call(x.r.Context(), x, e, f, limitOf(f))
	if err != nil {
		return err
	}
	x.answer(http.StatusOK, contentJSON, reply)
	return nil
}

// mayCall compares in constant time.
func (s *Server) mayCall(r *http.Request) bool {
	if len(s.token) == 0 {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare([]byte(token), s.token) == 1
}

// prefersAsync reads Prefer, RFC 7240: preferences separated by commas, each
// with parameters after semicolons.
func prefersAsync(prefer []string) bool {
	for _, line := range prefer {
		for p := range strings.SplitSeq(line, ",") {
			p, _, _ = strings.Cut(p, ";")
			if strings.EqualFold(strings.TrimSpace(p), "respond-async") {
				return true
			}
		}
	}
	return false
}

func limitOf(f *deploy.Function) time.Duration { return cmp.Or(f.Timeout, deploy.DefaultTimeout) }

// call runs the event's function now and waits for its reply, until limit after
// the request's arrival. A function that is deployed from its image may have no
// task for a moment: its call waits for one.
func (s *Server) call(ctx context.Context, x *exchange, e *queue.Event, f *deploy.Function, limit time.Duration) ([]byte, error) {
	e.Deadline, e.Patient = x.start.Add(limit), f.Image != ""
	e.ID = queue.NewID()
	x.take(e)
	return s.queue.Call(ctx, e)
}

// publish stores events. Once the body is here the sender may go: what it has
// sent is stored all the same.
func (s *Server) publish(x *exchange, events []*queue.Event) ([]queue.Receipt, error) {
	for _, e := range events {
		e.ID = queue.NewID()
	}
	x.take(events[0])
	receipts, err := s.queue.PublishAll(context.WithoutCancel(x.r.Context()), events)
	if err == nil {
		x.setEvent(receipts[0].ID)
		x.w.Header().Set("Location", "/api/v1/events/"+receipts[0].ID)
	}
	return receipts, err
}
