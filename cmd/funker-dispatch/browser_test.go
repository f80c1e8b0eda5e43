package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// tab is one of a real browser.
type tab struct {
	t   *testing.T
	ctx context.Context
}

const browserStart = 2 * time.Minute // beside other tests, on a new machine

// newTab starts a browser that takes any certificate.
func newTab(t *testing.T) *tab {
	t.Helper()
	// There is no sandbox for root, who runs the tests in containers.
	ctx, end := chromedp.NewContext(context.Background(), chromedp.WithAllocatorOptions(chromedp.ExecPath(need(t, "chromium")), chromedp.NoSandbox,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("ignore-certificate-errors", true), chromedp.WSURLReadTimeout(browserStart)))
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Errorf("end the browser: %v", err)
		}
		end()
	})
	// The browser lives as long as the context of the first action, which therefore has no limit of its own.
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 900)); err != nil {
		t.Fatal(err)
	}
	return &tab{t, ctx}
}

func (b *tab) do(what string, limit time.Duration, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

// signIn opens a console, types the token, and waits for the overview.
func (b *tab) signIn(url, token string) {
	b.t.Helper()
	b.do("open", time.Minute, chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS("#token")))
	b.picture("sign-in")
	b.do("sign in", time.Minute, chromedp.SendKeys(chromedp.CSS("#token"), token+kb.Enter), chromedp.WaitVisible(chromedp.CSS(".visitor")))
}

// shows waits until the page has a text.
func (b *tab) shows(text string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		// While a page is being left there is nothing that could be asked.
		if ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](fmt.Sprintf(`document.body.innerText.includes(%q)`, text))); err == nil && ok {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.t.Fatalf("the page does not show %q", text)
		}
	}
}

// picture keeps a picture of the page in the folder of FUNKER_SCREENSHOTS, if that is set.
func (b *tab) picture(name string) {
	b.t.Helper()
	folder := os.Getenv("FUNKER_SCREENSHOTS")
	if folder == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644)
	}
	if err != nil {
		b.t.Error(err)
	}
}

func TestDemo_ANewUserSignsInWithWhatItPrints(t *testing.T) {
	b := newTab(t)
	var out buffer
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan int, 1)
	go func() { done <- run(ctx, []string{"demo", "--keep"}, &out, io.Discard) }()
	how := regexp.MustCompile(`open (http\S+) in a browser, and sign in with the token (\S+)`)
	within(t, "the demo says how", func() bool { return how.MatchString(out.String()) })
	m := how.FindStringSubmatch(out.String())
	b.signIn(m[1], m[2])
	b.shows("Nothing is lost")
	b.picture("demo")
	stop()
	if code := <-done; code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestAdminTLS_ABrowserSignsInAndSeesTheOverviewLive(t *testing.T) {
	b := newTab(t)
	a := newAuthority(t)
	g, _, _ := serveAdminTLS(t, a, a.valid(), "--no-worker")
	b.signIn(g.admin, tokenIn(t, filepath.Join(g.data, tokenFile)))
	b.shows("live")
	if code, body, _ := post(t, g.public+"/github/acme", "{}"); code != 401 {
		t.Fatalf("an unsigned push: got %d %s", code, body)
	}
	b.shows("Requests of github-acme were refused") // nobody reloads
	b.picture("admin-tls")
	if code := g.stop(); code != exitOK {
		t.Errorf("exit code %d: %s", code, g.log)
	}
}
