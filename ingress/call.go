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
	f, err := t.find(name)
	if err != nil {
		return err
	}
	body, err := s.body(x)
	if err != nil {
		return err
	}
	if err := trigger.CheckJSON(body); err != nil {
		return err
	}
	// The body was just found to be JSON, whatever curl calls it by default.
	e := &queue.Event{Source: sourceHTTP, Function: f.Name, ContentType: contentJSON, Body: body}
	if prefersAsync(x.r.Header["Prefer"]) {
		x.w.Header().Set("Preference-Applied", "respond-async")
		return s.queued(x, e)
	}
	reply, err := s.call(x, e, limitOf(f))
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
// the request's arrival.
func (s *Server) call(x *exchange, e *queue.Event, limit time.Duration) ([]byte, error) {
	e.Deadline = x.start.Add(limit)
	x.take(e)
	return s.queue.Call(x.r.Context(), e)
}

// publish stores the event. Once the body is here the sender may go: what it
// has sent is stored all the same.
func (s *Server) publish(x *exchange, e *queue.Event) (queue.Receipt, error) {
	x.take(e)
	receipt, err := s.queue.Publish(context.WithoutCancel(x.r.Context()), e)
	if err == nil {
		x.setEvent(receipt.ID)
	}
	return receipt, err
}

// queued stores the event and says so.
func (s *Server) queued(x *exchange, e *queue.Event) error {
	receipt, err := s.publish(x, e)
	if err != nil {
		return err
	}
	x.w.Header().Set("Location", "/api/v1/events/"+receipt.ID)
	x.answerJSON(http.StatusAccepted, accepted{ID: receipt.ID, Status: "queued", Duplicate: receipt.Duplicate})
	return nil
}
