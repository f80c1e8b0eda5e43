package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

// A function is paused, resumed and scaled by an edit of the stored manifest, so there is one place that says how it is.

// pauseFunction serves POST /api/v1/functions/{name}/pause.
func (s *Server) pauseFunction(w http.ResponseWriter, r *http.Request) {
	s.answerEdit(w, r, func(text []byte) ([]byte, error) { return deploy.SetPaused(text, r.PathValue("name"), true) })
}

// resumeFunction serves POST /api/v1/functions/{name}/resume.
func (s *Server) resumeFunction(w http.ResponseWriter, r *http.Request) {
	s.answerEdit(w, r, func(text []byte) ([]byte, error) { return deploy.SetPaused(text, r.PathValue("name"), false) })
}

// scaleFunction serves POST /api/v1/functions/{name}/scale?min=&max=.
func (s *Server) scaleFunction(w http.ResponseWriter, r *http.Request) {
	replicas, err := replicasOf(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, "bad_query", err.Error())
		return
	}
	noteChange(r.Context(), "min", replicas.Min, "max", replicas.Max)
	s.answerEdit(w, r, func(text []byte) ([]byte, error) { return deploy.SetReplicas(text, r.PathValue("name"), replicas) })
}

// replicasOf reads min and max. Which numbers are taken the manifest says.
func replicasOf(v url.Values) (r deploy.Replicas, err error) {
	if r.Min, err = strconv.Atoi(v.Get("min")); err == nil {
		r.Max, err = strconv.Atoi(v.Get("max"))
	}
	if err == nil {
		err = r.Check()
	}
	if err != nil {
		return r, errors.New("min and max are the least and the greatest number of tasks: numbers from 0 to 1000, max at least 1 and not below min")
	}
	return r, nil
}

func (s *Server) answerEdit(w http.ResponseWriter, r *http.Request, change func(text []byte) ([]byte, error)) {
	a, err := s.editManifest(r.Context(), change)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, a)
}

// editManifest changes the stored manifest. The error may be a *Problem.
func (s *Server) editManifest(ctx context.Context, change func(text []byte) ([]byte, error)) (Applied, error) {
	a, err := s.manifests.Edit(ctx, change)
	var p *Problem
	switch {
	case errors.As(err, &p):
	case errors.Is(err, deploy.ErrNotNamed):
		err = &Problem{Status: http.StatusNotFound, Code: "unknown_function", Detail: err.Error()}
	case errors.Is(err, deploy.ErrNotDeployed):
		err = &Problem{Status: http.StatusConflict, Code: "not_deployed", Detail: err.Error()}
	case errors.Is(err, deploy.ErrByHand):
		err = &Problem{Status: http.StatusConflict, Code: "by_hand", Detail: err.Error()}
	}
	if err == nil {
		noteChange(ctx, "revision", a.Revision, "changes", len(a.Changes))
	}
	return a, err
}
