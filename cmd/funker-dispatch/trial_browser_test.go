package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/funker-dispatch/funker-dispatch/console/browsertest"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// sendTest presses the button under the body, and waits for the page that follows this one.
func sendTest(s *browsertest.Screen) {
	s.Leave("send", chromedp.Click(chromedp.CSS("form[method=post] button.main")))
	s.Await(`(document.querySelector("#result") || document.querySelector("main .problem")) !== null`)
}

// writeBody replaces the body.
func writeBody(s *browsertest.Screen, body string) {
	browsertest.Ask[chromedp.Void](s, fmt.Sprintf(`void (document.getElementById("body").value = %q)`, body))
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
	s := g.browse(t, tokenFile, browsertest.DesktopWidth, browsertest.DesktopHeight)
	s.Says("Nothing has come from a sender yet")
	s.Picture("overview-untried")
	for _, source := range g.signable {
		s.Open("/test?trigger=" + source)
		sendTest(s)
		got := browsertest.Ask[string](s, resultText)
		if !strings.Contains(got, "success") || strings.Contains(got, "no success") {
			t.Errorf("%s: got %s", source, got)
		}
		s.Await(`document.querySelector("#result .outcome .state-ok, #result .outcome [data-ended]") !== null`)
		if kind, _, _ := strings.Cut(source, "-t"); kind == trigger.Alexa && !strings.Contains(got, "Alexa says: Hello from your own swarm.") {
			t.Errorf("%s: got %s", source, got)
		}
		s.Picture("sent-" + source)
	}
	for _, source := range g.otherwise {
		s.Open("/test?trigger=" + source)
		if got := s.Text(); !strings.Contains(got, "It cannot go through the public address.") || !strings.Contains(got, "Call the function directly") {
			t.Errorf("%s: got %s", source, got)
		}
		sendTest(s)
		if got := browsertest.Ask[string](s, resultText); !strings.Contains(got, "replied") || !strings.Contains(got, "Called directly: neither signature nor path nor filters were tried.") {
			t.Errorf("%s: got %s", source, got)
		}
		s.Picture("direct-" + source)
	}
	s.Press("#result .outcome a", "Attempts")
}

func TestBrowser_KeepsWhatWasTypedAndRunsNothingOfIt(t *testing.T) {
	g := newTrialGateway(t)
	s := g.browse(t, tokenFile, browsertest.DesktopWidth, browsertest.DesktopHeight)
	s.Forgive("status of 400") // the wrong body
	s.Open("/triggers/" + g.named(trigger.Slack))
	s.Picture("trigger-slack")
	s.Leave("send a test", chromedp.Click(chromedp.CSS(`a[href^="/test"].button`)))
	s.Await(`document.querySelector("#trigger")?.value === "` + g.named(trigger.Slack) + `"`)
	browsertest.Ask[chromedp.Void](s, `void (document.getElementById("sample").value = "1", document.getElementById("sample").dispatchEvent(new Event("change")))`)
	s.Await(`document.getElementById("body")?.value.startsWith("command=")`)

	source := g.named(trigger.Webhook)
	s.Open("/test?trigger=" + source)
	const attack = `</textarea><script>alert(1)</script><img src=x onerror="alert(2)">`
	wrong := "{\n  \"note\": " + attack
	writeBody(s, wrong)
	sendTest(s)
	if got := s.Text(); !strings.Contains(got, "Nothing was sent:") || !strings.Contains(got, "line 2, column 11") {
		t.Errorf("got %s", got)
	}
	if got := browsertest.Ask[string](s, `document.getElementById("body").value`); got != wrong {
		t.Errorf("what was typed has become %q", got)
	}
	s.Picture("wrong-body")
	right := fmt.Sprintf(`{"id":"7","type":"a","note":%q}`, attack)
	writeBody(s, right)
	sendTest(s)
	s.Await(`document.querySelector("#result .outcome [data-ended]") !== null`)
	s.Open("/test?trigger=" + g.otherwise[len(g.otherwise)-1]) // the function answers with the body
	writeBody(s, right)
	sendTest(s)
	if got := browsertest.Ask[string](s, resultText); !strings.Contains(got, "onerror") {
		t.Errorf("the answer is not shown: %s", got)
	}
	if n := browsertest.Ask[int](s, `document.querySelectorAll("main img, main script, [onerror]").length`); n > 0 {
		t.Errorf("the page has %d elements of the body", n)
	}
	s.Picture("attack")
}

func TestBrowser_TestPageIsForTheAdminRole(t *testing.T) {
	g := newTrialGateway(t)
	s := g.browse(t, readTokenFile, browsertest.DesktopWidth, browsertest.DesktopHeight)
	if n := browsertest.Ask[int](s, `document.querySelectorAll("nav a[href='/test']").length`); n != 0 {
		t.Error("the page is offered")
	}
	for path, want := range map[string]string{"/triggers/" + g.named(trigger.GitHub): "Set it up at the sender", "/events": "Events"} {
		s.Open(path)
		if got := s.Text(); !strings.Contains(got, want) || browsertest.Ask[int](s, `document.querySelectorAll("main a[href^='/test']").length`) != 0 {
			t.Errorf("%s: got %s", path, got)
		}
	}
}

func TestBrowser_TestPageFitsAPhoneInLightAndDark(t *testing.T) {
	g := newTrialGateway(t)
	s := g.browse(t, tokenFile, browsertest.PhoneWidth, browsertest.PhoneHeight)
	s.Forgive("status of 400") // the wrong bodies
	for _, scheme := range []string{"light", "dark"} {
		s.Scheme(scheme)
		for _, kind := range []string{trigger.Alexa, trigger.GitHub, trigger.Webhook, trigger.RustFS} {
			s.Open("/triggers/" + g.named(kind))
			s.Fits(scheme + "-trigger-" + kind)
			s.Open("/test?trigger=" + g.named(kind))
			s.Fits(scheme + "-test-" + kind)
			sendTest(s)
			s.Fits(scheme + "-result-" + kind)
		}
		writeBody(s, "{")
		sendTest(s)
		s.Fits(scheme + "-wrong")
	}
}
