package ingress

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/funker-dispatch/funker-dispatch/queue"
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
	for _, size := range []int{firstRead - 2, firstRead, 3*firstRead + 7, queue.MaxMessage - 2} {
		body := `"` + strings.Repeat("x", size) + `"`
		for _, r := range []io.Reader{strings.NewReader(body), io.MultiReader(strings.NewReader(body))} {
			g.do("POST", "/functions/Fetch", http.Header{"Authorization": {"Bearer " + token}}, r).want(t, 200, `{ "I am": "Fetch" }`)
			if e := g.event(); string(e.Body) != body {
				t.Errorf("%d bytes arrived as %d others", len(body), len(e.Body))
			}
		}
	}
	body := `"` + strings.Repeat("x", DefaultMaxBody-2) + `"`
	for _, r := range []io.Reader{strings.NewReader(body), io.MultiReader(strings.NewReader(body))} {
		a := g.do("POST", "/functions/Fetch", http.Header{"Authorization": {"Bearer " + token}, "Prefer": {"respond-async"}}, r)
		if e := g.event(); a.StatusCode != 202 || string(e.Body) != body {
			t.Errorf("%d %s: %d bytes arrived as %d others", a.StatusCode, a.body, len(body), len(e.Body))
		}
	}
	if taken := g.server.bytes.taken.Load(); taken != 0 {
		t.Errorf("%d bytes are still held", taken)
	}
}

func TestServer_RefusesCallsThatNoMessageHolds(t *testing.T) {
	g := start(t)
	body := `"` + strings.Repeat("x", queue.MaxMessage-1) + `"`
	for _, r := range []io.Reader{strings.NewReader(body), io.MultiReader(strings.NewReader(body))} {
		a := g.do("POST", "/functions/Fetch", http.Header{"Authorization": {"Bearer " + token}}, r)
		if message := a.refused(t, 413, "body_too_large"); !strings.Contains(message, fmt.Sprint(queue.MaxMessage)) || !strings.Contains(message, "respond-async") {
			t.Errorf("message: %s", message)
		}
	}
	g.alexa(body).refused(t, 400, "body_too_large")
	g.idle()
}

func TestServer_RefusesFromTheHeaderWhatIsAnnouncedTooLarge(t *testing.T) {
	g := start(t)
	c := g.dial(fmt.Sprintf("POST /github/acme HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", DefaultMaxBody+1))
	res, err := http.ReadResponse(bufio.NewReader(c), nil) // no byte of the body was sent
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	message := answer{res.StatusCode, res.Header, string(body)}.refused(t, 413, "body_too_large")
	if !strings.Contains(message, fmt.Sprint(DefaultMaxBody)) || !strings.Contains(message, "--max-body") {
		t.Errorf("message: %s", message)
	}
}

