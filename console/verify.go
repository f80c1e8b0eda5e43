package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// verifyEvery is how often a verification says how far it is; a proxy takes it for alive, too.
const verifyEvery = time.Second

// VerifyProgress says how far the reading of a stream is, in messages.
type VerifyProgress struct {
	Stream string `json:"stream"`
	Done   uint64 `json:"done"`
	Of     uint64 `json:"of"`
}

// verify serves POST /api/v1/verify: every stored message is read and checked. The answer is a stream of server-sent
// events: "progress", and at the end "report", or "error" with a Problem. It reads all of the disk, so there is one at a
// time, and it ends when the client goes.
func (s *Server) verify(w http.ResponseWriter, r *http.Request) {
	if !s.verifying.TryLock() {
		refuse(w, http.StatusConflict, "verify_running", "somebody verifies already: wait until that has ended")
		return
	}
	defer s.verifying.Unlock()
	ctx, cancel := s.whileOpen(r.Context())
	defer cancel()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would hold the events back
	out := verifier{w: w, control: http.NewResponseController(w), patience: s.patience, gone: cancel}
	out.event("progress", VerifyProgress{}) // it begins
	report, err := s.queue.Verify(ctx, out.progress)
	switch {
	case err == nil:
		noteChange(r.Context(), "streams", len(report.Streams), "findings", len(report.Findings))
		out.event("report", report)
	case ctx.Err() != nil:
		noteChange(r.Context(), "ended", "the client has gone, or the gateway stops")
		out.event("error", titled(Problem{Status: http.StatusServiceUnavailable, Code: "unavailable", Detail: "the gateway stops"}))
	default:
		out.event("error", titled(s.problemOf(r, err)))
	}
}

// verifier tells a client how far a verification is.
type verifier struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
	gone     context.CancelFunc // ends the verification
	next     time.Time          // of the next progress
}

func (v *verifier) progress(stream string, done, total uint64) {
	if now := time.Now(); now.After(v.next) {
		v.next = now.Add(verifyEvery)
		v.event("progress", VerifyProgress{stream, done, total})
	}
}

func (v *verifier) event(name string, data any) {
	b, err := json.Marshal(data)
	if err != nil {
		return // all kinds of data can be encoded
	}
	_ = v.control.SetWriteDeadline(time.Now().Add(v.patience)) // fails on a closed connection, as Flush does
	if _, err := fmt.Fprintf(v.w, "event: %s\ndata: %s\n\n", name, b); err != nil || v.control.Flush() != nil {
		v.gone()
	}
}
