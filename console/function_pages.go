package console

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// functionState is what the pages need of the answer to GET /api/v1/functions.
type functionState struct {
	Function  string        `json:"function"`
	Image     string        `json:"image"`
	Found     bool          `json:"found"`
	Paused    bool          `json:"paused"`
	Lifecycle string        `json:"lifecycle"`
	Service   *serviceState `json:"service"`
	Nodes     []nodeState   `json:"nodes"`
	Waiting   uint64        `json:"waiting"`
	Running   int           `json:"running"`
	Last      *struct {
		ID      string      `json:"id"`
		Time    time.Time   `json:"time"`
		Outcome queue.State `json:"outcome"`
	} `json:"last"`
	Problem string `json:"problem"`

	Dead int64 `json:"-"` // dead letters
}

type serviceState struct {
	Image    string `json:"image"`
	Wanted   int    `json:"wanted"`
	Running  int    `json:"running"`
	Starting int    `json:"starting"`
	Settled  bool   `json:"settled"`
}

type nodeState struct {
	Node    string `json:"node"`
	Tasks   int    `json:"tasks"`
	Slots   int    `json:"slots"`
	Idle    int    `json:"idle"`
	Trouble string `json:"trouble"`
}

// Busy is how many slots run something.
func (n nodeState) Busy() int { return n.Slots - n.Idle }

// Path is that of the page of the function.
func (f functionState) Path() string { return functionPath(f.Function) }

func functionPath(name string) string { return "/functions/" + url.PathEscape(name) }

// Tasks is how many tasks there are, of those that shall be where the gateway knows that.
func (f functionState) Tasks() string {
	tasks := 0
	for _, n := range f.Nodes {
		tasks += n.Tasks
	}
	switch {
	case f.Service != nil:
		return fmt.Sprintf("%d of %d", f.Service.Running, f.Service.Wanted)
	case len(f.Nodes) == 0, tasks == 0 && f.Slots() > 0: // the worker knows addresses, and no tasks
		return "-"
	}
	return fmt.Sprint(tasks)
}

// Slots is how many connections its tasks take at a time.
func (f functionState) Slots() (n int) {
	for _, node := range f.Nodes {
		n += node.Slots
	}
	return n
}

// Busy is how many of the slots run something.
func (f functionState) Busy() (n int) {
	for _, node := range f.Nodes {
		n += node.Busy()
	}
	return n
}

// Where names the nodes that have slots for it.
func (f functionState) Where() string {
	var names []string
	for _, n := range f.Nodes {
		if n.Slots > 0 {
			names = append(names, cmp.Or(n.Node, "unknown"))
		}
	}
	return cmp.Or(namesText(names), "-")
}

// functionPages are the routes of the pages of the functions.
func (s *Server) functionPages() {
	if s.functions == nil {
		return
	}
	s.mux.HandleFunc("GET /functions", taking(s.functionsPage))
	s.mux.HandleFunc("GET /functions/{name}", taking(s.functionPage))
	s.logPages()
	if s.manifests == nil {
		return
	}
	s.mux.HandleFunc("POST /functions/{name}/pause", s.functionForm("Paused. What runs goes on to its end; what comes waits.", pausing(true)))
	s.mux.HandleFunc("POST /functions/{name}/resume", s.functionForm("It goes on with what waits.", pausing(false)))
	s.mux.HandleFunc("POST /functions/{name}/scale", s.functionForm("The number of its tasks is in the manifest.", scaling))
}

// askFunctions returns what is known of the functions, of one or of all. Whoever knows it hands over what the API answers.
func (s *Server) askFunctions(ctx context.Context, name string) ([]functionState, error) {
	known, err := s.functions(ctx)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(known)
	if err != nil {
		return nil, err
	}
	var all []functionState
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	if name != "" {
		all = slices.DeleteFunc(all, func(f functionState) bool { return f.Function != name })
	}
	return all, s.countDead(ctx, all)
}

func (s *Server) countDead(ctx context.Context, all []functionState) error {
	stats, err := s.queue.Stats(ctx)
	if err != nil {
		return err
	}
	dead := map[string]int64{}
	for _, f := range stats {
		for _, n := range f.Dead {
			dead[f.Function] += n
		}
	}
	for i := range all {
		all[i].Dead = dead[all[i].Function]
	}
	return nil
}

// functionsPage serves GET /functions.
func (s *Server) functionsPage(w http.ResponseWriter, r *http.Request) {
	all, err := s.askFunctions(r.Context(), "")
	if err != nil {
		s.failPage(w, r, err)
		return
	}
	s.render(w, r, http.StatusOK, "functions", "Functions", all)
}

