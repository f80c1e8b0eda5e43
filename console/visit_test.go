package console

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
)

// browser is a person with a browser: it keeps cookies, asks for pages, and follows no redirect.
type browser struct {
	*admin
	client *http.Client
}

// page is an answer to a browser.
type page struct {
	status   int
	header   http.Header
	location string
	text     string
}

func (a *admin) browser() *browser {
	a.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		a.t.Fatal(err)
	}
	return &browser{a, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// signedIn is a browser with a session.
func (a *admin) signedIn(token string) *browser {
	a.t.Helper()
	b := a.browser()
	if p := b.post("/login", url.Values{"token": {token}}); p.status != http.StatusSeeOther || p.location != "/" {
		a.t.Fatalf("login: got %d to %q", p.status, p.location)
	}
	return b
}

func (b *browser) get(path string) page { return b.visit("GET", path, nil) }

// post sends a form as a page of ours does.
func (b *browser) post(path string, form url.Values, header ...string) page {
	return b.visit("POST", path, form, header...)
}

// visit sends a request with more headers: names and values in turn.
func (b *browser) visit(method, path string, form url.Values, header ...string) page {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return page{res.StatusCode, res.Header, res.Header.Get("Location"), string(text)}
}

// shows fails the test unless a page has all texts.
func (p page) shows(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(p.text, text) {
			t.Errorf("no %q in %d %s", text, p.status, p.text)
		}
	}
}
