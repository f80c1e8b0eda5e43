package deploy

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// defaultTick is how often a Scaler looks when nothing wakes it.
const defaultTick = time.Second

// ScalerOptions says what a Scaler is in charge of.
type ScalerOptions struct {
	Gateway string // required; as in ReconcileOptions

	// Work tells what a function has to do now; required. It is asked once a second for each function that may have
	// more or fewer tasks, and should answer within that time. While it fails, the function keeps its tasks.
	Work func(ctx context.Context, function string) (Work, error)

	Idle time.Duration // see Scale; DefaultIdle when 0
	Tick time.Duration // between two looks; 1 s when 0
	Log  *slog.Logger  // required
}

// Scaler gives the functions of a Catalog as many tasks as their work needs, as Scale says. It leaves a function alone
// whose least number of tasks is the greatest. One of several gateways should run it; more do no harm, though tasks then
// stay as long as one of them wants it.
type Scaler struct {
	engine  *Engine
	catalog *Catalog
	options ScalerOptions
	wake    chan struct{}

	mu     sync.Mutex
	kicked map[string]bool

	// Of the goroutine of Run:
	scales map[string]*Scale
	asked  map[string]int // tasks that the swarm is asked for, as of the last look; -1 for a function without service
	faults map[string]error
	fault  error // of the last look as a whole
}

// NewScaler checks the options.
func NewScaler(e *Engine, c *Catalog, o ScalerOptions) (*Scaler, error) {
	if o.Gateway == "" || o.Work == nil {
		return nil, errors.New("a scaler needs the id of its gateway, and somebody who tells it of work")
	}
	o.Tick = cmp.Or(o.Tick, defaultTick)
	return &Scaler{
		engine: e, catalog: c, options: o, wake: make(chan struct{}, 1), kicked: make(map[string]bool),
		scales: make(map[string]*Scale), asked: make(map[string]int), faults: make(map[string]error),
	}, nil
}

// Kick says that a function has got work. A function without tasks gets some at once; for others it counts as work at the
// next look, so that work which is done between two looks keeps the last task alive. Call it for every event and call: it
// is cheap.
func (s *Scaler) Kick(function string) {
	s.mu.Lock()
	known := s.kicked[function]
	s.kicked[function] = true
	s.mu.Unlock()
	if known {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Run scales until ctx ends. What fails is logged when it begins and when it changes, and tried again.
func (s *Scaler) Run(ctx context.Context) {
	ticks := time.NewTicker(s.options.Tick)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			s.look(ctx)
		case <-s.wake:
			s.start(ctx)
		}
	}
}

// look scales every function that may have more or fewer tasks.
func (s *Scaler) look(ctx context.Context) {
	functions := scaled(s.catalog.Manifest().Functions)
	if len(functions) == 0 {
		return
	}
	asked, err := s.engine.replicas(ctx, s.options.Gateway)
	s.note(ctx, "all", s.fault, err)
	if s.fault = err; err != nil {
		return
	}
	s.asked = asked
	s.forget(functions)
	kicked := s.takeKicked()
	for name, f := range functions {
		if _, ok := asked[name]; ok {
			s.scale(ctx, f, kicked[name])
		} else {
			asked[name] = -1
		}
	}
}

// forget drops what is known of functions that are not scaled any more.
func (s *Scaler) forget(functions map[string]*Function) {
	gone := func(name string) bool { return functions[name] == nil }
	maps.DeleteFunc(s.scales, func(name string, _ *Scale) bool { return gone(name) })
	maps.DeleteFunc(s.faults, func(name string, _ error) bool { return gone(name) })
}

// scaled returns the functions whose number of tasks may change, by name.
func scaled(functions []*Function) map[string]*Function {
	found := make(map[string]*Function)
	for _, f := range deployed(functions) {
		if f.Replicas.Min < f.Replicas.Max {
			found[f.Name] = f
		}
	}
	return found
}

func (s *Scaler) takeKicked() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	kicked := s.kicked
	s.kicked = make(map[string]bool)
	return kicked
}

// start gives tasks to those functions that were kicked and have none. The others wait for the next look.
func (s *Scaler) start(ctx context.Context) {
	functions := scaled(s.catalog.Manifest().Functions)
	for _, name := range s.idleKicked() {
		if f := functions[name]; f != nil && !f.Paused {
			s.scale(ctx, f, true)
		}
	}
}

// idleKicked returns the kicked functions that have no task as far as is known.
func (s *Scaler) idleKicked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.kicked {
		if s.asked[name] == 0 {
			names = append(names, name)
		}
	}
	return names
}

// scale asks the swarm for as many tasks as the function needs.
func (s *Scaler) scale(ctx context.Context, f *Function, kicked bool) {
	work, err := s.work(ctx, f.Name, kicked && !f.Paused)
	if f.Paused { // what waits needs no task before it may run
		work.Waiting = 0
	}
	if err == nil {
		err = s.ask(ctx, f, work)
	}
	if errors.Is(err, errNotOurs) { // it was removed since the last look
		s.asked[f.Name] = -1
		return
	}
	s.note(ctx, f.Name, s.faults[f.Name], err)
	s.faults[f.Name] = err
}

// work is at least one piece when the function was kicked: it may be done already, or not yet be counted. Nobody needs to
// count before the first task starts.
func (s *Scaler) work(ctx context.Context, function string, kicked bool) (Work, error) {
	work, err := s.options.Work(ctx, function)
	if kicked && err != nil && s.asked[function] == 0 {
		work, err = Work{}, nil
	}
	if kicked && work == (Work{}) {
		work.Waiting = 1
	}
	return work, err
}

func (s *Scaler) ask(ctx context.Context, f *Function, work Work) error {
	rule := s.scales[f.Name]
	if rule == nil {
		rule = &Scale{Idle: s.options.Idle}
		s.scales[f.Name] = rule
	}
	now := s.asked[f.Name]
	wanted := rule.Replicas(f, now, work, time.Now())
	if wanted == now {
		return nil
	}
	after, err := s.engine.setReplicas(ctx, s.options.Gateway, f.Name, now, wanted)
	if err != nil {
		return err
	}
	s.asked[f.Name] = after
	s.options.Log.Info("function scaled", "function", f.Name, "from", now, "to", after, "waiting", work.Waiting, "running", work.Running)
	return nil
}

// note logs when an error of a function, or of all, begins, becomes another one, or ends.
func (s *Scaler) note(ctx context.Context, function string, before, now error) {
	switch {
	case ctx.Err() != nil, sameTrouble(before, now):
	case now == nil:
		s.options.Log.Info("scaling works again", "function", function)
	default:
		s.options.Log.Error("scaling fails", "function", function, "error", now)
	}
}
