package queue

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// scrapeLimit is how long the streams and the other gateways may take to answer a scrape, which then takes less than five
// seconds. What is not answered is left out, and the rest is there.
const scrapeLimit = 4 * time.Second

// metrics are what the queue tells about itself: the time of each sync as it happens, everything else when it is
// asked. Labels are names of functions, reasons of dead letters and the parts of the balance.
type metrics struct {
	q        *Queue
	syncs    prometheus.Histogram
	attempts *prometheus.HistogramVec
}

// measure registers the metrics.
func (q *Queue) measure(r prometheus.Registerer) error {
	m := &metrics{q: q, attempts: attemptTimes(), syncs: prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "funker_sync_seconds", Help: "Time of one sync of the store to disk, which all publishers that wait share.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 12), // 0.1 ms to 2.4 s
	})}
	if q.sync != nil {
		q.sync.observe = func(d time.Duration) { m.syncs.Observe(d.Seconds()) }
	}
	if err := r.Register(m); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return q.hearAttempts(m.attempts)
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("funker_"+name, help, labels, nil)
}

var (
	descWaiting = describe("waiting", "Messages that no worker has taken yet, by function and lane: calls, replays (due retries too), events.", "function", "lane")
	descRunning = describe("running", "Messages that a worker has and has not settled.", "function", "lane")
	descPaused  = describe("function_paused", "1 while a function is paused: its events wait, and its calls are refused.", "function")
	descWorkers = describe("workers", "Workers that have said within the last seconds that they have the function.", "function")
	descSlots   = describe("slots", "Connections that the tasks of these workers take at a time, by state: idle, busy.", "function", "state")
	descPlanned = describe("scheduled", "Retries that wait for their time.", "function")
	descOldest  = describe("oldest_waiting_seconds", "Age of the oldest event that waits or runs; 0 without any.", "function")
	descDead    = describe("dead_letters", "Dead letters whose event is still dead, by reason.", "function", "reason")
	descRuns    = describe("runs", "Runs (accepted events and replays) that the store knows, by where they stand: waiting, running, scheduled, succeeded, dead, dropped, unrecorded.", "state")
	descStored  = describe("store_bytes", "Bytes in the streams that refuse what is new when they are full.", "stream")
	descRoom    = describe("store_limit_bytes", "Bytes that these streams may hold.", "stream")
	descFree    = describe("disk_free_bytes", "Bytes free on the disk of the data folder.")
	descReserve = describe("disk_reserve_bytes", "Bytes of the disk that are kept for what was accepted before. With less free, new events and calls are refused.")
	descLeads   = describe("leader", "1 while this gateway of a cluster looks after the streams and services. A gateway that stands alone does not say.")
	descMembers = describe("cluster_gateways", "Gateways of the cluster, by state: reached by this one (and itself), missing.", "state")
	descCopies  = describe("stream_copies", "Copies of a stream in the cluster, by state: current, behind. None while no gateway leads the stream.", "stream", "state")
	descDrift   = describe("conservation_drift", "Runs that are unaccounted for: accepted or replayed, and neither under way nor ended. Anything but 0 is a bug or a damaged store.")
)

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descWaiting, descRunning, descPaused, descWorkers, descSlots, descPlanned, descOldest, descDead, descRuns, descDrift, descStored, descRoom, descFree, descReserve, descLeads, descMembers, descCopies} {
		ch <- d
	}
	m.syncs.Describe(ch)
	m.attempts.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.syncs.Collect(ch)
	m.attempts.Collect(ch)
	ctx, cancel := context.WithTimeout(context.Background(), scrapeLimit)
	defer cancel()
	var asked sync.WaitGroup
	if m.q.inCluster() {
		asked.Go(func() { m.cluster(ctx, ch) })
	}
	for d, write := range map[*prometheus.Desc]func(context.Context, chan<- prometheus.Metric) error{
		descWaiting: m.functions, descDrift: m.balance, descStored: m.usage,
	} {
		asked.Go(func() {
			if err := write(ctx, ch); err != nil {
				ch <- prometheus.NewInvalidMetric(d, err)
			}
		})
	}
	asked.Wait()
}

