package console

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// give sends a body with the admin token.
func (a *admin) give(path, body string, v any) response {
	a.t.Helper()
	r, err := http.NewRequestWithContext(a.t.Context(), http.MethodPost, a.URL+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return a.send(r, v)
}

func TestCall_AnswersWithTheReplyAndIsRecorded(t *testing.T) {
	t.Parallel()
	a := start(t)
	var reply any
	res := a.give("/api/v1/functions/HelloIntent/call?timeout=20s", `{"n":1}`, &reply)
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/json" || reply == nil {
		t.Fatalf("got %d %v %v", res.StatusCode, res.Header, reply)
	}
	ran := a.event()
	var record queue.Record
	a.do("GET", res.Header.Get("Location"), &record)
	if record.ID != ran.ID || record.Kind != "call" || record.Source != APISource || string(record.Body) != `{"n":1}` {
		t.Errorf("ran %+v, recorded %+v", ran, record)
	}
	if text := a.log.String(); !strings.Contains(text, `action="POST /api/v1/functions/HelloIntent/call" status=200 event=`+record.ID) {
		t.Errorf("log: %s", text)
	}
}

func TestStoreEvent_AnswersWhenItIsStored(t *testing.T) {
	t.Parallel()
	a := start(t)
	var got stored
	res := a.give("/api/v1/functions/fetch/event", `[1]`, &got)
	if ran := a.event(); res.StatusCode != 202 || ran.ID != got.ID || res.Header.Get("Location") != "/api/v1/events/"+got.ID || ran.Source != APISource || string(ran.Body) != "[1]" {
		t.Errorf("got %d %+v, ran %+v", res.StatusCode, got, ran)
	}
}

func TestCall_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	a := start(t)
	if err := a.queue.AddFunction(t.Context(), "Nobody", queue.Retry{}); err != nil { // which no worker has
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, body string
		status     int
		code       string
	}{
		{"functions/nobody/call", "1", 404, "unknown_function"},
		{"functions/nobody/event", "1", 404, "unknown_function"},
		{"functions/HelloIntent/call", "", 400, "bad_request"},
		{"functions/HelloIntent/event", "{", 400, "bad_request"},
		{"functions/HelloIntent/call?timeout=81s", "1", 400, "bad_query"},
		{"functions/HelloIntent/call?timeout=0s", "1", 400, "bad_query"},
		{"functions/HelloIntent/event?timeout=1s", "1", 400, "bad_query"},
		{"functions/HelloIntent/event", `"` + strings.Repeat("x", maxBody) + `"`, 413, "too_large"},
		{"functions/Nobody/call", "1", 503, queue.CodeNoWorker},
	} {
		var p Problem
		if res := a.give("/api/v1/"+c.path, c.body, &p); res.StatusCode != c.status || p.Code != c.code || p.Detail == "" {
			t.Errorf("%s: got %d %+v, want %d %s", c.path, res.StatusCode, p, c.status, c.code)
		}
	}
	var p Problem
	if res := a.give("/api/v1/functions/ByeIntent/call", "1", &p); res.StatusCode != 502 || p.Code != queue.CodeFunctionFailed {
		t.Errorf("a function that fails: got %d %+v", res.StatusCode, p)
	}
}

// verification begins one, and returns the events of its stream.
func (a *admin) verification(ctx context.Context) (status int, events *bufio.Scanner, end func()) {
	a.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.URL+"/api/v1/verify", nil)
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := a.Client().Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	return res.StatusCode, bufio.NewScanner(res.Body), func() { res.Body.Close() }
}

func TestVerify_ReportsWhatIsStored(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.publish("HelloIntent")
	_, events, end := a.verification(t.Context())
	defer end()
	seen, last := map[string]int{}, ""
	for events.Scan() {
		if name, ok := strings.CutPrefix(events.Text(), "event: "); ok {
			seen[name]++
			last = name
		}
		if data, ok := strings.CutPrefix(events.Text(), "data: "); ok {
			described.checkSchema(t, map[string]string{"progress": "VerifyProgress", "report": "VerifyReport"}[last], data)
			if last == "report" && !strings.Contains(data, `{"name":"FUNKER_EVENTS","messages":1,"unhashed":0,"first_seq":1,"last_seq":1}`) {
				t.Errorf("got %s", data)
			}
		}
	}
	if seen["progress"] == 0 || seen["report"] != 1 || seen["error"] != 0 || last != "report" {
		t.Errorf("got %v", seen)
	}
	within(t, "there is a line of the log", func() bool {
		return strings.Contains(a.log.String(), `action="POST /api/v1/verify" status=200 streams=`)
	})
}

func TestVerify_IsOneAtATime(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.handler.verifying.Lock() // as one that runs does
	a.refused("POST", "/api/v1/verify", 409, "verify_running")
	a.handler.verifying.Unlock()
	status, events, end := a.verification(t.Context())
	defer end()
	for events.Scan() {
	}
	if status != 200 || events.Err() != nil {
		t.Errorf("got %d, %v", status, events.Err())
	}
}

func TestVerify_EndsWhenTheClientGoes(t *testing.T) {
	t.Parallel()
	a := start(t)
	if err := a.queue.AddFunction(t.Context(), "Nobody", queue.Retry{}); err != nil { // which no worker has
		t.Fatal(err)
	}
	many := make([]*queue.Event, 100)
	for range 20 { // so that it takes some time
		for i := range many {
			many[i] = &queue.Event{Source: "s", Function: "Nobody", Body: []byte(`"` + strings.Repeat("x", 1000) + `"`)}
		}
		if _, err := a.queue.PublishAll(t.Context(), many); err != nil {
			t.Fatal(err)
		}
	}
	within(t, "one is cut off before its end", func() bool {
		ctx, leave := context.WithCancel(t.Context())
		status, events, end := a.verification(ctx)
		events.Scan() // it has begun
		leave()
		end()
		within(t, "the next one may begin", func() bool {
			free := a.handler.verifying.TryLock()
			if free {
				a.handler.verifying.Unlock()
			}
			return free
		})
		return status == 200 && strings.Contains(a.log.String(), `ended="the client has gone`)
	})
	if text := a.log.String(); strings.Contains(text, "level=ERROR") {
		t.Errorf("log: %s", text)
	}
}
