package deploy

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"
)

// Versions of the manifest.
const (
	versionServices = "1.0"
	versionCurrent  = "2"
)

// Parse reads a manifest of version 2 (YAML or JSON) or 1.0 (services.json). It
// reads the secret files that the manifest names, relative to dir. The error is
// a Faults with everything that is wrong; file is the name that it shows.
func Parse(file string, data []byte, dir string) (*Manifest, error) {
	return parse(file, data, dir, loadOptions{})
}

// Check finds the faults of a manifest that is to be applied, where the secret files cannot be read: they are the
// gateway's. The triggers of the result have no secrets. The error is a Faults.
func Check(file string, data []byte) (*Manifest, error) {
	return parse(file, data, "", loadOptions{applied: true, secretsOf: nobody})
}

// ParseApplied reads a manifest that was applied. Its secret files are those of this machine and have whole paths. The
// error is a Faults.
func ParseApplied(file string, data []byte, options ServicesOptions) (*Manifest, error) {
	return parse(file, data, "", loadOptions{ServicesOptions: options, applied: true})
}

// loadOptions say how to read a manifest.
type loadOptions struct {
	ServicesOptions
	functionsOnly bool                // leave the triggers and their secrets unread
	applied       bool                // the text has no folder: relative paths make no sense
	secretsOf     func(*Trigger) bool // whose secret files are read; nil: everybody's
}

func nobody(*Trigger) bool { return false }

// reads says whether the secret files of a trigger are read. Its kind and name are known.
func (o loadOptions) reads(t *Trigger) bool { return o.secretsOf == nil || o.secretsOf(t) }

func parse(file string, data []byte, dir string, options loadOptions) (*Manifest, error) {
	r := &report{file: file}
	return r.result(r.manifest(data, dir, options))
}

func (r *report) manifest(data []byte, dir string, options loadOptions) *Manifest {
	if root := r.document(data); root != nil {
		top := r.entries(root, "the manifest")
		switch r.version(top) {
		case versionServices:
			return (&servicesReader{report: r, options: options.ServicesOptions}).manifest(root, top)
		case versionCurrent:
			return (&manifestReader{report: r, dir: dir, options: options}).manifest(top)
		}
	}
	return &Manifest{}
}

// version is the version that the manifest has or, where it says none, seems to
// have: reading on finds more faults. It is "" where that makes no sense.
func (r *report) version(top []entry) string {
	guess := versionCurrent
	for _, e := range top {
		switch e.key {
		case "services":
			guess = versionServices
		case "version":
			s, ok := r.text(e.value, "version")
			if ok && s != versionServices && s != versionCurrent {
				r.fault(at(e.value), "version %q is unknown: write %q, or %q for a services.json", s, versionCurrent, versionServices)
				return ""
			}
			if ok {
				return s
			}
		}
	}
	return guess
}

// manifestReader reads version 2.
type manifestReader struct {
	*report
	dir       string
	functions map[string]bool // all names, also of functions with faults
	names     []string        // the same, sorted
	paths     map[string]int  // lines of the triggers
	sources   map[string]int
	options   loadOptions
}

func (r *manifestReader) manifest(top []entry) *Manifest {
	var functions, triggers ast.Node
	r.read(top, "the manifest", fields{
		"version":   func(ast.Node) {},
		"functions": func(n ast.Node) { functions = n },
		"triggers":  func(n ast.Node) { triggers = n },
	})
	m := &Manifest{}
	r.functions, r.paths, r.sources = map[string]bool{}, map[string]int{}, map[string]int{}
	for _, e := range r.entries(functions, "functions") {
		r.functions[e.key] = true
		m.Functions = append(m.Functions, r.function(e))
	}
	r.names = keys(r.functions)
	if isNull(triggers) || r.options.functionsOnly {
		return m
	}
	for _, n := range r.items(triggers, "triggers", "- github: acme") {
		before := len(r.faults)
		t := r.trigger(n)
		if t == nil {
			continue
		}
		if faults := r.faults[before:]; len(faults) > 0 {
			t.Closed = faults[0].String()
		}
		m.Triggers = append(m.Triggers, t)
	}
	return m
}

// functionName reads the name of a function that the manifest must define.
func (r *manifestReader) functionName(n ast.Node, what string) string {
	name, ok := r.text(n, what)
	if !ok || r.functions[name] {
		return name
	}
	hint := "add it to functions"
	if near := nearest(name, r.names); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	r.fault(at(n), "%s: there is no function %q: %s", what, shorten(name), hint)
	return name
}
