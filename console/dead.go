package console

import (
	"net/http"
	"net/url"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// letters serves GET /api/v1/dead: dead letters, newest first; with all=true
// also those that were replayed or dropped since.
func (s *Server) letters(w http.ResponseWriter, r *http.Request) {
	filter, err := deadFilterOf(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, "bad_query", err.Error())
		return
	}
	if err := s.checkNames(r.Context(), filter.Function, filter.Source, ""); err != nil {
		s.fail(w, r, err)
		return
	}
	letters, err := s.queue.DeadLetters(r.Context(), filter)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if next, more := filter.Next(letters); more {
		linkNext(w, r, next.Before, nil)
	}
	answer(w, http.StatusOK, append([]queue.DeadLetter{}, letters...))
}

func deadFilterOf(v url.Values) (f queue.DeadFilter, err error) {
	if f, err = chosenLetters(v); err != nil {
		return f, err
	}
	if f.Before, err = cursorOf(v); err != nil {
		return f, err
	}
	f.Limit, err = limit(v)
	return f, err
}

// chosenLetters reads which dead letters are meant.
func chosenLetters(v url.Values) (f queue.DeadFilter, err error) {
	f = queue.DeadFilter{Function: v.Get("function"), Source: v.Get("source")}
	if f.Reason, err = queue.ParseReason(v.Get("reason")); err != nil {
		return f, err
	}
	if f.All, err = boolean(v, "all"); err != nil {
		return f, err
	}
	f.Since, f.Until, err = span(v)
	return f, err
}

// letter serves GET /api/v1/dead/{id}: a dead letter, and its event with all
// attempts.
func (s *Server) letter(w http.ResponseWriter, r *http.Request) {
	d, err := s.queue.DeadLetter(r.Context(), r.PathValue("id"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	record, err := s.queue.Get(r.Context(), d.Origin)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, struct {
		queue.DeadLetter
		Event queue.Record `json:"event"`
	}{d, record})
}

// replayLetter serves POST /api/v1/dead/{id}/replay?to=.
func (s *Server) replayLetter(w http.ResponseWriter, r *http.Request) {
	replayed, err := s.queue.ReplayDead(r.Context(), r.PathValue("id"), r.URL.Query().Get("to"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	accepted(w, replayed)
}

// drop serves DELETE /api/v1/dead/{id}.
func (s *Server) drop(w http.ResponseWriter, r *http.Request) {
	if err := s.queue.Drop(r.Context(), r.PathValue("id")); err != nil {
		s.fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
