package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// APISource is the source of the events and calls that come through the API.
const APISource = "api"

// Limits of what comes through the API.
const (
	maxBody     = queue.MaxMessage // bytes; larger events come through triggers
	defaultCall = 30 * time.Second // for the reply of a function
)

// call serves POST /api/v1/functions/{name}/call: the function's reply, byte for byte.
func (s *Server) call(w http.ResponseWriter, r *http.Request) {
	limit, err := callTime(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, "bad_query", err.Error())
		return
	}
	e, ok := s.eventIn(w, r)
	if !ok {
		return
	}
	e.Deadline = time.Now().Add(limit)
	if f, ok := s.catalog.Manifest().Function(e.Function); ok {
		e.Patient = f.Image != "" // its next task may be starting
	}
	reply, err := s.queue.Call(r.Context(), e)
	if err != nil {
		s.failCall(w, r, err)
		return
	}
	w.Header().Set("Location", "/api/v1/events/"+url.PathEscape(e.ID))
	answerText(w, "application/json", reply)
}

// stored is the answer to an event.
type stored struct {
	ID string `json:"id"`
}

// storeEvent serves POST /api/v1/functions/{name}/event: it is answered when it is stored.
func (s *Server) storeEvent(w http.ResponseWriter, r *http.Request) {
	e, ok := s.eventIn(w, r)
	if !ok {
		return
	}
	receipt, err := s.queue.Publish(context.WithoutCancel(r.Context()), e)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Location", "/api/v1/events/"+url.PathEscape(receipt.ID))
	answer(w, http.StatusAccepted, stored{receipt.ID})
}

// eventIn reads what a function shall be given, and answers the request when that makes no sense.
func (s *Server) eventIn(w http.ResponseWriter, r *http.Request) (e *queue.Event, ok bool) {
	e = &queue.Event{ID: queue.NewID(), Source: APISource, Function: r.PathValue("name"), ContentType: "application/json"}
	noteChange(r.Context(), "event", e.ID)
	if err := s.queue.HasFunction(r.Context(), e.Function); err != nil {
		s.fail(w, r, err)
		return nil, false
	}
	var err error
	e.Body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		refuse(w, http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("a body that comes through the API has at most %d bytes", maxBody))
		return nil, false
	case err != nil:
		refuse(w, http.StatusBadRequest, "bad_request", "the body did not come through: "+err.Error())
		return nil, false
	}
	if err := s.checkJSON(e.Body); err != nil {
		refuse(w, http.StatusBadRequest, "bad_request", err.Error())
		return nil, false
	}
	return e, true
}

// checkValid is for a server that was not told how to check JSON.
func checkValid(body []byte) error {
	if !json.Valid(body) {
		return errors.New("the body is no JSON")
	}
	return nil
}

// callTime reads how long the reply may take.
func callTime(v url.Values) (time.Duration, error) {
	text := v.Get("timeout")
	if text == "" {
		return defaultCall, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > queue.MaxCallTime {
		return 0, fmt.Errorf("timeout must be a duration such as 30s, at most %s", queue.MaxCallTime)
	}
	return d, nil
}

// callMeanings are the failures of a call that are none of the function: 502 is for the others.
var callMeanings = map[string]struct {
	status int
	retry  string // seconds
}{
	queue.CodeNoWorker: {http.StatusServiceUnavailable, "1"},
	queue.CodeNoTask:   {http.StatusServiceUnavailable, "1"},
	queue.CodePaused:   {http.StatusServiceUnavailable, "60"},
	queue.CodeNoPorts:  {http.StatusServiceUnavailable, "5"},
	queue.CodeStopping: {http.StatusServiceUnavailable, "1"},
	queue.CodeTimeout:  {http.StatusGatewayTimeout, ""},
	queue.CodeExpired:  {http.StatusGatewayTimeout, ""},
}

// failCall answers a call that has no reply.
func (s *Server) failCall(w http.ResponseWriter, r *http.Request, err error) {
	var failed *queue.CallError
	if !errors.As(err, &failed) {
		s.fail(w, r, err)
		return
	}
	meaning, ok := callMeanings[failed.Code]
	if !ok {
		meaning.status = http.StatusBadGateway
	}
	if meaning.retry != "" {
		w.Header().Set("Retry-After", meaning.retry)
	}
	refuse(w, meaning.status, failed.Code, failed.Message)
}
