package console

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// sender is what the pages need of the answer to GET /api/v1/triggers.
type sender struct {
	Source    string            `json:"source"`
	Path      string            `json:"path"`
	Verified  string            `json:"verified"`
	Problem   string            `json:"problem"`
	Last      time.Time         `json:"last"`
	LastEvent string            `json:"last_event"`
	Connected time.Time         `json:"connected"`
	Accepted  uint64            `json:"accepted"`
	Ignored   uint64            `json:"ignored"`
	Refused   map[string]uint64 `json:"refused"`
	Samples   []refusedRequest  `json:"samples"`
}

// triggerPage is what the page of a trigger shows.
type triggerPage struct {
	sender
	Setup    *setup // nil: it is none of the manifest
	Testable bool
}

// refusedRequest is a sample of those that were refused.
type refusedRequest struct {
	Time        time.Time    `json:"time"`
	Code        string       `json:"code"`
	Message     string       `json:"message"`
	Status      int          `json:"status"`
	RequestID   string       `json:"request_id"`
	Method      string       `json:"method"`
	Path        string       `json:"path"`
	Remote      string       `json:"remote"`
	ContentType string       `json:"content_type"`
	BodyBytes   int          `json:"body_bytes"`
	Headers     []headerLine `json:"headers"`
}

// Link is the page of the trigger.
func (t sender) Link() string { return "/triggers/" + url.PathEscape(t.Source) }

// Seen reports whether there is something to tell: not every gateway has functions that are called by name.
func (t sender) Seen() bool { return t.Path != "" || len(t.Refused) > 0 }

// Insecure reports whether nothing verifies what comes.
func (t sender) Insecure() bool { return t.Verified == "INSECURE" }

// ask fills v with what is known of the triggers, or of one. Whoever counts hands over what the API answers.
func (s *Server) askTriggers(source string, v any) error {
	if s.triggers == nil {
		return queue.ErrNotFound
	}
	state, err := s.triggers(source)
	if err != nil {
		return err
	}
	data, err := json.Marshal(state)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// triggersPage serves GET /triggers.
func (s *Server) triggersPage(w http.ResponseWriter, r *http.Request) {
	var all []sender
	if err := s.askTriggers("", &all); err != nil {
		s.failPage(w, r, err)
		return
	}
	s.render(w, r, http.StatusOK, "triggers", "Triggers", all)
}

// triggerPage serves GET /triggers/{source}.
func (s *Server) triggerPage(w http.ResponseWriter, r *http.Request) {
	var t sender
	err := s.askTriggers(r.PathValue("source"), &t)
	switch {
	case errors.Is(err, queue.ErrNotFound):
		s.errorPage(w, r, http.StatusNotFound, "There is no such trigger.")
	case err != nil:
		s.failPage(w, r, err)
	default:
		p := triggerPage{sender: t, Testable: s.tests != nil && t.Problem == ""}
		if known, ok := s.setupOf(r, t.Source); ok {
			p.Setup = &known
		}
		s.render(w, r, http.StatusOK, "trigger", t.Source, p)
	}
}
