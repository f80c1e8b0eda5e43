package ingress

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// table is one manifest, ready for lookups. It does not change.
type table struct {
	manifest  *deploy.Manifest
	hooks     map[string]*hook // by path
	kinds     map[string][]*hook
	functions map[string]*deploy.Function
}

// hook is a trigger together with what verifies its requests.
type hook struct {
	*deploy.Trigger
	verify trigger.Verifier
	source string
	routes []route
	looks  bool // a filter of them looks at more than the name of the event
}

// newTable leaves out the triggers that cannot be verified: there is a fault
// for each. Triggers that are as in the last table keep their verifiers, and with
// them the certificates that those have.
func newTable(m *deploy.Manifest, fetch trigger.Fetch, last *table) (t *table, faults []error) {
	t = &table{
		manifest:  m,
		hooks:     make(map[string]*hook, len(m.Triggers)),
		kinds:     map[string][]*hook{},
		functions: make(map[string]*deploy.Function, len(m.Functions)),
	}
	for _, f := range m.Functions {
		t.functions[f.Name] = f
	}
	for _, d := range m.Triggers {
		h, err := newHook(d, fetch, last)
		if err != nil {
			faults = append(faults, fmt.Errorf("trigger on %s: %w", d.Path, err))
			continue
		}
		t.hooks[d.Path] = h
		t.kinds[d.Kind] = append(t.kinds[d.Kind], h)
	}
	return t, faults
}

// Check returns an error when the gateway cannot serve every trigger of a manifest.
func Check(m *deploy.Manifest) error {
	_, faults := newTable(m, fetch, nil)
	return errors.Join(faults...)
}

// refuseClosed is the verifier of a trigger that is closed: its senders shall come back.
func refuseClosed(context.Context, trigger.Request) (trigger.Event, error) {
	return trigger.Event{}, errClosed
}

var errClosed = refuse(codeUnavailable, "this trigger is closed for now, the gateway's log says why: try again later")

func newHook(d *deploy.Trigger, fetch trigger.Fetch, last *table) (*hook, error) {
	if d.Closed != "" {
		return &hook{Trigger: d, verify: refuseClosed, source: d.Source()}, nil
	}
	h := &hook{Trigger: d, source: d.Source()}
	if same := last.same(d); same != nil {
		h.verify = same.verify
		return h, h.addRoutes()
	}
	var err error
	if h.verify, err = trigger.New(d.Config, fetch); err != nil {
		return nil, err
	}
	return h, h.addRoutes()
}

// same is the trigger on the path of d, when it verifies as d does. t may be nil.
func (t *table) same(d *deploy.Trigger) *hook {
	if t == nil {
		return nil
	}
	h := t.hooks[d.Path]
	if h == nil || h.Closed != "" || !reflect.DeepEqual(h.Config, d.Config) {
		return nil
	}
	return h
}

// current is the table of the manifest in force.
func (s *Server) current() *table {
	m := s.catalog.Manifest()
	if t := s.table.Load(); t.manifest == m {
		return t
	}
	s.rebuild.Lock()
	defer s.rebuild.Unlock()
	m = s.catalog.Manifest()
	if t := s.table.Load(); t.manifest == m {
		return t
	}
	t, faults := newTable(m, s.fetch, s.table.Load())
	for _, err := range faults {
		s.log.Error("trigger left out", "error", err)
	}
	s.senders.follow(m)
	s.table.Store(t)
	return t
}

// maxNamed is how many names a refusal lists.
const maxNamed = 20

// find returns the function, of the manifest or found by a worker, or a refusal that names those of the manifest.
func (s *Server) find(t *table, name string) (*deploy.Function, error) {
	f, err := t.find(name)
	if err != nil && s.found(name) {
		return deploy.NewFunction(name), nil
	}
	return f, err
}

func (t *table) find(name string) (*deploy.Function, error) {
	if f, ok := t.functions[name]; ok {
		return f, nil
	}
	var known []string
	for _, f := range t.manifest.Functions[:min(maxNamed, len(t.manifest.Functions))] {
		known = append(known, f.Name)
	}
	list := strings.Join(known, ", ")
	switch {
	case list == "":
		list = "none"
	case len(t.manifest.Functions) > maxNamed:
		list += fmt.Sprintf(" and %d more", len(t.manifest.Functions)-maxNamed)
	}
	return nil, refuse(codeUnknownFunction, "no function of that name; there are: "+list)
}
