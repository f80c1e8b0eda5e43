package console

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// maxEdit bounds a body that takes the place of an event's through the API, in bytes. In the form of a page it is
// maxShown: what is not shown in full cannot be edited.
const maxEdit = 1 << 20

// maxEditForm is for maxShown bytes of which each is sent as three, and the other fields.
const maxEditForm = 3*maxShown + 4<<10

// replayEdited serves POST /api/v1/events/{id}/edit?to=: the event is run again with the body of the request, as a new one.
func (s *Server) replayEdited(w http.ResponseWriter, r *http.Request) {
	to := r.URL.Query().Get("to")
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEdit))
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		refuse(w, http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("an edited body has at most %d bytes", maxEdit))
		return
	case err != nil:
		refuse(w, http.StatusBadRequest, "bad_request", "the body did not come through: "+err.Error())
		return
	}
	replayed, err := s.queue.ReplayEdited(r.Context(), r.PathValue("id"), to, body)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	noteChange(r.Context(), "to", to, "edited_as", replayed.ID)
	accepted(w, replayed)
}

// editPage is the form for another body.
type editPage struct {
	eventPage
	Text    string // in the form
	To      string
	Problem string // with what was sent
	Why     string // why this body cannot be edited here; "" when it can
}

// editForm serves GET /events/{id}/edit.
func (s *Server) editForm(w http.ResponseWriter, r *http.Request) {
	p, err := s.editPage(r)
	if err != nil {
		s.failPage(w, r, err)
		return
	}
	p.Text = cmp.Or(p.Pretty, p.Raw)
	if len(p.Text) > maxShown {
		p.Text = p.Raw
	}
	s.showEdit(w, r, http.StatusOK, p)
}

func (s *Server) editPage(r *http.Request) (p editPage, err error) {
	record, err := s.queue.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		return p, err
	}
	p.eventPage = s.newEventPage(record)
	p.To, p.Why = record.Function, whyNotEdit(record)
	return p, nil
}

// whyNotEdit says why a form cannot hold a body. A browser sends other line ends than a body may have, and no bytes that
// are no text.
func whyNotEdit(r queue.Record) string {
	const byCommand = " Edit a copy of the download, and send it with funker-dispatch events replay --edited."
	switch {
	case r.Omitted:
		return "The body is not shown." + byCommand
	case len(r.Body) > maxShown:
		return fmt.Sprintf("The body has %s: a form takes %s at most.", sizeText(len(r.Body)), sizeText(maxShown)) + byCommand
	case !utf8.Valid(r.Body) || slices.Contains(r.Body, 0):
		return "The body is no text." + byCommand
	case slices.Contains(r.Body, '\r') && !json.Valid(r.Body): // between the values of JSON it means nothing
		return "The body has line ends that a form does not keep." + byCommand
	}
	return ""
}

func (s *Server) showEdit(w http.ResponseWriter, r *http.Request, status int, p editPage) {
	s.render(w, r, status, "edit", "Edit and replay", p)
}

// sendEdit serves POST /events/{id}/edit. What is wrong with the body is told beside it, and nothing that was typed is lost.
func (s *Server) sendEdit(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxEditForm)
	if err := r.ParseForm(); err != nil {
		s.errorPage(w, r, http.StatusBadRequest, "The form cannot be read. It takes "+sizeText(maxShown)+" of text.")
		return
	}
	p, err := s.editPage(r)
	if err != nil {
		s.failPage(w, r, err)
		return
	}
	p.Text, p.To = strings.ReplaceAll(r.PostForm.Get("body"), "\r\n", "\n"), r.PostForm.Get("to")
	noteChange(r.Context(), "to", p.To)
	replayed, err := s.queue.ReplayEdited(r.Context(), r.PathValue("id"), p.To, []byte(p.Text))
	switch {
	case errors.Is(err, queue.ErrNotJSON), errors.Is(err, queue.ErrNoFunction):
		status := s.problemOf(r, err).Status
		p.Problem = "Nothing was sent: " + err.Error()
		s.showEdit(w, r, status, p)
	case err != nil:
		s.failPage(w, r, err)
	default:
		noteChange(r.Context(), "edited_as", replayed.ID)
		s.done(w, r, eventPath(replayed.ID), flash{Text: "This is the new event. It is queued for " + replayed.To + "; the original stays as it is."})
	}
}
