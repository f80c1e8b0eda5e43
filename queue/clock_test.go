package queue

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// beatAt sends heartbeats of a worker whose clock is ahead.
func beatAt(t *testing.T, q *Queue, ahead time.Duration, n int) {
	t.Helper()
	for range n {
		data, err := json.Marshal(Heartbeat{Worker: "w1", Node: "pi", Sent: time.Now().Add(ahead)})
		if err == nil {
			err = q.nc.Publish(heartbeatSubject("pi"), data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestClock_OfAWorkerThatIsWrongIsNamedUntilItIsRight(t *testing.T) {
	q := open(t)
	trouble := func() string {
		all := q.Workers()
		i := slices.IndexFunc(all, func(h Heartbeat) bool { return h.Worker == "w1" })
		if i < 0 {
			return "not heard"
		}
		return all[i].Trouble
	}
	beatAt(t, q, 0, clockBeats)
	within(t, 10*time.Second, "the clock is right", func() bool { return trouble() == "" })
	beatAt(t, q, 3*time.Minute, 1) // the quickest counts, so this is seen at once
	within(t, 10*time.Second, "the clock is ahead", func() bool { return strings.Contains(trouble(), "3m0s ahead of the gateway's") })
	beatAt(t, q, 0, clockBeats)
	within(t, 10*time.Second, "the clock is right again", func() bool { return trouble() == "" })
	beatAt(t, q, -time.Hour, clockBeats)
	within(t, 10*time.Second, "the clock is behind", func() bool { return strings.Contains(trouble(), "1h0m0s behind the gateway's") })
}

func TestClock_AHeartbeatThatWasLongUnderWaySaysNothing(t *testing.T) {
	var c clock
	now := time.Now()
	for range clockBeats - 1 {
		c.note(now.Add(-10*time.Second), now)
	}
	if c.trouble() != "" {
		t.Error("too little is known")
	}
	c.note(now, now)
	if c.trouble() != "" {
		t.Errorf("one was quick: %s", c.trouble())
	}
	c = clock{ahead: slices.Repeat([]time.Duration{clockLimit}, clockBeats)}
	if c.trouble() != "" {
		t.Errorf("at the limit: %s", c.trouble())
	}
}
