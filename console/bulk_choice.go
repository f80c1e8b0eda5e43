package console

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// choiceOf refuses a bulk that nothing limits: a request that lost its parameters would work on everything.
func choiceOf(v url.Values, keys ...string) error {
	for _, key := range keys {
		if v.Get(key) != "" {
			return nil
		}
	}
	return fmt.Errorf("choose with at least one of %q", keys)
}

// checkNames refuses names that choose nothing, and a function that would not run anything.
func (s *Server) checkNames(ctx context.Context, function, source, to string) error {
	if to != "" {
		if err := s.queue.HasFunction(ctx, to); err != nil {
			return err
		}
	}
	return s.queue.CheckNames(ctx, function, source)
}

// replayEvents serves POST /api/v1/events/replay: many events run again.
func (s *Server) replayEvents(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	b, f, err := eventBulk(v)
	if err != nil {
		refuse(w, http.StatusBadRequest, "bad_query", err.Error())
		return
	}
	to := v.Get("to")
	if err := s.checkNames(r.Context(), f.Function, f.Source, to); err != nil {
		s.fail(w, r, err)
		return
	}
	b.each = func(ctx context.Context, visit func(ref, function string) error) (int, error) {
		return s.queue.SelectEnded(ctx, f, b.cursor, func(r queue.Record) error { return visit(r.Origin, r.Function) })
	}
	b.do = func(ctx context.Context, ref string) error {
		_, err := s.queue.Replay(ctx, ref, to)
		return err
	}
	s.run(w, r, b)
}

// eventBulk reads which events are meant: no calls, unless the query asks for them.
func eventBulk(v url.Values) (b bulk, f queue.Filter, err error) {
	if err := choiceOf(v, "function", "source", "state", "since", "until"); err != nil {
		return b, f, err
	}
	if b, err = bulkOf(v); err != nil {
		return b, f, err
	}
	if f, err = chosenEvents(v); err != nil {
		return b, f, err
	}
	if f.Kind == "" {
		f.Kind = "event"
	}
	b.until(&f.Until)
	return b, f, nil
}

// replayLetters serves POST /api/v1/dead/replay: the events of many dead letters run again.
func (s *Server) replayLetters(w http.ResponseWriter, r *http.Request) {
	to := r.URL.Query().Get("to")
	s.runLetters(w, r, to, func(ctx context.Context, ref string) error {
		_, err := s.queue.ReplayDead(ctx, ref, to)
		return err
	})
}

// dropLetters serves POST /api/v1/dead/drop: many dead letters are dropped.
func (s *Server) dropLetters(w http.ResponseWriter, r *http.Request) {
	s.runLetters(w, r, "", s.queue.Drop)
}

func (s *Server) runLetters(w http.ResponseWriter, r *http.Request, to string, do func(context.Context, string) error) {
	b, f, err := deadBulk(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, "bad_query", err.Error())
		return
	}
	if err := s.checkNames(r.Context(), f.Function, f.Source, to); err != nil {
		s.fail(w, r, err)
		return
	}
	b.do = do
	b.each = func(ctx context.Context, visit func(ref, function string) error) (int, error) {
		letters, err := s.queue.SelectDead(ctx, f, b.cursor)
		for _, d := range letters {
			if err := visit(d.Origin, d.Function); err != nil {
				return 0, err
			}
		}
		return 0, err
	}
	s.run(w, r, b)
}

// deadBulk reads which dead letters are meant. Here, all=true stands for all of them, and never for those that were
// replayed or dropped.
func deadBulk(v url.Values) (b bulk, f queue.DeadFilter, err error) {
	if b, err = bulkOf(v); err != nil {
		return b, f, err
	}
	if f, err = chosenLetters(v); err != nil {
		return b, f, err
	}
	if !f.All {
		err = choiceOf(v, "function", "source", "reason", "since", "until")
	}
	f.All = false
	b.until(&f.Until)
	return b, f, err
}