// oneFunction is what the page of a function shows.
type oneFunction struct {
	functionState
	Config   *deploy.Function // nil: no manifest names it
	Triggers []string         // sources of those that run it
	Closed   string           // why it cannot be changed here; "" when it can be
}

// Settings are those of the manifest, with defaults, without values of the environment: those may be secret.
func (f oneFunction) Settings() []headerLine {
	c := f.Config
	all := []headerLine{
		{"Image", c.Image}, {"Addresses", strings.Join(c.Addresses, ", ")}, {"Lifecycle", string(c.Lifecycle)},
		{"Connections per task", fmt.Sprint(c.Concurrency)}, {"Timeout", c.Timeout.String()},
		{"Attempts", fmt.Sprintf("%d, the first wait %s, the longest %s, until %s old", c.Retry.Attempts, c.Retry.Initial, c.Retry.Max, c.Retry.MaxAge)},
		{"Payload", string(c.Payload)}, {"Input", strings.Join(c.Input, ", ")}, {"Command", strings.Join(c.Command, " ")},
	}
	if c.Image != "" {
		all = append(all, headerLine{"Tasks", fmt.Sprintf("%d to %d", c.Replicas.Min, c.Replicas.Max)})
	}
	all = append(all, headerLine{"Environment", strings.Join(keysOf(c.Env), ", ")}, headerLine{"Secrets", strings.Join(c.Secrets, ", ")},
		headerLine{"Configs", strings.Join(c.Configs, ", ")}, headerLine{"Placement", strings.Join(c.Constraints, ", ")})
	return slices.DeleteFunc(all, func(l headerLine) bool { return l.Value == "" })
}

func keysOf(m map[string]string) []string {
	var all []string
	for key := range m {
		all = append(all, key)
	}
	slices.Sort(all)
	return all
}

// functionPage serves GET /functions/{name}.
func (s *Server) functionPage(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	states, err := s.askFunctions(r.Context(), name)
	if err == nil && len(states) == 0 {
		err = queue.ErrNoFunction
	}
	if err != nil {
		s.failPage(w, r, err)
		return
	}
	m := s.catalog.Manifest()
	f := oneFunction{functionState: states[0], Triggers: running(m, name), Closed: s.unchangeable(r.Context())}
	f.Config, _ = m.Function(name)
	s.render(w, r, http.StatusOK, "function", name, f)
}

// running are the sources of the triggers that run a function.
func running(m *deploy.Manifest, function string) (all []string) {
	for _, t := range m.Triggers {
		runs := t.Function == function || slices.ContainsFunc(t.Routes, func(r deploy.Route) bool { return r.Function == function })
		for _, name := range t.Intents {
			runs = runs || name == function
		}
		if runs {
			all = append(all, t.Source())
		}
	}
	return all
}

// unchangeable says why the manifest cannot be changed here, "" when it can be.
func (s *Server) unchangeable(ctx context.Context) string {
	if s.manifests == nil {
		return "nobody keeps a manifest here"
	}
	var p *Problem
	if _, err := s.manifests.Stored(ctx); errors.As(err, &p) {
		return p.Detail
	}
	return ""
}

// functionEdit makes the change that a form asks for.
type functionEdit func(name string, form url.Values) (func(text []byte) ([]byte, error), error)

func pausing(paused bool) functionEdit {
	return func(name string, _ url.Values) (func(text []byte) ([]byte, error), error) {
		return func(text []byte) ([]byte, error) { return deploy.SetPaused(text, name, paused) }, nil
	}
}

func scaling(name string, form url.Values) (func(text []byte) ([]byte, error), error) {
	replicas, err := replicasOf(form)
	return func(text []byte) ([]byte, error) { return deploy.SetReplicas(text, name, replicas) }, err
}

// functionForm serves the forms of the page of a function, and says there what came of them.
func (s *Server) functionForm(done string, edit functionEdit) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		form, ok := s.form(w, r)
		if !ok {
			return
		}
		name := r.PathValue("name")
		change, err := edit(name, form)
		if err != nil {
			s.done(w, r, functionPath(name), flash{Text: err.Error(), Bad: true})
			return
		}
		if _, err := s.editManifest(r.Context(), change); err != nil {
			s.done(w, r, functionPath(name), failedFlash(problemOf(err)))
			return
		}
		s.done(w, r, functionPath(name), flash{Text: done})
	}
}

func failedFlash(p Problem) flash {
	f := flash{Text: "Nothing has changed: " + p.Detail, Bad: true}
	for _, fault := range p.Faults {
		f.Details = append(f.Details, fmt.Sprintf("line %d: %s", fault.Line, fault.Message))
	}
	return f
}
