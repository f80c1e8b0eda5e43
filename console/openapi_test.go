package console

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/console/apitest"
	"github.com/funker-dispatch/funker-dispatch/deploy"
)

// description is that of the API. Every answer in the tests of this package is held to it.
type description struct {
	once sync.Once
	turn sync.Mutex
	*apitest.Description
}

var described description

func (d *description) check(t testing.TB, r *http.Request, res response, body []byte) {
	t.Helper()
	if !strings.HasPrefix(r.URL.Path, "/api/v1/") {
		return
	}
	defer d.take(t)()
	if err := d.Fault(r, res.StatusCode, res.Header, body); err != nil {
		t.Errorf("%s %s: the answer is not as it is described: %v", r.Method, r.URL, err)
	}
}

// take reads the description, and keeps others off it.
func (d *description) take(t testing.TB) (giveBack func()) {
	t.Helper()
	d.turn.Lock()
	d.once.Do(func() { d.Description = apitest.Read(t, openAPI) })
	return d.turn.Unlock
}

// checkSchema is for what is no answer of its own.
func (d *description) checkSchema(t testing.TB, name, text string) {
	t.Helper()
	defer d.take(t)()
	if err := d.SchemaFault(name, []byte(text)); err != nil {
		t.Errorf("it is not as it is described: %v", err)
	}
}

func TestOpenAPI_DescribesEveryRouteAndNothingElse(t *testing.T) {
	d := apitest.Read(t, openAPI)
	s := New(Options{
		Catalog: deploy.NewCatalog(nil), Manifests: struct{ Manifests }{}, Tests: struct{ Tests }{}, Triggers: func(string) (any, error) { return nil, nil },
		Functions: func(context.Context) (any, error) { return nil, nil },
	})
	routed := map[string][]string{}
	for _, r := range s.api() {
		routed[r.method+" "+r.path] = r.keys
		if keep := r.method == http.MethodGet; keep == changes(&http.Request{Method: r.method}) {
			t.Errorf("%s %s: may it change anything?", r.method, r.path)
		}
	}
	for _, o := range d.Operations {
		name := o.Method + " " + o.Path
		keys, ok := routed[name]
		if !ok {
			t.Errorf("%s is described, and not served", name)
		}
		want, got := slices.Sorted(slices.Values(keys)), slices.Sorted(slices.Values(o.Query()))
		if !slices.Equal(want, got) {
			t.Errorf("%s takes %q, and the description says %q", name, want, got)
		}
		for _, p := range o.Parameters {
			if p.In == "path" && !strings.Contains(o.Path, "{"+p.Name+"}") {
				t.Errorf("%s has no %s in its path", name, p.Name)
			}
		}
		if r, _ := http.NewRequest(o.Method, strings.NewReplacer("{", "", "}", "").Replace(o.Path), nil); r != nil {
			if _, pattern := s.mux.Handler(r); pattern != name {
				t.Errorf("%s is served by %q", name, pattern)
			}
		}
		delete(routed, name)
	}
	for name := range routed {
		t.Errorf("%s is served, and not described", name)
	}
}

func TestOpenAPI_IsServed(t *testing.T) {
	t.Parallel()
	a := start(t)
	var got string
	if res := a.do("GET", "/api/v1/openapi.yaml", &got); got != string(openAPI) || res.Header.Get("Content-Type") != "application/yaml" {
		t.Errorf("got %v %.80s", res.Header, got)
	}
}
