package console

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// shelf keeps a manifest in the bucket of a queue, and in its catalog.
type shelf struct {
	queue   *queue.Queue
	catalog *deploy.Catalog
	closed  error // nil: manifests can be applied

	mu sync.Mutex
}

func (s *shelf) Stored(ctx context.Context) (queue.Config, error) {
	if s.closed != nil {
		return queue.Config{}, s.closed
	}
	return s.queue.Config(ctx)
}

func (s *shelf) Apply(ctx context.Context, c Change) (a Applied, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.Stored(ctx)
	if err != nil {
		return a, err
	}
	if c.May != nil && !c.May(now.Revision, now.Text != nil) {
		return a, ErrStale
	}
	m, err := deploy.ParseApplied("manifest", []byte(c.Text), deploy.ServicesOptions{})
	if faults, ok := errors.AsType[deploy.Faults](err); ok {
		p := &Problem{Status: http.StatusUnprocessableEntity, Code: "bad_manifest", Detail: "the manifest is refused, and nothing has changed"}
		for _, f := range faults {
			p.Faults = append(p.Faults, Fault{Line: f.Line, Column: f.Column, Message: f.Message})
		}
		return a, p
	}
	if err != nil {
		return a, err
	}
	a = Applied{Changes: deploy.Compare(s.catalog.Manifest(), m), Warnings: m.Warnings, DryRun: c.DryRun, Revision: now.Revision}
	if c.DryRun {
		return a, nil
	}
	if a.Revision, err = s.queue.PutConfig(ctx, []byte(c.Text), now.Revision); err == nil {
		s.catalog.Set(m)
	}
	return a, err
}

func (s *shelf) Edit(ctx context.Context, change func(text []byte) ([]byte, error)) (a Applied, err error) {
	now, err := s.Stored(ctx)
	if err != nil {
		return a, err
	}
	text, err := change(now.Text)
	if err != nil {
		return a, err
	}
	return s.Apply(ctx, Change{Text: string(text)})
}

// edited is an admin side whose manifest is stored.
func edited(t testing.TB, text string) *admin {
	t.Helper()
	a := start(t)
	a.store(text)
	return a
}

// store puts a manifest in force as another person does.
func (a *admin) store(text string) {
	a.t.Helper()
	if _, err := a.shelf.Apply(a.t.Context(), Change{Text: text}); err != nil {
		a.t.Fatal(err)
	}
}

