package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// How often progress is drawn on a terminal, and written elsewhere.
const (
	drawEvery  = 100 * time.Millisecond
	writeEvery = 5 * time.Second
)

// progress tells how far a long command has got: by a bar on a terminal, else by a line from time to time.
type progress struct {
	w     io.Writer
	bar   bool
	verb  string // "replayed"
	total int    // how many there will be, as far as it is known
	begin time.Time
	next  time.Time // when to tell again
}

func newProgress(w io.Writer, verb string, total int) *progress {
	now := time.Now()
	p := &progress{w: w, bar: isTerminal(w), verb: verb, total: total, begin: now, next: now.Add(writeEvery)}
	if p.bar {
		p.next = now
	}
	return p
}

// isTerminal reports whether a person looks at what is written to w, or types what is read from it.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}

func (p *progress) tell(r queue.Reach) {
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	if p.bar {
		p.next = now.Add(drawEvery)
		fmt.Fprintf(p.w, "\r%s %s\x1b[K", bar(r.Sum(), p.total), p.text(r, now))
		return
	}
	p.next = now.Add(writeEvery)
	fmt.Fprintf(p.w, "%s %s\n", p.verb, p.text(r, now))
}

// text is "512 of 1240, 2 failed, 100/s, 7s left".
func (p *progress) text(r queue.Reach, now time.Time) string {
	s := fmt.Sprintf("%d of %d", r.Sum(), max(p.total, r.Sum()))
	if r.Failed > 0 {
		s += fmt.Sprintf(", %d failed", r.Failed)
	}
	if rate := float64(r.Sum()) / now.Sub(p.begin).Seconds(); rate >= 1 {
		left := time.Duration(float64(max(p.total-r.Sum(), 0)) / rate * float64(time.Second))
		s += fmt.Sprintf(", %.0f/s, %s left", rate, left.Round(time.Second))
	}
	return s
}

const barWidth = 30

func bar(done, total int) string {
	filled := barWidth
	if total > done {
		filled = done * barWidth / total
	}
	return "[" + strings.Repeat("#", filled) + strings.Repeat(".", barWidth-filled) + "]"
}

// clear removes the bar, so that something else can be printed.
func (p *progress) clear() {
	if p.bar {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.next = time.Time{}
	}
}
