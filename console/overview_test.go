package console

import (
	"bufio"
	"context"
	"html"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

func TestOverview_SaysWhatNeedsAPersonFirst(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.serve("HelloIntent", "ByeIntent", "fetch")
	b := a.signedIn(readToken)
	b.get("/").shows(t, "Nothing. Every function is served", "Nothing is lost", "The sum is right")
	a.senders = []sender{
		{Source: "github-acme", Path: "/github/acme", Verified: "secret", Refused: map[string]uint64{"forged": 12, "unsigned": 1}},
		{Source: "hook", Path: "/hook", Verified: "INSECURE"}, {Source: "gone", Path: "/gone", Problem: "its secret file is missing"},
	}
	a.catalog.Set(&deploy.Manifest{Partial: true})
	if err := a.queue.AddFunction(t.Context(), "lonely", queue.Retry{}); err != nil {
		t.Fatal(err)
	}
	if err := a.queue.AddFunction(t.Context(), "resting", queue.Retry{}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.queue.Publish(t.Context(), &queue.Event{Source: "test", Function: "lonely", Body: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
	a.publish("HelloIntent")
	a.die()
	var p page
	within(t, "all of it is known", func() bool {
		p = b.get("/")
		return strings.Contains(p.text, "1 dead letter of ByeIntent: 1 refused") && strings.Contains(p.text, "1 of 4") && strings.Contains(p.text, "100 %")
	})
	p.shows(t, "No worker serves lonely: 1 event waiting, the oldest for 0 s", "No worker serves resting; nothing waits for one", "The stored manifest has a fault",
		"Requests of github-acme were refused since the gateway started: 12 forged, 1 unsigned", `href="/triggers/github-acme"`,
		"INSECURE: nothing verifies what comes to /hook (hook)", "The trigger gone is closed: its secret file is missing",
		"3 events accepted, 0 replays asked for.", "<polyline")
	if strings.Index(p.text, "1 dead letter of") > strings.Index(p.text, "INSECURE") {
		t.Error("what is grave does not come first")
	}
}

func TestTriggers_AreShownWithWhatWasRefused(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.senders = []sender{{
		Source: "github-acme", Path: "/github/acme", Verified: "secret", LastEvent: queue.NewID(), Last: time.Now(), Refused: map[string]uint64{"forged": 1},
		Samples: []refusedRequest{{Code: "forged", Status: 401, Message: attack(1), Headers: []headerLine{{"User-Agent", attack(2)}}}},
	}, {Source: "http"}}
	b := a.signedIn(readToken)
	list := b.get("/triggers")
	list.shows(t, "/github/acme", "1 forged", `href="/triggers/github-acme"`)
	if strings.Contains(list.text, "/triggers/http") {
		t.Error("what nobody has called is listed")
	}
	p := b.get("/triggers/github-acme")
	p.shows(t, "401 forged", html.EscapeString(attack(1)), html.EscapeString(attack(2)), "/events/"+a.senders[0].LastEvent)
	if p := b.get("/triggers/nobody"); p.status != 404 {
		t.Errorf("got %d", p.status)
	}
}

func TestPercent_IsOnlyWholeWhenAllSucceeded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		part, of int
		want     string
	}{{0, 3, "0 %"}, {3, 3, "100 %"}, {9999, 10000, "99.9 %"}, {2, 3, "66.7 %"}, {1, 2, "50 %"}} {
		if got := percent(c.part, c.of); got != c.want {
			t.Errorf("%d of %d: got %s", c.part, c.of, got)
		}
	}
}

// watch reads the live view until it ends, and gives what it shows.
func (b *browser) watch(ctx context.Context) (pictures chan string, status int) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.URL+"/live", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	res, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	pictures = make(chan string, 100)
	go func() {
		defer close(pictures)
		defer res.Body.Close()
		var picture strings.Builder
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			if lines.Text() == "" {
				pictures <- picture.String()
				picture.Reset()
			}
			picture.WriteString(strings.TrimPrefix(lines.Text(), "data: ") + "\n")
		}
	}()
	return pictures, res.StatusCode
}

func next(t *testing.T, pictures chan string) (picture string, more bool) {
	t.Helper()
	select {
	case picture, more = <-pictures:
		return picture, more
	case <-time.After(10 * time.Second):
		t.Fatal("nothing comes")
		return "", false
	}
}

func TestLive_ShowsChangesToAllViewersAndEndsWithTheSession(t *testing.T) {
	t.Parallel()
	a := start(t)
	one, other := a.signedIn(token), a.signedIn(readToken)
	if p := one.visit("HEAD", "/live", nil); p.status != 200 {
		t.Errorf("HEAD: got %d", p.status)
	}
	first, _ := one.watch(t.Context())
	second, _ := other.watch(t.Context())
	for _, pictures := range []chan string{first, second} {
		if p, _ := next(t, pictures); !strings.Contains(p, "Needs attention") || strings.Contains(p, "dead letter") {
			t.Errorf("got %s", p)
		}
	}
	a.die()
	for _, pictures := range []chan string{first, second} {
		for {
			p, more := next(t, pictures)
			if !more {
				t.Fatal("the view has ended")
			}
			if strings.Contains(p, "1 dead letter of ByeIntent") {
				break
			}
		}
	}
	one.post("/logout", nil)
	for more := true; more; {
		_, more = next(t, first)
	}
	if _, more := next(t, second); !more {
		t.Error("the view of another session has ended")
	}
	a.handler.Close()
	for more := true; more; {
		_, more = next(t, second)
	}
	if _, status := other.watch(t.Context()); status != 503 {
		t.Errorf("after the end: got %d", status)
	}
}

func TestLive_IsBoundedAndRestsWithoutViewers(t *testing.T) {
	t.Parallel()
	a := start(t)
	b := a.signedIn(token)
	ctx, leave := context.WithCancel(t.Context())
	for range liveMost {
		if pictures, status := b.watch(ctx); status != 200 {
			t.Fatalf("got %d", status)
		} else if _, more := next(t, pictures); !more {
			t.Fatal("nothing is shown")
		}
	}
	if _, status := b.watch(ctx); status != 503 {
		t.Errorf("one more: got %d", status)
	}
	leave()
	within(t, "it rests", func() bool {
		a.handler.ticker.mu.Lock()
		defer a.handler.ticker.mu.Unlock()
		return len(a.handler.ticker.viewers) == 0 && a.handler.ticker.last == nil
	})
	a.handler.ticker.running.Wait()
	pictures, status := b.watch(t.Context())
	if _, more := next(t, pictures); status != 200 || !more {
		t.Errorf("a viewer who comes later: got %d", status)
	}
}
