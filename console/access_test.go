package console

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

func TestLogin_OpensASessionAndLeadsBack(t *testing.T) {
	t.Parallel()
	a := start(t)
	b := a.browser()
	if p := b.get("/events?function=HelloIntent"); p.status != 303 || p.location != "/login?next=%2Fevents%3Ffunction%3DHelloIntent" {
		t.Errorf("without a session: got %d to %q", p.status, p.location)
	}
	b.get("/login?next=%2Fevents").shows(t, `name="token" type="password"`, `name="next" value="/events"`)
	p := b.post("/login", url.Values{"token": {" " + token + "\n"}, "next": {"/events?function=HelloIntent"}})
	if p.status != 303 || p.location != "/events?function=HelloIntent" {
		t.Errorf("login: got %d to %q", p.status, p.location)
	}
	cookie := p.header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Strict", "Path=/"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("no %s in %s", want, cookie)
		}
	}
	if p := b.get("/"); p.status != 200 || !strings.Contains(p.text, "Sign out") {
		t.Errorf("got %d %s", p.status, p.text)
	}
	if p := b.get("/login"); p.status != 303 || p.location != "/" {
		t.Errorf("login page with a session: got %d to %q", p.status, p.location)
	}
	if p := b.post("/logout", nil); p.status != 303 || p.location != "/login" || !strings.Contains(p.header.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("logout: got %d to %q", p.status, p.location)
	}
	b.client.Jar.SetCookies(mustURL(t, a.URL), []*http.Cookie{{Name: sessionCookie, Value: valueOf(cookie)}})
	if p := b.get("/"); p.status != 303 || p.location != "/login" {
		t.Errorf("with the cookie of a session that has ended: got %d to %q", p.status, p.location)
	}
}

func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// valueOf is the value in a Set-Cookie header.
func valueOf(cookie string) string {
	value, _, _ := strings.Cut(strings.TrimPrefix(cookie, sessionCookie+"="), ";")
	return value
}

func TestLogin_RefusesOtherTokensAndSitesAndGoesNowhereElse(t *testing.T) {
	t.Parallel()
	a := start(t)
	b := a.browser()
	for _, wrong := range []string{"", "nonsense", token[1:], token + "x"} {
		if p := b.post("/login", url.Values{"token": {wrong}}); p.status != 401 || p.header.Get("Set-Cookie") != "" {
			t.Errorf("%q: got %d %s", wrong, p.status, p.header)
		}
	}
	if p := b.post("/login", url.Values{"token": {token}}, "Sec-Fetch-Site", "cross-site"); p.status != 403 || p.header.Get("Set-Cookie") != "" {
		t.Errorf("from another site: got %d", p.status)
	}
	if p := b.post("/login", url.Values{"token": {token}, "padding": {strings.Repeat("x", maxLogin)}}); p.status != 401 {
		t.Errorf("large form: got %d", p.status)
	}
	for _, next := range []string{"https://evil.example", "//evil.example", `/\evil.example`, "javascript:alert(1)", "/login", "events", "/x\n"} {
		if got := safeNext(next); got != "/" {
			t.Errorf("next %q leads to %q", next, got)
		}
	}
}

func TestSession_CookieIsSecureOverTLS(t *testing.T) {
	t.Parallel()
	s := newServer(nil)
	for _, proto := range []string{"", "https"} {
		r := httptest.NewRequest("POST", "/login", strings.NewReader("token="+url.QueryEscape(token)))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("X-Forwarded-Proto", proto)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		cookie := w.Header().Get("Set-Cookie")
		if got := strings.Contains(cookie, "Secure"); w.Code != 303 || got != (proto == "https") || got != strings.HasPrefix(cookie, "__Host-") {
			t.Errorf("%q: got %d %s", proto, w.Code, w.Header())
		}
		next := httptest.NewRequest("GET", "/nowhere", nil)
		next.Header.Set("X-Forwarded-Proto", proto)
		next.Header.Set("Cookie", cookie[:strings.IndexByte(cookie, ';')])
		w = httptest.NewRecorder()
		if s.ServeHTTP(w, next); w.Code != 404 {
			t.Errorf("%q: with the cookie: got %d", proto, w.Code)
		}
	}
}

// newServer is a console without a queue, for what needs none.
func newServer(log *bytes.Buffer) *Server {
	o := Options{Catalog: deploy.NewCatalog(nil), Hosts: []string{"example.com"}, Token: token, ReadToken: readToken, Log: slog.New(slog.DiscardHandler)}
	if log != nil {
		o.Log = slog.New(slog.NewTextHandler(log, nil))
	}
	return New(o)
}

// signIn tries to from an address, and returns the status and the id of the session.
func signIn(s *Server, from, token string) (status int, id string) {
	r := httptest.NewRequest("POST", "/login", strings.NewReader("token="+url.QueryEscape(token)))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.RemoteAddr = from
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, valueOf(w.Header().Get("Set-Cookie"))
}