func (a *admin) storedText() string {
	a.t.Helper()
	c, err := a.queue.Config(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	return string(c.Text)
}

const (
	firstManifest  = "# kept: a remark\nfunctions:\n  Hello: {timeout: 5s}\n"
	secondManifest = "# kept: a remark\nfunctions:\n  Hello: {timeout: 7s}\n  Bye:\n"
	otherManifest  = "functions:\n  Other:\n"
)

// send sends the form of the page of the manifest: names and values in turn; a value of "@text" is a file.
func (b *browser) send(fields ...string) page {
	b.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for i := 0; i < len(fields); i += 2 {
		name, value := fields[i], fields[i+1]
		var w io.Writer
		var err error
		if text, ok := strings.CutPrefix(value, "@"); ok {
			w, err = form.CreateFormFile(name, "functions.yaml")
			value = text
		} else {
			w, err = form.CreateFormField(name)
		}
		if err == nil {
			_, err = io.WriteString(w, value)
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
	if err := form.Close(); err != nil {
		b.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(b.t.Context(), "POST", b.URL+"/manifest", &body)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Content-Type", form.FormDataContentType())
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	res, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return page{res.StatusCode, res.Header, res.Header.Get("Location"), string(text)}
}

// revision is the one that the form of a page is made from.
func (p page) revision() string { return p.hidden().Get("revision") }

func TestManifestPage_ChecksAndAppliesWithoutScript(t *testing.T) {
	t.Parallel()
	a := edited(t, firstManifest)
	b := a.signedIn(token)
	p := b.get("/manifest")
	p.shows(t, "# kept: a remark\nfunctions:\n  Hello: {timeout: 5s}", `name="do" value="check"`)
	made := p.revision()

	p = b.send("revision", made, "text", "functions:\r\n  Hello: {timeout: 7}\r\n", "do", "check")
	p.shows(t, "It has 1 fault and cannot be applied", "line 2", "  Hello: {timeout: 7}</pre>", "functions:\n  Hello: {timeout: 7}\n</textarea>")
	if p.status != 200 || p.revision() != made {
		t.Errorf("check: got %d, made from %s", p.status, p.revision())
	}
	p = b.send("revision", made, "text", "functions:\n  Hello: {timeout: 7}\n", "do", "apply")
	if p.status != 422 {
		t.Errorf("apply with a fault: got %d", p.status)
	}
	p = b.send("revision", made, "text", strings.ReplaceAll(secondManifest, "\n", "\r\n"), "do", "check")
	p.shows(t, "changed</span> function <b class=\"long\">Hello</b> <span class=\"dim\">timeout", "added</span> function <b class=\"long\">Bye")
	p = b.send("revision", made, "text", "", "file", "@"+secondManifest, "do", "apply")
	p.shows(t, "Bye:\n</textarea>", "added</span>")
	if got := a.storedText(); got != firstManifest {
		t.Errorf("a check, a fault or an upload has stored %q", got)
	}
	p = b.send("revision", made, "text", strings.ReplaceAll(secondManifest, "\n", "\r\n"), "do", "apply")
	if p.status != 303 || p.location != "/manifest" || a.storedText() != secondManifest {
		t.Errorf("apply: got %d to %q, stored %q", p.status, p.location, a.storedText())
	}
	b.get("/manifest").shows(t, "changed: function Hello (timeout)", "added: function Bye")
}

func TestManifestPage_KeepsWhatWasTypedWhenSomebodyElseWasQuicker(t *testing.T) {
	t.Parallel()
	a := edited(t, firstManifest)
	b := a.signedIn(token)
	made := b.get("/manifest").revision()
	a.store(otherManifest)
	p := b.send("revision", made, "text", secondManifest, "do", "apply")
	p.shows(t, "Somebody else has applied another manifest", "Hello: {timeout: 7s}\n  Bye:\n</textarea>", "removed</span> function <b class=\"long\">Other", "Apply over revision")
	if p.status != 412 || a.storedText() != otherManifest {
		t.Errorf("got %d, stored %q", p.status, a.storedText())
	}
	p = b.send("revision", p.revision(), "text", secondManifest, "do", "apply")
	if p.status != 303 || a.storedText() != secondManifest {
		t.Errorf("after the warning: got %d, stored %q", p.status, a.storedText())
	}
}

func TestManifestPage_TakesTheFirstManifest(t *testing.T) {
	t.Parallel()
	a := start(t)
	b := a.signedIn(token)
	p := b.get("/manifest")
	p.shows(t, "none is stored yet")
	if p = b.send("revision", p.revision(), "text", firstManifest, "do", "apply"); p.status != 303 || a.storedText() != firstManifest {
		t.Errorf("got %d, stored %q", p.status, a.storedText())
	}
	if p = b.send("revision", "0", "text", secondManifest, "do", "apply"); p.status != 412 {
		t.Errorf("a second first one: got %d", p.status)
	}
}

func TestManifestPage_SaysThatTheManifestIsAFile(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.shelf.closed = &Problem{Status: http.StatusConflict, Code: "manifest_file", Detail: "this gateway takes its manifest from the file <functions.yaml>"}
	p := a.signedIn(token).get("/manifest")
	p.shows(t, "from the file &lt;functions.yaml&gt;")
	if strings.Contains(p.text, "<textarea") {
		t.Error("there is something to edit")
	}
}

func TestManifestPage_IsBoundedAndNotForReaders(t *testing.T) {
	t.Parallel()
	a := edited(t, firstManifest+"# </textarea><script>alert(1)</script>\n")
	reader := a.signedIn(readToken)
	p := reader.get("/manifest")
	p.shows(t, "# kept: a remark", "&lt;/textarea&gt;&lt;script&gt;")
	if strings.Contains(p.text, "<textarea") || strings.Contains(p.text, "<script>") {
		t.Error("a reader can edit, or a text is not escaped")
	}
	if p := reader.send("revision", "1", "text", secondManifest, "do", "apply"); p.status != 403 {
		t.Errorf("reader: got %d", p.status)
	}
	b := a.signedIn(token)
	if p := b.send("revision", "1", "text", strings.Repeat("#", maxManifestForm), "do", "check"); p.status != 400 {
		t.Errorf("too large: got %d", p.status)
	}
	if p := b.send("text", secondManifest, "do", "apply"); p.status != 400 {
		t.Errorf("without revision: got %d", p.status)
	}
	if p := b.post("/manifest", nil, "Sec-Fetch-Site", "cross-site"); p.status != 403 {
		t.Errorf("from another site: got %d", p.status)
	}
}

func TestManifestPage_ChecksAreNoChangesInTheLog(t *testing.T) {
	t.Parallel()
	a := edited(t, firstManifest)
	b := a.signedIn(token)
	made := b.get("/manifest").revision()
	b.send("revision", made, "text", secondManifest, "do", "check")
	if log := a.log.String(); strings.Contains(log, `action="POST /manifest"`) {
		t.Errorf("a check is a change:\n%s", log)
	}
	b.send("revision", made, "text", secondManifest, "do", "apply")
	if log := a.log.String(); strings.Count(log, `action="POST /manifest" status=303 revision=`) != 1 {
		t.Errorf("no line about the change:\n%s", log)
	}
}

func TestBrowser_EditsTheManifest(t *testing.T) {
	t.Parallel()
	a := edited(t, firstManifest)
	s := a.screen(desktopWidth, desktopHeight)
	s.signIn(token)
	s.open("/manifest")
	s.do("type a fault", chromedp.SetValue(chromedp.CSS("#text"), "functions:\n  Hello: {timeout: 7s}\n  Bye: {timeuot: 1s}\n"),
		chromedp.SendKeys(chromedp.CSS("#text"), kb.Control+kb.End+" "))
	s.says("line 3")
	s.says("timeuot")
	s.picture("manifest-fault")
	s.do("go to the line", chromedp.Click(chromedp.CSS("a[data-line='3']")))
	if got := asks[string](s, `(({value, selectionStart, selectionEnd}) => value.slice(selectionStart, selectionEnd))(document.getElementById("text"))`); got != "  Bye: {timeuot: 1s}" {
		t.Errorf("selected %q", got)
	}
	file := filepath.Join(t.TempDir(), "functions.yaml")
	if err := os.WriteFile(file, []byte(secondManifest), 0o600); err != nil {
		t.Fatal(err)
	}
	s.do("take a file", chromedp.Click(chromedp.CSS("summary")), chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{file}))
	s.await(`document.querySelector("#check .change-added") && document.getElementById("text").value.includes("Bye:")`)
	s.picture("manifest-diff")
	s.press("button[value=apply]", "The manifest is in force")
	s.picture("manifest-applied")
	if got := a.storedText(); got != secondManifest {
		t.Errorf("stored %q", got)
	}
	a.store(otherManifest)
	s.press("button[value=apply]", "Somebody else has applied another manifest")
	s.picture("manifest-conflict")
	s.forgive("status of 412")
	s.await(`document.getElementById("text").value.includes("Bye:")`)
	s.press("button[value=apply]", "The manifest is in force")
	if got := a.storedText(); got != secondManifest {
		t.Errorf("stored %q", got)
	}
}
