package queue

import (
	"cmp"
	"errors"
	"sync"
	"time"
	_ "unsafe" // for go:linkname
)

// The server waits 4 to 9 seconds for a leader that is silent before it elects another one, and has no setting for that:
// so long would no event be accepted and no call answered after the death of a gateway. The values are variables of the
// server's package (raft.go of v2.15.2), for its tests.

//go:linkname minElectionTimeout github.com/nats-io/nats-server/v2/server.minElectionTimeout
var minElectionTimeout time.Duration

//go:linkname maxElectionTimeout github.com/nats-io/nats-server/v2/server.maxElectionTimeout
var maxElectionTimeout time.Duration

//go:linkname hbInterval github.com/nats-io/nats-server/v2/server.hbInterval
var hbInterval time.Duration

var (
	leaderPatience time.Duration // of this process
	patienceMu     sync.Mutex    // guards leaderPatience
)

// beImpatient has all servers of this process wait for a leader for 3/4 to 7/4 of d, with a sign of life five times in d: the
// wider the span, the seldomer two of them stand for election at the same time, and both in vain. It can be set once.
func beImpatient(d time.Duration) error {
	d = cmp.Or(d, DefaultPatience)
	patienceMu.Lock()
	defer patienceMu.Unlock()
	switch {
	case leaderPatience == d:
		return nil
	case leaderPatience != 0:
		return errors.New("one process waits for all leaders alike")
	case minElectionTimeout == 0 || maxElectionTimeout == 0 || hbInterval == 0:
		return errors.New("the NATS server of this program has no election timeouts where they are looked for")
	}
	leaderPatience, minElectionTimeout, maxElectionTimeout, hbInterval = d, d*3/4, d*7/4, d/5
	return nil
}
