package queue

import (
	"context"
	"math"
	"time"
)

// What Pulses is about, and its limits: a function takes some 8 KB, all together 2 MB at most.
const (
	PulseTime      = 15 * time.Minute
	PulseParts     = 30
	PulseFunctions = 256 // functions; one more is not among the pulses until another one was quiet for PulseTime

	pulsePart  = PulseTime / PulseParts
	pulseBins  = 56                     // of times
	pulseFirst = 100 * time.Microsecond // upper bound of the first; each is larger by the square root of two
)

// Pulse is how a function did lately: what ended within PulseTime, by when it ended. The time of an event is from its
// acceptance, or that of its replay, to its success, with all attempts and what was between them. The time of a call is
// that which the function took. P50 and P99 are of what succeeded, right to 20 percent, and 0 when nothing did.
type Pulse struct {
	Succeeded int // events and calls
	Failed    int // events that were given up, and calls without a reply
	P50, P99  time.Duration
	Parts     []PulsePart // PulseParts of them, the oldest first; the last one is not over
}

// PulsePart is one part of the time of a Pulse.
type PulsePart struct {
	Succeeded, Failed int
	P50, P99          time.Duration
}

// Pulses returns that of each function of which something ended within PulseTime. Only the process with the embedded
// server knows it. Errors: ErrIndexing.
func (q *Queue) Pulses(ctx context.Context) (map[string]Pulse, error) {
	if q.index == nil {
		return nil, ErrUnavailable
	}
	if err := q.index.fresh(ctx); err != nil {
		return nil, err
	}
	x := q.index
	x.mu.RLock()
	defer x.mu.RUnlock()
	all, end := map[string]Pulse{}, pulseEpoch(time.Now().UnixMilli())
	for function, r := range x.ledger.pulses {
		if p := r.read(end); p.Succeeded+p.Failed > 0 {
			all[untoken(x.ledger.token(function))] = p
		}
	}
	return all, nil
}

// pulses are kept by the number of the function.
type pulses map[uint16]*pulseRing

// pulseRing has the newest parts of a function's time, each at the rest of its epoch by PulseParts.
type pulseRing [PulseParts]pulseCounts

type pulseCounts struct {
	epoch  int64 // parts since 1970
	failed uint32
	bins   [pulseBins]uint32 // of what succeeded, by time
}

func pulseEpoch(ms int64) int64 { return ms / pulsePart.Milliseconds() }

// noteLine takes a line of the log that may have ended a run. now is in unix milliseconds.
func (p *pulses) noteLine(e *entry, of ref, now int64) {
	call := of.shelf() == shelfCalls && e.root.shelf() != shelfRetry
	failed := e.outcome == runDead || call && e.outcome != runOK
	if e.outcome != runOK && !failed || pulseEpoch(e.stored) <= pulseEpoch(now)-PulseParts {
		return
	}
	r := p.ring(e.function, pulseEpoch(now))
	if r == nil {
		return
	}
	c := &r[pulseEpoch(e.stored)%PulseParts]
	switch epoch := pulseEpoch(e.stored); {
	case c.epoch < epoch:
		*c = pulseCounts{epoch: epoch}
	case c.epoch > epoch:
		return
	}
	if failed {
		c.failed++
		return
	}
	took := e.took
	if begun := e.made; !call {
		if e.run != 0 {
			begun = keyMade(e.run)
		}
		took = max(took, time.Duration(e.stored-begun)*time.Millisecond)
	}
	c.bins[pulseBin(took)]++
}

// ring returns that of a function, or nil when there are too many.
func (p *pulses) ring(function uint16, now int64) *pulseRing {
	if r := (*p)[function]; r != nil {
		return r
	}
	if *p == nil {
		*p = pulses{}
	}
	for other, r := range *p {
		if len(*p) < PulseFunctions {
			break
		}
		if r.newest() <= now-PulseParts {
			delete(*p, other)
		}
	}
	if len(*p) >= PulseFunctions {
		return nil
	}
	r := new(pulseRing)
	(*p)[function] = r
	return r
}

func (r *pulseRing) newest() (epoch int64) {
	for i := range r {
		epoch = max(epoch, r[i].epoch)
	}
	return epoch
}

// read counts the parts up to one.
func (r *pulseRing) read(end int64) Pulse {
	p := Pulse{Parts: make([]PulsePart, PulseParts)}
	var sum pulseCounts
	for i := range p.Parts {
		epoch := end - PulseParts + 1 + int64(i)
		c := &r[epoch%PulseParts]
		if c.epoch != epoch {
			continue
		}
		part := &p.Parts[i]
		part.Succeeded, part.P50, part.P99 = c.times()
		part.Failed = int(c.failed)
		p.Failed += part.Failed
		for bin, n := range c.bins {
			sum.bins[bin] += n
		}
	}
	p.Succeeded, p.P50, p.P99 = sum.times()
	return p
}

// times are how many succeeded, and two quantiles of their times.
func (c *pulseCounts) times() (n int, p50, p99 time.Duration) {
	for _, count := range c.bins {
		n += int(count)
	}
	return n, c.quantile(n, 0.5), c.quantile(n, 0.99)
}

// quantile is the middle of the bin where it is.
func (c *pulseCounts) quantile(n int, q float64) time.Duration {
	if n == 0 {
		return 0
	}
	rank := int(math.Ceil(q * float64(n)))
	for bin, count := range c.bins {
		if rank -= int(count); rank <= 0 {
			return time.Duration(float64(pulseFirst) * math.Pow(2, float64(bin)/2-0.25))
		}
	}
	return 0
}

// pulseBin is the first bin whose upper bound is not below a time.
func pulseBin(took time.Duration) int {
	if took <= pulseFirst {
		return 0
	}
	return min(int(math.Ceil(2*math.Log2(float64(took)/float64(pulseFirst)))), pulseBins-1)
}
