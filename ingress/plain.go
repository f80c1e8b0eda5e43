package ingress

import (
	"fmt"
	"net"
	"net/http"
	"strings"
)

// Plain returns a server for a listener without TLS, beside one with it: what only
// reads is sent on to HTTPS, on port 443, with 308. What brings something is
// refused with 421 (RFC 9110, section 15.5.20) and counts for its trigger: its body
// has crossed the network in the clear by then, and would do so each time if the
// sender were sent on.
//
// challenge answers for the authority that issues certificates, if a request is
// one of its, and says so; nil: there are none.
func (s *Server) Plain(challenge func(http.ResponseWriter, *http.Request) bool) *http.Server {
	server := s.HTTP()
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if challenge == nil || !challenge(w, r) {
			s.serve(w, r, s.toHTTPS)
		}
	})
	return server
}

func (s *Server) toHTTPS(x *exchange) error {
	if h, ok := s.current().hooks[x.r.URL.Path]; ok {
		x.source = h.source
	}
	host := httpsHost(x.r.Host)
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead || host == "" {
		return unread(x, refuse(codeHTTPS, fmt.Sprintf(
			"this address takes HTTPS only: give the sender https://%s%s, and change its secret, if this request had one in it: it was not encrypted",
			host, x.r.URL.EscapedPath())))
	}
	x.w.Header().Set("Location", "https://"+host+x.r.URL.RequestURI())
	x.answer(http.StatusPermanentRedirect, contentText, []byte("this address takes HTTPS only\n"))
	return nil
}

// httpsHost is the host of a request without its port, which is that of HTTP.
func httpsHost(host string) string {
	name, _, err := net.SplitHostPort(host)
	switch {
	case err != nil:
		return host
	case strings.Contains(name, ":"):
		return "[" + name + "]"
	}
	return name
}
