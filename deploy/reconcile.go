package deploy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// Defaults of ReconcileOptions.
const (
	DefaultNetwork  = "funker"
	defaultInterval = 30 * time.Second
)

// retryPause is how soon a Reconciler tries again what failed.
const retryPause = 5 * time.Second

// maxRedo bounds how often in a row a Reconciler looks again because somebody else changed a service meanwhile.
const maxRedo = 10

// ReconcileOptions says what a Reconciler is in charge of.
type ReconcileOptions struct {
	Gateway  string        // required; services with this id in the label funker.managed are its own
	Network  string        // DefaultNetwork when ""
	Interval time.Duration // between two looks when nothing wakes it; 30 s when 0
	Log      *slog.Logger  // required
}

// Reconciler makes the services of a swarm match the functions of a Catalog that have an image. It creates, updates and
// removes services of its own gateway, and touches no other. Several that do the same at once do no harm.
//
// It leaves the number of tasks to a Scaler: it creates a service with the least number, and afterwards only brings the
// number back into the range of the manifest.
type Reconciler struct {
	engine  *Engine
	catalog *Catalog
	options ReconcileOptions
	wake    chan struct{}
	turn    sync.Mutex // held while services are changed

	mu       sync.Mutex
	refresh  bool              // ask the registries what their tags stand for
	problems map[string]string // function to why the last try failed, or why it is refused
	trouble  error             // why the last try failed as a whole
}

// NewReconciler checks the options. The catalog must hold the manifest in force before Run: a function that is not in it
// loses its service.
func NewReconciler(e *Engine, c *Catalog, o ReconcileOptions) (*Reconciler, error) {
	if o.Gateway == "" {
		return nil, errors.New("a reconciler needs the id of its gateway")
	}
	if o.Network == "" {
		o.Network = DefaultNetwork
	}
	if o.Interval == 0 {
		o.Interval = defaultInterval
	}
	return &Reconciler{engine: e, catalog: c, options: o, wake: make(chan struct{}, 1)}, nil
}

