package ingress

import (
	"maps"
	"net/http"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// cloudEvents serves the path of a trigger for CloudEvents: events, and senders that ask whether they may send them.
func (s *Server) cloudEvents(x *exchange, t *table, h *hook) error {
	if x.r.Method == http.MethodOptions {
		return handshake(x, h)
	}
	x.w.Header().Set("Cache-Control", "private") // the token may be in the URL: RFC 6750, section 2.3
	return s.post(x, "OPTIONS, POST", false, func() error { return s.hook(x, t, h) })
}

// handshake answers everybody, as the protocol demands: no token comes with the question. A refusal looks as if there were
// no handshake.
func handshake(x *exchange, h *hook) error {
	x.source = h.source
	if h.Closed != "" {
		return errClosed
	}
	x.w.Header().Set("Allow", http.MethodPost)
	answer, ok := trigger.Consent(h.Config, x.r.Header)
	if !ok {
		return refuse(codeOrigin, "WebHook-Request-Origin is missing, or is not among the origins of this trigger in the manifest")
	}
	maps.Copy(x.w.Header(), answer)
	x.answerJSON(http.StatusOK, accepted{Status: "granted"})
	return nil
}
