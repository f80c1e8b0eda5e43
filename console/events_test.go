package console

import (
	"bytes"
	"fmt"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

var eventLink = regexp.MustCompile(`href="/events/(\w{26})"`)

// listed are the events that a page has links to.
func (p page) listed() (ids []string) {
	for _, m := range eventLink.FindAllStringSubmatch(p.text, -1) {
		ids = append(ids, m[1])
	}
	return ids
}

func TestEventsPage_FindsWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	a := start(t)
	b := a.signedIn(readToken)
	b.get("/events").shows(t, "Nothing is stored yet.")
	first, second := a.publish("HelloIntent"), a.die()
	soon := url.QueryEscape(time.Now().UTC().Add(time.Hour).Format("2006-01-02T15:04"))
	for query, want := range map[string][]string{
		"": {second, first}, "?function=HelloIntent": {first}, "?source=test&state=dead": {second}, "?kind=call": nil, "?since=" + soon: nil,
		"?until=" + soon: {second, first}, "?since=2026-01-01T00:00&until=2026-01-02T00:00:00": nil, "?function=+ByeIntent+&id=": {second},
	} {
		if got := b.get("/events" + query).listed(); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", query, got, want)
		}
	}
	if p := b.get("/events?id=" + strings.ToLower(first)); p.status != 303 || !strings.EqualFold(p.location, "/events/"+first) {
		t.Errorf("by id: got %d to %q", p.status, p.location)
	}
	if p := b.get("/events?id=FUNKER_EVENTS%2F2"); p.status != 303 || p.location != "/events/FUNKER_EVENTS%2F2" {
		t.Errorf("by place: got %d to %q", p.status, p.location)
	}
	within(t, "the attempt is logged", func() bool { return strings.Contains(b.get("/events/FUNKER_EVENTS%2F2").text, "it broke") })
	b.get("/events/FUNKER_EVENTS%2F2").shows(t, second, "refused")
	b.get("/events?state=dead").shows(t, `<option selected>dead</option>`, "it broke")
}

func TestEventsPage_SaysWhatIsWrongWithASearch(t *testing.T) {
	t.Parallel()
	a := start(t)
	b := a.signedIn(token)
	a.publish("HelloIntent")
	for query, want := range map[string]string{
		"?id=01JZZZZZZZZZZZZZZZZZZZZZZZ": "Nothing is stored under 01JZ", "?function=Helo": "unknown function: Helo", "?source=nobody": "unknown source: nobody",
		"?state=strange": "there is no state", "?since=yesterday": "since must be a time", "?kind=x": "kind must be one of", "?cursor=x": "the cursor is none of ours", "?cursor=eHg": "is no end of a page",
	} {
		if p := b.get("/events" + query); p.status != 400 && p.status != 404 || !strings.Contains(html.UnescapeString(p.text), want) {
			t.Errorf("%q: got %d %s", query, p.status, p.text)
		}
	}
	b.get("/events/01JZZZZZZZZZZZZZZZZZZZZZZZ").shows(t, "Nothing is stored under that id")
}

// The events of one request are made in the same millisecond: a page may end in the middle of them.
func TestEventsPage_LeadsToOlderRowsAndLeavesNoneOut(t *testing.T) {
	t.Parallel()
	a := start(t)
	var want []string
	for range 3 {
		batch := make([]*queue.Event, 60)
		for i := range batch {
			batch[i] = &queue.Event{Source: "test", Function: "fetch", Body: []byte(`{}`)}
		}
		receipts, err := a.queue.PublishAll(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range receipts {
			want = append(want, r.ID)
			a.event()
		}
	}
	b := a.signedIn(token)
	var got []string
	next := "/events?function=fetch"
	for pages := 0; next != ""; pages++ {
		p := b.get(next)
		got = append(got, p.listed()...)
		next = ""
		if m := regexp.MustCompile(`href="([^"]+)" rel="next"`).FindStringSubmatch(p.text); m != nil {
			next = html.UnescapeString(m[1])
		}
		if pages > len(want)/rowsPerPage {
			t.Fatalf("there is no end: %s", next)
		}
	}
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("got %d rows, %d different ones, want %d", len(got), len(slices.Compact(got)), len(want))
	}
}

