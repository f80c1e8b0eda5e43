// Package browsertest looks at pages as a person does: with a real browser. It is for tests.
package browsertest

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

// The sizes of screens that pages are looked at with.
const (
	PhoneWidth    = 375
	PhoneHeight   = 812
	DesktopWidth  = 1280
	DesktopHeight = 900
)

// Pictures is the environment variable with the folder for pictures of pages.
const Pictures = "FUNKER_SCREENSHOTS"

const (
	start    = 2 * time.Minute  // beside the tests of other packages, on a new machine
	patience = 60 * time.Second // for one step
)

// AnyCertificate is a flag for Start: the browser takes certificates that no authority has signed.
const AnyCertificate = "ignore-certificate-errors"

// Screen is a tab of a browser. Whatever goes wrong in a page fails the test: exceptions, errors on its console, what its
// policy forbids, and dialogs.
type Screen struct {
	ctx context.Context // of the tab
	url string
	t   testing.TB

	faults, forgiven []string // are read at the end of the test
}

// Chromium returns the path of the browser; without it the test is skipped, and fails in CI.
func Chromium(t testing.TB) string {
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

// Start starts a browser, with flags of Chromium, for the pages below a URL. It ends with the test.
func Start(t testing.TB, url string, width, height int64, flags ...string) *Screen {
	t.Helper()
	// There is no sandbox for root, who runs the tests in containers.
	options := []chromedp.ExecAllocatorOption{chromedp.ExecPath(Chromium(t)), chromedp.NoSandbox, chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(start)}
	for _, flag := range flags {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, end := chromedp.NewContext(context.Background(), chromedp.WithAllocatorOptions(options...))
	s := &Screen{ctx: ctx, url: url, t: t}
	var watching sync.WaitGroup
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Errorf("end the browser: %v", err)
		}
		end()
		watching.Wait()
		s.judge()
	})
	s.Resize(width, height)
	s.watch(&watching)
	return s
}

// watch writes down what goes wrong, until the browser ends.
func (s *Screen) watch(watching *sync.WaitGroup) {
	var mu sync.Mutex
	fault := func(text string) { mu.Lock(); defer mu.Unlock(); s.faults = append(s.faults, text) }
	console, dialogs := chromedp.Console(s.ctx), chromedp.Events(s.ctx, devpage.JavascriptDialogOpening)
	watching.Go(func() {
		for m, err := range console {
			if err == nil && m.Type != chromedp.ConsoleLog && m.Type != chromedp.ConsoleDebug && m.Type != chromedp.ConsoleInfo {
				fault(m.String() + " " + m.URL)
			}
		}
	})
	watching.Go(func() {
		for d, err := range dialogs {
			if err == nil {
				fault("dialog: " + d.Message)
			}
		}
	})
}

// judge fails the test for each fault that is not forgiven.
func (s *Screen) judge() {
	for _, fault := range s.faults {
		if !slices.ContainsFunc(s.forgiven, func(text string) bool { return strings.Contains(fault, text) }) {
			s.t.Errorf("in the browser: %s", fault)
		}
	}
}

// Resize makes the window another one.
func (s *Screen) Resize(width, height int64) {
	s.t.Helper()
	if err := chromedp.Do(s.ctx, chromedp.EmulateViewport(width, height)); err != nil {
		s.t.Fatal(err)
	}
}

// Forgive lets faults be that have a text, such as "status of 404", whenever they come: the test itself causes them.
func (s *Screen) Forgive(text string) { s.forgiven = append(s.forgiven, text) }

// Do fails the test when the browser cannot do something.
func (s *Screen) Do(what string, actions ...chromedp.Action[chromedp.Void]) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		s.t.Fatalf("%s: %v; the page says:\n%s", what, err, s.Text())
	}
}

// Text is what a person reads on the page.
func (s *Screen) Text() string {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText`))
	if err != nil {
		return err.Error()
	}
	return text
}

// Open goes to a page.
func (s *Screen) Open(path string) {
	s.t.Helper()
	s.Do("open "+path, chromedp.Navigate(s.url+path), chromedp.WaitVisible(chromedp.CSS("main")))
}

// SignIn opens a session with a token.
func (s *Screen) SignIn(token string) {
	s.t.Helper()
	s.Open("/login")
	s.Leave("sign in", chromedp.SendKeys(chromedp.CSS("#token"), token+kb.Enter))
	s.Await(`document.querySelector(".visitor") !== null`)
}

// Leave does what leads to another page, and waits until that is there.
func (s *Screen) Leave(what string, actions ...chromedp.Action[chromedp.Void]) {
	s.t.Helper()
	Ask[chromedp.Void](s, `void (window.isBefore = true)`)
	s.Do(what, actions...)
	s.Await(`!window.isBefore`)
}

// Press clicks on what leads to another page, and waits until that has a text.
func (s *Screen) Press(selector, until string) {
	s.t.Helper()
	s.Leave("press "+selector, chromedp.Click(chromedp.CSS(selector)))
	s.Says(until)
}

// Says waits until the page has a text.
func (s *Screen) Says(text string) {
	s.t.Helper()
	s.Await(fmt.Sprintf(`document.body.innerText.includes(%q)`, text))
}

// Await waits until a page is loaded and an expression is true on it: on this page or on one that follows.
func (s *Screen) Await(expression string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	loaded := fmt.Sprintf(`document.readyState === "complete" && (%s)`, expression)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		// While a page is being left there is nothing that could be asked.
		if ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](loaded)); err == nil && ok {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.t.Fatalf("not within %s: %s; the page says:\n%s", patience, expression, s.Text())
		}
	}
}

// Ask evaluates an expression in the page; what it promises is waited for.
func Ask[T any](s *Screen, expression string) T {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	got, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		s.t.Fatalf("%.200s: %v", expression, err)
	}
	return got
}

// Scheme sets the setting of the browser to "light" or "dark", without the motion from one to the other.
func (s *Screen) Scheme(name string) {
	s.t.Helper()
	_, err := chromedp.Call(s.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// Fits checks a page on a phone, and keeps a picture: nothing is wider than the screen, and what is pressed is large
// enough for a finger.
func (s *Screen) Fits(name string) {
	s.t.Helper()
	if got := Ask[int](s, `document.documentElement.scrollWidth`); got > PhoneWidth {
		s.t.Errorf("%s is %d wide:\n%s", name, got, Ask[string](s,
			`[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 120)).join("\n")`))
	}
	small := Ask[string](s, `[...document.querySelectorAll("button, .button, input:not([type=hidden]), select, nav a")].filter(e => e.offsetHeight > 0 && e.offsetHeight < 44).map(e => e.outerHTML.slice(0, 120)).join("\n")`)
	if small != "" {
		s.t.Errorf("%s: too small for a finger:\n%s", name, small)
	}
	s.Picture("phone-" + name)
}

// Picture keeps a picture of the whole page in the folder that the variable Pictures names, if that is set. The page must not be
// about to be left: see Leave.
func (s *Screen) Picture(name string) {
	s.t.Helper()
	folder := os.Getenv(Pictures)
	if folder == "" {
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
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
