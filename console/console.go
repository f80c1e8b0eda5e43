// Package console is the admin side of the gateway: what is stored, what runs,
// and running it again, as JSON for programs and as pages for people.
//
// Everything but GET /healthz, the login page and its style needs a token, or a
// session that was opened with one. The read-only token changes nothing. Every
// change is a line "audit" in the log. See auth.go.
package console

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// Options of New.
type Options struct {
	Queue     *queue.Queue    // required
	Catalog   *deploy.Catalog // required; may change while the server runs
	Token     string          // for everything; "" lets nobody in
	ReadToken string          // for looking; "" lets nobody in
	Metrics   http.Handler    // GET /metrics; nil: there are none
	Log       *slog.Logger    // slog.Default

	// CheckJSON refuses a body that no function could be given; nil: one that is no JSON.
	CheckJSON func(body []byte) error

	// Hosts are names under which browsers reach the server without TLS, besides localhost and addresses.
	Hosts []string

	// Functions returns what is known of every function; it is answered as JSON. nil: nothing is known of functions.
	Functions func(context.Context) (any, error)

	// Manifests keeps the manifest. nil: nobody does.
	Manifests Manifests

	// Triggers returns what became of the requests of every trigger, or of one; the error is queue.ErrNotFound. It is
	// answered as JSON. nil: nothing is known of triggers.
	Triggers func(source string) (any, error)

	Tests  Tests  // sends test requests; nil: nobody does
	Public Public // how senders reach the gateway, as far as that is known
	// Logs returns the last lines of the tasks of a function, and why there are none or not all. nil: nobody can ask for them.
	Logs func(ctx context.Context, function string) ([]deploy.LogLine, error)
}

// Server is the handler of the admin listener.
type Server struct {
	queue     *queue.Queue
	catalog   *deploy.Catalog
	functions func(context.Context) (any, error)
	manifests Manifests
	triggers  func(source string) (any, error)
	tests     Tests
	public    Public
	logs      func(context.Context, string) ([]deploy.LogLine, error)
	log       *slog.Logger
	loaded    loaded
	mux       *http.ServeMux

	token, readToken []byte
	sessions         sessions
	logins           *throttle
	crossOrigin      *http.CrossOriginProtection
	hosts            []string // in lower case
	checkJSON        func([]byte) error
	verifying        sync.Mutex

	ticker    ticker
	readers   chan struct{}   // one for each stream that is read
	heartbeat time.Duration   // of a stream
	patience  time.Duration   // with its reader
	bodyTime  time.Duration   // for the body of a request
	life      context.Context // of what takes longer than a request: until Close
	end       context.CancelFunc
}

// New makes a Server.
func New(o Options) *Server {
	s := &Server{
		queue: o.Queue, catalog: o.Catalog, functions: o.Functions, manifests: o.Manifests, triggers: o.Triggers, tests: o.Tests, public: o.Public,
		logs: o.Logs, log: o.Log, mux: http.NewServeMux(),
		token: []byte(o.Token), readToken: []byte(o.ReadToken), sessions: sessions{all: map[sessionKey]*session{}},
		logins: newThrottle(), crossOrigin: http.NewCrossOriginProtection(),
		readers: make(chan struct{}, maxReaders), heartbeat: heartbeat, patience: readerPatience, bodyTime: bodyTime,
	}
	if s.checkJSON = o.CheckJSON; s.checkJSON == nil {
		s.checkJSON = checkValid
	}
	for _, host := range o.Hosts {
		s.hosts = append(s.hosts, strings.ToLower(host))
	}
	s.life, s.end = context.WithCancel(context.Background())
	s.ticker.make, s.ticker.viewers = s.picture, map[chan []byte]bool{}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.loaded.since(o.Catalog.Manifest())
	s.routes()
	s.pages()
	if o.Metrics != nil {
		s.mux.Handle("GET /metrics", o.Metrics)
	}
	return s
}

// Close ends the requests that take long, such as those which work on many events, and live views: a server that stops
// waits for them.
func (s *Server) Close() {
	s.end()
	s.ticker.close()
}

// whileOpen returns a context that ends with another one, or with Close.
func (s *Server) whileOpen(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// routes is the whole HTTP surface.
func (s *Server) routes() {
	s.mux.HandleFunc("GET "+healthPath, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	s.mux.HandleFunc("GET /intents", s.intents)
	s.mux.HandleFunc("GET /intents/{$}", s.intents)
	for _, r := range s.api() {
		s.mux.HandleFunc(r.method+" "+r.path, taking(r.serve, r.keys...))
	}
	s.mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	s.mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	s.mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	s.mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	s.mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

// taking refuses a query with other keys than these, which would be ignored: a
// filter that is misspelt would choose too much.
func taking(serve http.HandlerFunc, keys ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for key := range r.URL.Query() {
			if !slices.Contains(keys, key) {
				refuse(w, http.StatusBadRequest, "bad_query", fmt.Sprintf("there is no %q in the query; it takes %q", key, keys))
				return
			}
		}
		serve(w, r)
	}
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	guard(w.Header())
	r = s.bounded(w, r)
	v, ok := s.enter(r)
	if !ok && !s.knowsHost(r) {
		s.misdirect(w, r)
		return
	}
	if !open(r.URL.Path) {
		if !ok {
			s.turnAway(w, r)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), visitorOf{}, v))
		if !s.permit(w, r, v) {
			return
		}
	}
	if changes(r) && !open(r.URL.Path) {
		s.change(w, r)
		return
	}
	s.serve(w, r)
}

// serve answers with a problem, or a page for people, where a handler of the standard library sends an error in plain text.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) (status int) {
	e := &plainErrors{ResponseWriter: w}
	s.mux.ServeHTTP(e, r)
	if e.plain && e.status == http.StatusNotFound && wantsPage(r) {
		s.errorPage(w, r, e.status, "There is no such page.")
		return e.status
	}
	e.finish()
	return cmp.Or(e.status, http.StatusOK)
}
