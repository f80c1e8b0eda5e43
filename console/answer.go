package console

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strconv"
)

// answer sends v as JSON, of the type that the header has. Everything that is sent can be encoded.
func answer(w http.ResponseWriter, status int, v any) {
	h := w.Header()
	h.Set("Content-Type", cmp.Or(h.Get("Content-Type"), "application/json"))
	b, err := json.Marshal(v)
	if err != nil {
		h.Set("Content-Type", ProblemType)
		status, b = http.StatusInternalServerError, []byte(`{"title":"Internal Server Error","status":500,"code":"internal","detail":"the answer cannot be encoded"}`)
	}
	send(w, status, append(b, '\n'))
}

// answerText sends a text as it is.
func answerText(w http.ResponseWriter, contentType string, text []byte) {
	w.Header().Set("Content-Type", contentType)
	send(w, http.StatusOK, text)
}

func send(w http.ResponseWriter, status int, b []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client may have gone
}
