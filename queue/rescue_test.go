package queue

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// losePower does with a message what a power cut may leave of it: it is acknowledged, its attempt has failed, and the
// retry that was stored for it is gone. The line of the log may be gone too.
func losePower(t *testing.T, q *Queue, m *nats.Msg, logged bool) {
	t.Helper()
	meta, err := m.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	place := newRef(shelfOf(meta.Stream), meta.Sequence.Stream).String()
	e, err := readEvent(m.Subject, m.Header, m.Data, place)
	if err != nil {
		t.Fatal(err)
	}
	if e.Root == "" {
		e.Root = place
	}
	if logged {
		q.logOutcome(line{event: e, result: Result{Code: CodeFunctionFailed}, outcome: OutcomeRetry, root: e.Root, next: time.Now()})
	}
	if _, err := q.nc.RequestWithContext(t.Context(), m.Reply, ackPlain); err != nil {
		t.Fatal(err)
	}
}

// openFlaky leaves closing to reopen.
func openFlaky(t *testing.T, dir string) *Queue {
	t.Helper()
	q, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)})
	if err == nil {
		err = q.AddFunction(t.Context(), "Flaky", Retry{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// reopen also reads what is stored, and goes on where the housekeeping would after a while.
func reopen(t *testing.T, q *Queue, dir string) *Queue {
	t.Helper()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q = openIn(t, dir, "Flaky")
	if err := q.index.fresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return q
}

func mustRescue(t *testing.T, q *Queue) {
	t.Helper()
	for range 2 { // the second time it is under way
		if err := q.rescue(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func failOnce(*Event) Result {
	return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "not now"}
}

// retried is an event that has failed once, and whose retry is due.
func retried(t *testing.T, q *Queue) Receipt {
	t.Helper()
	r := publish(t, q, "Flaky")
	stop := workAs(t, q, "Flaky", quick, 1, failOnce)
	wantOutcomes(t, q, r.ID, "1 retry")
	stop()
	within(t, patience, "the retry is due", func() bool { return subjectsOf(t, q, streamRetry)[redoSubject("Flaky")] == 1 })
	return r
}

func TestRescue_ARunWhoseRetryIsGoneGoesOn(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, q *Queue) Receipt
		stream  string
		logged  bool
		want    string
	}{
		"the first retry":               {func(t *testing.T, q *Queue) Receipt { return publish(t, q, "Flaky") }, streamEvents, true, "1 retry, 2 ok"},
		"the first retry and its line":  {func(t *testing.T, q *Queue) Receipt { return publish(t, q, "Flaky") }, streamEvents, false, "1 ok"},
		"the second retry":              {retried, streamRetry, true, "1 retry, 2 retry, 3 ok"},
		"the second retry and its line": {retried, streamRetry, false, "1 retry, 2 ok"},
		"the retry of a replay": {func(t *testing.T, q *Queue) Receipt {
			r := publish(t, q, "Flaky")
			stop := work(t, q, "Flaky", 1, ok("1"))
			settledAll(t, q, "Flaky")
			stop()
			if _, err := q.Replay(t.Context(), r.ID, ""); err != nil {
				t.Fatal(err)
			}
			return r
		}, streamRetry, true, "1 ok, 1 retry, 2 ok"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			q := openFlaky(t, dir)
			r := c.prepare(t, q)
			losePower(t, q, abandon(t, q, c.stream, "Flaky"), c.logged)
			if err := q.rescue(t.Context()); err != nil {
				t.Fatal(err)
			}
			if now := q.index.stranded(positions{}); len(now) != 0 {
				t.Errorf("%v are rescued although the power was not cut", now)
			}
			q = reopen(t, q, dir)
			if err := q.Select(t.Context(), Filter{}, "", func(Record) bool { return true }); err != nil {
				t.Errorf("select: %v", err)
			}
			mustRescue(t, q)
			workAs(t, q, "Flaky", quick, 1, ok("1"))
			settledAll(t, q, "Flaky")
			wantOutcomes(t, q, r.ID, c.want)
			if b := balanceOf(t, q); b.Drift != 0 || b.Unrecorded != 0 {
				t.Errorf("%+v", b)
			}
		})
	}
}

func TestRescue_LeavesAloneWhatHasEnded(t *testing.T) {
	dir := t.TempDir()
	q := openFlaky(t, dir)
	work(t, q, "Flaky", 1, ok("1"))
	for range 3 {
		publish(t, q, "Flaky")
	}
	settledAll(t, q, "Flaky")
	within(t, patience, "all is in the log", func() bool { return len(stored(t, q, streamLog)) == 3 })
	q = reopen(t, q, dir)
	mustRescue(t, q)
	if redo := stored(t, q, streamRetry); len(redo) != 0 {
		t.Errorf("%d runs are given out again", len(redo))
	}
}

// What became of the oldest events is not in the log any more: they are no loss.
func TestRescue_LeavesAloneWhatTheLogHasForgotten(t *testing.T) {
	dir := t.TempDir()
	q := openFlaky(t, dir)
	work(t, q, "Flaky", 1, ok("1"))
	for n := range 2 {
		publish(t, q, "Flaky")
		within(t, patience, "it is in the log", func() bool { return len(stored(t, q, streamLog)) == n+1 })
	}
	settledAll(t, q, "Flaky")
	s, err := q.js.Stream(t.Context(), streamLog)
	if err == nil {
		err = s.Purge(t.Context(), jetstream.WithPurgeSequence(2))
	}
	if err != nil {
		t.Fatal(err)
	}
	q = reopen(t, q, dir)
	mustRescue(t, q)
	if redo := stored(t, q, streamRetry); len(redo) != 0 {
		t.Errorf("%d runs are given out again", len(redo))
	}
	if b := balanceOf(t, q); b.Unrecorded != 1 || b.Drift != 0 {
		t.Errorf("%+v", b)
	}
}
