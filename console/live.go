package console

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"time"
)

const (
	// liveEvery is how often the overview is made anew while somebody looks at it, once for all who do.
	liveEvery = 2 * time.Second
	// liveMost is how many may look at a time; one more is told to reload by hand.
	liveMost = 100
	// liveWrite is how long a viewer may take to take one picture.
	liveWrite = 10 * time.Second
)

// ticker makes the overview anew for all viewers together, and rests while there are none.
type ticker struct {
	mu      sync.Mutex
	make    func(context.Context) []byte // one event of the stream, which all viewers are sent as it is
	viewers map[chan []byte]bool
	last    []byte
	stop    context.CancelFunc
	running sync.WaitGroup
	closed  bool
}

// join adds a viewer, who gets the newest picture, and misses those that come too fast. It is false when there are too
// many, and after close.
func (t *ticker) join() (pictures chan []byte, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.viewers) >= liveMost {
		return nil, false
	}
	pictures = make(chan []byte, 1)
	if len(t.viewers) == 0 {
		ctx, cancel := context.WithCancel(context.Background())
		t.stop = cancel
		t.running.Go(func() { t.run(ctx) })
	} else if t.last != nil {
		pictures <- t.last
	}
	t.viewers[pictures] = true
	return pictures, true
}

func (t *ticker) leave(pictures chan []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.viewers[pictures] {
		return
	}
	delete(t.viewers, pictures)
	if len(t.viewers) == 0 {
		t.stop()
		t.last = nil
	}
}

// close ends all views and waits for what is under way.
func (t *ticker) close() {
	t.mu.Lock()
	t.closed = true
	for pictures := range t.viewers {
		delete(t.viewers, pictures)
		close(pictures)
	}
	if t.stop != nil {
		t.stop()
	}
	t.mu.Unlock()
	t.running.Wait()
}

func (t *ticker) run(ctx context.Context) {
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	for {
		t.show(ctx, t.make(ctx))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (t *ticker) show(ctx context.Context, picture []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ctx.Err() != nil { // others may be looking by now, with a ticker of their own
		return
	}
	t.last = picture
	for pictures := range t.viewers {
		select {
		case <-pictures: // the one before was not taken
		default:
		}
		pictures <- picture
	}
}

// picture is what changes on the overview, as HTML in a server-sent event.
func (s *Server) picture(ctx context.Context) []byte {
	var b bytes.Buffer
	if err := templates()["overview"].ExecuteTemplate(&b, "live", s.overview(ctx)); err != nil {
		s.log.Error("render page", "page", "overview", "error", err)
	}
	event := append([]byte("data: "), bytes.ReplaceAll(b.Bytes(), []byte("\n"), []byte("\ndata: "))...)
	return append(event, "\n\n"...)
}

// live serves GET /live: the overview as it changes, as server-sent events. It ends with the session, which it does not
// keep from being idle.
func (s *Server) live(w http.ResponseWriter, r *http.Request) {
	pictures, ok := s.ticker.join()
	if !ok {
		w.Header().Set("Retry-After", "30")
		refuse(w, http.StatusServiceUnavailable, "busy", "too many are looking: reload the page instead")
		return
	}
	defer s.ticker.leave(pictures)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold it back
	if r.Method == http.MethodHead {
		return
	}
	out := http.NewResponseController(w)
	for {
		select {
		case picture, ok := <-pictures:
			if !ok || !s.stillIn(r) || sendPicture(w, out, picture) != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

// stillIn reports whether the session of a request has not ended meanwhile.
func (s *Server) stillIn(r *http.Request) bool {
	if !visitorIn(r.Context()).HasSession() {
		return true
	}
	_, ok := s.sessions.visit(sessionIn(r), false)
	return ok
}

func sendPicture(w http.ResponseWriter, out *http.ResponseController, picture []byte) error {
	if err := out.SetWriteDeadline(time.Now().Add(liveWrite)); err != nil {
		return err
	}
	if _, err := w.Write(picture); err != nil {
		return err
	}
	return out.Flush()
}
