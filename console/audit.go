package console

import (
	"context"
	"net/http"
	"sync"
)

// auditNotes is what a handler adds to the line about the change that it makes.
type auditNotes struct {
	mu   sync.Mutex
	args []any
}

type auditNotesOf struct{}

// noteChange adds to the line of the log about a change: names and values as slog takes them, no secrets and no bodies.
func noteChange(ctx context.Context, args ...any) {
	if n, ok := ctx.Value(auditNotesOf{}).(*auditNotes); ok {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.args = append(n.args, args...)
	}
}

// change serves a request that changes something, and writes who did what.
func (s *Server) change(w http.ResponseWriter, r *http.Request) {
	r = r.WithContext(context.WithValue(r.Context(), auditNotesOf{}, &auditNotes{}))
	s.audit(r, visitorIn(r.Context()), s.serve(w, r))
}

// audit writes the line. The path has the id of what was changed.
func (s *Server) audit(r *http.Request, v visitor, status int) {
	args := []any{"who", v.who, "role", v.Role(), "from", r.RemoteAddr, "action", r.Method + " " + r.URL.Path, "status", status}
	if n, ok := r.Context().Value(auditNotesOf{}).(*auditNotes); ok {
		n.mu.Lock()
		defer n.mu.Unlock()
		args = append(args, n.args...)
	}
	s.log.Info("audit", args...)
}
