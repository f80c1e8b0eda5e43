package queue

import (
	"fmt"
	"slices"
	"time"
)

// The deadline of a call is a time of day, which a worker compares with its own clock, and so are the ages of events. So the
// gateway compares the clocks of the workers with its own: each heartbeat says when it was sent.

const (
	clockLimit = 500 * time.Millisecond // by which the clocks of two machines may differ
	clockBeats = 8                      // heartbeats that tell the clock
)

// clock is how far the clock of a worker is ahead of this gateway's. A heartbeat that was long under way says too little: the
// quickest of the last ones counts.
type clock struct {
	ahead []time.Duration // the last ones
	wrong bool            // whether the log says so
}

func (c *clock) note(sent, heard time.Time) {
	if c.ahead = append(c.ahead, sent.Sub(heard)); len(c.ahead) > clockBeats {
		c.ahead = slices.Delete(c.ahead, 0, 1)
	}
}

// trouble says what is wrong, "" when nothing is, or when too little is known.
func (c *clock) trouble() string {
	if len(c.ahead) < clockBeats {
		return ""
	}
	ahead, way := slices.Max(c.ahead), "ahead of"
	if ahead < 0 {
		ahead, way = -ahead, "behind"
	}
	if ahead <= clockLimit {
		return ""
	}
	return fmt.Sprintf("its clock is %s %s the gateway's: calls expire too early or too late; let both follow a time server", ahead.Round(100*time.Millisecond), way)
}
