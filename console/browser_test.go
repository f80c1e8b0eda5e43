package console

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/funker-dispatch/funker-dispatch/console/browsertest"
)

// screen is a tab of a real browser on an admin side.
type screen struct {
	*admin
	*browsertest.Screen
}

const (
	phoneWidth, phoneHeight     = browsertest.PhoneWidth, browsertest.PhoneHeight
	desktopWidth, desktopHeight = browsertest.DesktopWidth, browsertest.DesktopHeight
)

func (a *admin) screen(width, height int64) *screen {
	a.t.Helper()
	return &screen{a, browsertest.Start(a.t, a.URL, width, height)}
}

func (s *screen) open(path string)             { s.t.Helper(); s.Open(path) }
func (s *screen) signIn(token string)          { s.t.Helper(); s.SignIn(token) }
func (s *screen) press(selector, until string) { s.t.Helper(); s.Press(selector, until) }
func (s *screen) says(text string)             { s.t.Helper(); s.Says(text) }
func (s *screen) await(expression string)      { s.t.Helper(); s.Await(expression) }
func (s *screen) picture(name string)          { s.t.Helper(); s.Picture(name) }
func (s *screen) fits(name string)             { s.t.Helper(); s.Fits(name) }
func (s *screen) forgive(text string)          { s.Forgive(text) }
func (s *screen) dark()                        { s.t.Helper(); s.Scheme("dark") }

func (s *screen) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	s.t.Helper()
	s.Do(what, actions...)
}

func asks[T any](s *screen, expression string) T {
	s.t.Helper()
	return browsertest.Ask[T](s.Screen, expression)
}

func TestBrowser_SignsInSearchesAndReplays(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.publish("HelloIntent")
	id := a.die()
	within(t, "the attempt is logged", func() bool {
		r, err := a.queue.Get(t.Context(), id)
		return err == nil && len(r.Attempts) == 1
	})
	s := a.screen(desktopWidth, desktopHeight)
	s.open("/events?state=dead")
	s.picture("login")
	s.Leave("sign in", chromedp.SendKeys(chromedp.CSS("#token"), token+kb.Enter))
	s.says("The newest come first.")
	s.Leave("search", chromedp.SetValue(chromedp.CSS("#state"), ""), chromedp.SendKeys(chromedp.CSS("#function"), "ByeIntent"+kb.Enter))
	s.await(`location.search.includes("function=ByeIntent") && document.querySelectorAll("tbody tr").length === 1`)
	s.picture("events-search")
	s.press(`a[href="/events/`+id+`"]`, "it broke")
	s.picture("event-dead")
	s.press(`form[action$="/replay"] button`, "is queued for ByeIntent")
	if e := a.event(); e.ID != id || e.ReplayOf == "" {
		t.Errorf("ran %+v", e)
	}
	within(t, "the replay is shown", func() bool {
		s.open("/events/" + id)
		return asks[bool](s, `document.body.innerText.includes("replay of FUNKER_EVENTS/2")`)
	})
	s.picture("event-replayed")
	s.press("form[action='/logout'] button", "Sign in")
}

