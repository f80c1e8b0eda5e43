package console

import (
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// hidden are the fields that a form sends along.
func (p page) hidden() url.Values {
	v := url.Values{}
	for _, m := range regexp.MustCompile(`type="hidden" name="(\w+)" value="([^"]*)"`).FindAllStringSubmatch(p.text, -1) {
		v.Set(m[1], html.UnescapeString(m[2]))
	}
	return v
}

func TestDeadPage_GroupsByFunctionAndReason(t *testing.T) {
	t.Parallel()
	a := start(t)
	b := a.signedIn(token)
	b.get("/dead").shows(t, "No dead letters.")
	first, second := a.die(), a.die()
	b.get("/dead").shows(t, "2 events given up", "ByeIntent", "refused", "it broke", `href="/dead/confirm?do=replay&amp;function=ByeIntent&amp;reason=refused"`)
	p := b.get("/dead?function=ByeIntent&reason=refused")
	if got := p.listed(); !slices.Equal(got, []string{second, first}) {
		t.Errorf("got %v", got)
	}
	p.shows(t, "2 dead letters", "That is all.")
	b.get("/dead?function=HelloIntent").shows(t, "There are none any more.")
	for _, query := range []string{"?function=ByeIntent&reason=strange", "?function=ByeIntent&cursor=x", "/confirm?do=burn&function=ByeIntent", "/confirm?do=drop"} {
		if p := b.get("/dead" + query); p.status != 400 {
			t.Errorf("%s: got %d", query, p.status)
		}
	}
	read := a.signedIn(readToken)
	if p := read.get("/dead"); strings.Contains(p.text, "/dead/confirm") {
		t.Error("read-only has buttons")
	}
}

func TestDeadPage_LeadsToOlderOnes(t *testing.T) {
	t.Parallel()
	a := start(t)
	want := a.dieAll(rowsPerPage + 10)
	b := a.signedIn(token)
	p := b.get("/dead?function=ByeIntent")
	m := regexp.MustCompile(`href="([^"]+)" rel="next"`).FindStringSubmatch(p.text)
	if m == nil {
		t.Fatalf("no older ones in %s", p.text)
	}
	got := append(p.listed(), b.get(html.UnescapeString(m[1])).listed()...)
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("got %d, want %d", len(got), len(want))
	}
}

// dieAll makes dead letters, and waits until all are there.
func (a *admin) dieAll(n int) (ids []string) {
	a.t.Helper()
	for range n {
		ids = append(ids, a.publish("ByeIntent"))
	}
	within(a.t, "all are dead", func() bool { return len(a.letters("?limit=1000&function=ByeIntent")) == n })
	return ids
}

func TestBulk_ReplaysWhatWasConfirmedAndNothingThatCameLater(t *testing.T) {
	t.Parallel()
	a := start(t)
	b := a.signedIn(token)
	ids := a.dieAll(5)
	confirm := b.get("/dead/confirm?do=replay&function=ByeIntent&reason=refused")
	confirm.shows(t, "Replay 5 dead letters?", "FUNKER_DEAD/1", "FUNKER_DEAD/5", ids[0], ids[4])
	if err := a.queue.Drop(t.Context(), ids[2]); err != nil {
		t.Fatal(err)
	}
	later := a.publish("ByeIntent")
	within(t, "the later one is dead", func() bool { return slices.Contains(a.letters(""), later) })
	form := confirm.hidden()
	form.Set("to", "HelloIntent")
	p := b.post("/dead/bulk", form)
	if p.status != 303 || p.location != "/dead" {
		t.Fatalf("got %d to %q: %s", p.status, p.location, p.text)
	}
	ran := map[string]bool{}
	for range 4 {
		e := a.event()
		ran[e.ID] = e.Function == "HelloIntent" && e.ReplayOf != ""
	}
	for i, id := range ids {
		if ran[id] != (i != 2) {
			t.Errorf("event %d: ran %v", i, ran[id])
		}
	}
	b.get("/dead").shows(t, "4 of 5 dead letters replayed. 1 had been dealt with meanwhile.", "1 event given up")
	if got := a.letters(""); !slices.Equal(got, []string{later}) {
		t.Errorf("left: %v", got)
	}
	if log := a.log.String(); !strings.Contains(log, "do=replay function=ByeIntent reason=refused to=HelloIntent from_letter=FUNKER_DEAD/1 through_letter=FUNKER_DEAD/5 done=4 failed=0") {
		t.Errorf("log: %s", log)
	}
}

