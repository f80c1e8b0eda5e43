package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// siege is a gateway with two workers under load, while a test does its worst to them.
type siege struct {
	*swarm
	j      *journal
	from   *sender
	random *rand.Rand
	stop   func() // of the load
	called int
}

const siegeFunctions = `functions:
  Alpha: {addresses: [%q, %q], concurrency: 4, timeout: 5s, retry: {attempts: 3, initial: 50ms, max: 200ms}}
  Beta: {addresses: [%q], concurrency: 8, timeout: 5s, retry: {attempts: 3, initial: 50ms, max: 200ms}}
triggers:
  - {github: alpha, path: /alpha, secret-file: secret, function: Alpha}
  - {github: beta, path: /beta, secret-file: secret, function: Beta}
  - {github: pair, path: /pair, secret-file: secret, routes: [{function: Alpha}, {function: Beta}]}
`

// newSiege starts nothing yet.
func newSiege(t *testing.T) *siege {
	t.Helper()
	j := newJournal(t)
	manifest := fmt.Sprintf(siegeFunctions, j.task(t), j.task(t), j.task(t))
	x := &siege{swarm: newSwarm(t, manifest, manifest), j: j, random: seeded(t)}
	x.from = newSender(t, x.public)
	return x
}

// load begins to send.
func (x *siege) load(senders int) {
	x.stop = x.from.load(x.random.Uint64(), senders, 100*time.Millisecond, "Alpha", "Beta")
}

func (x *siege) between(low, high time.Duration) time.Duration {
	return low + time.Duration(x.random.Int64N(int64(high-low)))
}

// end stops the load, waits until all that was accepted has ended, and checks that it has ended well.
func (x *siege) end(limit time.Duration) tally {
	x.t.Helper()
	x.stop()
	for _, p := range x.processes() {
		p.awaitReady()
	}
	begin := time.Now()
	records := x.awaitEnds(limit)
	c := x.audit(x.from, x.j, records)
	x.t.Logf("answers to senders: %v; all ended %s after the last was sent", x.from.codes, time.Since(begin).Round(time.Millisecond))
	x.t.Log(c)
	return c
}

// number reads an environment variable.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
