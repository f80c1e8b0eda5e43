package console

import (
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// edit sends another body for an event through the API.
func (a *admin) edit(id, query, body string, v any) response {
	a.t.Helper()
	r, err := http.NewRequestWithContext(a.t.Context(), "POST", a.URL+"/api/v1/events/"+url.PathEscape(id)+"/edit"+query, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return a.send(r, v)
}

func TestEditAPI_SendsANewEventAndClosesTheDeadLetter(t *testing.T) {
	t.Parallel()
	a := start(t)
	id := a.die()
	var got queue.Replayed
	res := a.edit(id, "?to=HelloIntent", `{"mended":true}`, &got)
	if res.StatusCode != 202 || got.ID == id || !got.Edited || got.To != "HelloIntent" || res.Header.Get("Location") != "/api/v1/events/"+got.ID {
		t.Fatalf("got %d %+v %v", res.StatusCode, got, res.Header)
	}
	if e := a.event(); e.ID != got.ID || string(e.Body) != `{"mended":true}` {
		t.Errorf("ran %+v", e)
	}
	if got := a.letters(""); len(got) != 0 {
		t.Errorf("dead letters %v", got)
	}
	var old, made queue.Record
	a.do("GET", "/api/v1/events/"+id, &old)
	a.do("GET", "/api/v1/events/"+got.ID, &made)
	if old.State != queue.StateReplaced || old.Replaced != got.As || made.ReplayOf != got.From || !made.Edited {
		t.Errorf("got %+v of %+v", made, old)
	}
	if log := a.log.String(); !strings.Contains(log, "to=HelloIntent edited_as="+got.ID) || strings.Contains(log, "mended") {
		t.Errorf("log: %s", log)
	}
}

func TestEditAPI_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	a := start(t)
	id := a.die()
	for _, c := range []struct {
		id, query, body string
		status          int
		code            string
	}{
		{id, "", `{"a":`, 422, "not_json"}, {id, "", "", 422, "not_json"}, {id, "?to=nobody", "{}", 404, "unknown_function"}, {queue.NewID(), "", "{}", 404, "not_found"},
		{id, "?too=x", "{}", 400, "bad_query"}, {id, "", `"` + strings.Repeat("x", maxEdit) + `"`, 413, "too_large"},
	} {
		var p Problem
		if res := a.edit(c.id, c.query, c.body, &p); res.StatusCode != c.status || p.Code != c.code {
			t.Errorf("%s with %.10q: got %d %+v", c.query, c.body, res.StatusCode, p)
		}
	}
	if got := a.letters(""); len(got) != 1 {
		t.Errorf("dead letters %v", got)
	}
	if p := a.signedIn(readToken).post("/events/"+id+"/edit", url.Values{"body": {"{}"}}); p.status != 403 {
		t.Errorf("read-only: got %d", p.status)
	}
}

func TestEditPage_KeepsWhatWasTypedWhenItIsWrong(t *testing.T) {
	t.Parallel()
	a := start(t)
	id := a.die()
	b := a.signedIn(token)
	b.get("/events/"+id).shows(t, `href="/events/`+id+`/edit"`)
	b.get("/events/"+id+"/edit").shows(t, ">\n{}</textarea>", "The dead letter is dealt with")
	p := b.post("/events/"+id+"/edit", url.Values{"body": {"{\"a\":\r\n</textarea>}"}, "to": {"HelloIntent"}})
	if p.status != 422 {
		t.Errorf("got %d", p.status)
	}
	p.shows(t, "Nothing was sent: ", "line 2, column 1", html.EscapeString("</textarea>}"), `<option value="HelloIntent" selected>`, `aria-invalid="true"`)
	p = b.post("/events/"+id+"/edit", url.Values{"body": {`{"a":1}`}, "to": {"HelloIntent"}})
	if e := a.event(); p.status != 303 || p.location != "/events/"+e.ID || string(e.Body) != `{"a":1}` {
		t.Fatalf("got %d to %q, ran %+v", p.status, p.location, e)
	}
	b.get(p.location).shows(t, "This is the new event.", "A person made it of", "/events/FUNKER_EVENTS%2F1")
	b.get("/events/"+id).shows(t, "state-replaced", "/events/FUNKER_EVENTS%2F2")
	if read := a.signedIn(readToken).get("/events/" + id + "/edit"); strings.Contains(read.text, "<textarea") || !strings.Contains(read.text, "read-only access") {
		t.Errorf("read-only has a form: %s", read.text)
	}
}

func TestEditPage_SaysWhatAFormCannotHold(t *testing.T) {
	t.Parallel()
	a := start(t)
	b := a.signedIn(token)
	for body, want := range map[string]string{
		"\xff\xfe": "The body is no text.", "a\x00b": "The body is no text.", strings.Repeat("x", maxShown+1): "a form takes 64.0 KiB at most",
		strings.Repeat("ä", maxShown/2): "</textarea>", "a\r\nb": "line ends that a form does not keep",
	} {
		r, err := a.queue.Publish(t.Context(), &queue.Event{Source: "test", Function: "fetch", Body: []byte(body)})
		if err != nil {
			t.Fatal(err)
		}
		a.event()
		p := b.get("/events/" + r.ID + "/edit")
		p.shows(t, want)
		if want == "</textarea>" { // the largest that is sent: three bytes for each
			if p := b.post("/events/"+r.ID+"/edit", url.Values{"body": {body}, "to": {"fetch"}}); p.status != 303 {
				t.Errorf("the largest: got %d %.200s", p.status, p.text)
			}
			if e := a.event(); string(e.Body) != body {
				t.Errorf("ran %d bytes", len(e.Body))
			}
			continue
		}
		p.shows(t, "events replay --edited", "/body")
	}
	r, err := a.queue.Publish(t.Context(), &queue.Event{Source: "test", Function: "fetch", Body: []byte("{\"n\":\r\n1}")})
	if err != nil {
		t.Fatal(err)
	}
	a.event()
	b.get("/events/"+r.ID+"/edit").shows(t, "</textarea>") // in JSON they mean nothing
	id := a.publish("fetch")
	if p := b.post("/events/"+id+"/edit", url.Values{"body": {strings.Repeat("ä", maxShown)}}); p.status != 400 || !strings.Contains(p.text, "64.0 KiB") {
		t.Errorf("too large: got %d %.200s", p.status, p.text)
	}
}

func TestBrowser_EditsAndReplays(t *testing.T) {
	t.Parallel()
	a := start(t)
	id := a.die()
	s := a.screen(desktopWidth, desktopHeight)
	s.signIn(token)
	s.open("/dead?function=ByeIntent")
	s.press(`a[href="/events/`+id+`"]`, "it broke")
	s.press(`a[href$="/edit"]`, "Edit and replay")
	s.do("write", chromedp.SetValue(chromedp.CSS("#body"), `{"a": oops}`))
	s.press(`form[action$="/edit"] button`, "line 1, column 7")
	s.picture("edit-wrong")
	s.forgive("status of 422") // Chromium tells of every status that is an error
	s.await(`document.activeElement.id === "body" && document.activeElement.value === '{"a": oops}'`)
	s.do("write", chromedp.SetValue(chromedp.CSS("#body"), `{"a": 1}`), chromedp.SetValue(chromedp.CSS("#to"), "HelloIntent"))
	s.press(`form[action$="/edit"] button`, "This is the new event")
	if e := a.event(); string(e.Body) != `{"a": 1}` || e.Function != "HelloIntent" || e.EditOf != "FUNKER_EVENTS/1" {
		t.Errorf("ran %+v", e)
	}
	s.picture("edit-done")
	s.open("/events/" + id)
	s.says("took its place")
	s.picture("edit-original")
	s.open("/dead")
	s.says("No dead letters")
}