func TestBulk_DropsAGroup(t *testing.T) {
	t.Parallel()
	a := start(t)
	b := a.signedIn(token)
	a.dieAll(3)
	form := b.get("/dead/confirm?do=drop&function=ByeIntent&reason=refused").hidden()
	if p := a.signedIn(readToken).post("/dead/bulk", form); p.status != 403 {
		t.Errorf("read-only: got %d", p.status)
	}
	for _, key := range []string{"from", "through", "until", "count", "do", "function"} {
		part := url.Values{}
		for k, v := range form {
			if k != key {
				part[k] = v
			}
		}
		if p := b.post("/dead/bulk", part); p.status != 400 {
			t.Errorf("without %s: got %d", key, p.status)
		}
	}
	b.post("/dead/bulk", form)
	b.get("/dead").shows(t, "3 of 3 dead letters dropped.", "No dead letters.")
	b.post("/dead/bulk", form)
	b.get("/dead").shows(t, "0 of 3 dead letters dropped. 3 had been dealt with meanwhile.")
	if p := b.get("/dead/confirm?do=drop&function=ByeIntent"); p.status != 303 {
		t.Errorf("nothing to confirm: got %d", p.status)
	}
}

func TestBulk_TellsWhatFailed(t *testing.T) {
	t.Parallel()
	a := start(t)
	b := a.signedIn(token)
	a.dieAll(2)
	form := b.get("/dead/confirm?do=replay&function=ByeIntent&reason=refused").hidden()
	form.Set("to", "nobody")
	b.post("/dead/bulk", form)
	b.get("/dead").shows(t, `class="flash bad"`, "0 of 2 dead letters replayed. 2 failed and are still here:", "unknown function: nobody", "2 events given up")
}

func TestBulk_TellsTheFirstFailuresOneByOne(t *testing.T) {
	t.Parallel()
	a := start(t)
	b := a.signedIn(token)
	a.dieAll(shownFailures + 5)
	form := b.get("/dead/confirm?do=replay&function=ByeIntent").hidden()
	form.Set("to", "nobody")
	b.post("/dead/bulk", form)
	p := b.get("/dead")
	p.shows(t, "25 failed")
	if n := strings.Count(p.text, "unknown function"); n != shownFailures {
		t.Errorf("%d are told", n)
	}
}

func TestBulk_CoversTheNewestWhenThereAreVeryMany(t *testing.T) {
	t.Parallel()
	a := start(t)
	go func() {
		for {
			select {
			case <-a.ran:
			case <-t.Context().Done():
				return
			}
		}
	}()
	for range 7 {
		a.work("ByeIntent")
	}
	batch := make([]*queue.Event, bulkMost+5)
	for i := range batch {
		batch[i] = &queue.Event{Source: "test", Function: "ByeIntent", Body: []byte(`{}`)}
	}
	for part := range slices.Chunk(batch, 500) {
		if _, err := a.queue.PublishAll(t.Context(), part); err != nil {
			t.Fatal(err)
		}
	}
	b := a.signedIn(token)
	withinTime(t, 5*time.Minute, "all are dead", func() bool { // a page each time would take longer than the events
		balance, err := a.queue.Balance(t.Context())
		return err == nil && balance.Dead == int64(len(batch))
	})
	b.get("/dead").shows(t, "1005 events given up")
	confirm := b.get("/dead/confirm?do=drop&function=ByeIntent")
	confirm.shows(t, "Drop 1000 dead letters?", "These are the newest 1000 of 1005.", "FUNKER_DEAD/6", "FUNKER_DEAD/1005")
	b.post("/dead/bulk", confirm.hidden())
	b.get("/dead").shows(t, "1000 of 1000 dead letters dropped.", "5 events given up")
}

func TestForms_AreBounded(t *testing.T) {
	t.Parallel()
	a := start(t)
	id := a.die()
	b := a.signedIn(token)
	large := url.Values{"to": {"HelloIntent"}, "padding": {strings.Repeat("x", maxForm)}}
	for _, path := range []string{"/dead/bulk", "/events/" + id + "/replay"} {
		if p := b.post(path, large); p.status != 400 || !strings.Contains(p.text, "cannot be read") {
			t.Errorf("%s: got %d", path, p.status)
		}
	}
}
