package deploy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// State is how the service of a function is doing. Tasks on nodes that do not answer are not counted.
type State struct {
	Function string `json:"function"`
	Image    string `json:"image"`    // as the service has it, with its digest where that is known; "" without a service
	Wanted   int    `json:"wanted"`   // tasks that the swarm is asked for now
	Running  int    `json:"running"`  // tasks that run and are made as the manifest says
	Outdated int    `json:"outdated"` // tasks that run as the manifest said before
	Starting int    `json:"starting"`

	// Settled means that nothing is left to do: the service is as the manifest says, and all its tasks run.
	Settled bool `json:"settled"`

	// Problem says why it is not settled, and what to do where that is known; "" while there is nothing but to wait.
	Problem string `json:"problem,omitempty"`

	Failed *Failure    `json:"failed,omitempty"` // the last task that failed, as far as the swarm remembers
	Tasks  []TaskState `json:"tasks,omitempty"`  // those that run or shall run
}

// TaskState is one task of a function.
type TaskState struct {
	Node  string    `json:"node,omitempty"` // host name; "" while it has none
	State string    `json:"state"`          // Docker's word: "pending", "preparing", "running", ...
	Error string    `json:"error,omitempty"`
	Since time.Time `json:"since"`
}

// Failure is the end of a task that was not meant to end like that.
type Failure struct {
	At       time.Time `json:"at"`
	Node     string    `json:"node,omitempty"`
	Error    string    `json:"error"`     // such as "No such image: hello:1.0"
	ExitCode int       `json:"exit_code"` // 0 when the container did not start
}

// States returns the state of each function of the manifest in force that has an image, in its order.
func (r *Reconciler) States(ctx context.Context) ([]State, error) {
	found, err := r.engine.survey(ctx)
	if err != nil {
		return nil, err
	}
	functions := r.catalog.Manifest().Functions
	changes := make(map[string]Change)
	for _, c := range Plan(r.options.Gateway, r.options.Network, functions, found) {
		changes[c.Name] = c
	}
	services := slices.DeleteFunc(found.Services, func(s Service) bool { return s.Gateway != r.options.Gateway })
	tasks, err := r.engine.tasks(ctx, services)
	if err != nil {
		return nil, err
	}
	var states []State
	for _, f := range deployed(functions) {
		states = append(states, r.state(f, services, tasks, changes))
	}
	return states, nil
}

// problem is why the last try for a function failed, or the last try as a whole; "" when it did not.
func (r *Reconciler) problem(function string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.problems[function]; p != "" {
		return p
	}
	if r.trouble != nil {
		return r.trouble.Error()
	}
	return ""
}

func (r *Reconciler) state(f *Function, services []Service, tasks []task, changes map[string]Change) State {
	change, pending := changes[f.Name]
	s := State{Function: f.Name}
	at := slices.IndexFunc(services, func(s Service) bool { return s.Name == f.Name })
	if at < 0 {
		s.Problem = cmp.Or(change.Reason, r.problem(f.Name))
		return s
	}
	service := services[at]
	s.Image, s.Wanted = service.Spec.Image, max(0, service.Replicas)
	s.count(service, tasks)
	s.Settled = !pending && service.update == "" && s.Running >= s.Wanted && s.Outdated == 0
	if !s.Settled {
		s.Problem = cmp.Or(change.Reason, r.problem(f.Name), s.blame(service, tasks))
	}
	return s
}

func (s *State) count(service Service, tasks []task) {
	for _, t := range tasks {
		switch {
		case t.service != service.ID || t.lost:
		case t.wanted:
			s.Tasks = append(s.Tasks, TaskState{t.node, t.state, t.err, t.at})
			s.tally(t)
		case t.failed() && (s.Failed == nil || t.at.After(s.Failed.At)):
			s.Failed = &Failure{At: t.at, Node: t.node, Error: t.err, ExitCode: t.exit}
		}
	}
	slices.SortFunc(s.Tasks, func(a, b TaskState) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.State, b.State), a.Since.Compare(b.Since))
	})
}

func (s *State) tally(t task) {
	switch {
	case t.failed():
	case t.state != "running":
		s.Starting++
	case t.current:
		s.Running++
	default:
		s.Outdated++
	}
}

// blame finds what keeps tasks from running: what stops the update, else what the newest task of the present settings
// says.
func (s *State) blame(service Service, tasks []task) string {
	var newest task
	for _, t := range tasks {
		if t.service == service.ID && t.current && t.err != "" && !t.at.Before(newest.at) {
			newest = t
		}
	}
	reason := newest.explain(service.Spec)
	if service.update != "" && service.update != updating {
		return strings.TrimSuffix(service.update+": "+reason, ": ")
	}
	return reason
}

func (t task) failed() bool { return t.state == "failed" || t.state == "rejected" }

// explain says in a sentence why a task does not run.
func (t task) explain(s Spec) string {
	text := t.err
	switch {
	case text == "":
		return ""
	case strings.HasPrefix(text, "no suitable node") && len(s.Constraints) > 0:
		text = fmt.Sprintf("%s: its constraints are %s", text, strings.Join(s.Constraints, ", "))
	case t.exit != 0:
		text = fmt.Sprintf("the task ended with exit code %d: see docker service logs", t.exit)
	}
	if t.node != "" {
		text += " (on " + t.node + ")"
	}
	return text
}
