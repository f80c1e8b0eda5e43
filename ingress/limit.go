package ingress

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// budget is what the requests in flight share. Who does not get a part of it does not wait for it.
type budget struct {
	limit int64
	taken atomic.Int64
}

func (b *budget) take(n int64) bool { return b.takeBut(n, 0) }

// takeBut leaves so much of the budget to others.
func (b *budget) takeBut(n, spare int64) bool {
	for {
		taken := b.taken.Load()
		if taken+n > b.limit-spare {
			return false
		}
		if b.taken.CompareAndSwap(taken, taken+n) {
			return true
		}
	}
}

func (b *budget) free(n int64) { b.taken.Add(-n) }

// callShare is the part of the places that events leave to calls: a quarter. Under
// more load than a gateway can take, events are refused first: their senders try
// again, and somebody waits for the answer to a call.
const callShare = 4

// place takes a place for a request, for a call or for an event.
func (s *Server) place(call bool) bool {
	if call {
		return s.places.take(1)
	}
	return s.places.takeBut(1, s.places.limit/callShare)
}

// firstRead is how much memory every body gets, in bytes, before any of it is
// here. It is not part of the budget, so that many large bodies at once keep no
// small one out.
const firstRead = 64 << 10

// bound is how large a body may be.
type bound struct {
	bytes  int64
	advice string // what to do when it is larger
}

// forEvent bounds what is stored.
func (s *Server) forEvent() bound {
	return bound{s.maxBody, "send less, or raise --max-body of the gateway"}
}

// forCall bounds what is given to a function while the client waits.
func (s *Server) forCall() bound {
	if s.maxBody <= queue.MaxMessage {
		return s.forEvent()
	}
	return bound{queue.MaxMessage, "no call takes more; send less, or an event: POST /functions/{name} with the header Prefer: respond-async"}
}

var errBusy = refuse(codeBusy, "too many bytes at once: try again soon")

// body reads the request's body and takes its bytes out of the budget, until the
// request is answered: an announced length at once, else as they arrive.
func (s *Server) body(x *exchange, b bound) ([]byte, error) {
	length := x.r.ContentLength
	if length > b.bytes {
		return nil, tooLarge(x, b)
	}
	if err := s.hold(x, length-firstRead); err != nil {
		return nil, unread(x, err)
	}
	body, err := s.readAll(x, http.MaxBytesReader(x.w, x.r.Body, b.bytes), length, b.bytes)
	var over *http.MaxBytesError
	switch {
	case err == nil:
		x.size = int64(len(body))
		return body, s.endReadTimeout(x)
	case errors.As(err, &over):
		return nil, tooLarge(x, b)
	case errors.Is(err, errBusy):
		return nil, unread(x, err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, unread(x, refuse(codeBodyTimeout, fmt.Sprintf("the body did not arrive within %s", s.readTimeout)))
	default:
		return nil, refuse(codeBodyIncomplete, "the body ended early, or is not framed or compressed as its headers say")
	}
}

// hold takes n bytes, when n is positive, out of the budget until the request is
// answered. It returns errBusy.
func (s *Server) hold(x *exchange, n int64) error {
	if n <= 0 {
		return nil
	}
	if !s.bytes.take(n) {
		return errBusy
	}
	x.held += n
	return nil
}

func tooLarge(x *exchange, b bound) error {
	return unread(x, refuse(codeBodyTooLarge, fmt.Sprintf("the body is over the limit of %d bytes: %s", b.bytes, b.advice)))
}

// unread closes the connection, as the rest of the body is still on it. HTTP/2
// ends the stream alone.
func unread(x *exchange, err error) error {
	if x.r.ProtoMajor < 2 {
		x.w.Header().Set("Connection", "close")
		x.unread = true
	}
	return err
}

// lingering is how long a client that was refused may go on sending.
const lingering = 500 * time.Millisecond

// linger takes what a client still sends that has its answer: many read it only after
// they have sent all. Closing a connection with something unread on it resets it, and
// the answer is lost; net/http waits before it does, but not for a client that has
// said Connection: close, as proxies do.
func (x *exchange) linger() {
	if !x.unread {
		return
	}
	c := http.NewResponseController(x.w)
	if err := errors.Join(c.Flush(), c.SetReadDeadline(time.Now().Add(lingering))); err != nil {
		return // the client has gone, or there is no connection under this
	}
	_, _ = io.Copy(io.Discard, x.r.Body) // it is of no use to anybody
}

// readAll reads length bytes, which are held already, or when length is negative
// to the end, at most limit bytes. It returns errBusy when they do not fit the
// budget.
func (s *Server) readAll(x *exchange, r io.Reader, length, limit int64) ([]byte, error) {
	size := int64(firstRead)
	if length >= 0 {
		size = min(size, length)
	}
	body := make([]byte, 0, size)
	for int64(len(body)) != length {
		if len(body) == cap(body) {
			size = length
			if length < 0 {
				size = min(2*int64(cap(body)), limit+1) // the reader needs room to see that there is no more
				if err := s.hold(x, size-int64(cap(body))); err != nil {
					return nil, err
				}
			}
			body = append(make([]byte, 0, size), body...)
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
