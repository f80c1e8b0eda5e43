package trigger

import (
	"net/http"
	"slices"
	"strings"
)

// The handshake of "HTTP 1.1 Web Hooks", section 4: before it sends, a sender asks
// with OPTIONS whether it may, so that nobody can point it at somebody who expects
// nothing. It proves nothing about the sender.
const (
	requestOrigin = "WebHook-Request-Origin"
	allowedOrigin = "WebHook-Allowed-Origin"
	allowedRate   = "WebHook-Allowed-Rate"

	maxOrigin = 255 // bytes, as for any name in DNS
)

// Consent returns the headers with which the handshake of a sender of CloudEvents
// is answered, ok if one of cfg.Origins asks; every origin may when there are none.
// All requests per minute are allowed: who sends too many at once gets a 503 with
// Retry-After. The callback that a request may name is for those who cannot answer
// at once, and is not called.
func Consent(cfg Config, request http.Header) (answer http.Header, ok bool) {
	origins := request.Values(requestOrigin)
	if len(origins) != 1 || !IsOrigin(origins[0]) {
		return nil, false
	}
	same := func(o string) bool { return strings.EqualFold(o, origins[0]) }
	if len(cfg.Origins) > 0 && !slices.ContainsFunc(cfg.Origins, same) {
		return nil, false
	}
	answer = http.Header{}
	answer.Set(allowedOrigin, origins[0])
	answer.Set(allowedRate, "*")
	return answer, true
}

// IsOrigin says whether s can be the name in DNS with which a sender of
// CloudEvents names itself.
func IsOrigin(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_."
	return s != "" && len(s) <= maxOrigin && strings.Trim(strings.ToLower(s), letters) == ""
}
