package console

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

type errorBody struct {
	Error errorText `json:"error"`
}

type errorText struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	answer(w, status, errorBody{errorText{code, message}})
}

// fail is the one table from errors of the queue to answers.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, queue.ErrNotFound):
		refuse(w, http.StatusNotFound, "not_found", "no event or call is stored under that id: see GET /api/v1/events")
	case errors.Is(err, queue.ErrNoFunction), errors.Is(err, queue.ErrName):
		refuse(w, http.StatusNotFound, "unknown_function", "no function of that name: see GET /api/v1/stats")
	case errors.Is(err, queue.ErrCorrupt):
		refuse(w, http.StatusConflict, "corrupt", "the stored body does not match its hash")
	case errors.Is(err, queue.ErrFull):
		w.Header().Set("Retry-After", "30")
		refuse(w, http.StatusServiceUnavailable, "store_full", "the store is full, nothing was stored")
	case errors.Is(err, queue.ErrUnavailable):
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, "unavailable", "the queue is not available")
	default:
		s.log.Error("admin request", "method", r.Method, "path", r.URL.Path, "error", err)
		refuse(w, http.StatusInternalServerError, "internal", "something went wrong here: see the log")
	}
}

// answer sends v as JSON. Everything that is sent can be encoded.
func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":{"code":"internal","message":"answer cannot be encoded"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client may have gone
}
