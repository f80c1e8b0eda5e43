package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// maxTestBody bounds the body of a test request, in bytes. Senders' own limits are higher.
	maxTestBody = 256 << 10
	// maxTestForm is for the form that has it: a byte takes three there at most.
	maxTestForm = 3*maxTestBody + 4<<10
)

// Tests sends what the senders of triggers could send. An error that is a *Problem is answered as it is.
type Tests interface {
	// Ready returns what can be sent to a trigger. Errors: a *Problem no_trigger or trigger_closed.
	Ready(source string) (Ready, error)
	// Send sends a request, and returns once it is answered. Errors: those of Ready; a *Problem bad_body, cannot_sign or
	// unavailable; those of queue.HasFunction and queue.Call for a function.
	Send(ctx context.Context, t Test) (Tested, error)
}

// Ready is what can be sent to a trigger.
type Ready struct {
	Source      string        `json:"source"`
	Kind        string        `json:"kind"`                   // of the sender
	EventHeader string        `json:"event_header,omitempty"` // that names the event, where that can be chosen
	Unsigned    string        `json:"unsigned,omitempty"`     // why no request can be signed here: then only a function can be called
	Functions   []string      `json:"functions"`              // that the trigger may run
	Bodies      []ReadyToSend `json:"bodies"`                 // at least one
}

// ReadyToSend is a body that a sender could send. Its ids and times are replaced when it is sent.
type ReadyToSend struct {
	Title string `json:"title"`
	Body  string `json:"body"`
}

// Test is a request that somebody wants to be sent.
type Test struct {
	Source   string
	Event    string // its name, where the sender has that in a header; "": as the body says
	Function string // to be called with what the event would bring it; "": the request is signed and goes through the public listener
	Body     []byte
}

// Tested says what came of a Test.
type Tested struct {
	URL      string            `json:"url,omitempty"`      // that it was sent to
	Function string            `json:"function,omitempty"` // that was called in place of that
	Sent     []string          `json:"sent,omitempty"`     // names of the headers of the request
	Body     string            `json:"body"`               // of the request, as it was sent
	Status   int               `json:"status,omitempty"`   // of the answer
	Headers  map[string]string `json:"headers,omitempty"`  // of the answer, those that say something of the event
	Answer   string            `json:"answer"`             // its body, or the reply of the function
	Failed   string            `json:"failed,omitempty"`   // why the function that was called has no reply
	Events   []string          `json:"events"`             // ids of the events, or of the call
	Took     time.Duration     `json:"took_ns"`
}

// ready serves GET /api/v1/triggers/{source}/samples.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	ready, err := s.tests.Ready(r.PathValue("source"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, ready)
}

// test serves POST /api/v1/triggers/{source}/test.
func (s *Server) test(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxTestBody))
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		refuse(w, http.StatusRequestEntityTooLarge, "too_large", tooLargeTest)
		return
	case err != nil:
		refuse(w, http.StatusBadRequest, "bad_request", "the body did not come through: "+err.Error())
		return
	}
	query := r.URL.Query()
	tested, err := s.send(r.Context(), Test{Source: r.PathValue("source"), Event: query.Get("event"), Function: query.Get("function"), Body: body})
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, tested)
}

var tooLargeTest = fmt.Sprintf("a test has a body of %d KiB at most: the command \"funker-dispatch sign\" sends larger ones", maxTestBody>>10)

// send sends it, and notes what was done. The client may go meanwhile: what is sent is sent.
func (s *Server) send(ctx context.Context, t Test) (Tested, error) {
	if len(t.Body) > maxTestBody {
		return Tested{}, &Problem{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Detail: tooLargeTest}
	}
	noteChange(ctx, "source", t.Source)
	if t.Function != "" {
		noteChange(ctx, "function", t.Function)
	}
	tested, err := s.tests.Send(ctx, t)
	if err == nil {
		noteChange(ctx, "answer", tested.Status, "events", len(tested.Events))
	}
	return tested, err
}
