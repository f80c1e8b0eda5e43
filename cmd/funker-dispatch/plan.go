package main

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// demand is what shall be handled.
type demand struct {
	Events float64       // accepted in a second
	Size   int64         // of a body, bytes
	Time   time.Duration // of one attempt at the function
	Again  float64       // share of attempts that fail and come again, below 1
	Days   float64       // how long what has ended is kept
	Copies int           // of each event: 1, or 3 in a cluster
	Cores  float64       // of the machine of each gateway
	Memory int64         // likewise, bytes
}

// capacity is what one gateway, or one cluster, was measured to do with bodies of 1 KB: see measured.
type capacity struct {
	Accept  float64 // events accepted in a second
	Run     float64 // events accepted and run to their end in a second, with one attempt each
	CPU     float64 // microseconds of a processor that the busiest gateway takes for one of these
	Written float64 // bytes that it writes to its disk for one of these
}

// needs are what a demand needs. Clusters have nothing to do with each other: each has sources of its own. Where there is one
// copy, a cluster is a single gateway.
type needs struct {
	Clusters  int     `json:"clusters"`
	Gateways  int     `json:"gateways"`
	Each      float64 `json:"events_per_cluster"`        // in a second
	Attempts  float64 `json:"attempts_per_second"`       // of all clusters
	Slots     int     `json:"slots"`                     // of all clusters
	Workers   int     `json:"workers"`                   // likewise
	Cores     float64 `json:"cores"`                     // each gateway, as all that follow
	Memory    float64 `json:"memory_bytes"`              // resident
	MaxEvents float64 `json:"max_events_bytes"`          // for serve --max-events
	Disk      float64 `json:"disk_bytes"`                // its size
	Writes    float64 `json:"disk_bytes_per_second"`     // to it
	Network   float64 `json:"network_bytes_per_second"`  // in and out, of the one that leads
	Outcomes  float64 `json:"outcomes_kept_seconds"`     // how long it is known what came of an event
	Restart   float64 `json:"restart_to_status_seconds"` // until the state of all events is known again
	Limits    []bound `json:"limits"`                    // the first one to be hit is the first
}

// bound is something that ends.
type bound struct {
	What   string  `json:"what"`
	Used   float64 `json:"used"`   // 1 is all of it
	Metric string  `json:"metric"` // that shows it coming
}

const (
	// planLoad is how much of what was measured is planned for: the rest is for bursts, for catching up after a stop, and
	// for the time that a gateway or worker is away.
	planLoad = 0.5
	// planSlots is how many connections the tasks of one worker take in the plan.
	planSlots = 64
	// planCalls is how many functions one worker was measured to call in a second: "funker call", 32 clients, DESIGN.md.
	planCalls = 10_800

	measuredSize  = bodySize // of what was measured, bytes
	eventOverhead = 400      // bytes of an event in its stream besides its body: ids, hash, headers of the sender
	outcomeBytes  = 300      // of the line of one attempt in FUNKER_LOG
	outcomeLimit  = 1 << 30  // bytes of FUNKER_LOG at most, and a quarter of --max-events
	trimmedAt     = 0.8      // of --max-events: what is done makes room
	repeatTime    = 600      // seconds that a repeat of an event is known
	repeatBytes   = 350      // of memory for each event of that time: DESIGN.md, behind a backlog
	indexBytes    = 83       // of memory for each event that is kept: likewise
	indexRate     = 125_000  // events of which the state is known again in a second after a restart: likewise
	idleBytes     = 33e6     // of memory of a gateway that has nothing to do: DESIGN.md
	daySeconds    = 86_400   // seconds
)

// needsOf says what a demand needs.
func needsOf(d demand, c capacity) needs {
	tries := 1 / (1 - d.Again) // of one event
	run := c.Run / tries
	p := needs{Attempts: d.Events * tries}
	p.Clusters = wholes(d.Events / (planLoad * min(c.Accept, run)))
	p.Gateways, p.Each = p.Clusters*d.Copies, d.Events/float64(p.Clusters)
	// Little's law: as many run at a time as begin in a second, times the seconds that each takes.
	p.Slots = wholes(p.Attempts * d.Time.Seconds() / planLoad)
	p.Workers = max(p.Clusters*min(d.Copies, 2), wholes(float64(p.Slots)/planSlots), wholes(p.Attempts/(planLoad*planCalls)))
	p.Cores = p.Each * tries * c.CPU / 1e6 / planLoad
	stored := float64(d.Size + eventOverhead)
	kept := p.Each * d.Days * daySeconds
	p.Memory = idleBytes + p.Each*repeatTime*repeatBytes + kept*indexBytes
	p.MaxEvents = max(kept*stored/trimmedAt, 16<<20)
	p.Disk = 2 * p.MaxEvents
	more := float64(d.Size - measuredSize)
	if d.Copies > 1 && more > 0 {
		more *= 2 // in the log of the cluster, and in the stream
	}
	p.Writes = p.Each * max(stored, tries*c.Written+more)
	p.Network = p.Each * stored * (1 + float64(d.Copies-1) + tries)
	p.Outcomes = min(outcomeLimit, p.MaxEvents/4) / (outcomeBytes * p.Each * tries)
	p.Restart = kept / indexRate
	p.Limits = []bound{
		{"accepting, of what was measured", p.Each / c.Accept, `funker_request_duration_seconds`},
		{"running to the end, of what was measured", p.Each / run, `funker_oldest_waiting_seconds`},
		{"processors of a gateway", p.Cores * planLoad / d.Cores, `process_cpu_seconds_total`},
		{"memory of a gateway", p.Memory / float64(d.Memory), `process_resident_memory_bytes`},
		{"history with outcomes, of what FUNKER_LOG holds", d.Days * daySeconds / p.Outcomes, `funker_runs{state="unrecorded"}`},
	}
	slices.SortStableFunc(p.Limits, func(a, b bound) int { return cmp.Compare(b.Used, a.Used) })
	return p
}

// wholes is the least number that is enough, 1 at least.
func wholes(x float64) int { return max(1, int(math.Ceil(x))) }
