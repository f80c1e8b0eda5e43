package deploy

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// routeReader reads the keys of one route.
type routeReader struct {
	Route
	kind string // of the trigger
}

// fields are the keys of a route, in a trigger or in an entry of its routes.
func (r *routeReader) fields(m *manifestReader) fields {
	f := fields{"function": func(n ast.Node) { r.Function = m.functionName(n, "function") }}
	maps.Copy(f, r.filters(m))
	return f
}

func (r *routeReader) filters(m *manifestReader) fields {
	f := fields{
		"events": func(n ast.Node) { r.Filter.Events = r.events(m, n) },
		"if":     func(n ast.Node) { r.Filter.If = m.condition(n) },
	}
	maps.Copy(f, r.places(m))
	return f
}

// given is the first key of a route that is among keys.
func (r *routeReader) given(keys map[string]*token.Token) string {
	for key := range r.fields(nil) {
		if keys[key] != nil {
			return key
		}
	}
	return ""
}

// maxRoutes of a trigger: so many copies of each event are stored.
const maxRoutes = 32

func (r *triggerReader) routes(n ast.Node) []Route {
	before := len(r.faults)
	items := r.items(n, "routes", "- function: Build")
	if len(r.faults) == before && (len(items) == 0 || len(items) > maxRoutes) {
		r.fault(at(n), "routes has %d entries: write 1 to %d", len(items), maxRoutes)
		return nil
	}
	functions := map[string]bool{}
	var routes []Route
	for _, item := range items {
		route := routeReader{kind: r.t.Kind}
		r.object(item, "a route", route.fields(r.manifestReader))
		switch name := route.Function; {
		case name == "":
			r.fault(at(item), "the route has no function: add function: <name>")
		case functions[name]:
			r.fault(at(item), "function %q has two routes: make one of them, an event runs a function once", shorten(name))
		}
		functions[route.Function] = true
		routes = append(routes, route.Route)
	}
	return routes
}

// maxEventName is the length in bytes.
const maxEventName = 255

var gitHubEvent = regexp.MustCompile(`^[a-z_]+$`)

// events reads names of events, as the sender gives them.
func (r *routeReader) events(m *manifestReader, n ast.Node) []string {
	return m.some(n, "events", "[push, release]", func(s string) (string, error) { return s, checkEvent(r.kind, s) })
}

// checkEvent finds names that no event has, because they are written as another
// place wants them.
func checkEvent(kind, s string) error {
	switch {
	case len(s) > maxEventName, strings.ContainsFunc(s, unicode.IsControl):
		return errors.New("is not the name of an event: copy it from the sender")
	case strings.Contains(s, "*"):
		return errors.New(`has a *, and names are compared as they are: write each of them, or if: event.startsWith("…")`)
	}
	switch kind {
	case trigger.GitHub:
		if !gitHubEvent.MatchString(s) {
			return errors.New("is not an event: use names such as push or pull_request")
		}
	case trigger.GitLab:
		if !strings.HasSuffix(s, " Hook") {
			return errors.New("is not an event: use names such as Push Hook or Merge Request Hook")
		}
	case trigger.Bitbucket:
		if !strings.Contains(s, ":") {
			return errors.New("is not an event: use names such as repo:push or pullrequest:created")
		}
	case trigger.MinIO, trigger.RustFS:
		if !strings.HasPrefix(s, "s3:") {
			return errors.New("is not an event: use names such as s3:ObjectCreated:Put")
		}
	case trigger.SNS:
		if name, ok := strings.CutPrefix(s, "s3:"); ok {
			return fmt.Errorf("is not an event: in what S3 sends to SNS it is %s", name)
		}
	}
	return nil
}
