package console

import (
	"context"
	"crypto/subtle"
	"net/http"
	"strings"
)

// role is what a visitor may do.
type role string

const (
	roleAdmin role = "admin"     // everything
	roleRead  role = "read-only" // look, and change nothing
)

// visitor is whoever sends a request, once it is known who that is.
type visitor struct {
	role    role
	who     string     // for the log: "session 1f0c8a52", or "token"
	session sessionKey // none for a token
}

// MayChange is false for the read-only role.
func (v visitor) MayChange() bool { return v.role == roleAdmin }

// Role is the name of the role.
func (v visitor) Role() string { return string(v.role) }

// HasSession is false for a client that sends a token with each request.
func (v visitor) HasSession() bool { return v.session != sessionKey{} }

type visitorOf struct{}

// visitorIn returns who sends a request that has passed the gate.
func visitorIn(ctx context.Context) visitor {
	v, _ := ctx.Value(visitorOf{}).(visitor) // else nobody, who may do nothing
	return v
}

const healthPath = "/healthz"

// open reports whether a path is there for everybody.
func open(path string) bool {
	return path == healthPath || path == loginPath || strings.HasPrefix(path, assetsPath)
}

// enter tells who sends a request: by its token, or else by its session.
func (s *Server) enter(r *http.Request) (v visitor, ok bool) {
	if given := r.Header.Get("Authorization"); given != "" {
		scheme, token, _ := strings.Cut(given, " ")
		role, ok := s.roleOf(token)
		return visitor{role: role, who: "token"}, ok && strings.EqualFold(scheme, "Bearer")
	}
	return s.sessions.visit(sessionIn(r), true)
}

// roleOf compares in constant time. An empty token opens nothing.
func (s *Server) roleOf(token string) (role, bool) {
	isAdmin := subtle.ConstantTimeCompare([]byte(token), s.token) == 1
	isRead := subtle.ConstantTimeCompare([]byte(token), s.readToken) == 1
	switch {
	case token == "":
		return "", false
	case isAdmin:
		return roleAdmin, true
	}
	return roleRead, isRead
}

// wantsPage reports whether a person with a browser asks, and not a program.
func wantsPage(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/html") && !strings.HasPrefix(r.URL.Path, "/api/")
}

// turnAway answers a request of which nobody knows who sends it.
func (s *Server) turnAway(w http.ResponseWriter, r *http.Request) {
	if wantsPage(r) && r.Header.Get("Authorization") == "" {
		http.Redirect(w, r, loginFor(r), http.StatusSeeOther)
		return
	}
	w.Header().Set("Www-Authenticate", "Bearer")
	refuse(w, http.StatusUnauthorized, "unauthorized", "send the header Authorization: Bearer with the token of the admin side")
}

// permit reports whether a visitor may send a request, and answers it when not.
func (s *Server) permit(w http.ResponseWriter, r *http.Request, v visitor) bool {
	switch {
	case v.HasSession() && s.crossOrigin.Check(r) != nil:
		s.deny(w, r, "cross_origin", "this request comes from another site: it was not carried out")
	case v.MayChange():
		return true
	case strings.HasPrefix(r.URL.Path, "/debug/"):
		s.deny(w, r, "read_only", "profiles cost time and are for the admin token: you have read-only access")
	case changes(r) && r.URL.Path != logoutPath:
		s.deny(w, r, "read_only", "you have read-only access: changes need the admin token")
	default:
		return true
	}
	if changes(r) {
		s.audit(r, v, http.StatusForbidden)
	}
	return false
}

func (s *Server) deny(w http.ResponseWriter, r *http.Request, code, message string) {
	if wantsPage(r) {
		s.errorPage(w, r, http.StatusForbidden, message)
		return
	}
	refuse(w, http.StatusForbidden, code, message)
}

// guard sets the headers that keep a browser from doing what no page of ours asks for. Pages load nothing from elsewhere
// and have no script or style in them, so what an event carries cannot run even if it were not escaped.
func guard(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "+
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors
	// Not no-referrer: with it browsers send "Origin: null" along with our own forms.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin") // another port of this host is of the same site, and has its cookies
	h.Set("Cache-Control", "no-store")
}
