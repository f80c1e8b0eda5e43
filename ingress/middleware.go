package ingress

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// exchange is one request, its answer and what the access line says of them.
type exchange struct {
	w     http.ResponseWriter
	r     *http.Request
	start time.Time

	id       string // of the request
	event    string
	source   string
	function string
	code     string // of what went wrong
	err      error  // what the client is not told

	status int // 0 while nothing is answered
	bytes  int
}

// ServeHTTP answers one request, and logs it in one line.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{w: w, r: r, start: time.Now(), id: r.Header.Get("X-Request-Id")}
	if !isRequestID(x.id) {
		x.id = queue.NewID()
	}
	w.Header()["X-Request-Id"] = []string{x.id}
	defer s.finish(x)
	if err := s.route(x); err != nil {
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
	s.logAccess(x)
}

func (s *Server) logAccess(x *exchange) {
	ctx := x.r.Context()
	if !s.log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	attrs := make([]slog.Attr, 0, 11)
	attrs = append(attrs,
		slog.String("method", clip(x.r.Method)), slog.String("path", clip(x.r.URL.Path)),
		slog.Int("status", x.status), slog.Duration("duration", time.Since(x.start)),
		slog.Int("bytes", x.bytes), slog.String("request_id", x.id))
	for _, a := range []struct{ key, value string }{
		{"event", x.event}, {"source", x.source}, {"function", x.function}, {"code", x.code},
	} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.key, a.value))
		}
	}
	if x.err != nil {
		attrs = append(attrs, slog.String("error", x.err.Error()))
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "request", attrs...)
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

// take notes whose event this is. The event gets its id here, so that the
// client hears it also when the call fails.
func (x *exchange) take(e *queue.Event) {
	e.ID = queue.NewID()
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
	x.answerJSON(f.status, errorBody{errorText{f.code, f.message}})
}

// fail notes an error, if there is one, without answering.
func (x *exchange) fail(err error) failure {
	if err == nil {
		return failure{}
	}
	f := classify(err)
	x.code = f.code
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
	x.answer(status, contentJSON, b)
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
