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
//   - 200 to Firehose: all of the batch is stored, or there was nothing to store.
//   - Every other answer is {"error":{"code","message"}}, to Firehose a form of its
//     own, with the code in the header Funker-Error too. Codes are stable.
//
// Every answer has X-Request-Id. Answers about an event have Funker-Event-Id.
package ingress

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

const (
	// DefaultMaxBody is the size limit of a body, in bytes, unless Options sets
	// another: GitHub sends up to 25 MB.
	DefaultMaxBody = 26 << 20
	// DefaultMaxInFlight is how many requests are served at once, unless Options sets another.
	DefaultMaxInFlight = 1024
	// DefaultMaxInFlightBytes is how many bytes their bodies have, without the
	// first 64 KiB of each, unless Options sets another limit.
	DefaultMaxInFlightBytes = 256 << 20
)

const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second // header and body; the time a function takes is not in it
	idleTimeout       = 60 * time.Second
	maxHeaderBytes    = 64 << 10
	maxStreams        = 100 // requests at once on a connection of HTTP/2: the least that RFC 9113, section 6.5.2, recommends

	// writeTimeout ends a connection whose peer does not take its answer. It
	// runs from the header on, so the longest call has to fit in.
	writeTimeout = queue.MaxCallTime + 40*time.Second
)

// Options of New. The zero value of a field means its default.
type Options struct {
	Queue   *queue.Queue    // required
	Catalog *deploy.Catalog // required; may change while the server runs
	// Found reports whether a worker has a function that no manifest names: it is called by its name. nil: none has.
	Found func(function string) bool

	Functions      bool   // serve POST /functions/{name}
	FunctionsToken string // bearer token for it; "" lets everybody call

	MaxBody          int64        // bytes; DefaultMaxBody, at most queue.MaxBody
	MaxInFlight      int          // DefaultMaxInFlight
	MaxInFlightBytes int64        // DefaultMaxInFlightBytes or MaxBody, whichever is more; at least MaxBody
	Log              *slog.Logger // slog.Default

	// TrustedProxies are the proxies in front, which say whose request it is: for
	// the log and for samples of refused requests. None: nobody is asked.
	TrustedProxies []netip.Prefix

	Metrics prometheus.Registerer // where the metrics go; nil: nowhere

	Tracer trace.Tracer // makes spans of requests; nil: none are made
	// TrustTraces continues the trace that a request says it belongs to, whoever sends it. Otherwise its trace is new, with a
	// link to that one.
	TrustTraces bool

	Fetch trigger.Fetch // gets certificates of senders; over HTTPS

	ReadHeaderTimeout time.Duration // 5 s
	ReadTimeout       time.Duration // of header and body together; 15 s
}

func (o Options) check() error {
	largest := cmp.Or(o.MaxBody, DefaultMaxBody)
	switch {
	case o.Queue == nil || o.Catalog == nil:
		return errors.New("ingress needs a queue and a catalog")
	case o.MaxBody < 0 || o.MaxBody > queue.MaxBody:
		return fmt.Errorf("body limit is %d bytes: choose 1 to %d", o.MaxBody, queue.MaxBody)
	case o.MaxInFlight < 0:
		return fmt.Errorf("limit of requests in flight is %d: choose 1 or more", o.MaxInFlight)
	case o.MaxInFlightBytes != 0 && o.MaxInFlightBytes < largest:
		return fmt.Errorf("limit of bytes in flight is %d: choose %d or more, so that one largest body fits", o.MaxInFlightBytes, largest)
	}
	return nil
}

