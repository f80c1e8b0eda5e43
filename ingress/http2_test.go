package ingress

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// startTLS serves the same as start does, over TLS.
func startTLS(t *testing.T, change ...func(*Options)) *gateway {
	t.Helper()
	g := start(t, change...)
	g.Close()
	g.Server = httptest.NewUnstartedServer(nil)
	g.Config, g.EnableHTTP2 = g.server.HTTP(), true
	g.StartTLS()
	t.Cleanup(g.Close)
	return g
}

func TestHTTP2_IsSpokenOverTLS(t *testing.T) {
	g := startTLS(t)
	r, err := http.NewRequest("GET", g.URL+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := g.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.ProtoMajor != 2 || res.StatusCode != 200 {
		t.Errorf("got %s %s", res.Proto, res.Status)
	}
	g.invoke("Fetch", "1").want(t, 200, `{ "I am": "Fetch" }`)
	g.event()
	var id string
	if a := g.push(`{"ref":"` + queue.NewID() + `","commits":[]}`); a.StatusCode != 202 {
		t.Errorf("push: got %d %s", a.StatusCode, a.body)
	} else {
		id = a.Header.Get("Funker-Event-Id")
	}
	if e := g.event(); e.ID != id {
		t.Errorf("ran %s, want %s", e.ID, id)
	}
}

// A body that is not read ends its own stream only: others may be on the connection.
func TestHTTP2_ARefusalKeepsTheConnection(t *testing.T) {
	g := startTLS(t, func(o *Options) { o.MaxBody = 1000 })
	large := func() io.Reader { return struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 1<<20))} } // of unknown length
	var reused []bool
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { reused = append(reused, c.Reused) }})
	for range 2 {
		r, err := http.NewRequestWithContext(ctx, "POST", g.URL+"/github/acme", large())
		if err != nil {
			t.Fatal(err)
		}
		res, err := g.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 413 {
			t.Errorf("got %s", res.Status)
		}
	}
	if len(reused) != 2 || reused[0] || !reused[1] {
		t.Errorf("reused: %v", reused)
	}
}

func TestHTTP2_LimitsHold(t *testing.T) {
	g := startTLS(t, func(o *Options) { o.ReadTimeout = 100 * time.Millisecond })
	g.do("GET", "/healthz", http.Header{"X-Large": {strings.Repeat("x", maxHeaderBytes/2)}}, nil).want(t, 200, `{"status":"ok"}`)
	r, err := http.NewRequest("GET", g.URL+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Large", strings.Repeat("x", 2*maxHeaderBytes))
	if res, err := g.Client().Do(r); err == nil {
		res.Body.Close()
		if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("too large a header: got %s", res.Status)
		}
	} else if !strings.Contains(err.Error(), "request header list larger than peer's advertised limit") {
		t.Errorf("too large a header: %v", err)
	}
	body, end := io.Pipe()
	defer end.Close()
	g.do("POST", "/github/acme", nil, body).refused(t, 408, "body_timeout")
}

// settings returns the settings of HTTP/2 (RFC 9113, section 6.5) that the server begins with.
func (g *gateway) settings() map[uint16]uint32 {
	g.t.Helper()
	c := tls.Client(g.dial(""), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if _, err := io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+"\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
		g.t.Fatal(err)
	}
	var header [9]byte
	if _, err := io.ReadFull(c, header[:]); err != nil {
		g.t.Fatal(err)
	}
	payload := make([]byte, int(header[0])<<16|int(header[1])<<8|int(header[2]))
	if _, err := io.ReadFull(c, payload); err != nil || header[3] != 4 {
		g.t.Fatalf("frame of type %d: %v", header[3], err)
	}
	found := map[uint16]uint32{}
	for ; len(payload) >= 6; payload = payload[6:] {
		found[uint16(payload[0])<<8|uint16(payload[1])] = uint32(payload[2])<<24 | uint32(payload[3])<<16 | uint32(payload[4])<<8 | uint32(payload[5])
	}
	return found
}

func TestHTTP2_AConnectionHasSoManyStreams(t *testing.T) {
	const maxConcurrentStreams = 3
	if got := startTLS(t).settings(); got[maxConcurrentStreams] != maxStreams {
		t.Errorf("settings: %v, want %d streams", got, maxStreams)
	}
}

func TestTLS_AHandshakeThatDoesNotEndHoldsNoPlaceAndIsGivenUp(t *testing.T) {
	g := startTLS(t, func(o *Options) { o.MaxInFlight, o.ReadHeaderTimeout = 1, 300*time.Millisecond })
	silent, half := g.dial(""), g.dial("\x16\x03\x01\x00\xc8\x01\x00") // the beginning of a ClientHello
	g.invoke("Fetch", "1").want(t, 200, `{ "I am": "Fetch" }`)
	g.event()
	for name, c := range map[string]net.Conn{"silent": silent, "half": half} {
		if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection is still open", name)
		}
	}
}

func TestTLS_PlainHTTPIsToldSo(t *testing.T) {
	g := startTLS(t)
	c := g.dial("POST /github/acme HTTP/1.1\r\nHost: hooks.example.com\r\nContent-Length: 2\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 400 || !strings.Contains(string(body), "HTTP request to an HTTPS server") {
		t.Errorf("got %s %s, %v", res.Status, body, err)
	}
}

func TestHTTP2_AClientThatGoesIsNoticed(t *testing.T) {
	g := startTLS(t)
	ctx, cancel := context.WithCancel(t.Context())
	body, end := io.Pipe()
	defer end.Close()
	r, err := http.NewRequestWithContext(ctx, "POST", g.URL+"/github/acme", body)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.WriteString(end, "{") // the request is there
		cancel()
	}()
	if res, err := g.Client().Do(r); err == nil {
		res.Body.Close()
		t.Errorf("got %s", res.Status)
	}
	within(t, "the line of the request", func() bool { return strings.Contains(g.log.String(), "path=/github/acme") })
	if log := g.log.String(); !strings.Contains(log, "code=body_incomplete") {
		t.Errorf("log: %s", log)
	}
}