func TestEventPage_TellsTheWholeStory(t *testing.T) {
	t.Parallel()
	a := start(t)
	r, err := a.queue.Publish(t.Context(), &queue.Event{
		Source: "test", Function: "ByeIntent", Name: "push", ContentType: "application/json", Header: map[string]string{"X-Github-Event": "push"}, Body: []byte(`{"a":[1,2]}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	a.event()
	b := a.signedIn(token)
	within(t, "the attempt is logged", func() bool { return strings.Contains(b.get("/events/"+r.ID).text, "it broke") })
	p := b.get("/events/" + r.ID)
	p.shows(t, "X-Github-Event", "function_failed", "attempt 1", "Given up: refused", "FUNKER_DEAD/1", html.EscapeString("{\n  \"a\": [\n    1,"), html.EscapeString(`{"a":[1,2]}`),
		"Drop the dead letter", "ByeIntent (as before)")
	file := b.get("/events/" + r.ID + "/body")
	if file.text != `{"a":[1,2]}` || file.header.Get("Content-Disposition") != `attachment; filename=`+r.ID+`.json` || file.header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("got %s %v", file.text, file.header)
	}
	read := a.signedIn(readToken).get("/events/" + r.ID)
	if strings.Contains(read.text, "/replay") || strings.Contains(read.text, "/drop") {
		t.Errorf("read-only has buttons: %s", read.text)
	}
}

func TestEventPage_ReplaysAndDrops(t *testing.T) {
	t.Parallel()
	a := start(t)
	id := a.die()
	b := a.signedIn(token)
	p := b.post("/events/"+id+"/replay", url.Values{"to": {"HelloIntent"}})
	if e := a.event(); p.status != 303 || p.location != "/events/"+id || e.ID != id || e.Function != "HelloIntent" {
		t.Errorf("got %d to %q, ran %+v", p.status, p.location, e)
	}
	b.get(p.location).shows(t, "is queued for HelloIntent", `class="flash good" role="status"`)
	if p := b.get(p.location); strings.Contains(p.text, "is queued for") {
		t.Error("the message is there twice")
	}
	if p := b.post("/events/"+id+"/replay", url.Values{"to": {"nobody"}}); p.status != 404 || !strings.Contains(p.text, "no function of that name") {
		t.Errorf("to a function that is not there: got %d %s", p.status, p.text)
	}
	other := a.die()
	if p := b.post("/events/"+other+"/drop", nil); p.status != 303 {
		t.Errorf("drop: got %d %s", p.status, p.text)
	}
	b.get("/events/"+other).shows(t, "is dropped", "state-dropped")
	if !strings.Contains(a.log.String(), `/replay" status=303 to=HelloIntent`) || !strings.Contains(a.log.String(), `/drop" status=303`) {
		t.Errorf("log: %s", a.log)
	}
}

func TestShown_IsTextWithinItsLimit(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", maxShown)
	for name, c := range map[string]struct {
		body        string
		pretty, raw string
		cut         bool
	}{
		"JSON":  {`{"a":1}`, "{\n  \"a\": 1\n}", `{"a":1}`, false},
		"text":  {"hello", "", "hello", false},
		"bytes": {"\xff\xfe", "", "", false},
		"long":  {"x" + long, "", "x" + strings.Repeat("ä", maxShown/2-1), true},
		"empty": {"", "", "", false},
	} {
		if pretty, raw, cut := shown([]byte(c.body)); pretty != c.pretty || raw != c.raw || cut != c.cut {
			t.Errorf("%s: got %q, %d bytes, %v", name, pretty, len(raw), cut)
		}
	}
	binary := bytes.Repeat([]byte{0xff}, 2*maxShown)
	if _, raw, cut := shown(binary); raw != "" || !cut {
		t.Errorf("long bytes: got %d, %v", len(raw), cut)
	}
}

// attack breaks out of text, of attributes and of addresses, wherever it is not escaped.
func attack(n int) string { return fmt.Sprintf(`"'><img src=x%d onerror=alert(%d)>`, n, n) }

// hostile stores an event whose every field is an attack, and which fails with one.
func (a *admin) hostile() string {
	a.t.Helper()
	function := `<i onclick=alert(1)>`
	if err := a.queue.AddFunction(a.t.Context(), function, queue.Retry{}); err != nil {
		a.t.Fatal(err)
	}
	a.work(function)
	r, err := a.queue.Publish(a.t.Context(), &queue.Event{
		Source: `<b onclick=alert(2)>`, Function: function, Name: attack(3), Form: attack(4), ContentType: attack(5),
		Header: map[string]string{"X-Evil": attack(6)}, Body: []byte(`{"x":"</pre></script>` + `<img src=x7 onerror=alert(7)>"}`),
	})
	if err != nil {
		a.t.Fatal(err)
	}
	a.event()
	within(a.t, "both attempts are logged", func() bool {
		record, err := a.queue.Get(a.t.Context(), r.ID)
		if err == nil && len(record.Attempts) == 1 && record.State == queue.StateDead {
			if _, err := a.queue.Replay(a.t.Context(), r.ID, ""); err != nil {
				a.t.Fatal(err)
			}
			a.event()
		}
		return err == nil && len(record.Attempts) == 2
	})
	return r.ID
}

func TestPages_EscapeWhateverAnEventCarries(t *testing.T) {
	t.Parallel()
	a := start(t)
	id := a.hostile()
	b := a.signedIn(token)
	for path, texts := range map[string][]string{
		"/events/" + id: {attack(3), attack(4), attack(5), attack(6), attack(8), attack(9), `<i onclick=alert(1)>`, `<b onclick=alert(2)>`, `<img src=x7`},
		"/events":       {attack(3), `<i onclick=alert(1)>`, `<b onclick=alert(2)>`},
		"/events?function=" + url.QueryEscape(attack(10)): {attack(10)},
		"/events?id=" + url.QueryEscape(attack(11)):       {attack(11)},
		"/login?next=" + url.QueryEscape(attack(12)):      nil,
	} {
		p := b.get(path)
		for _, tag := range []string{"<img", "<i ", "<b ", "</pre></script>"} {
			if strings.Contains(p.text, tag) {
				t.Errorf("%s: %s is not escaped", path, tag)
			}
		}
		for _, text := range texts {
			if !strings.Contains(html.UnescapeString(p.text), text) {
				t.Errorf("%s does not show %s", path, text)
			}
		}
	}
}
