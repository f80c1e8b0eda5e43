package console

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
)

// auditNotes is what a handler adds to the line about the change that it makes.
type auditNotes struct {
	mu   sync.Mutex
	args []any
	none bool // nothing was to be changed
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

// changedNothing says that a request only asked something, although it was no GET: the line about it is for debugging.
func changedNothing(ctx context.Context) {
	if n, ok := ctx.Value(auditNotesOf{}).(*auditNotes); ok {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.none = true
	}
}

// change serves a request that changes something, and writes who did what.
func (s *Server) change(w http.ResponseWriter, r *http.Request) {
	r = r.WithContext(context.WithValue(r.Context(), auditNotesOf{}, &auditNotes{}))
	status := http.StatusInternalServerError // of a handler that does not come to its end
	defer func() { s.audit(r, visitorIn(r.Context()), status) }()
	status = s.serve(w, r)
}

// audit writes the line. The path has the id of what was changed.
func (s *Server) audit(r *http.Request, v visitor, status int) {
	args := []any{"who", v.who, "role", v.Role(), "from", r.RemoteAddr, "action", r.Method + " " + r.URL.Path, "status", status}
	level := slog.LevelInfo
	if n, ok := r.Context().Value(auditNotesOf{}).(*auditNotes); ok {
		n.mu.Lock()
		defer n.mu.Unlock()
		if args = append(args, n.args...); n.none {
			level = slog.LevelDebug
		}
	}
	s.log.Log(r.Context(), level, "audit", args...)
}
