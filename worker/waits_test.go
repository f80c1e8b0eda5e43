package worker

import (
	"bytes"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// logText is a log that is read while it is written.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// waitInVain returns the log of a worker with events for two functions that have no task.
func waitInVain(t *testing.T, every time.Duration) *logText {
	t.Helper()
	q, _ := gatewayWith(t, "Gone")
	addFunction(t, q, "Away")
	log := &logText{}
	w := New(Options{
		Queue: q, Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Catalog: deploy.NewCatalog(&deploy.Manifest{Functions: []*deploy.Function{function("Gone", free(t)), function("Away", free(t))}}),
		Payload: func(e *queue.Event, _ *deploy.Function) ([]byte, error) { return e.Body, nil },
	})
	w.waits.every = every
	runUntilEnd(t, w)
	publish(t, q, "Gone")
	publish(t, q, "Gone")
	publish(t, q, "Away")
	return log
}

// tries are the lines about events of a function that found no task.
func (l *logText) tries(level, function string) int {
	n := 0
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, "level="+level+" msg=attempt") && strings.Contains(line, "function="+function+" ") && strings.Contains(line, "outcome=not-started") {
			n++
		}
	}
	return n
}

func TestWaits_AFunctionWithoutTaskIsAWarningOnce(t *testing.T) {
	log := waitInVain(t, time.Hour)
	for _, function := range []string{"Gone", "Away"} {
		within(t, "it is tried again and again", func() bool { return log.tries("DEBUG", function) >= 3 })
		if n := log.tries("WARN", function); n != 1 {
			t.Errorf("%d warnings about %s:\n%s", n, function, log)
		}
	}
	if strings.Contains(log.String(), "not_logged") {
		t.Errorf("the first warning counts others:\n%s", log)
	}
}

func TestWaits_TheNextWarningCountsTheTriesBetween(t *testing.T) {
	log := waitInVain(t, 2*time.Second)
	next := regexp.MustCompile(`level=WARN msg=attempt .*function=Gone .*code=no_task .*not_logged=[1-9]`)
	within(t, "a warning counts the tries before it", func() bool { return next.MatchString(log.String()) })
}
