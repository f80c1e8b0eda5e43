// Package console is the admin side of the gateway: what is stored, what runs,
// and running it again. Everything but GET /healthz needs the token.
package console

import (
	"crypto/subtle"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// Options of New.
type Options struct {
	Queue   *queue.Queue    // required
	Catalog *deploy.Catalog // required; may change while the server runs
	Token   string          // bearer token; "" lets nobody in
	Log     *slog.Logger    // slog.Default
}

// Server is the handler of the admin listener.
type Server struct {
	queue   *queue.Queue
	catalog *deploy.Catalog
	token   []byte
	log     *slog.Logger
	loaded  loaded
	mux     *http.ServeMux
}

// New makes a Server.
func New(o Options) *Server {
	s := &Server{queue: o.Queue, catalog: o.Catalog, token: []byte(o.Token), log: o.Log, mux: http.NewServeMux()}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.loaded.since(o.Catalog.Manifest())
	s.routes()
	return s
}

// routes is the whole HTTP surface.
func (s *Server) routes() {
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	s.mux.HandleFunc("GET /intents", s.intents)
	s.mux.HandleFunc("GET /intents/{$}", s.intents)
	s.mux.HandleFunc("GET /api/v1/events", s.events)
	s.mux.HandleFunc("GET /api/v1/events/{id}", s.event)
	s.mux.HandleFunc("POST /api/v1/events/{id}/replay", s.replay)
	s.mux.HandleFunc("GET /api/v1/stats", s.stats)
	s.mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	s.mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	s.mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	s.mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	s.mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/healthz" && !s.mayEnter(r) {
		w.Header().Set("Www-Authenticate", "Bearer")
		refuse(w, http.StatusUnauthorized, "unauthorized", "send the header Authorization: Bearer with the token of the admin side")
		return
	}
	if _, pattern := s.mux.Handler(r); pattern == "" {
		s.refuseRoute(w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// mayEnter compares in constant time.
func (s *Server) mayEnter(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return len(s.token) > 0 && strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare([]byte(token), s.token) == 1
}

// refuseRoute says what the mux says of a path or method without a handler, in
// the form of all other errors.
func (s *Server) refuseRoute(w http.ResponseWriter, r *http.Request) {
	said := &verdict{header: w.Header(), status: http.StatusOK}
	s.mux.ServeHTTP(said, r)
	w.Header().Del("X-Content-Type-Options")
	if said.status == http.StatusMethodNotAllowed {
		refuse(w, said.status, "method_not_allowed", "use "+w.Header().Get("Allow"))
		return
	}
	refuse(w, http.StatusNotFound, "not_found", "nothing listens on this path")
}

// verdict is an answer of which only the status and the headers are kept.
type verdict struct {
	header http.Header
	status int
}

func (v *verdict) Header() http.Header         { return v.header }
func (v *verdict) WriteHeader(status int)      { v.status = status }
func (v *verdict) Write(b []byte) (int, error) { return len(b), nil }
