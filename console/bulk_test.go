package console

import (
	"net/http"
	"regexp"
	"slices"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

var nextLink = regexp.MustCompile(`^<([^>]+)>; rel="next"$`)

// next is the link of a page, "" for none.
func (r response) next() string {
	m := nextLink.FindStringSubmatch(r.Header.Get("Link"))
	if m == nil {
		return ""
	}
	return m[1]
}

// pages follows the links of a list.
func pages[T any](a *admin, path string, between func()) (all []T) {
	a.t.Helper()
	for path != "" {
		var page []T
		res := a.do("GET", path, &page)
		if res.StatusCode != 200 {
			a.t.Fatalf("%s: got %d", path, res.StatusCode)
		}
		all, path = append(all, page...), res.next()
		between()
	}
	return all
}

func TestLists_AreReadInPagesWhileOthersArrive(t *testing.T) {
	t.Parallel()
	a := start(t)
	var want []string
	for range 5 {
		want = append([]string{a.die()}, want...)
	}
	var events, letters []string
	for _, r := range pages[queue.Record](a, "/api/v1/events?limit=2&source=test", func() { a.die() }) {
		events = append(events, r.ID)
	}
	if len(events) < 5 || !slices.Equal(events[len(events)-5:], want) {
		t.Errorf("got %v, want %v", events, want)
	}
	for _, d := range pages[queue.DeadLetter](a, "/api/v1/dead?limit=2&function=ByeIntent", func() { a.die() }) {
		letters = append(letters, d.ID)
	}
	if len(letters) < 5 || !slices.Equal(letters[len(letters)-5:], want) {
		t.Errorf("got %v, want %v", letters, want)
	}
	a.refused("GET", "/api/v1/events?cursor=%21", 400, "bad_query")
	a.refused("GET", "/api/v1/events?cursor=eA", 400, "bad_query")
	a.refused("GET", "/api/v1/dead?cursor=RlVOS0VSX0VWRU5UUy8x", 400, "bad_query") // FUNKER_EVENTS/1
}

func TestHead_IsAnsweredWhereverGetIs(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.publish("HelloIntent")
	a.publish("HelloIntent")
	for _, path := range []string{"/api/v1/events?limit=1", "/api/v1/events/1", "/api/v1/dead", "/api/v1/stats", "/api/v1/openapi.yaml", "/healthz", "/api/v1/nothing"} {
		var body string
		get := a.do("GET", path, &body)
		if head := a.do("HEAD", path, &body); body != "" || head.StatusCode != get.StatusCode || head.Header.Get("Content-Type") != get.Header.Get("Content-Type") ||
			head.next() != get.next() {
			t.Errorf("%s: got %+v with %q, want %+v", path, head, body, get)
		}
	}
}

// await waits until so many functions have run.
func (a *admin) await(n int) (functions []string) {
	a.t.Helper()
	for range n {
		functions = append(functions, a.event().Function)
	}
	return functions
}

func TestReplayEvents_WorksOnWhatAFilterChooses(t *testing.T) {
	t.Parallel()
	a := start(t)
	for range 5 {
		a.publish("HelloIntent")
	}
	a.die()
	within(t, "all have ended", func() bool {
		b, err := a.queue.Balance(t.Context())
		return err == nil && b.Succeeded == 5 && b.Dead == 1
	})
	var preview BulkPreview
	a.do("POST", "/api/v1/events/replay?since=2026-01-01T00:00:00Z&dry_run=true", &preview)
	if preview.Chosen != 6 || preview.Functions["HelloIntent"] != 5 || preview.Functions["ByeIntent"] != 1 || !preview.DryRun {
		t.Errorf("dry run: %+v", preview)
	}
	done, path := 0, "/api/v1/events/replay?function=HelloIntent&limit=2&rate=0&to=fetch"
	for requests := 0; path != ""; requests++ {
		var report BulkReport
		res := a.do("POST", path, &report)
		done, path = done+report.Done, res.next()
		if got := a.await(report.Done); slices.ContainsFunc(got, func(f string) bool { return f != "fetch" }) || report.Failed != 0 {
			t.Errorf("got %+v, ran %v", report, got)
		}
		a.publish("HelloIntent") // what comes in meanwhile is not meant
	}
	if done != 5 {
		t.Errorf("%d were replayed, want 5", done)
	}
	a.refused("POST", "/api/v1/events/replay", 400, "bad_query")
	a.refused("POST", "/api/v1/events/replay?kind=event&limit=5", 400, "bad_query")
	a.refused("POST", "/api/v1/events/replay?function=HelloIntent&rate=-1", 400, "bad_query")
	a.refused("POST", "/api/v1/events/replay?function=HelloIntent&dry_run=perhaps", 400, "bad_query")
	a.refused("POST", "/api/v1/events/replay?function=HelloIntent&cursor=eA", 400, "bad_query")
	a.refused("POST", "/api/v1/events/replay?function=nobody", 404, "unknown_function")
	a.refused("POST", "/api/v1/events/replay?source=nobody", 404, "unknown_source")
	a.refused("POST", "/api/v1/events/replay?function=HelloIntent&to=nobody", 404, "unknown_function")
}

func TestDeadBulk_ReplaysAndDropsWhatAFilterChooses(t *testing.T) {
	t.Parallel()
	a := start(t)
	for range 5 {
		a.die()
	}
	var preview BulkPreview
	if a.do("POST", "/api/v1/dead/drop?all=true&dry_run=true", &preview); preview.Chosen != 5 || len(a.letters("")) != 5 {
		t.Errorf("dry run: %+v", preview)
	}
	var report BulkReport
	res := a.do("POST", "/api/v1/dead/replay?function=ByeIntent&reason=refused&limit=2", &report)
	if a.await(report.Done); report.Done != 2 || report.Failed != 0 || res.next() == "" {
		t.Errorf("replay: %+v, then %q", report, res.next())
	}
	within(t, "three are left", func() bool { return len(a.letters("")) == 3 })
	if res = a.do("POST", "/api/v1/dead/drop?all=true", &report); report.Done != 3 || res.next() != "" || len(a.letters("")) != 0 {
		t.Errorf("drop: %+v", report)
	}
	a.refused("POST", "/api/v1/dead/replay", 400, "bad_query")
	a.refused("POST", "/api/v1/dead/drop?limit=2&all=false", 400, "bad_query")
	a.refused("POST", "/api/v1/dead/drop?function=nobody", 404, "unknown_function")
	a.refused("POST", "/api/v1/dead/drop?all=true&to=fetch", 400, "bad_query")
}

// A server that stops waits for its requests.
func TestClose_EndsABulkThatSaysHowToGoOn(t *testing.T) {
	t.Parallel()
	a := start(t)
	for range 3 {
		a.publish("HelloIntent")
	}
	within(t, "all have ended", func() bool {
		b, err := a.queue.Balance(t.Context())
		return err == nil && b.Succeeded == 3
	})
	go func() {
		<-a.ran // the first one; the second is due a second later
		a.handler.Close()
	}()
	var report BulkReport
	res := a.do("POST", "/api/v1/events/replay?function=HelloIntent&rate=1", &report)
	if report.Done != 1 || report.Stopped == nil || report.Stopped.Status != http.StatusServiceUnavailable || res.next() == "" {
		t.Errorf("got %+v, then %q", report, res.next())
	}
}
