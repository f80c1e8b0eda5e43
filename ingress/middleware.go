package ingress

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// exchange is one request, its answer and what the access line says of them.
type exchange struct {
	w     http.ResponseWriter
	r     *http.Request
	start time.Time

	id       string // of the request
	client   string // address, with the port of who is connected
	event    string
	source   string
	function string
	manner   manner // in which the sender is answered
	code     string // of what went wrong
	message  string // the same in words, as the client is told
	said     string // to a sender, of its events: one of the constants said…
	ignored  string // the name of an event that no filter let through
	level    slog.Level
	err      error // what the client is not told

	span  trace.Span // nil: the request is not traced
	trace string     // its id; "" likewise

	status int  // 0 while nothing is answered
	unread bool // some of the body is
	bytes  int
	size   int64 // bytes of the body, as announced or read; -1 while that is not known
	held   int64 // bytes of the body, out of the budget
}

// ServeHTTP answers one request, and logs it in one line.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.serve(w, r, s.route) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request, route func(*exchange) error) {
	x := &exchange{w: w, r: r, start: time.Now(), id: r.Header.Get("X-Request-Id"), client: s.proxies.client(r), size: r.ContentLength}
	if !isRequestID(x.id) {
		x.id = queue.NewID()
	}
	w.Header()["X-Request-Id"] = []string{x.id}
	s.startSpan(x)
	defer x.linger()
	defer s.finish(x)
	if err := route(x); err != nil {
		x.refuse(err)
	}
}

// finish writes the access line; a panic becomes an answer and a line more.
func (s *Server) finish(x *exchange) {
	if p := recover(); p != nil {
		s.log.Error("panic while serving a request", "request_id", x.id, "panic", p, "stack", string(debug.Stack()))
		if x.status == 0 {
			x.refuse(refuse(codeInternal, "something went wrong here: the log has it under this request id"))
		}
	}
	s.senders.note(x)
	s.endSpan(x)
	s.logAccess(x)
}

func (s *Server) logAccess(x *exchange) {
	ctx, level := x.r.Context(), x.level
	if x.r.URL.Path == healthPath && x.err == nil {
		level = slog.LevelDebug // somebody asks every few seconds
	}
	if !s.log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs,
		slog.String("method", clip(x.r.Method)), slog.String("path", clip(x.r.URL.Path)),
		slog.Int("status", x.status), slog.Duration("duration", time.Since(x.start)),
		slog.Int("bytes", x.bytes), slog.String("client", x.client), slog.String("request_id", x.id))
	for _, a := range []struct{ key, value string }{
		{"event", x.event}, {"source", x.source}, {"function", x.function}, {"code", x.code}, {"trace_id", x.trace},
	} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.key, a.value))
		}
	}
	if x.err != nil {
		attrs = append(attrs, slog.String("error", x.err.Error()))
	}
	s.log.LogAttrs(ctx, level, "request", attrs...)
}

// clip keeps a line of the log short whatever a client sends.
func clip(s string) string {
	const longest = 256
	if len(s) <= longest {
		return s
	}
	return s[:longest] + "…"
}

// isRequestID accepts what is safe in headers and logs, and not long.
func isRequestID(id string) bool {
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '_', c == '.', c == ':', c == '/', c == '+', c == '=':
		default:
			return false
		}
	}
	return id != "" && len(id) <= 128
}

// take notes whose event this is: the client hears its id also when the call
// fails.
func (x *exchange) take(e *queue.Event) {
	x.source, x.function = e.Source, e.Function
	x.setEvent(e.ID)
}

func (x *exchange) setEvent(id string) {
	x.event = id
	x.w.Header()["Funker-Event-Id"] = []string{id}
}

// refuse answers with an error.
func (x *exchange) refuse(err error) {
	f := x.fail(err)
	if f.retry != "" {
		x.w.Header().Set("Retry-After", f.retry)
	}
	if x.manner.final != "" && f.final() {
		x.w.Header().Set(x.manner.final, "1")
	}
	if f.status == http.StatusUnauthorized && x.manner.challenge != "" {
		x.w.Header().Set("Www-Authenticate", x.manner.challenge)
	}
	if x.manner.body != nil {
		x.answerJSON(f.status, x.manner.body(x, f))
		return
	}
	x.answerJSON(f.status, errorBody{errorText{f.code, f.message}})
}

// fail notes an error, if there is one, without answering. What is nobody's fault
// but ours or a function's is a warning.
func (x *exchange) fail(err error) failure {
	if err == nil {
		return failure{}
	}
	f := classify(err)
	ours := f.status >= http.StatusInternalServerError
	if x.manner.refuse != nil {
		f = x.manner.refuse(f)
	}
	x.code, x.message = f.code, f.message
	if ours || f.status >= http.StatusInternalServerError {
		x.level = slog.LevelWarn
	}
	if f.internal {
		x.err = err
	}
	x.w.Header().Set("Funker-Error", f.code)
	return f
}

func (x *exchange) answerJSON(status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		x.err, status, b = err, http.StatusInternalServerError, []byte(`{"error":{"code":"internal","message":""}}`)
	}
	x.answer(status, contentJSON, append(b, '\n'))
}

// answer sends the whole answer. That the client has gone meanwhile is nobody's
// business any more.
func (x *exchange) answer(status int, contentType string, body []byte) {
	h := x.w.Header()
	h["Content-Type"] = []string{contentType}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	x.status = status
	x.w.WriteHeader(status)
	if x.r.Method != http.MethodHead {
		x.bytes, _ = x.w.Write(body)
	}
}