// has reports whether a session is still open.
func has(s *Server, id string) bool {
	r := httptest.NewRequest("GET", "/nowhere", nil)
	r.AddCookie(&http.Cookie{Name: sessionCookie, Value: id})
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code == http.StatusNotFound
}

func TestSessions_EndWhenIdleAndWhenOld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(nil)
		_, idle := signIn(s, "127.0.0.1:1", token)
		_, busy := signIn(s, "127.0.0.1:1", token)
		for began := time.Now(); time.Since(began) < sessionLife; time.Sleep(sessionIdle / 2) {
			if !has(s, busy) {
				t.Fatalf("the session that is used has ended after %s", time.Since(began))
			}
		}
		time.Sleep(time.Second)
		if has(s, idle) || has(s, busy) {
			t.Error("a session is open after its time")
		}
		_, again := signIn(s, "127.0.0.1:1", token)
		time.Sleep(sessionIdle + time.Second)
		if has(s, again) {
			t.Error("an idle session is open after its time")
		}
	})
}

func TestSessions_AreBoundedInNumber(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(nil)
		ids := make([]string, maxSessions+1)
		for i := range ids {
			time.Sleep(time.Minute / loginsPerAddress) // as often as one may
			var status int
			if status, ids[i] = signIn(s, "127.0.0.1:1", token); status != 303 {
				t.Fatalf("login %d: got %d", i, status)
			}
		}
		if has(s, ids[0]) || !has(s, ids[1]) || !has(s, ids[maxSessions]) || len(s.sessions.all) != maxSessions {
			t.Errorf("%d sessions are open, and not the newest", len(s.sessions.all))
		}
	})
}

func TestLogin_IsLimitedPerAddressAndInAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(nil)
		try := func(from string) int { status, _ := signIn(s, from, "wrong"); return status }
		for i := range loginsPerAddress {
			if got := try("192.0.2.1:9"); got != 401 {
				t.Fatalf("attempt %d: got %d", i, got)
			}
		}
		if status, _ := signIn(s, "192.0.2.1:10", token); status != 429 {
			t.Errorf("beyond the limit of an address, even with the token: got %d", status)
		}
		if got := try("[2001:db8::1]:9"); got != 401 {
			t.Errorf("another address: got %d", got)
		}
		for i := range loginsInAll - loginsPerAddress - 1 {
			if got := try(fmt.Sprintf("198.51.100.%d:9", i)); got != 401 {
				t.Fatalf("address %d: got %d", i, got)
			}
		}
		if got := try("203.0.113.1:9"); got != 429 {
			t.Errorf("beyond the limit for all: got %d", got)
		}
		time.Sleep(time.Minute)
		if status, _ := signIn(s, "192.0.2.1:10", token); status != 303 {
			t.Errorf("a minute later: got %d", status)
		}
	})
}

func TestLogin_RemembersABoundedNumberOfAddresses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(nil)
		for i := range 2 * loginAddresses {
			signIn(s, fmt.Sprintf("[2001:db8:%x::1]:9", i), "wrong")
		}
		if n := len(s.logins.address); n > loginAddresses {
			t.Errorf("%d addresses are remembered", n)
		}
		time.Sleep(time.Minute)
		if status, _ := signIn(s, "192.0.2.1:1", token); status != 303 {
			t.Errorf("a minute later: got %d", status)
		}
	})
}

func TestRoles_ReadOnlyLooksAndChangesNothing(t *testing.T) {
	t.Parallel()
	a := start(t)
	id := a.die()
	withToken := func(method, path string) (int, Problem) {
		r, err := http.NewRequestWithContext(t.Context(), method, a.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+readToken)
		var got Problem
		return a.send(r, &got).StatusCode, got
	}
	if status, _ := withToken("GET", "/api/v1/events/"+id); status != 200 {
		t.Errorf("looking: got %d", status)
	}
	for path, method := range map[string]string{
		"/api/v1/events/" + id + "/replay": "POST", "/api/v1/dead/" + id + "/replay": "POST", "/api/v1/dead/" + id: "DELETE", "/debug/pprof/": "GET",
	} {
		if status, got := withToken(method, path); status != 403 || got.Code != "read_only" || !strings.Contains(got.Detail, "admin token") {
			t.Errorf("%s %s: got %d %+v", method, path, status, got)
		}
	}
	b := a.signedIn(readToken)
	if p := b.get("/"); p.status != 200 || !strings.Contains(p.text, "read-only") {
		t.Errorf("got %d %s", p.status, p.text)
	}
	if p := b.post("/api/v1/events/"+id+"/replay", nil); p.status != 403 || !strings.Contains(p.text, "read-only access") {
		t.Errorf("replay: got %d %s", p.status, p.text)
	}
	if got := a.letters(""); len(got) != 1 {
		t.Errorf("dead letters: %v", got)
	}
	if p := b.post("/logout", nil); p.status != 303 {
		t.Errorf("logout: got %d", p.status)
	}
}

