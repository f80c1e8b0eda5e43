package console

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestHost_APageThatHasItsNameLeadHereGetsNothing(t *testing.T) {
	t.Parallel()
	s := newServer(nil)
	ask := func(method, path, host string, header ...string) int {
		r := httptest.NewRequest(method, path, strings.NewReader("token="+url.QueryEscape(token)))
		r.Host = host
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin") // so it is, for the browser
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code
	}
	for _, host := range []string{"evil.example", "evil.example:3001", "127.0.0.1.evil.example:3001", "localhost.evil.example", "", "xexample.com"} {
		for _, path := range []string{"/", "/login", "/nowhere", assetsPath + "console.css"} {
			if got := ask("GET", path, host); got != http.StatusMisdirectedRequest {
				t.Errorf("GET %s at %q: got %d", path, host, got)
			}
		}
		if got := ask("POST", "/login", host, "X-Forwarded-Proto", "https"); got != http.StatusMisdirectedRequest {
			t.Errorf("signing in at %q: got %d", host, got)
		}
		if got := ask("GET", "/nowhere", host, "Authorization", "Bearer "+token); got != http.StatusNotFound {
			t.Errorf("a program with a token at %q: got %d", host, got)
		}
		if got := ask("GET", healthPath, host); got != http.StatusOK {
			t.Errorf("health at %q: got %d", host, got)
		}
	}
	for _, host := range []string{"127.0.0.1:3001", "192.0.2.7", "[::1]:3001", "[::1]", "localhost:9", "LOCALHOST", "Example.com", "example.com:443"} {
		if got := ask("GET", "/login", host); got != http.StatusOK {
			t.Errorf("login page at %q: got %d", host, got)
		}
		if got := ask("POST", "/login", host); got != http.StatusSeeOther {
			t.Errorf("signing in at %q: got %d", host, got)
		}
	}
}

func TestServer_BoundsTheTimeForABody(t *testing.T) {
	t.Parallel()
	s := newServer(nil)
	s.bodyTime = 50 * time.Millisecond
	server := httptest.NewServer(s)
	defer server.Close()
	for _, path := range []string{"/login", "/api/v1/manifest"} { // one reads the body, the other refuses before
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\ntoken=", path)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%s: the connection was held open: %v", path, err)
		}
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: got %s", path, res.Status)
		}
		c.Close()
	}
}

func TestServer_TheTimeForABodyDoesNotBoundTheAnswer(t *testing.T) {
	t.Parallel()
	s := newServer(nil)
	s.bodyTime = 500 * time.Millisecond
	s.mux.HandleFunc("POST /slow", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		select {
		case <-time.After(2 * s.bodyTime):
			fmt.Fprintf(w, "%s %v", body, err)
		case <-r.Context().Done():
			fmt.Fprint(w, "the client was taken for gone")
		}
	})
	server := httptest.NewServer(s)
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), "POST", server.URL+"/slow", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); err != nil || string(got) != "{} <nil>" {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestStream_EndsWithTheSession(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.handler.heartbeat = 10 * time.Millisecond
	b := a.signedIn(token)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", a.URL+"/api/v1/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := b.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	if !lines.Scan() || lines.Text() != ": here" {
		t.Fatalf("got %s %q", res.Status, lines.Text())
	}
	b.post("/logout", nil)
	for lines.Scan() {
	}
	if err := lines.Err(); err != nil {
		t.Errorf("whoever has signed out still reads: %v", err)
	}
}

func TestAudit_AChangeThatBreaksDownIsALineToo(t *testing.T) {
	t.Parallel()
	var log buffer
	s := newServer(nil)
	s.log = slog.New(slog.NewTextHandler(&log, nil))
	s.mux.HandleFunc("POST /broken", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	r := httptest.NewRequest("POST", "/broken", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	func() {
		defer func() { _ = recover() }() // the server does that
		s.ServeHTTP(httptest.NewRecorder(), r)
	}()
	if !strings.Contains(log.String(), `action="POST /broken" status=500`) {
		t.Errorf("log: %s", log.String())
	}
}
