package console

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// axeCore returns the source of axe-core, https://github.com/dequelabs/axe-core, from the file that FUNKER_TEST_AXE
// names; .ci/run fetches it. Without it the test is skipped, and fails in CI.
func axeCore(t *testing.T) string {
	t.Helper()
	file := os.Getenv("FUNKER_TEST_AXE")
	if file == "" && os.Getenv("CI") != "true" {
		t.Skip("NOT TESTED: FUNKER_TEST_AXE does not name axe.min.js")
	}
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("FUNKER_TEST_AXE: %v", err)
	}
	return string(source)
}

// finding is what axe-core finds.
type finding struct {
	ID, Impact, Help string
	Nodes            []struct{ HTML, FailureSummary string }
}

// findings are those on the page that keep somebody from using it.
func (s *screen) findings(axe string) (grave []finding) {
	s.t.Helper()
	if !asks[bool](s, `typeof window.axe === "object"`) {
		s.do("load axe-core", chromedp.Evaluate[chromedp.Void](axe))
	}
	var all []finding
	if err := json.Unmarshal([]byte(asks[string](s, `axe.run(document, {resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations))`)), &all); err != nil {
		s.t.Fatal(err)
	}
	for _, f := range all {
		if f.Impact == "serious" || f.Impact == "critical" {
			grave = append(grave, f)
		} else {
			s.t.Logf("%s: %s: %s", f.Impact, f.ID, f.Help)
		}
	}
	return grave
}

// everyPage are the pages of an admin side that busy has filled, with those that its menu leads to.
func (s *screen) everyPage(id string) []string {
	s.t.Helper()
	s.open("/")
	pages := strings.Fields(asks[string](s, `[...document.querySelectorAll("nav a")].map(a => a.getAttribute("href")).join(" ")`))
	return append(pages, "/events?state=dead", "/events?id=nothing", "/events/"+id, "/events/"+id+"/edit", "/dead?function=ByeIntent&reason=refused",
		"/dead/confirm?do=drop&function=ByeIntent", "/dead/confirm?do=replay&function=ByeIntent", "/triggers/github-acme", "/nowhere")
}

func TestBrowser_KeepsNobodyOut(t *testing.T) {
	t.Parallel()
	axe := axeCore(t)
	a, id := busy(t)
	s := a.screen(desktopWidth, desktopHeight)
	check := func(name string) {
		t.Helper()
		for _, scheme := range []string{"light", "dark"} {
			s.Scheme(scheme)
			for _, width := range []int64{phoneWidth, desktopWidth} {
				s.Resize(width, desktopHeight)
				for _, f := range s.findings(axe) {
					t.Errorf("%s, %s, %d wide: %s: %s: %+v", name, scheme, width, f.Impact, f.Help, f.Nodes)
				}
			}
		}
	}
	s.open("/login")
	check("/login")
	s.signIn(token)
	pages := s.everyPage(id)
	for _, path := range pages {
		s.open(path)
		check(path)
	}
	s.forgive("status of 404")
	if !slices.Contains(pages, "/triggers") || len(pages) < 13 {
		t.Errorf("these are not all: %v", pages)
	}
	s.open("/events/" + id + "/edit")
	s.do("break it", chromedp.SetValue(chromedp.CSS("#body"), "oops"))
	s.press(`form[action$="/edit"] button`, "Nothing was sent")
	s.forgive("status of 422")
	check("an edit that is wrong")
}

// A check that finds nothing anywhere would be no check.
func TestBrowser_AxeFindsWhatKeepsSomebodyOut(t *testing.T) {
	t.Parallel()
	axe := axeCore(t)
	a := start(t)
	s := a.screen(desktopWidth, desktopHeight)
	s.open("/login")
	asks[chromedp.Void](s, `document.querySelector("label").remove()`)
	got := s.findings(axe)
	if !slices.ContainsFunc(got, func(f finding) bool { return f.ID == "label" }) {
		t.Errorf("a field without a label: got %+v", got)
	}
}

func TestBrowser_EditsWithTheKeyboardAlone(t *testing.T) {
	t.Parallel()
	a := start(t)
	id := a.die()
	s := a.screen(desktopWidth, desktopHeight)
	s.signIn(token)
	s.tabTo(`[href="/dead?function=ByeIntent"]`)
	s.do("go", chromedp.KeyEvent(kb.Enter))
	s.says("Mend the function")
	s.tabTo(`[href="/events/` + id + `"]`)
	s.do("go", chromedp.KeyEvent(kb.Enter))
	s.says("Run again")
	s.tabTo(`[href$="/edit"]`)
	s.do("go", chromedp.KeyEvent(kb.Enter))
	s.says("Send as a new event")
	s.tabTo(`#body`)
	s.do("write", chromedp.KeyEvent("[]")) // before what is there
	s.do("leave the field", chromedp.KeyEvent(kb.Tab))
	s.await(`document.activeElement.id === "to"`)
	s.tabTo(`form[action$="/edit"] button`)
	s.do("send", chromedp.KeyEvent(kb.Enter))
	s.says("Nothing was sent")
	s.forgive("status of 422")
	s.await(`document.activeElement.id === "body"`)
	s.do("mend", chromedp.KeyEvent(strings.Repeat(kb.Delete, 4)+`{"n": 2}`))
	s.tabTo(`form[action$="/edit"] button`)
	s.do("send", chromedp.KeyEvent(kb.Enter))
	s.says("This is the new event")
	if e := a.event(); string(e.Body) != `{"n": 2}` {
		t.Errorf("ran %+v", e)
	}
}
