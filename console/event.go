package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// maxShown is how much of a body a page shows, in bytes. The download has all of it.
const maxShown = 64 << 10

// eventPage is what the page of one event shows.
type eventPage struct {
	queue.Record
	Lines     []headerLine
	Pretty    string // the body as indented JSON, "" when it is none, or large
	Raw       string // the body as it came; "" when it is no text
	Cut       bool   // Raw is not all of it
	Functions []string
}

type headerLine struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// eventPage serves GET /events/{id}.
func (s *Server) eventPage(w http.ResponseWriter, r *http.Request) {
	record, err := s.queue.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		s.failPage(w, r, err)
		return
	}
	s.render(w, r, http.StatusOK, "event", "Event "+record.ID, s.newEventPage(record))
}

func (s *Server) newEventPage(record queue.Record) eventPage {
	p := eventPage{Record: record, Functions: s.names().Functions}
	for _, name := range slices.Sorted(maps.Keys(record.Header)) {
		p.Lines = append(p.Lines, headerLine{name, record.Header[name]})
	}
	p.Pretty, p.Raw, p.Cut = shown(record.Body)
	return p
}

// shown is what a page shows of a body.
func shown(body []byte) (pretty, raw string, cut bool) {
	cut = len(body) > maxShown
	if cut {
		body = body[:maxShown]
		for len(body) > 0 && !utf8.RuneStart(body[len(body)-1]) {
			body = body[:len(body)-1]
		}
		body = body[:max(0, len(body)-1)] // the character that may be cut
	}
	if !utf8.Valid(body) {
		return "", "", cut
	}
	var b bytes.Buffer
	if !cut && json.Indent(&b, body, "", "  ") == nil {
		pretty = b.String()
	}
	return pretty, string(body), cut
}

// Path is the address of the page.
func (p eventPage) Path() string { return recordPath(p.Record) }

// Targets are the functions that a replay may go to, the event's own first.
func (p eventPage) Targets() []string {
	others := slices.DeleteFunc(slices.Clone(p.Functions), func(name string) bool { return name == p.Function })
	return append([]string{p.Function}, others...)
}

// IsCall reports whether the sender waited for the reply.
func (p eventPage) IsCall() bool { return p.Kind == "call" }

// Began is when an attempt began.
func (p eventPage) Began(a queue.Attempt) time.Time { return a.Time.Add(-a.Duration) }

// bodyFile serves GET /events/{id}/body: the body as it was received, for saving and never for showing.
func (s *Server) bodyFile(w http.ResponseWriter, r *http.Request) {
	record, err := s.queue.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		s.failPage(w, r, err)
		return
	}
	ending := ".bin"
	if json.Valid(record.Body) {
		ending = ".json"
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": record.ID + ending}))
	h.Set("Content-Length", strconv.Itoa(len(record.Body)))
	_, _ = w.Write(record.Body) // the client may have gone
}

// replayForm serves POST /events/{id}/replay.
func (s *Server) replayForm(w http.ResponseWriter, r *http.Request) {
	form, ok := s.form(w, r)
	if !ok {
		return
	}
	id, to := r.PathValue("id"), form.Get("to")
	noteChange(r.Context(), "to", to)
	replayed, err := s.queue.Replay(r.Context(), id, to)
	if err != nil {
		s.failPage(w, r, err)
		return
	}
	s.done(w, r, eventPath(id), flash{Text: fmt.Sprintf("Replay %s is queued for %s. The original stays as it is.", replayed.Run, replayed.To)})
}

// dropForm serves POST /events/{id}/drop: its dead letter goes, the event stays.
func (s *Server) dropForm(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if err := s.queue.Drop(r.Context(), id); err != nil {
		s.failPage(w, r, err)
		return
	}
	s.done(w, r, eventPath(id), flash{Text: "The dead letter is dropped. The event stays on record and can still be replayed."})
}

// done leads to the page that shows what came of a change, so that reloading it changes nothing.
func (s *Server) done(w http.ResponseWriter, r *http.Request, to string, f flash) {
	s.sessions.tell(visitorIn(r.Context()).session, f)
	http.Redirect(w, r, to, http.StatusSeeOther)
}
