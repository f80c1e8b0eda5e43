// Package ingress takes requests from outside: from senders, through the
// triggers of the manifest, and from callers of functions. It verifies them,
// hands them to the queue and answers in the form that each sender understands.
//
// What an answer promises:
//
//   - 202 with an id: the event is on disk and survives a power cut.
//   - 200 to a call: the body is the function's reply, byte for byte.
//   - 200 to Alexa with the header Funker-Error: the function was not run or has
//     failed; the body is an apology, or empty where Alexa takes no speech.
//   - Every other answer is {"error":{"code","message"}}, with the code in the
//     header Funker-Error too. Codes are stable.
//
// Every answer has X-Request-Id. Answers about an event have Funker-Event-Id.
package ingress

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

const (
	// DefaultMaxBody is the size limit of a body, in bytes, unless Options sets another.
	DefaultMaxBody = 4 << 20
	// DefaultMaxInFlight is how many requests are served at once, unless Options sets another.
	DefaultMaxInFlight = 1024
)

const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second // header and body; the time a function takes is not in it
	idleTimeout       = 60 * time.Second
	maxHeaderBytes    = 64 << 10

	// writeTimeout ends a connection whose peer does not take its answer. It
	// runs from the header on, so the longest call has to fit in.
	writeTimeout = queue.MaxCallTime + 40*time.Second
)

// Options of New. The zero value of a field means its default.
type Options struct {
	Queue   *queue.Queue    // required
	Catalog *deploy.Catalog // required; may change while the server runs

	Functions      bool   // serve POST /functions/{name}
	FunctionsToken string // bearer token for it; "" lets everybody call

	MaxBody     int64        // bytes; DefaultMaxBody, at most queue.MaxBody
	MaxInFlight int          // DefaultMaxInFlight
	Log         *slog.Logger // slog.Default

	ReadHeaderTimeout time.Duration // 5 s
	ReadTimeout       time.Duration // of header and body together; 15 s
}

func (o Options) check() error {
	switch {
	case o.Queue == nil || o.Catalog == nil:
		return errors.New("ingress needs a queue and a catalog")
	case o.MaxBody < 0 || o.MaxBody > queue.MaxBody:
		return fmt.Errorf("body limit is %d bytes: choose 1 to %d", o.MaxBody, queue.MaxBody)
	case o.MaxInFlight < 0:
		return fmt.Errorf("limit of requests in flight is %d: choose 1 or more", o.MaxInFlight)
	}
	return nil
}

// Server is the handler of the public listener.
type Server struct {
	queue     *queue.Queue
	catalog   *deploy.Catalog
	log       *slog.Logger
	functions bool
	token     []byte
	maxBody   int64
	places    places

	readHeaderTimeout, readTimeout time.Duration

	table   atomic.Pointer[table]
	rebuild sync.Mutex
}

// New makes a Server. It is an error when a trigger of the manifest cannot be
// verified. A trigger of a later manifest that cannot be is left out, with an
// error in the log.
func New(o Options) (*Server, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Server{
		queue: o.Queue, catalog: o.Catalog, log: o.Log,
		functions: o.Functions, token: []byte(o.FunctionsToken),
		maxBody:           cmp.Or(o.MaxBody, DefaultMaxBody),
		places:            places{limit: int64(cmp.Or(o.MaxInFlight, DefaultMaxInFlight))},
		readHeaderTimeout: cmp.Or(o.ReadHeaderTimeout, readHeaderTimeout),
		readTimeout:       cmp.Or(o.ReadTimeout, readTimeout),
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	t, faults := newTable(o.Catalog.Manifest())
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	s.table.Store(t)
	return s, nil
}

// HTTP returns a server for the handler, with its time limits. The caller
// serves and stops it.
func (s *Server) HTTP() *http.Server {
	return &http.Server{
		Handler:           s,
		ReadHeaderTimeout: s.readHeaderTimeout,
		ReadTimeout:       s.readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

const functionsPath = "/functions/"

// route is the whole HTTP surface.
func (s *Server) route(x *exchange) error {
	t := s.current()
	path := x.r.URL.Path
	if path == "/healthz" {
		return s.health(x)
	}
	if h, ok := t.hooks[path]; ok {
		return s.post(x, http.MethodPost, func() error { return s.hook(x, t, h) })
	}
	if path == "/" {
		return s.root(x, t)
	}
	if name, ok := strings.CutPrefix(path, functionsPath); ok && s.functions {
		return s.post(x, http.MethodPost, func() error { return s.function(x, t, name) })
	}
	if strings.HasPrefix(path, functionsPath) {
		return refuse(codeNotFound, "calling functions by name is switched off: start the gateway with --functions")
	}
	return refuse(codeNotFound, "nothing listens on this path")
}

// post gives a request that has the method POST to serve while there is a place
// for it; allow lists the methods of the path.
func (s *Server) post(x *exchange, allow string, serve func() error) error {
	if x.r.Method != http.MethodPost {
		x.w.Header().Set("Allow", allow)
		return refuse(codeMethod, "use "+allow)
	}
	if !s.places.take() {
		return refuse(codeBusy, "too many requests at once: try again soon")
	}
	defer s.places.free()
	return serve()
}

func (s *Server) health(x *exchange) error {
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		x.w.Header().Set("Allow", "GET, HEAD")
		return refuse(codeMethod, "use GET")
	}
	x.answer(http.StatusOK, contentJSON, []byte(`{"status":"ok"}`))
	return nil
}