func TestBrowser_ReplaysAGroupOfDeadLetters(t *testing.T) {
	t.Parallel()
	a := start(t)
	ids := a.dieAll(12)
	s := a.screen(desktopWidth, desktopHeight)
	s.signIn(token)
	s.open("/dead")
	s.picture("dead")
	s.press("tbody tr a[href*='do=replay']", "Replay 12 dead letters?")
	s.picture("dead-confirm")
	s.press("form button.main", "12 of 12 dead letters replayed.")
	s.picture("dead-done")
	for range ids {
		a.event()
	}
	if got := a.letters(""); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

func TestBrowser_OverviewIsLive(t *testing.T) {
	t.Parallel()
	a := start(t)
	s := a.screen(desktopWidth, desktopHeight)
	s.signIn(readToken)
	s.do("live", chromedp.WaitVisible(chromedp.CSS("#live-state.on")))
	asks[chromedp.Void](s, `(window.held = true, document.querySelector('a[href="/events?function=ByeIntent"]').focus())`)
	a.die()
	s.says("1 dead letter of ByeIntent: 1 refused")
	if !asks[bool](s, `window.held && document.activeElement.getAttribute("href") === "/events?function=ByeIntent"`) {
		t.Error("the page was loaded anew, or the focus is lost")
	}
	s.picture("overview")
	a.handler.Close()
	s.do("it says that it is not live", chromedp.WaitVisible(chromedp.CSS("#live-state.off")))
	s.forgive("/live") // it could not be loaded again
}

// busy fills an admin side with what a page may have to show.
func busy(t *testing.T) (a *admin, id string) {
	t.Helper()
	a = start(t)
	a.senders = []sender{{Source: "github-acme", Path: "/github/acme", Verified: "secret", Accepted: 17, Last: time.Now(), Refused: map[string]uint64{"forged": 12, "unsigned": 1}, Samples: []refusedRequest{{
		Time: time.Now(), Code: "forged", Status: 401, Method: "POST", Path: "/github/acme", Remote: "172.18.0.4:53676", ContentType: attack(20), BodyBytes: 7421,
		RequestID: "01M899V8TSAEBHY5T3J2EJA7WW", Message: "the signature does not fit the body: check the secret on both sides", Headers: []headerLine{{attack(21), attack(22)}},
	}}}, {Source: "hook", Path: "/hook", Verified: "INSECURE"}}
	a.serve("HelloIntent", "ByeIntent")
	for range 3 {
		a.publish("HelloIntent")
	}
	a.dieAll(2)
	return a, a.hostile()
}

func TestBrowser_NothingScrollsSidewaysOnAPhone(t *testing.T) {
	t.Parallel()
	a, id := busy(t)
	s := a.screen(phoneWidth, phoneHeight)
	s.open("/login")
	s.fits("login")
	s.signIn(token)
	for name, path := range map[string]string{
		"overview": "/", "events": "/events", "event": "/events/" + id, "dead": "/dead", "triggers": "/triggers", "trigger": "/triggers/github-acme", "group": "/dead?function=ByeIntent",
		"confirm": "/dead/confirm?do=drop&function=ByeIntent", "functions": "/functions", "function": "/functions/HelloIntent", "logs": "/functions/HelloIntent/logs", "manifest": "/manifest",
	} {
		s.open(path)
		s.fits(name)
	}
}

// contrast returns the texts that are hard to read, by WCAG 2.2 AA.
const contrast = `(() => {
  const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const numbers = (c) => c.match(/[\d.]+/g).map(Number);
  const behind = (e) => { for (; e; e = e.parentElement) { const c = numbers(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] > 0) return c; } return [255, 255, 255]; };
  const bad = [];
  for (const e of document.querySelectorAll("body *")) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || !e.offsetHeight) continue;
    const a = light(numbers(getComputedStyle(e).color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push(ratio.toFixed(2) + " " + e.outerHTML.slice(0, 100));
  }
  return bad.join("\n");
})()`

func TestBrowser_LightAndDarkCanBeRead(t *testing.T) {
	t.Parallel()
	a, id := busy(t)
	s := a.screen(desktopWidth, desktopHeight)
	s.signIn(token)
	for _, scheme := range []string{"light", "dark"} {
		if scheme == "dark" {
			s.dark()
		}
		for name, path := range map[string]string{"overview": "/", "events": "/events", "event": "/events/" + id, "dead": "/dead", "triggers": "/triggers", "trigger": "/triggers/github-acme"} {
			s.open(path)
			if bad := asks[string](s, contrast); bad != "" {
				t.Errorf("%s, %s:\n%s", name, scheme, bad)
			}
			s.picture(scheme + "-" + name)
		}
		if got := asks[string](s, `getComputedStyle(document.body).backgroundColor`); strings.HasPrefix(got, "rgb(2") != (scheme == "light") {
			t.Errorf("%s: the background is %s", scheme, got)
		}
	}
}

func TestBrowser_WorksWithTheKeyboardAlone(t *testing.T) {
	t.Parallel()
	a := start(t)
	id := a.die()
	s := a.screen(desktopWidth, desktopHeight)
	s.open("/")
	s.await(`document.activeElement.id === "token"`)
	s.do("type", chromedp.KeyEvent(token+kb.Enter))
	s.says("Needs attention")
	s.do("first tab", chromedp.KeyEvent(kb.Tab))
	if got := asks[string](s, `document.activeElement.className + " " + (document.activeElement.getBoundingClientRect().left >= 0)`); got != "skip true" {
		t.Errorf("the first tab leads to %q", got)
	}
	s.do("skip", chromedp.KeyEvent(kb.Enter))
	s.await(`document.activeElement.id === "main"`)
	s.tabTo(`[href="/dead?function=ByeIntent"]`)
	if got := asks[string](s, `getComputedStyle(document.activeElement).outlineStyle`); got != "solid" {
		t.Errorf("the focus is not to be seen: %s", got)
	}
	s.do("go", chromedp.KeyEvent(kb.Enter))
	s.says("1 dead letter")
	s.tabTo(`[href="/events/` + id + `"]`)
	s.do("go", chromedp.KeyEvent(kb.Enter))
	s.says("Run again")
	s.tabTo(`#to`)
	s.do("choose", chromedp.KeyEvent("H"))
	s.tabTo(`form[action$="/replay"] button`)
	s.do("replay", chromedp.KeyEvent(kb.Enter))
	s.says("is queued for HelloIntent")
	if e := a.event(); e.Function != "HelloIntent" {
		t.Errorf("ran %+v", e)
	}
}

// tabTo presses the tab key until an element has the focus.
func (s *screen) tabTo(selector string) {
	s.t.Helper()
	for range 60 {
		if asks[bool](s, fmt.Sprintf(`document.activeElement.matches(%q)`, selector)) {
			return
		}
		s.do("tab", chromedp.KeyEvent(kb.Tab))
	}
	s.t.Fatalf("no tab leads to %s", selector)
}

func TestBrowser_RunsNothingThatAnEventCarries(t *testing.T) {
	t.Parallel()
	a, id := busy(t)
	s := a.screen(desktopWidth, desktopHeight)
	s.signIn(token)
	for _, path := range []string{"/", "/events", "/events/" + id, "/dead", "/triggers", "/triggers/github-acme"} {
		s.open(path)
		if n := asks[int](s, `document.querySelectorAll("img, [onclick], [onerror], main script").length`); n > 0 {
			t.Errorf("%s has %d elements of an event", path, n)
		}
	}
	s.open("/")
	s.do("live", chromedp.WaitVisible(chromedp.CSS("#live-state.on")))
	if n := asks[int](s, `document.querySelectorAll("img, [onclick], [onerror], main script").length`); n > 0 {
		t.Errorf("the live overview has %d elements of an event", n)
	}
}
