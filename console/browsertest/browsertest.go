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

const (
	start    = 2 * time.Minute  // beside the tests of other packages, on a new machine
	patience = 60 * time.Second // for one step
)

// Screen is a tab of a browser. Whatever goes wrong in a page fails the test: exceptions, errors on its console, what its
// policy forbids, and dialogs.
type Screen struct {
	Context context.Context // of the tab
	url     string
	t       testing.TB

	mu     sync.Mutex
	faults []string
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

// Start starts a browser for the pages below a URL. It ends with the test.
func Start(t testing.TB, url string, width, height int64) *Screen {
	t.Helper()
	// There is no sandbox for root, who runs the tests in containers.
	ctx, end := chromedp.NewContext(context.Background(), chromedp.WithAllocatorOptions(chromedp.ExecPath(Chromium(t)), chromedp.NoSandbox,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(start)))
	s := &Screen{Context: ctx, url: url, t: t}
	var watching sync.WaitGroup
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Errorf("end the browser: %v", err)
		}
		end()
		watching.Wait()
		for _, fault := range s.faults {
			t.Errorf("in the browser: %s", fault)
		}
	})
	s.Resize(width, height)
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

// Resize makes the window another one.
func (s *Screen) Resize(width, height int64) {
	s.t.Helper()
	if err := chromedp.Do(s.Context, chromedp.EmulateViewport(width, height)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Screen) fault(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, text)
}

// Forgive forgets the faults that have a text, which the test itself has caused.
func (s *Screen) Forgive(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = slices.DeleteFunc(s.faults, func(f string) bool { return strings.Contains(f, text) })
}

// Do fails the test when the browser cannot do something.
func (s *Screen) Do(what string, actions ...chromedp.Action[chromedp.Void]) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.Context, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		s.t.Fatalf("%s: %v; the page says:\n%s", what, err, s.Text())
	}
}

// Text is what a person reads on the page.
func (s *Screen) Text() string {
	ctx, cancel := context.WithTimeout(s.Context, patience)
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
	s.Do("sign in", chromedp.SendKeys(chromedp.CSS("#token"), token+kb.Enter), chromedp.WaitVisible(chromedp.CSS(".visitor")))
}

// Press clicks on what leads to another page, and waits until that has a text.
func (s *Screen) Press(selector, until string) {
	s.t.Helper()
	s.Do("press "+selector, chromedp.Click(chromedp.CSS(selector)))
	s.Says(until)
}

// Says waits until the page is there and has a text.
func (s *Screen) Says(text string) {
	s.t.Helper()
	s.Await(fmt.Sprintf(`document.readyState === "complete" && document.body.innerText.includes(%q)`, text))
}

// Await waits until an expression is true, on this page or on one that follows.
func (s *Screen) Await(expression string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.Context, patience)
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
			s.t.Fatalf("not within %s: %s; the page says:\n%s", patience, expression, s.Text())
		}
	}
}

// Ask evaluates an expression in the page; what it promises is waited for.
func Ask[T any](s *Screen, expression string) T {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.Context, patience)
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
	_, err := chromedp.Call(s.Context, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// Picture keeps a picture of the whole page in the folder of FUNKER_SCREENSHOTS, if that is set.
func (s *Screen) Picture(name string) {
	s.t.Helper()
	folder := os.Getenv("FUNKER_SCREENSHOTS")
	if folder == "" {
		return
	}
	png, err := chromedp.Run(s.Context, chromedp.FullScreenshot(100))
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
