package deploy

import "slices"

// Salvage reads a manifest that was applied once and has faults now: a secret file is missing, or a newer version of this
// program wrote it. The manifest has what can be used of it. A function keeps the settings that could be read and has
// defaults for the others; a trigger with a fault is Closed. It is Partial when there are faults.
func Salvage(file string, data []byte, options ServicesOptions) (*Manifest, Faults) {
	r := &report{file: file}
	found := r.manifest(data, "", loadOptions{ServicesOptions: options, applied: true})
	m, err := r.result(found)
	if err == nil {
		return m, nil
	}
	found.Partial, found.Warnings = true, r.warnings
	found.Functions = slices.DeleteFunc(found.Functions, func(f *Function) bool { return checkName(f.Name) != nil })
	found.Triggers = found.reachable()
	return found, r.faults
}

// reachable returns the triggers that have a path of their own. One that runs a function which is not there is closed.
func (m *Manifest) reachable() []*Trigger {
	var all []*Trigger
	for _, t := range m.Triggers {
		first, _ := m.Trigger(t.Path)
		if checkPath(t.Path) != nil || first != t {
			continue
		}
		if t.Closed == "" && !m.names(t) {
			t.Closed = "the name of a function that it runs is not valid"
		}
		all = append(all, t)
	}
	return all
}

// names reports whether every function that a trigger runs is in the manifest.
func (m *Manifest) names(t *Trigger) bool {
	has := func(name string) bool { _, ok := m.Function(name); return ok }
	if t.Function != "" && !has(t.Function) {
		return false
	}
	for _, name := range t.Intents {
		if !has(name) {
			return false
		}
	}
	for _, r := range t.Routes {
		if !has(r.Function) {
			return false
		}
	}
	return true
}
