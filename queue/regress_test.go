package queue

import (
	"slices"
	"testing"
	"time"
)

// An event that is delivered again, because its acknowledgement was lost with the gateway, fails a second time, and its
// second retry takes the place of the one that its first retry has led to. The run goes back by an attempt, and must
// go on from there.
func TestMove_ARetryThatWasReplacedIsStoredAgain(t *testing.T) {
	o := Options{Dir: t.TempDir(), Log: testLog(t)}
	var q *Queue
	restart := func() {
		t.Helper()
		if q != nil {
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if q, err = Open(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	fail := func(attempts int, in time.Duration, follows string) {
		t.Helper()
		e := &Event{ID: "01M84S07QM5TFFDDYAQ4N0RR77", Source: "s", Function: "Again", Root: "FUNKER_EVENTS/1", Attempt: attempts}
		if _, err := q.store(t.Context(), retryMessage(e, time.Now().Add(in), follows)); err != nil {
			t.Fatal(err)
		}
	}
	given := func(want ...string) {
		t.Helper()
		within(t, patience, "the retry is given out", func() bool {
			var attempts []string
			for _, m := range stored(t, q, streamRetry) {
				if m.Subject == redoSubject("Again") {
					attempts = append(attempts, m.Header.Get(headerAttempt))
				}
			}
			return slices.Equal(attempts, want)
		})
	}
	restart()
	fail(1, 0, "FUNKER_EVENTS/1")
	given("1")
	restart() // the id of the first retry, which is gone, is forgotten
	fail(2, time.Hour, "FUNKER_RETRY/2")
	fail(1, 0, "FUNKER_EVENTS/1")
	given("1", "1")
	fail(2, 0, "FUNKER_RETRY/5")
	given("1", "1", "2")
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}