// Proxies send all before they read, and say that it is their last request.
func TestServer_AClientThatSendsAllFirstHearsWhyItIsRefused(t *testing.T) {
	g := start(t, func(o *Options) { o.MaxBody = 1000 })
	size := 16 << 20 // more than the kernel takes for somebody who does not read
	for _, head := range []string{"POST /github/acme HTTP/1.1\r\nHost: x\r\n", "POST /github/acme HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", "POST /github/acme HTTP/1.0\r\n"} {
		c := g.dial(fmt.Sprintf("%sContent-Length: %d\r\n\r\n", head, size))
		if _, err := io.CopyN(c, zeros{}, int64(size)); err != nil {
			t.Errorf("%q: %v", head, err)
			continue
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("%q: %v", head, err)
			continue
		}
		if res.Body.Close(); res.StatusCode != 413 || !res.Close {
			t.Errorf("%q: got %s", head, res.Status)
		}
	}
	g.idle()
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// tight leaves room for one body of 1 MiB.
func tight(o *Options) { o.MaxBody, o.MaxInFlightBytes = 1<<20, 1<<20 }

// sized is a body of so many bytes.
func sized(n int) string { return `"` + strings.Repeat("x", n-2) + `"` }

// async stores a body as an event; in chunks when it has no known length.
func (g *gateway) async(body string, chunked bool) answer {
	var r io.Reader = strings.NewReader(body)
	if chunked {
		r = io.MultiReader(r)
	}
	return g.do("POST", "/functions/Fetch", http.Header{"Authorization": {"Bearer " + token}, "Prefer": {"respond-async"}}, r)
}

func (g *gateway) within(what string, condition func() bool) {
	g.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			g.t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func TestServer_RefusesBytesBeyondItsBudgetAtOnce(t *testing.T) {
	const head = "POST /functions/Fetch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\n"
	for name, send := range map[string]func(*gateway) net.Conn{
		"announced": func(g *gateway) net.Conn { return g.dial(head + "Content-Length: 900000\r\n\r\n") },
		"arrived": func(g *gateway) net.Conn {
			return g.dial(head + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n", 900_000, sized(900_000)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, tight)
			c := send(g)
			g.within("the bytes are held", func() bool { return g.server.bytes.taken.Load() > 800_000 })
			for _, chunked := range []bool{false, true} {
				begin := time.Now()
				a := g.async(sized(500_000), chunked)
				a.refused(t, 503, "busy")
				a.header(t, "Retry-After", "1")
				if d := time.Since(begin); d > 5*time.Second {
					t.Errorf("refused after %s", d)
				}
			}
			g.invoke("Fetch", sized(firstRead)).want(t, 200, `{ "I am": "Fetch" }`) // small ones pass
			g.event()
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			g.within("the bytes are free", func() bool { return g.server.bytes.taken.Load() == 0 })
			if a := g.async(sized(1<<20), true); a.StatusCode != 202 {
				t.Errorf("with room again: got %d %s", a.StatusCode, a.body)
			}
			g.event()
		})
	}
}

func TestServer_HoldsItsBudgetUnderLoad(t *testing.T) {
	g := start(t, tight)
	var stored, busy atomic.Int64
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 10 {
				a := g.async(sized(300_000), i%2 == 0)
				switch a.StatusCode {
				case http.StatusAccepted:
					stored.Add(1)
				case http.StatusServiceUnavailable:
					busy.Add(1)
					a.refused(t, 503, "busy")
					a.header(t, "Retry-After", "1")
				default:
					t.Errorf("got %d %s", a.StatusCode, a.body)
				}
				if taken := g.server.bytes.taken.Load(); taken > 1<<20 {
					t.Errorf("%d bytes are held", taken)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-ran:
		case <-done:
			running = false
		}
	}
	if stored.Load() == 0 || busy.Load() == 0 || stored.Load()+busy.Load() != 160 {
		t.Errorf("%d stored, %d refused", stored.Load(), busy.Load())
	}
	if taken := g.server.bytes.taken.Load(); taken != 0 {
		t.Errorf("%d bytes are still held", taken)
	}
}

func TestServer_Every503SaysWhenToTryAgain(t *testing.T) {
	for code, m := range meanings {
		if m.status == http.StatusServiceUnavailable && m.retry == "" {
			t.Errorf("%s has no Retry-After", code)
		}
	}
	q, err := queue.Open(t.Context(), queue.Options{Dir: t.TempDir(), MaxEvents: 100, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	g := start(t, func(o *Options) { o.Queue = q })
	a := g.push(`{"ref":"x","commits":[]}`)
	a.refused(t, 503, "store_full")
	a.header(t, "Retry-After", "30")
}

func TestServer_WarnsOfWhatItCouldNotDoAndCountsIt(t *testing.T) {
	q, err := queue.Open(t.Context(), queue.Options{Dir: t.TempDir(), MaxEvents: 100, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	registry := prometheus.NewPedanticRegistry()
	g := start(t, func(o *Options) { o.Queue, o.Metrics = q, registry })
	g.push(`{"ref":"x","commits":[]}`).refused(t, 503, "store_full")
	g.push(`{"ref":"y","commits":[]}`).refused(t, 503, "store_full")
	g.do("GET", "/nowhere", nil, nil).refused(t, 404, "not_found")
	g.Close() // waits for the lines
	for series, want := range map[string]float64{"github-acme store_full": 2, "none not_found": 1, "http busy": 0, "github-acme not_found": 0} {
		if got := refusals(t, registry)[series]; got != want {
			t.Errorf("%s: counted %v, want %v", series, got, want)
		}
	}
	for level, want := range map[string]int{"WARN": 2, "INFO": 1} {
		if got := strings.Count(g.log.String(), "level="+level+" msg=request"); got != want {
			t.Errorf("%d requests at %s, want %d:\n%s", got, level, want, g.log)
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
