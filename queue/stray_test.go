package queue

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// A power cut may leave the log of an event that it has taken, since the log is not synced with it.
func TestStray_WhatIsLeftOfALostEventIsNotTakenForThatOfTheNext(t *testing.T) {
	for _, failing := range []int64{0, 1} {
		t.Run(fmt.Sprintf("the next one fails %d times", failing), func(t *testing.T) {
			dir := t.TempDir()
			msgs := filepath.Join(serverFolder(dir), streamEvents, "msgs")
			runSome(t, dir, 1)
			saved := filepath.Join(t.TempDir(), "msgs")
			if err := os.CopyFS(saved, os.DirFS(msgs)); err != nil {
				t.Fatal(err)
			}
			runSome(t, dir, 1)
			if err := os.RemoveAll(msgs); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(msgs, os.DirFS(saved)); err != nil {
				t.Fatal(err)
			}
			q := openIn(t, dir)
			if err := q.AddFunction(t.Context(), "F", Retry{Initial: 10 * time.Millisecond}); err != nil {
				t.Fatal(err)
			}
			var runs atomic.Int64
			work(t, q, "F", 1, func(*Event) Result {
				if runs.Add(1) <= failing {
					return Result{Outcome: OutcomeFailed, Message: "not yet"}
				}
				return Result{Outcome: OutcomeOK}
			})
			next, err := q.Publish(t.Context(), &Event{Source: "s", Function: "F", Body: []byte("{}")})
			if err != nil {
				t.Fatal(err)
			}
			within(t, patience, "the next event has run", func() bool { return runs.Load() == failing+1 })
			within(t, patience, "it is known to have ended", func() bool {
				r, err := q.Get(t.Context(), next.ID)
				return err == nil && r.State == StateOK && len(r.Attempts) == int(failing)+1 && r.Origin == streamEvents+"/2"
			})
		})
	}
}