func TestSession_ChangesNothingForAnotherSite(t *testing.T) {
	t.Parallel()
	a := start(t)
	id := a.publish("HelloIntent")
	b := a.signedIn(token)
	for name, header := range map[string][]string{
		"another site":                            {"Sec-Fetch-Site", "cross-site"},
		"another port of this host":               {"Sec-Fetch-Site", "same-site"},
		"an old browser that sends no Fetch-Site": {"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
		"a page without an origin":                {"Sec-Fetch-Site", "", "Origin", "null"},
	} {
		if p := b.post("/api/v1/events/"+id+"/replay", nil, header...); p.status != 403 || !strings.Contains(p.text, "cross_origin") {
			t.Errorf("%s: got %d %s", name, p.status, p.text)
		}
	}
	if p := b.post("/logout", nil, "Sec-Fetch-Site", "cross-site"); p.status != 403 {
		t.Errorf("logout: got %d", p.status)
	}
	if p := b.post("/api/v1/events/"+id+"/replay", nil); p.status != 202 {
		t.Errorf("our own: got %d %s", p.status, p.text)
	}
	a.event()
}

func TestAccess_ProgramsAreAnsweredInJSON(t *testing.T) {
	t.Parallel()
	a := start(t)
	b := a.browser()
	if p := b.get("/api/v1/stats"); p.status != 401 || !strings.Contains(p.text, `"unauthorized"`) {
		t.Errorf("the API in a browser: got %d %s", p.status, p.text)
	}
	if p := b.visit("GET", "/", nil, "Authorization", "Bearer nonsense"); p.status != 401 {
		t.Errorf("a wrong token: got %d", p.status)
	}
	if p := b.visit("GET", "/", nil, "Accept", "*/*"); p.status != 401 {
		t.Errorf("curl: got %d", p.status)
	}
	if p := b.visit("GET", "/", nil, "Authorization", "bearer "+token); p.status != 200 {
		t.Errorf("a page with the token: got %d", p.status)
	}
	a.signedIn(token).get("/nowhere").shows(t, "<html", "There is no such page.")
}

func TestAudit_EveryChangeIsALineWithoutSecrets(t *testing.T) {
	t.Parallel()
	a := start(t)
	id := a.publish("HelloIntent")
	a.do("POST", "/api/v1/events/"+id+"/replay?to=HelloIntent", nil)
	a.event()
	b := a.signedIn(token)
	session := sessionIn(&http.Request{Header: http.Header{"Cookie": {sessionCookie + "=" + b.cookie()}}})
	b.post("/api/v1/events/"+id+"/replay", nil)
	a.event()
	reader := a.signedIn(readToken)
	reader.post("/api/v1/events/"+id+"/replay", nil)
	a.browser().post("/login", url.Values{"token": {"a wrong token"}})
	b.post("/logout", nil)
	log := a.log.String()
	for _, want := range []string{
		`who=token role=admin from=127.0.0.1:`, `action="POST /api/v1/events/` + id + `/replay" status=202 to=HelloIntent`,
		`action="POST /login" status=303`, `role=admin`, `role=read-only`, `/replay" status=403`, `who=nobody`, `action="POST /login" status=401`, `action="POST /logout" status=303`,
		`who="` + sessionName(session) + `"`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("no %s in the log:\n%s", want, log)
		}
	}
	if n := strings.Count(log, "msg=audit"); n != 7 {
		t.Errorf("%d lines, want 7:\n%s", n, log)
	}
	for _, secret := range []string{token, readToken, "a wrong token", session} {
		if strings.Contains(log, secret) {
			t.Errorf("the log has %q", secret)
		}
	}
}

// cookie is the id of the browser's session.
func (b *browser) cookie() string {
	b.t.Helper()
	all := b.client.Jar.Cookies(mustURL(b.t.(*testing.T), b.URL))
	if len(all) != 1 {
		b.t.Fatalf("cookies: %v", all)
	}
	return all[0].Value
}

func sessionName(id string) string {
	return keyIn(&http.Request{Header: http.Header{"Cookie": {sessionCookie + "=" + id}}}).name()
}

func TestPages_HaveTheHeadersThatProtectThem(t *testing.T) {
	t.Parallel()
	a := start(t)
	b := a.signedIn(token)
	for _, path := range []string{"/", "/login", "/nowhere", "/api/v1/stats", "/healthz"} {
		p := b.get(path)
		csp := p.header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "same-origin", "X-Frame-Options": "DENY",
			"Cross-Origin-Resource-Policy": "same-origin"} {
			if got := p.header.Get(name); got != want {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
	}
}
