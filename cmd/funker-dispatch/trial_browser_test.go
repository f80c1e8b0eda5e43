package main

import (
	"context"
	"fmt"
	"os"
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

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// trialTab is one of a real browser, signed in to the console of a gateway. Exceptions, errors on its console, what the policy of
// a page forbids, and dialogs fail the test.
type trialTab struct {
	*trialGateway
	ctx context.Context
}

const browserPatience = 60 * time.Second // for one step, on a busy machine

// browse opens a tab; chromium is that of the tests of console.
func (g *trialGateway) browse(width, height int64) *trialTab {
	g.t.Helper()
	program := need(g.t, "chromium")
	// There is no sandbox for root, who runs the tests in containers.
	ctx, end := chromedp.NewContext(context.Background(), chromedp.WithAllocatorOptions(chromedp.ExecPath(program), chromedp.NoSandbox,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(2*time.Minute)))
	var watching sync.WaitGroup
	var mu sync.Mutex
	var faults []string
	fault := func(text string) { mu.Lock(); defer mu.Unlock(); faults = append(faults, text) }
	g.t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			g.t.Errorf("end the browser: %v", err)
		}
		end()
		watching.Wait()
		for _, text := range faults {
			g.t.Errorf("in the browser: %s", text)
		}
	})
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, height)); err != nil {
		g.t.Fatal(err)
	}
	console, dialogs := chromedp.Console(ctx), chromedp.Events(ctx, devpage.JavascriptDialogOpening)
	watching.Go(func() {
		for m, err := range console {
			if err == nil && m.Type == chromedp.ConsoleError && !strings.Contains(m.String(), "400 (Bad Request)") { // tests send bad forms
				fault(m.String())
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
	return &trialTab{g, ctx}
}

func (b *trialTab) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, browserPatience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatalf("%s: %v; the page says:\n%s", what, err, b.text())
	}
}

func (b *trialTab) open(path string) {
	b.t.Helper()
	b.do("open "+path, chromedp.Navigate(b.admin+path), chromedp.WaitVisible(chromedp.CSS("main")))
}

func (b *trialTab) signIn(file string) {
	b.t.Helper()
	b.open("/login")
	b.do("sign in", chromedp.SendKeys(chromedp.CSS("#token"), tokenIn(b.t, filepath.Join(b.data, file))+kb.Enter), chromedp.WaitVisible(chromedp.CSS(".visitor")))
}

func (b *trialTab) text() string { return trialEvaluated[string](b, `document.body.innerText`) }

func trialEvaluated[T any](b *trialTab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, browserPatience)
	defer cancel()
	got, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return got
}

// await waits until an expression is true, on this page or on one that follows.
func (b *trialTab) await(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, browserPatience)
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
			b.t.Fatalf("not within %s: %s; the page says:\n%s", browserPatience, expression, b.text())
		}
	}
}

