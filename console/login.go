package console

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	loginPath  = "/login"
	logoutPath = "/logout"
)

// Limits of signing in. A token has 128 random bits and cannot be guessed; they keep a flood from filling the log.
const (
	loginsPerAddress = 10      // a minute, and at once
	loginsInAll      = 60      // likewise
	loginAddresses   = 1000    // that are remembered at a time
	maxLogin         = 4 << 10 // bytes of the form
)

// loginFor is the login page that leads back to where a request wanted to go.
func loginFor(r *http.Request) string {
	if changes(r) || r.URL.Path == "/" {
		return loginPath
	}
	return loginPath + "?next=" + url.QueryEscape(r.URL.RequestURI())
}

// safeNext returns where to go after signing in: a page of ours, whatever a link says.
func safeNext(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "//") ||
		strings.ContainsRune(next, '\\') || u.Path == loginPath {
		return "/"
	}
	return (&url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}).String()
}

type loginPage struct {
	Next    string
	Problem string
}

// askLogin serves GET /login.
func (s *Server) askLogin(w http.ResponseWriter, r *http.Request) {
	next := safeNext(r.URL.Query().Get("next"))
	if _, ok := s.sessions.visit(sessionIn(r), true); ok {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	s.render(w, r, http.StatusOK, "login", "Sign in", loginPage{Next: next})
}

// login serves POST /login: a token for a session.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxLogin)
	next := safeNext(r.PostFormValue("next"))
	again := func(status int, problem string) {
		s.render(w, r, status, "login", "Sign in", loginPage{next, problem})
	}
	if s.crossOrigin.Check(r) != nil {
		again(http.StatusForbidden, "The form was sent by another site. Please sign in here.")
		return
	}
	if !s.logins.allow(addressOf(r)) {
		w.Header().Set("Retry-After", "60")
		again(http.StatusTooManyRequests, "Too many attempts to sign in. Please wait a minute.")
		return
	}
	role, ok := s.roleOf(strings.TrimSpace(r.PostFormValue("token")))
	if !ok {
		s.log.Warn("audit", "who", "nobody", "from", r.RemoteAddr, "action", "POST "+loginPath, "status", http.StatusUnauthorized)
		again(http.StatusUnauthorized, "That is no token of this gateway.")
		return
	}
	s.sessions.end(keyIn(r))
	id, v := s.sessions.begin(role)
	s.audit(r, v, http.StatusSeeOther)
	http.SetCookie(w, newCookie(r, id))
	http.Redirect(w, r, next, http.StatusSeeOther)
}

// logout serves POST /logout.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	s.sessions.end(visitorIn(r.Context()).session)
	http.SetCookie(w, newCookie(r, ""))
	http.Redirect(w, r, loginPath, http.StatusSeeOther)
}

// addressOf is where a request comes from; behind a proxy that is the proxy. An IPv6 network counts as one address.
func addressOf(r *http.Request) netip.Prefix {
	host, _, _ := net.SplitHostPort(r.RemoteAddr) // what is no address counts as one
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}
	}
	bits := 64
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		bits = 32
	}
	p, _ := ip.Prefix(bits) // the number of bits fits
	return p
}

// throttle limits how often somebody may try to sign in.
type throttle struct {
	mu      sync.Mutex
	all     *rate.Limiter
	address map[netip.Prefix]*rate.Limiter
}

func newThrottle() *throttle {
	return &throttle{all: perMinute(loginsInAll), address: map[netip.Prefix]*rate.Limiter{}}
}

func perMinute(n int) *rate.Limiter {
	return rate.NewLimiter(rate.Every(time.Minute/time.Duration(n)), n)
}

// allow counts an attempt. An address that is over its limit takes nothing from the others.
func (t *throttle) allow(from netip.Prefix) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	one := t.address[from]
	if one == nil {
		if t.forget(); len(t.address) >= loginAddresses {
			return false
		}
		one = perMinute(loginsPerAddress)
		t.address[from] = one
	}
	return one.Allow() && t.all.Allow()
}

// forget drops the addresses from which nothing came for a minute, once there are many.
func (t *throttle) forget() {
	if len(t.address) < loginAddresses {
		return
	}
	for from, one := range t.address {
		if one.Tokens() >= loginsPerAddress {
			delete(t.address, from)
		}
	}
}
