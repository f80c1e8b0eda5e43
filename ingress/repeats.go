package ingress

import (
	"context"
	"sync"
	"time"
)

const (
	repeatTime     = 5 * time.Minute
	maxRepeats     = 4096    // answers that are kept
	maxRepeatBytes = 8 << 20 // of all of them
)

// said is an answer to Alexa.
type said struct {
	reply           []byte
	code            string // of what went wrong
	event, function string
}

// repeats keeps answers by the request's id, so that a request that is sent again
// gets the first answer: also when the first one is still being worked on. Answers
// go after repeatTime, or the oldest first when there are too many.
type repeats struct {
	mu    sync.Mutex
	known map[string]*repeated
	ended []*repeated // the oldest first
	bytes int
}

// repeated is a request that was seen. said is there when done is closed; ok is
// false when nobody will ever know it.
type repeated struct {
	key   string
	since time.Time
	done  chan struct{}
	said  said
	ok    bool
}

// first runs answer, or waits for the answer of whoever runs it for the same key;
// repeat says which. ok is false when there is no answer because the other one
// broke or ctx ended.
func (r *repeats) first(ctx context.Context, key string, now time.Time, answer func() said) (a said, repeat, ok bool) {
	p, repeat := r.begin(key, now)
	if !repeat {
		defer r.end(p)
		p.said = answer()
		p.ok = true
		return p.said, false, true
	}
	select {
	case <-p.done:
		return p.said, true, p.ok
	case <-ctx.Done():
		return said{}, true, false
	}
}

func (r *repeats) begin(key string, now time.Time) (p *repeated, repeat bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.ended) > 0 && now.Sub(r.ended[0].since) > repeatTime {
		r.forget()
	}
	if p := r.known[key]; p != nil && now.Sub(p.since) <= repeatTime {
		return p, true
	}
	p = &repeated{key: key, since: now, done: make(chan struct{})}
	if r.known == nil {
		r.known = map[string]*repeated{}
	}
	r.known[key] = p
	return p, false
}

// end lets those go on who wait, and keeps the answer.
func (r *repeats) end(p *repeated) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(p.done)
	if !p.ok {
		delete(r.known, p.key)
		return
	}
	r.ended = append(r.ended, p)
	r.bytes += p.size()
	for len(r.ended) > maxRepeats || r.bytes > maxRepeatBytes {
		r.forget()
	}
}

// forget drops the oldest answer.
func (r *repeats) forget() {
	p := r.ended[0]
	r.ended[0] = nil
	r.ended = r.ended[1:]
	r.bytes -= p.size()
	if r.known[p.key] == p {
		delete(r.known, p.key)
	}
}

func (p *repeated) size() int { return len(p.key) + len(p.said.reply) }
