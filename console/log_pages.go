package console

import (
	"net/http"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

// functionLog is what the page of the last lines of a function shows.
type functionLog struct {
	Function string
	Path     string // of the page of the function
	Lines    []deploy.LogLine
	Problem  string // why there are none, or not all; "" when there are
}

// logPages are the routes of the pages with what functions have written.
func (s *Server) logPages() {
	s.mux.HandleFunc("GET /functions/{name}/logs", taking(s.logPage))
}

// logPage serves GET /functions/{name}/logs. It is a page of its own because the engine may take its time. Nothing of the
// lines is kept.
func (s *Server) logPage(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	l := functionLog{Function: name, Path: functionPath(name)}
	if s.logs == nil {
		l.Problem = "this gateway has no Docker socket, so it cannot ask for them: see docker service logs on a manager, or docker logs on the node of the task"
	} else {
		lines, err := s.logs(r.Context(), name)
		l.Lines = lines
		if err != nil {
			l.Problem = err.Error()
		}
	}
	s.render(w, r, http.StatusOK, "logs", "Log of "+name, l)
}
