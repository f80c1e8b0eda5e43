package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

var (
	kinds  = []string{"", "event", "call"}
	states = []queue.State{
		"", queue.StateWaiting, queue.State(queue.OutcomeOK), queue.State(queue.OutcomeFailed), queue.State(queue.OutcomeNotStarted),
		queue.State(queue.OutcomeInterrupted), queue.State(queue.OutcomeExpired), queue.State(queue.OutcomeNoWorker),
	}
)

// events serves GET /api/v1/events: records, newest first.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	filter, err := filterOf(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, "bad_query", err.Error())
		return
	}
	records, err := s.queue.List(r.Context(), filter)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if records == nil {
		records = []queue.Record{}
	}
	answer(w, http.StatusOK, records)
}

func filterOf(v url.Values) (queue.Filter, error) {
	f := queue.Filter{
		Kind: v.Get("kind"), Function: v.Get("function"), Source: v.Get("source"), State: queue.State(v.Get("state")),
	}
	if limit := v.Get("limit"); limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil || n < 1 || n > queue.MaxLimit {
			return f, fmt.Errorf("limit must be a number from 1 to %d", queue.MaxLimit)
		}
		f.Limit = n
	}
	switch {
	case !slices.Contains(kinds, f.Kind):
		return f, fmt.Errorf("kind must be one of %q", kinds[1:])
	case !slices.Contains(states, f.State):
		return f, fmt.Errorf("state must be one of %q", states[1:])
	}
	return f, nil
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
	replayed, err := s.queue.Replay(r.Context(), r.PathValue("id"), r.URL.Query().Get("to"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Location", "/api/v1/events/"+url.PathEscape(replayed.ID))
	answer(w, http.StatusAccepted, replayed)
}

// stats serves GET /api/v1/stats.
func (s *Server) stats(w http.ResponseWriter, r *http.Request) {
	stats, err := s.queue.Stats(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if stats == nil {
		stats = []queue.FunctionStats{}
	}
	answer(w, http.StatusOK, stats)
}
