package deploy

import (
	"strings"
	"testing"
	"time"
)

// second is a time that many seconds after some other.
func second(seconds int) time.Time { return time.Unix(int64(seconds), 0) }

func TestAStateCountsTasksOfNodesThatAnswer(t *testing.T) {
	service := Service{ID: "s", Replicas: 3}
	tasks := []task{
		{service: "s", node: "a", current: true, wanted: true, state: "running"},
		{service: "s", node: "b", current: true, wanted: true, state: "running", lost: true},
		{service: "s", node: "a", wanted: true, state: "running"},
		{service: "s", current: true, wanted: true, state: "pending"},
		{service: "s", node: "a", current: true, state: "shutdown"},
		{service: "other", node: "a", current: true, wanted: true, state: "running"},
	}
	var s State
	s.count(service, tasks)
	if s.Running != 1 || s.Outdated != 1 || s.Starting != 1 || len(s.Tasks) != 3 || s.Failed != nil {
		t.Errorf("got %+v, want one task running, one outdated, one starting, and none failed", s)
	}
}

func TestAStateNamesTheLastFailureAndTheReasonOfThePresentSettings(t *testing.T) {
	service := Service{ID: "s", Spec: Spec{Constraints: []string{"a==b"}}, update: "update paused"}
	tasks := []task{
		{service: "s", node: "n", current: true, state: "failed", err: "task: non-zero exit (7)", exit: 7, at: second(2)},
		{service: "s", node: "n", current: true, state: "rejected", err: "No such image: x", at: second(1)},
		{service: "s", node: "n", state: "failed", err: "of the old settings", at: second(3)},
	}
	var s State
	s.count(service, tasks)
	if s.Failed == nil || !s.Failed.At.Equal(second(3)) {
		t.Errorf("got failure %+v, want the last one", s.Failed)
	}
	if got := s.blame(service, tasks); !strings.HasPrefix(got, "update paused: the task ended with exit code 7") {
		t.Errorf("got %q, want the update and the newest reason of the present settings", got)
	}
}
