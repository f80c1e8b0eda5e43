package console

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// listener reads a stream of server-sent events.
type listener struct {
	t     testing.TB
	lines *bufio.Scanner
	close func()
	last  string // id
}

// message is one event, or a comment that only has an id.
type message struct{ event, data, comment string }

// listen opens the stream; lastID may be "".
func (a *admin) listen(query, lastID string) *listener {
	a.t.Helper()
	res, stop := a.open(query, lastID)
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		a.t.Fatalf("got %d %v", res.StatusCode, res.Header)
	}
	l := &listener{t: a.t, lines: bufio.NewScanner(res.Body), close: stop}
	a.t.Cleanup(stop)
	return l
}

func (a *admin) open(query, lastID string) (*http.Response, func()) {
	a.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, "GET", a.URL+"/api/v1/stream"+query, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	res, err := a.Client().Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	return res, func() { cancel(); res.Body.Close() }
}

// next is false when the stream has ended.
func (l *listener) next() (m message, open bool) {
	for l.lines.Scan() {
		name, value, _ := strings.Cut(l.lines.Text(), ": ")
		switch name {
		case "id":
			l.last = value
		case "event":
			m.event = value
		case "data":
			m.data = value
		case ":", "":
			if l.lines.Text() == "" {
				return m, true
			}
			m.comment = value
		}
	}
	return m, false
}

// attempt is the next one; heartbeats are passed over.
func (l *listener) attempt() (a queue.Attempt) {
	l.t.Helper()
	for {
		m, open := l.next()
		switch {
		case !open:
			l.t.Fatalf("the stream has ended: %v", l.lines.Err())
		case m.event == "attempt":
			if err := json.Unmarshal([]byte(m.data), &a); err != nil {
				l.t.Fatalf("%s: %v", m.data, err)
			}
			described.checkSchema(l.t, "Attempt", m.data)
			return a
		case m.event != "":
			l.t.Fatalf("got %+v", m)
		}
	}
}

func TestStream_HasEveryAttemptAndResumesWhereItWasLeft(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.publish("HelloIntent")
	within(t, "it is logged", func() bool { n, err := a.queue.LogEnd(t.Context()); return err == nil && n == 1 })
	l, bye := a.listen("", ""), a.listen("?function=ByeIntent&source=test", "")
	if m, _ := l.next(); m.comment != "here" || l.last != "1" {
		t.Errorf("the beginning: %+v, id %s", m, l.last)
	}
	first, second := a.publish("HelloIntent"), a.publish("ByeIntent")
	if got := l.attempt(); got.Event != first || got.Outcome != queue.OutcomeOK || l.last != "2" {
		t.Errorf("got %+v, id %s", got, l.last)
	}
	if got := l.attempt(); got.Event != second || got.Error != "it broke" || got.Reason != queue.ReasonRefused || l.last != "3" {
		t.Errorf("got %+v, id %s", got, l.last)
	}
	if got := bye.attempt(); got.Event != second {
		t.Errorf("of ByeIntent: got %+v", got)
	}
	l.close()
	third := a.publish("HelloIntent")
	again := a.listen("", "2")
	for _, id := range []string{second, third} {
		if got := again.attempt(); got.Event != id {
			t.Errorf("resumed: got %+v, want %s", got, id)
		}
	}
	if none := a.listen("", "999"); none.last != "" {
		t.Errorf("id %s", none.last)
	} else if m, _ := none.next(); m.event != "lost" || m.data != "{}" || none.last != "4" {
		t.Errorf("behind the end: got %+v, id %s", m, none.last)
	}
}

func TestReader_IsToldThatLinesAreLost(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	r := reader{w: w, control: http.NewResponseController(w), last: 7, function: "A"}
	for _, n := range []uint64{8, 11, 12} {
		r.take(line{number: n, attempt: queue.Attempt{Function: "B"}})
	}
	if got := w.Body.String(); got != "id: 8\nevent: lost\ndata: {\"lines\":2}\n\n" {
		t.Errorf("got %s", got)
	}
}

func TestStream_SaysThatItLivesAndEndsWithTheServer(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.handler.heartbeat = 10 * time.Millisecond
	l := a.listen("?function=nobody", "")
	a.publish("HelloIntent")
	for l.last != "1" { // that nobody wants a line is no reason to forget it
		if m, open := l.next(); !open || m.comment != "here" {
			t.Fatalf("got %+v", m)
		}
	}
	a.handler.Close()
	for open := true; open; {
		_, open = l.next()
	}
	if err := l.lines.Err(); err != nil {
		t.Errorf("the stream was cut off: %v", err)
	}
}

func TestStream_HasALimitOfReaders(t *testing.T) {
	t.Parallel()
	a := start(t)
	first := a.listen("", "")
	for range maxReaders - 1 {
		a.listen("", "")
	}
	res := a.refused("GET", "/api/v1/stream", 503, "too_many_readers")
	if res.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	first.close()
	within(t, "there is room again", func() bool {
		res, stop := a.open("", "")
		stop()
		return res.StatusCode == 200
	})
	a.refused("GET", "/api/v1/stream?name=x", 400, "bad_query")
	r, err := http.NewRequest("GET", a.URL+"/api/v1/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Last-Event-ID", "-1")
	var p Problem
	within(t, "there is room once more", func() bool { a.send(r, &p); return p.Status != 503 })
	if p.Code != "bad_request" {
		t.Errorf("got %+v", p)
	}
}

// pipes accepts connections without buffers: who does not read holds up the writer at once.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func TestStream_CutsOffAReaderWhoTakesNothing(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.handler.heartbeat, a.handler.patience = time.Millisecond, 50*time.Millisecond
	p := &pipes{conns: make(chan net.Conn, 1), done: make(chan struct{})}
	server := &http.Server{Handler: a.handler}
	served := make(chan error, 1)
	go func() { served <- server.Serve(p) }()
	client, conn := net.Pipe()
	defer client.Close()
	p.conns <- conn
	if _, err := fmt.Fprintf(client, "GET /api/v1/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", token); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReaderSize(client, 16).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 200") {
		t.Fatalf("got %s, %v", line, err)
	}
	if len(a.handler.readers) != 1 {
		t.Error("the stream is not counted")
	}
	within(t, "the reader is cut off", func() bool { return len(a.handler.readers) == 0 })
	server.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}