func (b *trialTab) picture(name string) {
	b.t.Helper()
	folder := os.Getenv("FUNKER_SCREENSHOTS")
	if folder == "" {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, browserPatience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// send presses the button under the body, and waits for the page that follows this one.
func (b *trialTab) send() {
	b.t.Helper()
	trialEvaluated[chromedp.Void](b, `void (window.before = true)`)
	b.do("send", chromedp.Click(chromedp.CSS("form[method=post] button.main")))
	b.await(`!window.before && document.readyState === "complete" && (document.querySelector("#result") || document.querySelector("main .problem")) !== null`)
}

// write replaces the body.
func (b *trialTab) write(body string) {
	b.t.Helper()
	trialEvaluated[chromedp.Void](b, fmt.Sprintf(`void (document.getElementById("body").value = %q)`, body))
}

// named is the first source of a kind.
func (g *trialGateway) named(kind string) string {
	g.t.Helper()
	for _, source := range slices.Concat(g.signable, g.otherwise) {
		if strings.HasPrefix(source, kind+"-t") {
			return source
		}
	}
	g.t.Fatalf("there is no trigger of %s", kind)
	return ""
}

const resultText = `document.getElementById("result").innerText`

func TestBrowser_SendsASampleOfEveryTrigger(t *testing.T) {
	g := newTrialGateway(t)
	b := g.browse(1280, 900)
	b.signIn(tokenFile)
	b.await(`document.body.innerText.includes("Nothing has come from a sender yet")`)
	b.picture("overview-untried")
	for _, source := range g.signable {
		b.open("/test?trigger=" + source)
		b.send()
		got := trialEvaluated[string](b, resultText)
		if !strings.Contains(got, "success") || strings.Contains(got, "no success") {
			t.Errorf("%s: got %s", source, got)
		}
		b.await(`document.querySelector("#result .outcome .state-ok, #result .outcome [data-ended]") !== null`)
		if kind, _, _ := strings.Cut(source, "-t"); kind == trigger.Alexa && !strings.Contains(got, "Alexa says: Hello from your own swarm.") {
			t.Errorf("%s: got %s", source, got)
		}
		b.picture("sent-" + source)
	}
	for _, source := range g.otherwise {
		b.open("/test?trigger=" + source)
		if got := b.text(); !strings.Contains(got, "It cannot go through the public address.") || !strings.Contains(got, "Call the function directly") {
			t.Errorf("%s: got %s", source, got)
		}
		b.send()
		if got := trialEvaluated[string](b, resultText); !strings.Contains(got, "replied") || !strings.Contains(got, "Called directly: neither signature nor path nor filters were tried.") {
			t.Errorf("%s: got %s", source, got)
		}
		b.picture("direct-" + source)
	}
	b.do("to the event", chromedp.Click(chromedp.CSS("#result .outcome a")))
	b.await(`document.readyState === "complete" && document.body.innerText.includes("Attempts")`)
}

func TestBrowser_KeepsWhatWasTypedAndRunsNothingOfIt(t *testing.T) {
	g := newTrialGateway(t)
	b := g.browse(1280, 900)
	b.signIn(tokenFile)
	b.open("/triggers/" + g.named(trigger.Slack))
	b.picture("trigger-slack")
	b.do("send a test", chromedp.Click(chromedp.CSS(`a[href^="/test"].button`)))
	b.await(`document.querySelector("#trigger")?.value === "` + g.named(trigger.Slack) + `"`)
	trialEvaluated[chromedp.Void](b, `void (document.getElementById("sample").value = "1", document.getElementById("sample").dispatchEvent(new Event("change")))`)
	b.await(`document.readyState === "complete" && document.getElementById("body")?.value.startsWith("command=")`)

	source := g.named(trigger.Webhook)
	b.open("/test?trigger=" + source)
	const attack = `</textarea><script>alert(1)</script><img src=x onerror="alert(2)">`
	wrong := "{\n  \"note\": " + attack
	b.write(wrong)
	b.send()
	if got := b.text(); !strings.Contains(got, "Nothing was sent:") || !strings.Contains(got, "line 2, column 11") {
		t.Errorf("got %s", got)
	}
	if got := trialEvaluated[string](b, `document.getElementById("body").value`); got != wrong {
		t.Errorf("what was typed has become %q", got)
	}
	b.picture("wrong-body")
	right := fmt.Sprintf(`{"id":"7","type":"a","note":%q}`, attack)
	b.write(right)
	b.send()
	b.await(`document.querySelector("#result .outcome [data-ended]") !== null`)
	b.open("/test?trigger=" + g.otherwise[len(g.otherwise)-1]) // the function answers with the body
	b.write(right)
	b.send()
	if got := trialEvaluated[string](b, resultText); !strings.Contains(got, "onerror") {
		t.Errorf("the answer is not shown: %s", got)
	}
	if n := trialEvaluated[int](b, `document.querySelectorAll("main img, main script, [onerror]").length`); n > 0 {
		t.Errorf("the page has %d elements of the body", n)
	}
	b.picture("attack")
}

func TestBrowser_TestPageIsForTheAdminRole(t *testing.T) {
	g := newTrialGateway(t)
	b := g.browse(1280, 900)
	b.signIn(readTokenFile)
	if n := trialEvaluated[int](b, `document.querySelectorAll("nav a[href='/test']").length`); n != 0 {
		t.Error("the page is offered")
	}
	for path, want := range map[string]string{"/triggers/" + g.named(trigger.GitHub): "Set it up at the sender", "/events": "Events"} {
		b.open(path)
		if got := b.text(); !strings.Contains(got, want) || trialEvaluated[int](b, `document.querySelectorAll("main a[href^='/test']").length`) != 0 {
			t.Errorf("%s: got %s", path, got)
		}
	}
}

func TestBrowser_TestPageFitsAPhoneInLightAndDark(t *testing.T) {
	g := newTrialGateway(t)
	b := g.browse(375, 812)
	b.signIn(tokenFile)
	for _, scheme := range []string{"light", "dark"} {
		_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []string{trigger.Alexa, trigger.GitHub, trigger.Webhook, trigger.RustFS} {
			b.open("/triggers/" + g.named(kind))
			b.fits(scheme + "-trigger-" + kind)
			b.open("/test?trigger=" + g.named(kind))
			b.fits(scheme + "-test-" + kind)
			b.send()
			b.fits(scheme + "-result-" + kind)
		}
		b.write("{")
		b.send()
		b.fits(scheme + "-wrong")
	}
}

// fits checks a page on a phone: nothing is wider than the screen, and what is pressed is large enough for a finger.
func (b *trialTab) fits(name string) {
	b.t.Helper()
	if got := trialEvaluated[int](b, `document.documentElement.scrollWidth`); got > 375 {
		b.t.Errorf("%s is %d wide: %s", name, got, trialEvaluated[string](b,
			`[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 120)).join("\n")`))
	}
	if small := trialEvaluated[string](b, `[...document.querySelectorAll("button, .button, input:not([type=hidden]), select, nav a")].filter(e => e.offsetHeight > 0 && e.offsetHeight < 44).map(e => e.outerHTML.slice(0, 120)).join("\n")`); small != "" {
		b.t.Errorf("%s: too small for a finger:\n%s", name, small)
	}
	b.picture("phone-" + name)
}
