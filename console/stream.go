package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

const (
	// maxReaders is how many streams are served at a time.
	maxReaders = 16
	// heartbeat is how often a stream without news says that it lives, so that no proxy takes it for dead.
	heartbeat = 15 * time.Second
	// readerPatience is how long a reader may take nothing before it is cut off.
	readerPatience = 30 * time.Second
	// readAhead is how many lines wait for a reader. The others wait in the log, where a slow reader finds them.
	readAhead = 64
)

// line is one of the log.
type line struct {
	number  uint64
	attempt queue.Attempt
}

// lost is told a reader who comes back too late.
type lost struct {
	Lines uint64 `json:"lines,omitempty"` // that have made room for others; 0: nobody knows, the log is another one
}

// stream serves GET /api/v1/stream: every attempt as it ends, as server-sent events. An id is the number of a line of the
// log, so that a reader with a Last-Event-ID misses nothing.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	after, err := lastEventID(r.Header)
	if err != nil {
		refuse(w, http.StatusBadRequest, "bad_request", err.Error())
		return
	}
	select {
	case s.readers <- struct{}{}:
		defer func() { <-s.readers }()
	default:
		w.Header().Set("Retry-After", "30")
		refuse(w, http.StatusServiceUnavailable, "too_many_readers", fmt.Sprintf("%d streams are read already, and there are no more", maxReaders))
		return
	}
	end, err := s.queue.LogEnd(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold the events back
	if r.Method == http.MethodHead {
		return
	}
	q := r.URL.Query()
	reader := reader{w: w, control: http.NewResponseController(w), function: q.Get("function"), source: q.Get("source"), last: end, patience: s.patience,
		still: func() bool { return s.stillIn(r) }}
	if after != nil {
		reader.resume(*after, end)
	}
	if err := s.serveReader(r.Context(), &reader); err != nil {
		s.log.Warn("a stream of attempts has ended", "error", err)
	}
}

// lastEventID is nil when the header does not say where to begin.
func lastEventID(h http.Header) (*uint64, error) {
	text := h.Get("Last-Event-ID")
	if text == "" {
		return nil, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return nil, fmt.Errorf("the header Last-Event-ID must be an id of this stream, a number")
	}
	return &n, nil
}

// errGone ends the stream of a reader who takes nothing any more, or has signed out.
var errGone = errors.New("the reader has gone")

// serveReader returns when the reader has gone, the server stops, or the log cannot be read: that is the error.
func (s *Server) serveReader(ctx context.Context, r *reader) error {
	ctx, cancel := s.whileOpen(ctx)
	defer cancel()
	lines := make(chan line, readAhead)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(lines)
		return s.queue.Follow(ctx, r.last, func(number uint64, a queue.Attempt) {
			select {
			case lines <- line{number, a}:
			case <-ctx.Done():
			}
		})
	})
	group.Go(func() error { return r.feed(lines, s.heartbeat) })
	if err := group.Wait(); !errors.Is(err, errGone) {
		return err
	}
	return nil
}

// reader is somebody who reads the stream.
type reader struct {
	w                http.ResponseWriter
	control          *http.ResponseController
	function, source string // whose attempts are wanted; "": all
	last             uint64 // line that the reader knows, or does not want
	patience         time.Duration
	still            func() bool // whether the reader may still look
}

// resume goes on where the reader was. A number that the log has not reached yet is of another log.
func (r *reader) resume(after, end uint64) {
	if after > end {
		r.event("lost", lost{})
		return
	}
	r.last = after
}

// feed sends lines, and heartbeats between them, until there are no more or the reader does not take them.
func (r *reader) feed(lines <-chan line, heartbeat time.Duration) error {
	defer func() { _ = r.control.SetWriteDeadline(time.Time{}) }() // for the next request of this connection
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for r.beat(); ; {
		if len(lines) == 0 && r.control.Flush() != nil {
			return errGone
		}
		select {
		case l, open := <-lines:
			if !open {
				return nil
			}
			r.take(l)
		case <-tick.C:
			if !r.still() {
				return errGone
			}
			r.beat()
		}
	}
}

// take sends a line if it is wanted.
func (r *reader) take(l line) {
	if gap := l.number - r.last - 1; gap > 0 {
		r.event("lost", lost{Lines: gap})
	}
	r.last = l.number
	if (r.function == "" || r.function == l.attempt.Function) && (r.source == "" || r.source == l.attempt.Source) {
		r.event("attempt", l.attempt)
	}
}

// beat tells the reader where to resume, which is no event.
func (r *reader) beat() { r.write(": here\nid: %d\n\n", r.last) }

func (r *reader) event(name string, data any) {
	b, err := json.Marshal(data)
	if err != nil {
		return // both kinds of data can be encoded
	}
	r.write("id: %d\nevent: %s\ndata: %s\n\n", r.last, name, b)
}

// write leaves errors to the next Flush.
func (r *reader) write(format string, values ...any) {
	_ = r.control.SetWriteDeadline(time.Now().Add(r.patience)) // fails on a closed connection, as Flush does
	_, _ = fmt.Fprintf(r.w, format, values...)
}
