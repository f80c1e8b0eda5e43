//go:build swarm

package deploy_test

import (
	"errors"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

func TestSwarm_LogsAreThoseOfAllTasks(t *testing.T) {
	b := newBed(t)
	f := b.function("Talks")
	f.Replicas = deploy.Replicas{Min: 2, Max: 2}
	f.Env = map[string]string{"SAY": "\x1b[31mred\x1b[0m"}
	g := b.gateway("one", f)
	ok(t, g.Reconcile(t.Context()))
	g.until("Talks", "two tasks run", settled)
	var lines []deploy.LogLine
	b.within(30*time.Second, "both tasks have said something", func() bool {
		var err error
		lines, err = b.engine.Logs(t.Context(), "Talks")
		ok(t, err)
		return len(lines) == 4
	})
	said := map[string]int{}
	for i, l := range lines {
		said[l.Text]++
		if l.Error != (l.Text == "err: red") || l.Time.IsZero() || i > 0 && l.Time.Before(lines[i-1].Time) {
			t.Errorf("got %+v after %+v", l, lines[max(0, i-1)])
		}
	}
	if said["out: red"] != 2 || said["err: red"] != 2 {
		t.Errorf("got %v", said)
	}
	if _, err := b.engine.Logs(t.Context(), "Nobody"); !errors.Is(err, deploy.ErrNoService) {
		t.Errorf("got %v", err)
	}
}
