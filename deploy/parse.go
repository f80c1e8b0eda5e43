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

// loadOptions say how to read a manifest.
type loadOptions struct {
	ServicesOptions
	functionsOnly bool // leave the triggers and their secrets unread
}

func parse(file string, data []byte, dir string, options loadOptions) (*Manifest, error) {
	r := &report{file: file}
	m := &Manifest{}
	if root := r.document(data); root != nil {
		top := r.entries(root, "the manifest")
		switch r.version(top) {
		case versionServices:
			m = (&servicesReader{report: r, options: options.ServicesOptions}).manifest(root, top)
		case versionCurrent:
			m = (&manifestReader{report: r, dir: dir, functionsOnly: options.functionsOnly}).manifest(top)
		}
	}
	return r.result(m)
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

	functionsOnly bool
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
	if isNull(triggers) || r.functionsOnly {
		return m
	}
	for _, n := range r.items(triggers, "triggers", "- github: acme") {
		if t := r.trigger(n); t != nil {
			m.Triggers = append(m.Triggers, t)
		}
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
