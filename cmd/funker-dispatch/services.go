package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// services looks after the services of the functions that have an image: it makes the swarm match the manifest, and gives
// each function as many tasks as its work needs. Only the engine of a manager can do that; with another one it tries
// again and again, and says so.
type services struct {
	catalog    *deploy.Catalog
	reconciler *deploy.Reconciler
	scaler     *deploy.Scaler
}

func newServices(ctx context.Context, e *deploy.Engine, network string, c *deploy.Catalog, q *queue.Queue, log *slog.Logger) (*services, error) {
	id, err := q.ID(ctx)
	if err != nil {
		return nil, err
	}
	s := &services{catalog: c}
	if s.reconciler, err = deploy.NewReconciler(e, c, deploy.ReconcileOptions{Gateway: id, Network: network, Log: log}); err != nil {
		return nil, err
	}
	work := &workload{queue: q}
	if s.scaler, err = deploy.NewScaler(e, c, deploy.ScalerOptions{Gateway: id, Work: work.of, Log: log}); err != nil {
		return nil, err
	}
	return s, q.Arrivals(s.scaler.Kick)
}

// run looks after them until ctx is cancelled. They go on without a gateway.
func (s *services) run(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { s.reconciler.Run(ctx) })
	both.Go(func() { s.scaler.Run(ctx) })
	both.Wait()
}

// states are those of the functions that have an image, by function.
func (s *services) states(ctx context.Context) (map[string]*serviceState, error) {
	states := map[string]*serviceState{}
	if !s.catalog.Manifest().Deploys() {
		return states, nil
	}
	all, err := s.reconciler.States(ctx)
	if err != nil {
		return s.unknown(err), ctx.Err()
	}
	for _, one := range all {
		state := &serviceState{Image: one.Image, Wanted: one.Wanted, Running: one.Running, Starting: one.Starting, Settled: one.Settled, Problem: one.Problem}
		if state.Problem == "" && !one.Settled && one.Failed != nil {
			state.Problem = "the last task failed: " + one.Failed.Error
		}
		states[one.Function] = state
	}
	return states, nil
}

// unknown says of each of these functions why nothing is known of its service.
func (s *services) unknown(reason error) map[string]*serviceState {
	states := map[string]*serviceState{}
	for _, f := range s.catalog.Manifest().Functions {
		if f.Image != "" {
			states[f.Name] = &serviceState{Problem: reason.Error()}
		}
	}
	return states
}

// changes are what a manifest would change of the services, for people. s may be nil.
func (s *services) changes(ctx context.Context, m *deploy.Manifest) ([]string, error) {
	if s == nil || !m.Deploys() && !s.catalog.Manifest().Deploys() {
		return nil, nil
	}
	plan, err := s.reconciler.Plan(ctx, m)
	if err != nil {
		return nil, fmt.Errorf("look at the services: %w", err)
	}
	lines := make([]string, len(plan))
	for i, c := range plan {
		lines[i] = c.String()
	}
	return lines, nil
}

// workLife is how long a count of the work is good: the scaler asks for one function after the other.
const workLife = 500 * time.Millisecond

// workload counts the work of all functions at once.
type workload struct {
	queue *queue.Queue

	mu  sync.Mutex
	at  time.Time
	all map[string]deploy.Work
}

func (w *workload) of(ctx context.Context, function string) (deploy.Work, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.at) > workLife {
		stats, err := w.queue.Stats(ctx)
		if err != nil {
			return deploy.Work{}, err
		}
		w.at, w.all = time.Now(), make(map[string]deploy.Work, len(stats))
		for _, f := range stats {
			w.all[f.Function] = deploy.Work{
				Waiting: int(min(f.Calls.Waiting+f.Replays.Waiting+f.Events.Waiting, maxCounted)), //nolint:gosec // at most maxCounted
				Running: f.Calls.Running + f.Replays.Running + f.Events.Running,
			}
		}
	}
	return w.all[function], nil
}

// maxCounted is more work than any number of tasks can take at once.
const maxCounted = 1 << 30