// Server is the handler of the public listener.
type Server struct {
	queue     *queue.Queue
	catalog   *deploy.Catalog
	found     func(function string) bool
	log       *slog.Logger
	senders   *senders
	proxies   proxies
	functions bool
	token     []byte
	maxBody   int64
	places    budget
	bytes     budget
	deciders  chan struct{} // has one element for each request whose filters are asked

	tracer      trace.Tracer
	trustTraces bool

	readHeaderTimeout, readTimeout time.Duration

	fetch   trigger.Fetch
	repeats repeats
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
	maxBody := cmp.Or(o.MaxBody, DefaultMaxBody)
	s := &Server{
		queue: o.Queue, catalog: o.Catalog, found: o.Found, log: o.Log, fetch: o.Fetch, proxies: o.TrustedProxies,
		functions: o.Functions, token: []byte(o.FunctionsToken), tracer: o.Tracer, trustTraces: o.TrustTraces,
		maxBody:           maxBody,
		places:            budget{limit: int64(cmp.Or(o.MaxInFlight, DefaultMaxInFlight))},
		deciders:          make(chan struct{}, runtime.GOMAXPROCS(0)),
		bytes:             budget{limit: cmp.Or(o.MaxInFlightBytes, max(DefaultMaxInFlightBytes, maxBody))},
		readHeaderTimeout: cmp.Or(o.ReadHeaderTimeout, readHeaderTimeout),
		readTimeout:       cmp.Or(o.ReadTimeout, readTimeout),
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.senders = newSenders(s.functionsAre())
	if o.Metrics != nil {
		if err := o.Metrics.Register(s.senders); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	if s.fetch == nil {
		s.fetch = fetch
	}
	if s.found == nil {
		s.found = func(string) bool { return false }
	}
	t, faults := newTable(o.Catalog.Manifest(), s.fetch, nil)
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	s.senders.follow(t.manifest)
	s.table.Store(t)
	return s, nil
}

// functionsAre says where functions can be called by name, if at all, and what
// proves such calls.
func (s *Server) functionsAre() (path, verified string) {
	switch {
	case !s.functions:
		return "", ""
	case len(s.token) == 0:
		return functionsPath, insecure
	default:
		return functionsPath, "token"
	}
}

// HTTP returns a server for the handler, with its time limits. The caller
// serves and stops it, with TLS (and HTTP/2) or without.
func (s *Server) HTTP() *http.Server {
	return &http.Server{
		Handler:           s,
		ReadHeaderTimeout: s.readHeaderTimeout,
		ReadTimeout:       s.readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams, WriteByteTimeout: writeTimeout},
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

const (
	functionsPath = "/functions/"
	healthPath    = "/healthz"
)

// route is the whole HTTP surface.
func (s *Server) route(x *exchange) error {
	t := s.current()
	path := x.r.URL.Path
	if path == healthPath {
		return s.health(x)
	}
	if h, ok := t.hooks[path]; ok {
		x.source, x.manner = h.source, h.manner()
		if h.Kind == trigger.CloudEvents {
			return s.cloudEvents(x, t, h)
		}
		return s.post(x, http.MethodPost, h.Kind == trigger.Alexa, func() error { return s.hook(x, t, h) })
	}
	if path == "/" {
		return s.root(x, t)
	}
	if strings.HasPrefix(path, functionsPath) {
		x.source = sourceHTTP
	}
	if name, ok := strings.CutPrefix(path, functionsPath); ok && s.functions {
		return s.post(x, http.MethodPost, !prefersAsync(x.r.Header["Prefer"]), func() error { return s.function(x, t, name) })
	}
	if strings.HasPrefix(path, functionsPath) {
		return refuse(codeNotFound, "calling functions by name is switched off: start the gateway with --functions")
	}
	return refuse(codeNotFound, "nothing listens on this path")
}

// post gives a request that has the method POST to serve while there is a place
// for it, as a call or as an event; allow lists the methods of the path.
func (s *Server) post(x *exchange, allow string, call bool, serve func() error) error {
	if x.r.Method != http.MethodPost {
		x.w.Header().Set("Allow", allow)
		return refuse(codeMethod, "use "+allow)
	}
	if !s.place(call) {
		return refuse(codeBusy, "too many requests at once: try again soon")
	}
	defer func() {
		s.places.free(1)
		s.bytes.free(x.held)
	}()
	return serve()
}

func (s *Server) health(x *exchange) error {
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		x.w.Header().Set("Allow", "GET, HEAD")
		return refuse(codeMethod, "use GET")
	}
	if !s.queue.Together() {
		x.answer(http.StatusServiceUnavailable, contentJSON, []byte(`{"status":"`+StatusWaiting+`"}`))
		return nil
	}
	x.answer(http.StatusOK, contentJSON, []byte(`{"status":"ok"}`))
	return nil
}
