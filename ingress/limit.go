package ingress

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"time"
)

// places counts the requests in flight.
type places struct {
	limit int64
	taken atomic.Int64
}

func (p *places) take() bool {
	if p.taken.Add(1) <= p.limit {
		return true
	}
	p.taken.Add(-1)
	return false
}

func (p *places) free() { p.taken.Add(-1) }

// firstRead is how much memory a body gets, in bytes, before any of it is here:
// announcing a large one costs a client nothing.
const firstRead = 64 << 10

// body reads the request's body, within the limit.
func (s *Server) body(x *exchange) ([]byte, error) {
	if x.r.ContentLength > s.maxBody {
		return nil, s.tooLarge(x)
	}
	body, err := readAll(http.MaxBytesReader(x.w, x.r.Body, s.maxBody), x.r.ContentLength)
	var over *http.MaxBytesError
	switch {
	case err == nil:
		return body, s.endReadTimeout(x)
	case errors.As(err, &over):
		return nil, s.tooLarge(x)
	case errors.Is(err, os.ErrDeadlineExceeded):
		x.w.Header().Set("Connection", "close")
		return nil, refuse(codeBodyTimeout, fmt.Sprintf("the body did not arrive within %s", s.readTimeout))
	default:
		return nil, refuse(codeBodyIncomplete, "the body ended early or is not framed as HTTP demands")
	}
}

// tooLarge closes the connection, as the rest of the body is still on it.
func (s *Server) tooLarge(x *exchange) error {
	x.w.Header().Set("Connection", "close")
	return refuse(codeBodyTooLarge, fmt.Sprintf(
		"the body is over the limit of %d bytes: send less, or raise --max-body of the gateway", s.maxBody))
}

// readAll reads length bytes, or to the end when length is negative.
func readAll(r io.Reader, length int64) ([]byte, error) {
	size := int64(firstRead)
	if length >= 0 {
		size = min(size, length)
	}
	body := make([]byte, 0, size)
	for int64(len(body)) != length {
		if len(body) == cap(body) {
			body = slices.Grow(body, growth(len(body), length))
		}
		n, err := r.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) && (length < 0 || int64(len(body)) == length) {
			return body, nil
		} else if err != nil {
			return nil, err
		}
	}
	return body, nil
}

// growth doubles what is there, up to the length when that is known.
func growth(have int, length int64) int {
	more := max(have, 512)
	if length >= 0 {
		more = int(min(int64(more), length-int64(have)))
	}
	return more
}

// endReadTimeout lets the function take longer than the body may: net/http goes
// on reading, to notice when the client goes, and would take the end of
// ReadTimeout for that.
func (s *Server) endReadTimeout(x *exchange) error {
	err := http.NewResponseController(x.w).SetReadDeadline(time.Time{})
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("end read timeout: %w", err)
	}
	return nil
}
