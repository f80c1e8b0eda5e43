package ingress

import (
	"fmt"
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
}

// newTable leaves out the triggers that cannot be verified: there is a fault
// for each.
func newTable(m *deploy.Manifest) (t *table, faults []error) {
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
		h, err := newHook(d)
		if err != nil {
			faults = append(faults, fmt.Errorf("trigger on %s: %w", d.Path, err))
			continue
		}
		t.hooks[d.Path] = h
		t.kinds[d.Kind] = append(t.kinds[d.Kind], h)
	}
	return t, faults
}

func newHook(d *deploy.Trigger) (*hook, error) {
	verify, err := trigger.New(trigger.Config{
		Kind: d.Kind, SkillIDs: d.SkillIDs, Secret: d.Secret, IDOnly: d.IDOnly, Insecure: d.Insecure,
	})
	if err != nil {
		return nil, err
	}
	return &hook{Trigger: d, verify: verify, source: d.Source()}, nil
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
	t, faults := newTable(m)
	for _, err := range faults {
		s.log.Error("trigger left out", "error", err)
	}
	s.table.Store(t)
	return t
}

// maxNamed is how many names a refusal lists.
const maxNamed = 20

// find returns the function, or a refusal that names those there are.
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
