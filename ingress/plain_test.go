package ingress

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// startPlain serves what stands beside the listener with TLS.
func startPlain(t *testing.T, challenge func(http.ResponseWriter, *http.Request) bool) *gateway {
	t.Helper()
	g := start(t)
	g.Close()
	g.Server = httptest.NewUnstartedServer(nil)
	g.Config = g.server.Plain(challenge)
	g.Start()
	g.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(g.Close)
	return g
}

func TestPlain_SendsOnWhoReads(t *testing.T) {
	g := startPlain(t, nil)
	for _, method := range []string{"GET", "HEAD"} {
		a := g.do(method, "/github/acme?q=a%20b", nil, nil)
		if a.StatusCode != 308 || a.Header.Get("Location") != "https://127.0.0.1/github/acme?q=a%20b" {
			t.Errorf("%s: got %d %v", method, a.StatusCode, a.Header)
		}
	}
}

func TestPlain_RefusesWhatWasSentInTheClear(t *testing.T) {
	g := startPlain(t, nil)
	a := g.push(`{"ref":"topsecret","commits":[]}`)
	if message := a.refused(t, 421, "https_required"); !strings.Contains(message, "give the sender https://127.0.0.1/github/acme,") {
		t.Errorf("message: %s", message)
	}
	if a.Header.Get("Location") != "" {
		t.Errorf("it is sent on to %s", a.Header.Get("Location"))
	}
	g.do("POST", "/functions/Fetch", nil, strings.NewReader("1")).refused(t, 421, "https_required")
	g.do("OPTIONS", "/", nil, nil).refused(t, 421, "https_required")
	g.idle()
	if s := g.sender("github-acme", refusedTimes(1)).Samples; s[0].Code != "https_required" || s[0].Path != "/github/acme" {
		t.Errorf("sample: %+v", s[0])
	}
	g.Close()
	if log := g.log.String(); !strings.Contains(log, "status=421") || strings.Contains(log, "topsecret") {
		t.Errorf("log: %s", log)
	}
}

func TestPlain_LeavesChallengesToTheAuthority(t *testing.T) {
	g := startPlain(t, func(w http.ResponseWriter, r *http.Request) bool {
		is := r.URL.Path == "/.well-known/acme-challenge/token"
		if is {
			w.Header().Set("X-Request-Id", "of the challenge")
			fmt.Fprint(w, "key")
		}
		return is
	})
	g.do("GET", "/.well-known/acme-challenge/token", nil, nil).want(t, 200, "key")
	if a := g.do("GET", "/.well-known/acme-challenge/other", nil, nil); a.StatusCode != 308 {
		t.Errorf("another path: got %d", a.StatusCode)
	}
}

func TestHTTPSHost_HasNoPort(t *testing.T) {
	for host, want := range map[string]string{
		"hooks.example.com": "hooks.example.com", "hooks.example.com:8080": "hooks.example.com", "": "",
		"[2001:db8::7]:80": "[2001:db8::7]", "[2001:db8::7]": "[2001:db8::7]", "192.0.2.1:80": "192.0.2.1",
	} {
		if got := httpsHost(host); got != want {
			t.Errorf("%q: got %q, want %q", host, got, want)
		}
	}
}
