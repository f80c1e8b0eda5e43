package console

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	devpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// chromium returns the path of the browser; without it the test is skipped, and fails in CI.
func chromium(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("CI must install chromium")
	}
	t.Skip("NOT TESTED: chromium is not installed")
	return ""
}

// screen is a tab of a real browser. Whatever goes wrong in the page fails the test: exceptions, errors on its console,
// what its policy forbids, and dialogs.
type screen struct {
	*admin
	ctx context.Context

	mu     sync.Mutex
	faults []string
}

const (
	phoneWidth, phoneHeight     = 375, 812
	desktopWidth, desktopHeight = 1280, 900

	browserStart    = 2 * time.Minute  // beside the tests of other packages, on a new machine
	browserPatience = 60 * time.Second // for one step
)

func (a *admin) screen(width, height int64) *screen {
	a.t.Helper()
	// There is no sandbox for root, who runs the tests in containers.
	ctx, end := chromedp.NewContext(context.Background(), chromedp.WithAllocatorOptions(chromedp.ExecPath(chromium(a.t)), chromedp.NoSandbox,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(browserStart)))
	s := &screen{admin: a, ctx: ctx}
	var watching sync.WaitGroup
	a.t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			a.t.Errorf("end the browser: %v", err)
		}
		end()
		watching.Wait()
		for _, fault := range s.faults {
			a.t.Errorf("in the browser: %s", fault)
		}
	})
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, height)); err != nil {
		a.t.Fatal(err)
	}
	console, dialogs := chromedp.Console(ctx), chromedp.Events(ctx, devpage.JavascriptDialogOpening)
	watching.Go(func() {
		for m, err := range console {
			if err == nil && m.Type != chromedp.ConsoleLog && m.Type != chromedp.ConsoleDebug && m.Type != chromedp.ConsoleInfo {
				s.fault(m.String() + " " + m.URL)
			}
		}
	})
	watching.Go(func() {
		for d, err := range dialogs {
			if err == nil {
				s.fault("dialog: " + d.Message)
			}
		}
	})
	return s
}

func (s *screen) fault(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, text)
}

// forgive forgets the faults that have a text, which the test itself has caused.
func (s *screen) forgive(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = slices.DeleteFunc(s.faults, func(f string) bool { return strings.Contains(f, text) })
}

// do fails the test when the browser cannot do something.
func (s *screen) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, browserPatience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		s.t.Fatalf("%s: %v; the page says:\n%s", what, err, s.text())
	}
}

// text is what a person reads on the page.
func (s *screen) text() string {
	ctx, cancel := context.WithTimeout(s.ctx, browserPatience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText`))
	if err != nil {
		return err.Error()
	}
	return text
}

// open goes to a page.
func (s *screen) open(path string) {
	s.t.Helper()
	s.do("open "+path, chromedp.Navigate(s.URL+path), chromedp.WaitVisible(chromedp.CSS("main")))
}

func (s *screen) signIn(token string) {
	s.t.Helper()
	s.open("/login")
	s.do("sign in", chromedp.SendKeys(chromedp.CSS("#token"), token+kb.Enter), chromedp.WaitVisible(chromedp.CSS(".visitor")))
}

// press clicks on what leads to another page, and waits until that has a text.
func (s *screen) press(selector, until string) {
	s.t.Helper()
	s.do("press "+selector, chromedp.Click(chromedp.CSS(selector)))
	s.says(until)
}

// says waits until the page is there and has a text.
func (s *screen) says(text string) {
	s.t.Helper()
	s.await(fmt.Sprintf(`document.readyState === "complete" && document.body.innerText.includes(%q)`, text))
}

// await waits until an expression is true, on this page or on one that follows.
func (s *screen) await(expression string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, browserPatience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		// While a page is being left there is nothing that could be asked.
		if ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression)); err == nil && ok {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.t.Fatalf("not within %s: %s; the page says:\n%s", browserPatience, expression, s.text())
		}
	}
}

// asks evaluates an expression in the page.
func asks[T any](s *screen, expression string) T {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, browserPatience)
	defer cancel()
	got, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		s.t.Fatalf("%s: %v", expression, err)
	}
	return got
}

func (s *screen) dark() {
	s.t.Helper()
	_, err := chromedp.Call(s.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// picture keeps a picture of the whole page in the folder of FUNKER_SCREENSHOTS, if that is set.
func (s *screen) picture(name string) {
	s.t.Helper()
	folder := os.Getenv("FUNKER_SCREENSHOTS")
	if folder == "" {
		return
	}
	png, err := chromedp.Run(s.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644); err != nil {
		s.t.Fatal(err)
	}
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
	s.do("sign in", chromedp.SendKeys(chromedp.CSS("#token"), token+kb.Enter))
	s.says("The newest come first.")
	s.do("search", chromedp.SetValue(chromedp.CSS("#state"), ""), chromedp.SendKeys(chromedp.CSS("#function"), "ByeIntent"+kb.Enter))
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
		"confirm": "/dead/confirm?do=drop&function=ByeIntent",
	} {
		s.open(path)
		s.fits(name)
	}
}

// fits checks a page on a phone: nothing is wider than the screen, and what is pressed is large enough for a finger.
func (s *screen) fits(name string) {
	s.t.Helper()
	if got := asks[int](s, `document.documentElement.scrollWidth`); got > phoneWidth {
		wide := asks[string](s, `[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 120)).join("\n")`)
		s.t.Errorf("%s is %d wide:\n%s", name, got, wide)
	}
	small := asks[string](s, `[...document.querySelectorAll("button, .button, input:not([type=hidden]), select, nav a")].filter(e => e.offsetHeight > 0 && e.offsetHeight < 44).map(e => e.outerHTML.slice(0, 120)).join("\n")`)
	if small != "" {
		s.t.Errorf("%s: too small for a finger:\n%s", name, small)
	}
	s.picture("phone-" + name)
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
