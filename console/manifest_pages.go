package console

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// maxManifestForm bounds a form with a manifest, in bytes: the text, an uploaded file, and what is around them.
const maxManifestForm = 2*deploy.MaxSize + maxForm

// manifestEditor is what the page of the manifest shows.
type manifestEditor struct {
	Text     string
	Revision uint64    // of the stored manifest that the text was made from; 0: there was none
	Time     time.Time // when that was stored; zero: it is not known
	Closed   string    // why no manifest can be applied to this gateway; "" when one can be
	Check    *manifestCheck
}

// Overtakes is true when applying the text undoes what somebody else has applied.
func (e manifestEditor) Overtakes() bool { return e.Check != nil && e.Check.Stale }

// manifestCheck is what would come of a text, or why nothing came of it.
type manifestCheck struct {
	Applied
	Problem string // why it is refused; "" when it is not
	Faults  []faultLine
	Stale   bool // another manifest was stored meanwhile
}

// faultLine is a fault beside the line that has it.
type faultLine struct {
	Fault
	Source string // the line; "" when the fault is about the whole
}

// manifestPages are the routes of the pages of the manifest.
func (s *Server) manifestPages() {
	if s.manifests == nil {
		return
	}
	s.mux.HandleFunc("GET /manifest", taking(s.manifestPage))
	s.mux.HandleFunc("POST /manifest", taking(s.manifestForm))
}

// manifestPage serves GET /manifest.
func (s *Server) manifestPage(w http.ResponseWriter, r *http.Request) {
	e, err := s.storedManifest(r)
	if err != nil {
		s.failPage(w, r, err)
		return
	}
	s.showManifest(w, r, http.StatusOK, e)
}

func (s *Server) showManifest(w http.ResponseWriter, r *http.Request, status int, e manifestEditor) {
	s.render(w, r, status, "manifest", "Manifest", e)
}

// storedManifest is the editor with what is stored, closed when the gateway has its manifest from elsewhere.
func (s *Server) storedManifest(r *http.Request) (manifestEditor, error) {
	c, err := s.manifests.Stored(r.Context())
	if p := (&Problem{}); errors.As(err, &p) && p.Code == "manifest_file" {
		return manifestEditor{Closed: p.Detail}, nil
	}
	e := manifestEditor{Text: string(c.Text), Time: c.Time}
	if c.Text != nil {
		e.Revision = c.Revision
	}
	return e, err
}

// manifestForm serves POST /manifest: a text is checked, or put in force. What was typed is never lost: the page that
// answers has it again, whatever came of it.
func (s *Server) manifestForm(w http.ResponseWriter, r *http.Request) {
	e, apply, err := readManifestForm(w, r)
	if err != nil {
		s.errorPage(w, r, http.StatusBadRequest, err.Error())
		return
	}
	a, err := s.manifests.Apply(r.Context(), Change{Text: e.Text, DryRun: !apply, May: madeFrom(e.Revision)})
	if apply && err == nil {
		noteChange(r.Context(), "revision", a.Revision, "changes", len(a.Changes))
		s.done(w, r, "/manifest", appliedFlash(a))
		return
	}
	e.Check = &manifestCheck{Stale: errors.Is(err, ErrStale) || errors.Is(err, queue.ErrConflict)}
	if e.Check.Stale {
		a, err = s.manifests.Apply(r.Context(), Change{Text: e.Text, DryRun: true})
		if now, bad := s.storedManifest(r); bad == nil {
			e.Revision, e.Time = now.Revision, now.Time
		}
	}
	status := e.review(a, err)
	switch {
	case !apply: // the answer to a question; the browser would call another status an error
		status = http.StatusOK
		changedNothing(r.Context())
	case e.Check.Stale:
		status = http.StatusPreconditionFailed
	}
	s.showManifest(w, r, status, e)
}

// review notes what came of the text, and returns the status of that.
func (e *manifestEditor) review(a Applied, err error) int {
	if err == nil {
		e.Check.Applied = a
		return http.StatusOK
	}
	p := problemOf(err)
	e.Check.Problem = p.Detail
	lines := strings.Split(e.Text, "\n")
	for _, f := range p.Faults {
		line := faultLine{Fault: f}
		if f.Line > 0 && f.Line <= len(lines) {
			line.Source = lines[f.Line-1]
		}
		e.Check.Faults = append(e.Check.Faults, line)
	}
	return p.Status
}

// readManifestForm reads the text, or the file that was chosen in its place; a file is only looked at.
func readManifestForm(w http.ResponseWriter, r *http.Request) (e manifestEditor, apply bool, err error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxManifestForm)
	if err := r.ParseMultipartForm(maxManifestForm); err != nil {
		return e, false, fmt.Errorf("the form cannot be read: a manifest has at most %s", sizeText(deploy.MaxSize))
	}
	if e.Revision, err = strconv.ParseUint(r.PostFormValue("revision"), 10, 64); err != nil {
		return e, false, errors.New("the form is not complete: begin with the page of the manifest")
	}
	// Browsers send the lines of a text area with CRLF, whatever they got.
	e.Text = strings.ReplaceAll(r.PostFormValue("text"), "\r\n", "\n")
	file, header, err := r.FormFile("file")
	switch {
	case errors.Is(err, http.ErrMissingFile), err == nil && header.Filename == "":
		return e, r.PostFormValue("do") == "apply", nil
	case err != nil:
		return e, false, fmt.Errorf("the file did not come through: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		return e, false, fmt.Errorf("the file did not come through: %w", err)
	}
	e.Text = string(bytes.ToValidUTF8(text, []byte("\uFFFD")))
	return e, false, nil
}

// madeFrom is true while the stored manifest is the one that a text was made from; 0 stands for none.
func madeFrom(made uint64) func(revision uint64, stored bool) bool {
	return func(revision uint64, stored bool) bool {
		return stored == (made > 0) && (!stored || revision == made)
	}
}

// appliedFlash says what was changed.
func appliedFlash(a Applied) flash {
	f := flash{Text: "The manifest is in force: nothing had to be changed."}
	if len(a.Changes) > 0 {
		f.Text = "The manifest is in force:"
	}
	for _, c := range a.Changes {
		f.Details = append(f.Details, changeText(c))
	}
	for _, warning := range a.Warnings {
		f.Details = append(f.Details, "Warning: "+warning)
	}
	return f
}

// changeText is "changed: function Hello (image, replicas)".
func changeText(d deploy.Difference) string {
	text := fmt.Sprintf("%s: %s %s", d.Action, d.Kind, d.Name)
	if len(d.Keys) > 0 {
		text += " (" + strings.Join(d.Keys, ", ") + ")"
	}
	return text
}
