package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/console/browsertest"
	"github.com/funker-dispatch/funker-dispatch/funker"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// attack breaks out of text, attributes, text areas, scripts and titles, wherever it is not escaped. Each has a number.
func attack(n int) string {
	return fmt.Sprintf(`"'></textarea></title></script><script>alert(%d)</script><img src=x%d onerror=alert(%d)>`, n, n, n)
}

// tag is a short one, for names: they have 63 bytes once they are encoded.
func tag(n int) string { return fmt.Sprintf(`<i onclick=alert(%d)>`, n) }

// startHostile runs a function that answers an attack, and fails with another one when it is told so.
func startHostile(t *testing.T) (address string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- funker.Serve(ctx, l, func(_ context.Context, in json.RawMessage) (any, error) {
			if strings.Contains(string(in), "fail") {
				return nil, &funker.Failure{Message: attack(20)}
			}
			return attack(21), nil
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// readable is what a person, or a screen reader, finds on a page; harm are the elements on it that are none of ours.
const (
	readable = `document.title + document.body.innerText + [...document.querySelectorAll("input, textarea, option")].map(e => e.value + e.textContent).join("\n") +
		[...document.querySelectorAll("details")].map(e => e.textContent).join("\n") + [...document.querySelectorAll("[aria-label]")].map(e => e.getAttribute("aria-label")).join("\n")`
	harm = `[...document.querySelectorAll("img, iframe, object, embed, base, main script, main style, [style]"), ...[...document.querySelectorAll("*")].filter(e =>
		[...e.attributes].some(a => a.name.startsWith("on") || /^\s*(javascript|data):/i.test(a.value)))].map(e => e.outerHTML.slice(0, 200)).join("\n")`
)

func TestBrowser_ShowsWhatIsHostileAsText(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "secret", hookSecret)
	function := startHostile(t)
	g := serve(t, dir, write(t, dir, "functions.yaml", fmt.Sprintf(`
functions:
  %q: {addresses: [%q], retry: {attempts: 1}}
triggers:
  - {webhook: hook, path: /hook, insecure: true, event: X-Event, function: %[1]q}
  - {github: acme, secret-file: secret, function: %[1]q}
`, tag(1), function)), "--functions")

	name := url.PathEscape(tag(1))
	body := func(text string) string {
		b, err := json.Marshal(map[string]string{"x": text})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, request := range []struct {
		path, body string
		header     []string
		status     int
	}{
		{"/hook", body("fail " + attack(5)), []string{"X-Event", attack(6), "User-Agent", attack(7)}, 202},
		{"/hook", body("b"), []string{"X-Event", "javascript:alert(10)", "Content-Type", attack(8)}, 415},
		{"/github/acme", body(attack(11)), []string{"X-Hub-Signature-256", attack(12), "X-GitHub-Event", attack(13), "X-GitHub-Delivery", attack(14), "User-Agent", attack(15)}, 401},
		{"/github/acme", body("a"), append(signedBy(t, hookSecret, body("a")), "X-GitHub-Event", attack(16), "X-GitHub-Delivery", attack(17)), 202},
		{"/functions/" + name, body(attack(18)), nil, 200},
		{"/nowhere/" + url.PathEscape(attack(19)), "{}", nil, 404},
	} {
		if status, answer, _ := post(t, g.public+request.path, request.body, request.header...); status != request.status {
			t.Fatalf("%s: got %d %s", request.path, status, answer)
		}
	}
	var records []queue.Record
	within(t, "all has ended", func() bool {
		code, text := g.adminGet(t, "/api/v1/events?limit=100")
		if code != 200 || json.Unmarshal(text, &records) != nil || len(records) != 3 {
			return false
		}
		return !slices.ContainsFunc(records, func(r queue.Record) bool { return len(r.Attempts) == 0 })
	})

	s := browsertest.Start(t, g.admin, browsertest.DesktopWidth, browsertest.DesktopHeight)
	s.Open("/login?next=" + url.QueryEscape("/"+attack(22)))
	s.SignIn(tokenIn(t, filepath.Join(g.data, tokenFile)))
	s.Open("/")
	pages := strings.Fields(browsertest.Ask[string](s, `[...document.querySelectorAll("nav a")].map(a => a.getAttribute("href")).join(" ")`))
	pages = append(pages, "/dead?function="+name, "/dead/confirm?do=replay&function="+name, "/dead/confirm?do=drop&function="+name, "/triggers/none",
		"/events?function="+url.QueryEscape(attack(23)), "/events?id="+url.QueryEscape(attack(24)), "/nowhere/"+url.PathEscape(attack(25)))
	for _, r := range records {
		pages = append(pages, "/events/"+r.ID, "/events/"+r.ID+"/edit", "/triggers/"+url.PathEscape(r.Source))
	}
	all := ""
	for _, page := range pages {
		s.Open(page)
		if found := browsertest.Ask[string](s, harm); found != "" {
			t.Errorf("%s has what none of ours is: %s", page, found)
		}
		all += browsertest.Ask[string](s, readable)
	}
	s.Open("/")
	s.Await(`document.querySelector("#live-state.on") !== null`) // the script has replaced what is live
	if found := browsertest.Ask[string](s, harm); found != "" {
		t.Errorf("the live overview has what none of ours is: %s", found)
	}
	s.Forgive("status of 400")
	s.Forgive("status of 404")
	for _, n := range []int{1, 5, 6, 8, 13, 16, 18, 20, 21, 23, 24} {
		if !strings.Contains(all, fmt.Sprintf("alert(%d)", n)) {
			t.Errorf("attack %d is on no page: it was not tried", n)
		}
	}
}