// Wake makes Run look at once, as a new manifest in the catalog does.
func (r *Reconciler) Wake() {
	select {
	case r.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Refresh is Wake, and asks the registries what tags stand for now: a tag that has moved is rolled out. Call it when
// somebody applies a manifest, changed or not.
func (r *Reconciler) Refresh() {
	r.mu.Lock()
	r.refresh = true
	r.mu.Unlock()
	r.Wake()
}

// Run reconciles when it is woken and from time to time, until ctx ends. What fails is logged when it begins and when it
// changes, and tried again.
func (r *Reconciler) Run(ctx context.Context) {
	for {
		changed, pause := r.catalog.Changed(), r.options.Interval
		err := r.Reconcile(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			pause = min(pause, retryPause)
		}
		r.report(err)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-r.wake:
		case <-time.After(pause):
		}
	}
}

// report logs the state of the whole when it changes; problems of single functions have lines of their own.
func (r *Reconciler) report(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.trouble
	r.trouble = err
	switch {
	case sameTrouble(err, before):
	case err != nil && len(deployed(r.catalog.Manifest().Functions)) == 0:
		r.options.Log.Debug("no services are looked after", "error", err)
	case err != nil:
		r.options.Log.Error("services are not up to date", "error", err)
	default:
		r.options.Log.Info("services are up to date again")
	}
}

// sameTrouble tells whether an error says what the one before said. Docker's client has many words for an engine that is
// gone.
func sameTrouble(a, b error) bool {
	for _, kind := range []error{ErrNoEngine, ErrEngineDenied, ErrNotManager, ErrOldEngine} {
		if errors.Is(a, kind) && errors.Is(b, kind) {
			return true
		}
	}
	return a == nil && b == nil || a != nil && b != nil && a.Error() == b.Error()
}

// Plan returns what Reconcile would do for a manifest, without asking a registry. The network is not in it.
func (r *Reconciler) Plan(ctx context.Context, m *Manifest) ([]Change, error) {
	found, err := r.engine.survey(ctx)
	if err != nil {
		return nil, err
	}
	return Plan(r.options.Gateway, r.options.Network, m.Functions, found), nil
}

// Reconcile makes the swarm match the catalog once. It goes on with the other functions when one fails; a function that is
// refused is no error, see States.
func (r *Reconciler) Reconcile(ctx context.Context) error {
	r.turn.Lock()
	defer r.turn.Unlock()
	r.mu.Lock()
	refresh := r.refresh
	r.refresh = false
	r.mu.Unlock()
	var err error
	for range maxRedo {
		if err = r.pass(ctx, refresh); !errors.Is(err, errStale) {
			break
		}
	}
	if err != nil && refresh {
		r.mu.Lock()
		r.refresh = true
		r.mu.Unlock()
	}
	return err
}

func (r *Reconciler) pass(ctx context.Context, refresh bool) error {
	found, err := r.engine.survey(ctx)
	if err != nil {
		return err
	}
	m := r.catalog.Manifest()
	functions := m.Functions
	r.ask(ctx, functions, &found, refresh)
	changes := Plan(r.options.Gateway, r.options.Network, functions, found)
	if m.Partial { // what it does not name may be in the part that could not be read
		changes = slices.DeleteFunc(changes, func(c Change) bool { return c.Step == StepRemove })
	}
	return r.apply(ctx, changes)
}

// ask fills in the digests of images that no service of ours runs yet, or of all.
func (r *Reconciler) ask(ctx context.Context, functions []*Function, found *Found, all bool) {
	known := make(map[string]bool)
	for _, s := range found.Services {
		known[s.Name+" "+unpinned(s.Spec.Image)] = s.Gateway == r.options.Gateway
	}
	images := make(map[string]bool)
	for _, f := range deployed(functions) {
		image, err := fullImage(f.Image)
		if err == nil && tagged(image) && (all || !known[f.Name+" "+image]) {
			images[image] = true
		}
	}
	var missed map[string]error
	found.Digests, missed = r.engine.digests(ctx, slices.Sorted(maps.Keys(images)))
	for image, err := range missed {
		r.options.Log.Warn("image is used without a digest, so its tasks may differ and start slowly", "image", image, "error", err)
	}
}

// apply makes the changes. A network is needed for a service only.
func (r *Reconciler) apply(ctx context.Context, changes []Change) error {
	var networkID string
	var errs []error
	problems := make(map[string]string)
	for _, c := range changes {
		if networkID == "" && (c.Step == StepCreate || c.Step == StepUpdate) {
			id, err := r.engine.ensureNetwork(ctx, r.options.Network)
			if err != nil {
				return err
			}
			networkID = id
		}
		if err := r.do(ctx, c, networkID); err != nil {
			problems[c.Name] = err.Error()
			errs = append(errs, fmt.Errorf("%s service %s: %w", c.Step, c.Name, err))
		}
		if c.Step == StepRefuse {
			problems[c.Name] = c.Reason
		}
	}
	r.note(changes, problems)
	return errors.Join(errs...)
}

func (r *Reconciler) do(ctx context.Context, c Change, networkID string) error {
	var err error
	switch c.Step {
	case StepCreate:
		err = r.engine.createService(ctx, r.options.Gateway, c.Name, networkID, c.spec)
	case StepUpdate:
		err = r.engine.updateService(ctx, r.options.Gateway, networkID, c.found, c.spec)
	case StepRemove:
		err = r.engine.removeService(ctx, r.options.Gateway, c.found)
	case StepRefuse:
		return nil
	}
	if err == nil {
		r.options.Log.Info("service changed", "step", c.Step, "function", c.Name, "settings", c.settings())
	}
	return err
}

// note keeps why functions are not deployed, and logs a refusal that is new.
func (r *Reconciler) note(changes []Change, problems map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range changes {
		if c.Step == StepRefuse && r.problems[c.Name] != c.Reason {
			r.options.Log.Warn("function cannot be deployed", "function", c.Name, "reason", c.Reason)
		}
	}
	r.problems = problems
}
