package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// What a gateway does by itself, so that nothing that was accepted is lost and the store never fills:
//
//   - disk.go: what is stored ends before the disk does.
//   - trim.go: what is done makes room for what is new.
//   - sweep.go: so do large bodies, which go with their events.
//   - age.go: what nobody takes becomes a dead letter.
//   - crashed.go: so does what workers died with again and again.
//   - kept.go: what was acknowledged stays so after a power cut.

const (
	watchEvery  = time.Second     // the disk, and whether the server is well
	trimEvery   = 5 * time.Second // the history
	expireEvery = 5 * time.Second // events that nobody takes
	sweepEvery  = time.Minute     // large bodies
	syncEvery   = time.Second     // what the server writes by itself, for which nobody waits: a retry that becomes due
)

// housekeeper does it, from Open to Close.
type housekeeper struct {
	q       *Queue
	started time.Time
	disk    *disk // nil when the server is somebody else's
	history history
	crowded atomic.Bool          // so much waits for another attempt that nothing new is accepted
	absent  map[string]time.Time // function -> since when it is known to have no worker
	failed  chan error           // holds one
	stop    context.CancelFunc
	wg      sync.WaitGroup
}

// keepHouse starts the housekeeping.
func (q *Queue) keepHouse(ctx context.Context, o Options, store int64) error {
	h := &housekeeper{q: q, started: time.Now(), absent: map[string]time.Time{}, failed: make(chan error, 1)}
	h.history.q, h.history.events, h.history.store = q, uint64(o.MaxEvents), uint64(store)
	if q.server != nil {
		h.disk = &disk{dir: o.Dir, log: o.Log, account: q.server.GlobalAccount()}
		if o.Cluster != nil {
			var err error
			if h.disk.others, err = q.hearDisks(len(o.Cluster.Peers)); err != nil {
				return err
			}
		}
		if _, err := h.disk.watch(); err != nil {
			return err
		}
	}
	var crashed jetstream.Consumer
	err := q.persist(ctx, func(ctx context.Context) (err error) { crashed, err = q.watchCrashed(ctx); return err })
	if err != nil {
		return err
	}
	q.house = h
	running, stop := context.WithCancel(context.Background())
	h.stop = stop
	if h.disk != nil {
		h.wg.Go(func() { every(running, watchEvery, h.watch) })
	} else if q.outside.retries > 0 {
		h.wg.Go(func() { every(running, watchEvery, h.watchRetries) })
	}
	if q.inCluster() {
		h.wg.Go(func() { every(running, watchEvery, h.watchNotice) })
	}
	h.wg.Go(func() { every(running, trimEvery, h.leading(h.trim)) })
	h.wg.Go(func() { every(running, expireEvery, h.leading(h.expire)) })
	h.wg.Go(func() { every(running, expireEvery, h.leading(h.rescue)) })
	h.wg.Go(func() {
		every(running, sweepEvery, h.leading(func(ctx context.Context) { h.complain(ctx, q.sweepBodies(ctx)) }))
	})
	h.wg.Go(func() { h.buryCrashed(running, crashed) })
	if q.sync != nil {
		h.wg.Go(func() { every(running, syncEvery, func(ctx context.Context) { h.complain(ctx, q.flush(ctx, "")) }) })
		k := keeper{dir: serverFolder(o.Dir)}
		h.wg.Go(func() { every(running, keepEvery, func(ctx context.Context) { h.complain(ctx, k.keep(ctx)) }) })
	}
	return nil
}

// leading does something while this gateway is the one that looks after the streams.
func (h *housekeeper) leading(f func(context.Context)) func(context.Context) {
	return func(ctx context.Context) {
		if h.q.Leads() {
			f(ctx)
		}
	}
}

// close ends the housekeeping. What it has in hand is finished or left as it was.
func (h *housekeeper) close() {
	h.stop()
	h.wg.Wait()
}

// every calls f at once and then from time to time, until ctx ends.
func every(ctx context.Context, d time.Duration, f func(context.Context)) {
	t := time.NewTicker(d)
	defer t.Stop()
	for ctx.Err() == nil {
		f(ctx)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
}

// complain logs what did not work, unless it is because the queue closes. That a cluster has no leader is a detail: it elects
// one, or others say so.
func (h *housekeeper) complain(ctx context.Context, err error) {
	switch {
	case err == nil || ctx.Err() != nil:
	case h.q.clustered() && unavailable(err):
		h.q.log.Debug("housekeeping", "error", err)
	default:
		h.q.log.Warn("housekeeping", "error", err)
	}
}

// watch looks at the disk and at the embedded server.
func (h *housekeeper) watch(ctx context.Context) {
	s, err := h.disk.watch()
	h.complain(ctx, err)
	h.history.short.Store(err == nil && s.short())
	if h.disk.others != nil {
		h.complain(ctx, h.q.tellDisk(h.q.lease.node, h.disk.refused))
	}
	if err := h.q.health(ctx); err != nil && ctx.Err() == nil {
		select {
		case h.failed <- err:
			h.q.log.Error("the store has failed: the process has to start again", "error", err)
		default: // known
		}
	}
}

// watchNotice ends a gateway that was cut off while the last backup of its cluster was made by the others.
func (h *housekeeper) watchNotice(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	if err := h.q.refuseNotice(ctx); errors.Is(err, ErrNotServed) {
		select {
		case h.failed <- err:
			h.q.log.Error("the events of this store have moved", "error", err)
		default: // known
		}
	}
}

// Failed gives the reason why the embedded server can store nothing more, such as an error of the disk, or ErrNotServed. Nothing mends
// that but Open; what was confirmed is kept. It blocks for ever when the server is another process's.
func (q *Queue) Failed() <-chan error {
	if q.house == nil {
		return nil
	}
	return q.house.failed
}

// health returns an error when the store takes nothing more, or does not bring it to the disk.
func (q *Queue) health(ctx context.Context) error {
	if q.sync != nil {
		if err := q.sync.failure(); err != nil {
			return err
		}
	}
	// While somebody makes, deletes or restores a stream, the server finds a folder of a stream that it does not know. So a
	// stream has failed only when the server says so again, and knew the stream in between.
	for last := ""; ; {
		stream, err := q.server.health()
		if stream == "" || stream == last {
			return err
		}
		if _, missing := q.js.Stream(ctx, stream); errors.Is(missing, jetstream.ErrStreamNotFound) {
			return nil
		}
		last = stream
	}
}

// health returns an error when JetStream is off, or when a stream of ours takes no more messages: then with its name. In a
// cluster the others take them, and JetStream is off where the disk has failed.
func (s *embedded) health() (stream string, err error) {
	query := "details=true"
	if s.JetStreamIsClustered() {
		query += "&js-enabled-only=true"
	}
	var a answer
	s.HandleHealthz(&a, &http.Request{URL: &url.URL{RawQuery: query}})
	var status server.HealthStatus
	if err := json.Unmarshal(a.Bytes(), &status); err != nil {
		return "", fmt.Errorf("health of the NATS server: %w", err)
	}
	for _, e := range status.Errors {
		ours := strings.HasPrefix(e.Stream, "FUNKER_") || e.Stream == streamBodies || e.Stream == streamConfig
		if e.Type == server.HealthzErrorJetStream || e.Type == server.HealthzErrorStream && ours {
			return e.Stream, fmt.Errorf("NATS server: %s", e.Error)
		}
	}
	return "", nil
}

// answer keeps what a handler of HTTP says.
type answer struct{ bytes.Buffer }

func (*answer) Header() http.Header { return http.Header{} }
func (*answer) WriteHeader(int)     {}