// cluster writes how the gateways and their copies are.
func (m *metrics) cluster(ctx context.Context, ch chan<- prometheus.Metric) {
	leads := 0.0
	if m.q.Leads() {
		leads = 1
	}
	gauge(ch, descLeads, leads)
	reached := m.q.reached()
	gauge(ch, descMembers, float64(len(reached)), "reached")
	gauge(ch, descMembers, float64(len(m.q.lease.gateways)-len(reached)), "missing")
	_, streams := m.q.copies(ctx, reached)
	for _, c := range streams {
		gauge(ch, descCopies, float64(c.Current()), c.Stream, "current")
		gauge(ch, descCopies, float64(len(c.Copies)-c.Current()), c.Stream, "behind")
	}
}

func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

// functions writes what every function has to do. What only the server knows is left out when it does not answer.
func (m *metrics) functions(ctx context.Context, ch chan<- prometheus.Metric) error {
	built := m.q.index.built.Load()
	stats, err := m.q.Stats(ctx)
	if err != nil {
		stats = m.q.statsHere()
	}
	crews := crewsOf(m.q.Workers())
	for _, s := range stats {
		c := crews[s.Function]
		gauge(ch, descWorkers, float64(c.workers), s.Function)
		gauge(ch, descSlots, float64(c.idle), s.Function, "idle")
		gauge(ch, descSlots, float64(c.slots-c.idle), s.Function, "busy")
		if err == nil {
			writeLanes(ch, s)
		}
		paused := 0.0
		if s.Paused {
			paused = 1
		}
		gauge(ch, descPaused, paused, s.Function)
		if !built { // zeros would look as if all had vanished
			continue
		}
		gauge(ch, descPlanned, float64(s.Scheduled), s.Function)
		for _, r := range Reasons() {
			gauge(ch, descDead, float64(s.Dead[r]), s.Function, string(r))
		}
		if err == nil {
			oldest := 0.0
			if !s.Oldest.IsZero() {
				oldest = time.Since(s.Oldest).Seconds()
			}
			gauge(ch, descOldest, oldest, s.Function)
		}
	}
	return err
}

// writeLanes writes what waits and runs.
func writeLanes(ch chan<- prometheus.Metric, s FunctionStats) {
	for lane, n := range map[string]Lane{"calls": s.Calls, "replays": s.Replays, "events": s.Events} {
		gauge(ch, descWaiting, float64(n.Waiting), s.Function, lane)
		gauge(ch, descRunning, float64(n.Running), s.Function, lane)
	}
}

// crewSize is what all workers have of one function.
type crewSize struct{ workers, slots, idle int }

func crewsOf(all []Heartbeat) map[string]crewSize {
	crews := map[string]crewSize{}
	for _, h := range all {
		for _, l := range h.Functions {
			c := crews[l.Function]
			crews[l.Function] = crewSize{c.workers + 1, c.slots + l.Slots, c.idle + l.Idle}
		}
	}
	return crews
}

// balance writes where the runs are.
func (m *metrics) balance(ctx context.Context, ch chan<- prometheus.Metric) error {
	b, err := m.q.Balance(ctx)
	if err != nil {
		return err
	}
	for state, n := range map[string]int64{
		"waiting": b.Waiting, "running": b.Running, "scheduled": b.Scheduled, "succeeded": b.Succeeded, "dead": b.Dead,
		"dropped": b.Dropped, "unrecorded": b.Unrecorded,
	} {
		gauge(ch, descRuns, float64(n), state)
	}
	gauge(ch, descDrift, float64(b.Drift))
	return nil
}

// usage writes how full the store is.
func (m *metrics) usage(ctx context.Context, ch chan<- prometheus.Metric) error {
	u, err := m.q.free(ctx)
	if err != nil {
		return err
	}
	if u.Free >= 0 {
		gauge(ch, descFree, float64(u.Free))
		gauge(ch, descReserve, float64(u.Reserve))
	}
	streams, err := m.q.filled(ctx)
	for _, s := range streams {
		gauge(ch, descStored, float64(s.Bytes), s.Stream)
		gauge(ch, descRoom, float64(s.Limit), s.Stream)
	}
	return err
}
