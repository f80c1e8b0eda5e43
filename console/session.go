package console

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Limits of sessions. They are in memory only: a restart of the gateway ends all.
const (
	sessionIdle = 2 * time.Hour  // without a request; the live view does not count
	sessionLife = 12 * time.Hour // from signing in
	maxSessions = 100            // one more ends the one that was idle for longest
)

// The cookie of a session. Over TLS its name keeps browsers from taking one that another host of the same domain, or the
// same host without TLS, has set (RFC 6265bis, section 4.1.3.2).
const (
	sessionCookie       = "funker_session"
	sessionCookieSecure = "__Host-funker_session"
)

func cookieName(r *http.Request) string {
	if overTLS(r) {
		return sessionCookieSecure
	}
	return sessionCookie
}

// sessionKey is the hash of a session's id: who reads the memory, or measures a lookup, learns no id.
type sessionKey [sha256.Size]byte

// name is what the log calls the session.
func (k sessionKey) name() string { return "session " + hex.EncodeToString(k[:4]) }

type session struct {
	role        role
	began, used time.Time
	flash       *flash // for the next page
}

func (s *session) over(now time.Time) bool {
	return now.Sub(s.used) > sessionIdle || now.Sub(s.began) > sessionLife
}

// flash is what came of a change, told once on the page that follows it.
type flash struct {
	Text    string
	Bad     bool
	Details []string
}

type sessions struct {
	mu  sync.Mutex
	all map[sessionKey]*session
}

// begin makes a session and returns its id, which nobody keeps but the browser.
func (s *sessions) begin(r role) (id string, v visitor) {
	id = rand.Text()
	key, now := sessionKey(sha256.Sum256([]byte(id))), time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.makeRoom(now)
	s.all[key] = &session{role: r, began: now, used: now}
	return id, visitor{role: r, who: key.name(), session: key}
}

func (s *sessions) makeRoom(now time.Time) {
	var oldest sessionKey
	for key, one := range s.all {
		if one.over(now) {
			delete(s.all, key)
		} else if o := s.all[oldest]; o == nil || one.used.Before(o.used) {
			oldest = key
		}
	}
	if len(s.all) >= maxSessions {
		delete(s.all, oldest)
	}
}

// visit tells whose session has an id. With use, it is not idle any more.
func (s *sessions) visit(id string, use bool) (v visitor, ok bool) {
	key, now := sessionKey(sha256.Sum256([]byte(id))), time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[key]
	if one == nil {
		return visitor{}, false
	}
	if one.over(now) {
		delete(s.all, key)
		return visitor{}, false
	}
	if use {
		one.used = now
	}
	return visitor{role: one.role, who: key.name(), session: key}, true
}

func (s *sessions) end(key sessionKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, key)
}

// tell keeps a message for the next page of a session. Clients without one have the status of the answer.
func (s *sessions) tell(key sessionKey, f flash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.all[key]; one != nil {
		one.flash = &f
	}
}

// told returns the message, and forgets it.
func (s *sessions) told(key sessionKey) *flash {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[key]
	if one == nil {
		return nil
	}
	f := one.flash
	one.flash = nil
	return f
}

// sessionIn returns the id that a request carries, "" when there is none.
func sessionIn(r *http.Request) string {
	if c, err := r.Cookie(cookieName(r)); err == nil {
		return c.Value
	}
	return ""
}

// keyIn is the key of a request's session, whether there is such a session or not.
func keyIn(r *http.Request) sessionKey { return sha256.Sum256([]byte(sessionIn(r))) }

// newCookie keeps the id in the browser; no id ends it.
func newCookie(r *http.Request, id string) *http.Cookie {
	c := &http.Cookie{
		Name: cookieName(r), Value: id, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: overTLS(r), MaxAge: int(sessionLife / time.Second),
	}
	if id == "" {
		c.MaxAge = -1
	}
	return c
}

// overTLS reports whether the browser came over HTTPS: to us, or to a proxy that says so. The header proves nothing, but
// whoever lies in it only keeps a cookie of their own from being sent over plain HTTP.
func overTLS(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}
