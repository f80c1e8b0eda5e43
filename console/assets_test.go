package console

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

// maxAssets is what a browser loads at most, besides the page.
const maxAssets = 100 << 10

func TestAssets_AreSmallAndKeptByTheBrowser(t *testing.T) {
	t.Parallel()
	a := start(t)
	b := a.browser()
	page := b.get("/login")
	found := regexp.MustCompile(`(?:href|src)="(/assets/[^"]+)"`).FindAllStringSubmatch(page.text, -1)
	if len(found) != 3 {
		t.Fatalf("got %v in %s", found, page.text)
	}
	total := 0
	for _, m := range found {
		p := b.get(m[1])
		if total += len(p.text); p.status != 200 || p.header.Get("Cache-Control") != assetAge {
			t.Errorf("%s: got %d %v", m[1], p.status, p.header)
		}
	}
	if total > maxAssets {
		t.Errorf("the assets have %d bytes", total)
	}
	if p := b.get("/assets/console.css?v=old"); p.status != 200 || p.header.Get("Cache-Control") != "no-store" {
		t.Errorf("an old address: got %d %v", p.status, p.header)
	}
	if p := b.get("/assets/..%2ftemplates%2flayout.html"); p.status != 404 {
		t.Errorf("what is no asset: got %d", p.status)
	}
}

func TestTemplates_HaveNoScriptOrStyleInThem(t *testing.T) {
	t.Parallel()
	inline := regexp.MustCompile(`(?i)<style|<script>|\sstyle=|\son[a-z]+=|javascript:|template\.HTML`)
	names, err := fs.Glob(files, "templates/*.html")
	if err != nil || len(names) == 0 {
		t.Fatalf("got %v, %v", names, err)
	}
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if m := inline.FindString(string(text)); m != "" {
			t.Errorf("%s has %q", name, strings.TrimSpace(m))
		}
	}
}
