package console

import (
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// bodyTime is how long the body of a request may take to arrive.
const bodyTime = 30 * time.Second

// bounded limits the time for the body of a request, also where nobody reads it: the server does, before it answers. The
// time for the answer is not limited by it.
func (s *Server) bounded(w http.ResponseWriter, r *http.Request) *http.Request {
	if r.Body == nil || r.Body == http.NoBody {
		return r
	}
	control := http.NewResponseController(w)
	if control.SetReadDeadline(time.Now().Add(s.bodyTime)) != nil {
		return r // no connection of a server
	}
	r = r.WithContext(r.Context())
	r.Body = &boundedBody{r.Body, control}
	return r
}

// boundedBody lifts the limit once all has arrived: from then on the server reads to see whether the client goes away.
type boundedBody struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.control.SetReadDeadline(time.Time{}) // it was possible to set one
	}
	return n, err
}

// knowsHost reports whether the browser of somebody who has not signed in may have meant us. A page of somebody else may have its own name lead to our address
// (DNS rebinding), and is of the same origin as we are then. It cannot do so with an address, nor has it a certificate for
// its name that we would serve. Programs send a token, and the page has none.
func (s *Server) knowsHost(r *http.Request) bool {
	if r.TLS != nil || r.Header.Get("Authorization") != "" || r.URL.Path == healthPath {
		return true
	}
	name := strings.ToLower(hostOf(r))
	return name == "localhost" || net.ParseIP(name) != nil || slices.Contains(s.hosts, name)
}

// hostOf is the host that a request is for, without its port.
func hostOf(r *http.Request) string {
	if name, _, err := net.SplitHostPort(r.Host); err == nil {
		return name
	}
	return strings.Trim(r.Host, "[]")
}

// misdirect answers a request for a host that is not known.
func (s *Server) misdirect(w http.ResponseWriter, r *http.Request) {
	refuse(w, http.StatusMisdirectedRequest, "unknown_host",
		"the console is not known as "+hostOf(r)+": use its address, such as http://127.0.0.1:3001, or start the gateway with --admin-host "+hostOf(r))
}
