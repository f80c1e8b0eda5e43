package console

import (
	"bytes"
	"cmp"
	"errors"
	"net/http"
	"strings"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// ProblemType is the media type of a Problem.
const ProblemType = "application/problem+json"

// Problem is every error of the admin listener: problem details of RFC 9457. It has no type, which stands for
// about:blank, so Title is the text of the status.
type Problem struct {
	Title  string  `json:"title"`
	Status int     `json:"status"`
	Code   string  `json:"code"`             // stable, for programs
	Detail string  `json:"detail"`           // what is wrong, and what to do, for people
	Faults []Fault `json:"faults,omitempty"` // of a manifest that is refused
}

func (p *Problem) Error() string { return p.Detail }

// Is makes errors of the queue, and of another gateway that answers them, the same to whoever asks for their kind.
func (p *Problem) Is(kind error) bool { return kindOf[p.Code] == kind }

var kindOf = map[string]error{
	"not_found": queue.ErrNotFound, "unknown_function": queue.ErrNoFunction, "unknown_source": queue.ErrNoSource, "not_dead": queue.ErrNotDead,
	"not_json": queue.ErrNotJSON, "stale": queue.ErrConflict, "corrupt": queue.ErrCorrupt, "store_full": queue.ErrFull, "indexing": queue.ErrIndexing, "unavailable": queue.ErrUnavailable,
}

// Fault is one thing that is wrong with a manifest.
type Fault struct {
	Line    int    `json:"line,omitempty"`   // from 1; 0: it is about the whole
	Column  int    `json:"column,omitempty"` // from 1, in characters
	Message string `json:"message"`
}

func refuse(w http.ResponseWriter, status int, code, detail string) {
	answerProblem(w, Problem{Status: status, Code: code, Detail: detail})
}

func answerProblem(w http.ResponseWriter, p Problem) {
	w.Header().Set("Content-Type", ProblemType)
	answer(w, p.Status, titled(p))
}

func titled(p Problem) Problem {
	p.Title = http.StatusText(p.Status)
	return p
}

// fail is the one table from errors of the queue to answers.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := s.problemOf(r, err)
	switch p.Code {
	case "store_full":
		w.Header().Set("Retry-After", "30")
	case "indexing", "unavailable":
		w.Header().Set("Retry-After", "5")
	}
	answerProblem(w, p)
}

// problemOf writes the error into the log where the problem does not tell it.
func (s *Server) problemOf(r *http.Request, err error) Problem {
	p := problemOf(err)
	if p.Code == "internal" && r.Context().Err() == nil { // else the client has gone, and that is the error
		s.log.Error("admin request", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	return p
}

func problemOf(err error) Problem {
	var p *Problem
	switch {
	case errors.As(err, &p):
		return *p
	case errors.Is(err, queue.ErrNotFound):
		return Problem{Status: http.StatusNotFound, Code: "not_found", Detail: err.Error() + ": see GET /api/v1/events and GET /api/v1/dead"}
	case errors.Is(err, queue.ErrNoFunction), errors.Is(err, queue.ErrName):
		return Problem{Status: http.StatusNotFound, Code: "unknown_function", Detail: err.Error() + ": see GET /api/v1/stats"}
	case errors.Is(err, queue.ErrNoSource):
		return Problem{Status: http.StatusNotFound, Code: "unknown_source", Detail: err.Error() + ": see GET /api/v1/triggers"}
	case errors.Is(err, queue.ErrNotJSON):
		return Problem{Status: http.StatusUnprocessableEntity, Code: "not_json", Detail: err.Error()}
	case errors.Is(err, queue.ErrArgument):
		return Problem{Status: http.StatusBadRequest, Code: "bad_query", Detail: err.Error()}
	case errors.Is(err, queue.ErrNotDead):
		return Problem{Status: http.StatusConflict, Code: "not_dead", Detail: err.Error()}
	case errors.Is(err, ErrStale), errors.Is(err, queue.ErrConflict):
		return Problem{Status: http.StatusPreconditionFailed, Code: "stale", Detail: err.Error() + ": GET it, make the change again, and send its ETag"}
	case errors.Is(err, queue.ErrCorrupt):
		return Problem{Status: http.StatusConflict, Code: "corrupt", Detail: "what is stored does not match its hash"}
	case errors.Is(err, queue.ErrFull):
		return Problem{Status: http.StatusServiceUnavailable, Code: "store_full", Detail: "the store is full, nothing was stored"}
	case errors.Is(err, queue.ErrIndexing):
		return Problem{Status: http.StatusServiceUnavailable, Code: "indexing", Detail: "the gateway has just started and still reads what is stored"}
	case errors.Is(err, queue.ErrUnavailable):
		return Problem{Status: http.StatusServiceUnavailable, Code: "unavailable", Detail: "the queue is not available"}
	}
	return Problem{Status: http.StatusInternalServerError, Code: "internal", Detail: "something went wrong here: see the log"}
}

// plainErrors turns errors in plain text, as the mux and handlers of the standard library send them, into problems.
type plainErrors struct {
	http.ResponseWriter
	status int // 0: nothing was answered yet
	plain  bool
	text   bytes.Buffer // of a plain error
}

// Unwrap is for http.ResponseController.
func (e *plainErrors) Unwrap() http.ResponseWriter { return e.ResponseWriter }

func (e *plainErrors) WriteHeader(status int) {
	e.status = status
	if e.plain = status >= 400 && strings.HasPrefix(e.Header().Get("Content-Type"), "text/plain"); !e.plain {
		e.ResponseWriter.WriteHeader(status)
	}
}

func (e *plainErrors) Write(b []byte) (int, error) {
	if e.plain {
		return e.text.Write(b)
	}
	e.status = cmp.Or(e.status, http.StatusOK)
	return e.ResponseWriter.Write(b)
}

// finish sends the error, when there was one.
func (e *plainErrors) finish() {
	switch {
	case !e.plain:
	case e.status == http.StatusNotFound:
		refuse(e.ResponseWriter, e.status, "not_found", "nothing is served at this path")
	case e.status == http.StatusMethodNotAllowed:
		refuse(e.ResponseWriter, e.status, "method_not_allowed", "use "+e.Header().Get("Allow"))
	case e.status == http.StatusInternalServerError:
		refuse(e.ResponseWriter, e.status, "internal", strings.TrimSpace(e.text.String()))
	default:
		refuse(e.ResponseWriter, e.status, "bad_request", strings.TrimSpace(e.text.String()))
	}
}
