package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// backlogReport is what `bench --backlog` prints: the same requests to an empty store and behind a backlog. The gateway
// is a process of its own.
type backlogReport struct {
	Events      int           `json:"events"`
	Filled      float64       `json:"filled_per_second"` // over HTTP
	AcceptEmpty float64       `json:"accept_p50_ms_empty"`
	Accept      float64       `json:"accept_p50_ms"`
	AcceptBy    float64       `json:"accept_p50_ratio"`
	CallEmpty   float64       `json:"call_p50_ms_empty"`
	Call        float64       `json:"call_p50_ms"`
	CallBy      float64       `json:"call_p50_ratio"`
	MemoryEmpty int64         `json:"resident_bytes_empty"`
	MemoryFull  int64         `json:"resident_bytes_filled"` // when the backlog was stored
	Settled     time.Duration `json:"settled_ns"`            // how long after that the next one was read
	Memory      int64         `json:"resident_bytes"`
	Status      time.Duration `json:"status_ns"`            // of one event, median
	Ready       time.Duration `json:"restart_to_ready_ns"`  // from the start of the process
	Indexed     time.Duration `json:"restart_to_status_ns"` // until the status of an event is known again
	Restarted   int64         `json:"resident_bytes_restarted"`
}

// backlogClients store the backlog.
const backlogClients = 64

// backlog measures what a backlog costs those who come after it.
func (b *bench) backlog(ctx context.Context, events int, settle time.Duration) (r backlogReport, err error) {
	running, cancel := context.WithCancel(ctx)
	var group errgroup.Group
	if err = b.startFunctions(running, &group); err == nil {
		r.Events, r.Settled = events, settle
		err = b.withServed(ctx, func(s *served) error { return b.behindBacklog(ctx, s, &r) })
	}
	if err == nil {
		err = b.withServed(ctx, func(s *served) error { return b.afterRestart(ctx, s, &r) })
	}
	cancel()
	return r, errors.Join(err, group.Wait())
}

// withServed runs f beside a gateway in a process of its own.
func (b *bench) withServed(ctx context.Context, f func(*served) error) error {
	s, err := b.serve(ctx, "served")
	if err != nil {
		return err
	}
	b.public = s.public
	err = f(s)
	b.client.CloseIdleConnections()
	return errors.Join(err, s.stop())
}

func (b *bench) behindBacklog(ctx context.Context, s *served, r *backlogReport) (err error) {
	emptyCalls, emptyAccepts, err := b.callsAndAccepts(ctx)
	if err != nil {
		return err
	}
	if r.MemoryEmpty, err = s.resident(); err != nil {
		return err
	}
	begin := time.Now()
	if err := b.storeBacklog(ctx, r.Events); err != nil {
		return err
	}
	r.Filled = float64(r.Events) / time.Since(begin).Seconds()
	if r.MemoryFull, err = s.resident(); err != nil {
		return err
	}
	if err := rest(ctx, r.Settled); err != nil {
		return err
	}
	calls, accepts, err := b.callsAndAccepts(ctx)
	if err != nil {
		return err
	}
	p50 := func(rows []row) float64 { return median(rows, func(k int) float64 { return rows[k].P50 }) }
	r.CallEmpty, r.Call, r.AcceptEmpty, r.Accept = p50(emptyCalls), p50(calls), p50(emptyAccepts), p50(accepts)
	r.CallBy, r.AcceptBy = r.Call/r.CallEmpty, r.Accept/r.AcceptEmpty
	if r.Status, err = statusTime(ctx, s.queue); err != nil {
		return err
	}
	r.Memory, err = s.resident()
	return err
}

// rest waits.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// storeBacklog sends pushes for the function that hangs.
func (b *bench) storeBacklog(ctx context.Context, events int) error {
	push := b.pushTo("/github/hangs")
	var sent atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range backlogClients {
		group.Go(func() error {
			for sent.Add(1) <= int64(events) {
				if err := push(ctx); err != nil {
					return fmt.Errorf("store the backlog: %w", err)
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// callsAndAccepts measures both in turns, with one client.
func (b *bench) callsAndAccepts(ctx context.Context) (calls, accepts []row, err error) {
	for range b.rounds {
		c, err := b.measure(ctx, measurement{what: through, clients: 1, do: b.call})
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", through, err)
		}
		a, err := b.measure(ctx, measurement{what: accepted, clients: 1, do: b.pushTo("/github/hangs")})
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", accepted, err)
		}
		calls, accepts = append(calls, c), append(accepts, a)
	}
	return calls, accepts, nil
}

// statusTime asks for the status of stored events.
func statusTime(ctx context.Context, q *queue.Queue) (time.Duration, error) {
	const samples = 51
	newest, err := q.List(ctx, queue.Filter{Kind: "event", Function: hanging, Limit: samples})
	if err != nil {
		return 0, err
	}
	if len(newest) == 0 {
		return 0, errors.New("the backlog is not stored")
	}
	var times []time.Duration
	for _, r := range newest {
		begin := time.Now()
		if _, err := q.Get(ctx, r.ID); err != nil {
			return 0, err
		}
		times = append(times, time.Since(begin))
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

func (b *bench) afterRestart(ctx context.Context, s *served, r *backlogReport) error {
	r.Ready = s.ready
	for {
		_, err := s.queue.List(ctx, queue.Filter{Limit: 1})
		if err == nil {
			break
		}
		if !errors.Is(err, queue.ErrIndexing) {
			return err
		}
	}
	r.Indexed = time.Since(s.begin)
	var err error
	r.Restarted, err = s.resident()
	return err
}

func printBacklog(w io.Writer, r backlogReport) error {
	_, err := fmt.Fprintf(w, `%d events of 1 KB wait, stored at %.0f/s over HTTP.
durable accept, 1 client, p50:  %.2f ms with an empty store, %.2f ms now: %.2f ×
call, 1 client, p50:            %.2f ms with an empty store, %.2f ms now: %.2f ×
status of one event:            %s
resident memory:                %d MB with an empty store, %d MB when the backlog was stored, %d MB after a rest of %s and the requests above
after a restart:                ready in %s, status known in %s, %d MB
`, r.Events, r.Filled, r.AcceptEmpty, r.Accept, r.AcceptBy, r.CallEmpty, r.Call, r.CallBy, r.Status.Round(time.Microsecond),
		r.MemoryEmpty/1e6, r.MemoryFull/1e6, r.Memory/1e6, r.Settled,
		r.Ready.Round(time.Millisecond), r.Indexed.Round(time.Millisecond), r.Restarted/1e6)
	return err
}
