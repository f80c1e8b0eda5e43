package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

var kinds = []string{"", "event", "call"}

// events serves GET /api/v1/events: records, newest first.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	filter, err := filterOf(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, "bad_query", err.Error())
		return
	}
	if err := s.checkNames(r.Context(), filter.Function, filter.Source, ""); err != nil {
		s.fail(w, r, err)
		return
	}
	records, err := s.queue.List(r.Context(), filter)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if next, more := filter.Next(records); more {
		linkNext(w, r, next.Before, nil)
	}
	answer(w, http.StatusOK, append([]queue.Record{}, records...))
}

func filterOf(v url.Values) (f queue.Filter, err error) {
	if f, err = chosenEvents(v); err != nil {
		return f, err
	}
	if f.Before, err = cursorOf(v); err != nil {
		return f, err
	}
	f.Limit, err = limit(v)
	return f, err
}

// chosenEvents reads which events and calls are meant.
func chosenEvents(v url.Values) (f queue.Filter, err error) {
	f = queue.Filter{Kind: v.Get("kind"), Function: v.Get("function"), Source: v.Get("source")}
	if !slices.Contains(kinds, f.Kind) {
		return f, fmt.Errorf("kind must be one of %q", kinds[1:])
	}
	if f.State, err = queue.ParseState(v.Get("state")); err != nil {
		return f, err
	}
	f.Since, f.Until, err = span(v)
	return f, err
}

// span reads since and until, RFC 3339.
func span(v url.Values) (since, until time.Time, err error) {
	for name, at := range map[string]*time.Time{"since": &since, "until": &until} {
		if text := v.Get(name); text != "" {
			if *at, err = time.Parse(time.RFC3339, text); err != nil {
				return since, until, fmt.Errorf("%s must be a time like 2026-11-23T08:00:00Z", name)
			}
		}
	}
	return since, until, nil
}

// limit reads how many are wanted, 0 when the query does not say.
func limit(v url.Values) (int, error) {
	text := v.Get("limit")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > queue.MaxLimit {
		return 0, fmt.Errorf("limit must be a number from 1 to %d", queue.MaxLimit)
	}
	return n, nil
}

// event serves GET /api/v1/events/{id}.
func (s *Server) event(w http.ResponseWriter, r *http.Request) {
	record, err := s.queue.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, record)
}

// replay serves POST /api/v1/events/{id}/replay?to=: the event is run again, by
// another function when to names one.
func (s *Server) replay(w http.ResponseWriter, r *http.Request) {
	noteChange(r.Context(), "to", r.URL.Query().Get("to"))
	replayed, err := s.queue.Replay(r.Context(), r.PathValue("id"), r.URL.Query().Get("to"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	accepted(w, replayed)
}

func accepted(w http.ResponseWriter, replayed queue.Replayed) {
	w.Header().Set("Location", "/api/v1/events/"+url.PathEscape(replayed.ID))
	answer(w, http.StatusAccepted, replayed)
}

// listFunctions serves GET /api/v1/functions.
func (s *Server) listFunctions(w http.ResponseWriter, r *http.Request) {
	states, err := s.functions(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, states)
}

// trigger serves GET /api/v1/triggers and GET /api/v1/triggers/{source}.
func (s *Server) trigger(w http.ResponseWriter, r *http.Request) {
	state, err := s.triggers(r.PathValue("source"))
	if errors.Is(err, queue.ErrNotFound) {
		refuse(w, http.StatusNotFound, "no_trigger", err.Error())
		return
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, state)
}

// stats is the answer to GET /api/v1/stats.
type stats struct {
	Functions []queue.FunctionStats `json:"functions"`
	Balance   *queue.Balance        `json:"balance"` // null while the index is being built
	Usage     queue.Usage           `json:"usage"`
}

// stats serves GET /api/v1/stats.
func (s *Server) stats(w http.ResponseWriter, r *http.Request) {
	functions, err := s.queue.Stats(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	all := stats{Functions: functions}
	balance, err := s.queue.Balance(r.Context())
	switch {
	case err == nil:
		all.Balance = &balance
	case !errors.Is(err, queue.ErrIndexing):
		s.fail(w, r, err)
		return
	}
	if all.Usage, err = s.queue.Usage(r.Context()); err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, all)
}
