package ingress

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestFunction_RefusesBodiesThatAreNotJSON(t *testing.T) {
	g := start(t)
	for body, code := range map[string]string{
		"": "empty_body", "not JSON": "not_json", "{} {}": "not_json", `{"a":`: "not_json",
		"\"\xff\"": "not_utf8", strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000): "nested_too_deep",
	} {
		g.invoke("Fetch", body).refused(t, 400, code)
	}
	g.idle()
	g.invoke("Fetch", `{"a":1,"a":2}`).want(t, 200, `{ "I am": "Fetch" }`)
	if e := g.event(); string(e.Body) != `{"a":1,"a":2}` {
		t.Errorf("the function got %s", e.Body)
	}
}

func TestServer_RefusesBodiesOverTheLimit(t *testing.T) {
	g := start(t, func(o *Options) { o.MaxBody = 1000 })
	within, over := `"`+strings.Repeat("x", 998)+`"`, `"`+strings.Repeat("x", 999)+`"`
	hidden := func(s string) io.Reader { return io.MultiReader(strings.NewReader(s)) } // of no known length: sent in chunks
	header := http.Header{"Authorization": {"Bearer " + token}}
	for _, body := range []io.Reader{strings.NewReader(within), hidden(within)} {
		g.do("POST", "/functions/Fetch", header, body).want(t, 200, `{ "I am": "Fetch" }`)
		g.event()
	}
	for _, body := range []io.Reader{strings.NewReader(over), hidden(over), hidden(strings.Repeat("x", 1<<20))} {
		message := g.do("POST", "/functions/Fetch", header, body).refused(t, 413, "body_too_large")
		if !strings.Contains(message, "1000 bytes") || !strings.Contains(message, "--max-body") {
			t.Errorf("message: %s", message)
		}
	}
	g.do("POST", "/github/acme", nil, strings.NewReader(over)).refused(t, 413, "body_too_large")
	g.idle()
}

func TestServer_KeepsLargeBodiesWhole(t *testing.T) {
	g := start(t)
	for _, size := range []int{firstRead - 2, firstRead, 3*firstRead + 7, DefaultMaxBody - 2} {
		body := `"` + strings.Repeat("x", size) + `"`
		for _, r := range []io.Reader{strings.NewReader(body), io.MultiReader(strings.NewReader(body))} {
			g.do("POST", "/functions/Fetch", http.Header{"Authorization": {"Bearer " + token}}, r).want(t, 200, `{ "I am": "Fetch" }`)
			if e := g.event(); string(e.Body) != body {
				t.Errorf("%d bytes arrived as %d others", len(body), len(e.Body))
			}
		}
	}
}

// dial sends the start of a request on a connection of its own.
func (g *gateway) dial(start string) net.Conn {
	g.t.Helper()
	c, err := net.Dial("tcp", g.Listener.Addr().String())
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, start); err != nil {
		g.t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		g.t.Fatal(err)
	}
	return c
}

func TestServer_DoesNotWaitForSlowHeaders(t *testing.T) {
	g := start(t, func(o *Options) { o.ReadHeaderTimeout = 50 * time.Millisecond })
	c := g.dial("POST /functions/Fetch HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	if b, err := io.ReadAll(c); err != nil || strings.Contains(string(b), " 200 ") {
		t.Errorf("got %s, %v", b, err)
	}
}

func TestServer_DoesNotWaitForSlowBodies(t *testing.T) {
	g := start(t, func(o *Options) { o.ReadTimeout = 50 * time.Millisecond })
	for _, framing := range []string{"Content-Length: 10\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"} {
		c := g.dial("POST /functions/Fetch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\n" + framing)
		in := bufio.NewReader(c)
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		answer{res.StatusCode, res.Header, string(body)}.refused(t, 408, "body_timeout")
		if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("the connection is still open: %v", err)
		}
	}
	g.idle()
}

func TestServer_RefusesABodyThatEndsEarly(t *testing.T) {
	g := start(t)
	c := g.dial("POST /functions/Fetch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\nContent-Length: 10\r\n\r\n{}")
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		t.Fatalf("connection is a %T", c)
	}
	if err := tcp.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil || !strings.Contains(string(b), "body_incomplete") {
		t.Errorf("got %s, %v", b, err)
	}
	g.idle()
}

func TestServer_RefusesHugeHeaders(t *testing.T) {
	g := start(t)
	r, err := http.NewRequest("GET", g.URL+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Huge", strings.Repeat("x", 2*maxHeaderBytes))
	res, err := g.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("got %d", res.StatusCode)
	}
}
