package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// functionState is what the gateway knows of a function of the manifest.
type functionState struct {
	Function  string           `json:"function"`
	Image     string           `json:"image,omitempty"`
	Found     bool             `json:"found,omitempty"`   // by a worker; no manifest names it
	Paused    bool             `json:"paused"`            // its events wait until somebody resumes it
	Lifecycle deploy.Lifecycle `json:"lifecycle"`         // as the manifest says, or as a worker has learnt
	Service   *serviceState    `json:"service,omitempty"` // nil where the gateway does not run it
	Nodes     []nodeState      `json:"nodes,omitempty"`   // as their workers say
	Waiting   uint64           `json:"waiting"`
	Running   int              `json:"running"`
	Last      *lastRun         `json:"last,omitempty"`    // the newest one of the newest lastRuns events and calls of all functions
	Problem   string           `json:"problem,omitempty"` // why it does not run
}

// serviceState is how far the service of a function is.
type serviceState struct {
	Image    string `json:"image"` // with its digest, where that is known
	Wanted   int    `json:"wanted"`
	Running  int    `json:"running"`
	Starting int    `json:"starting"`
	Settled  bool   `json:"settled"` // it is as the manifest says, all its tasks run, and a worker serves them
	Problem  string `json:"problem,omitempty"`
}

func (s *serviceState) String() string {
	text := fmt.Sprintf("%d of %d running", s.Running, s.Wanted)
	if s.Problem != "" {
		text += ": " + s.Problem
	}
	return text
}

// nodeState is what the worker of a node has of a function.
type nodeState struct {
	Node  string `json:"node"`
	Tasks int    `json:"tasks"`
	Slots int    `json:"slots"`
	Idle  int    `json:"idle"`

	Trouble string `json:"trouble,omitempty"` // why the worker does not know the tasks of the node
}

// lastRun is the event or call that came last.
type lastRun struct {
	ID      string      `json:"id"`
	Time    time.Time   `json:"time"`
	Outcome queue.State `json:"outcome"`
}

// lastRuns bounds the search for the last outcome of each function.
const lastRuns = 500

// functionsView answers the endpoint funker.functions. What it knows of services is handed over.
type functionsView struct {
	queue    *queue.Queue
	catalog  *deploy.Catalog
	services func(context.Context) (map[string]*serviceState, error) // by function; nil where the gateway runs none
}

// all is the whole answer, for the admin side.
func (v *functionsView) all(ctx context.Context) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, functionsLimit)
	defer cancel()
	return v.answer(ctx, "")
}

// answer has the functions of the manifest, and those that workers have found besides. It is brief, without the latter and
// without what takes time, when the request says so.
func (v *functionsView) answer(ctx context.Context, body string) (any, error) {
	states, byName := []*functionState{}, map[string]*functionState{}
	add := func(f *deploy.Function) *functionState {
		s := &functionState{Function: f.Name, Image: f.Image, Paused: f.Paused, Lifecycle: f.Lifecycle}
		states, byName[f.Name] = append(states, s), s
		return s
	}
	for _, f := range v.catalog.Manifest().Functions {
		add(f)
	}
	if err := v.addServices(ctx, byName); err != nil {
		return nil, err
	}
	if body == "brief" {
		return states, nil
	}
	for _, w := range v.queue.Workers() {
		for _, load := range w.Functions {
			s := byName[load.Function]
			if s == nil {
				s = add(deploy.NewFunction(load.Function))
				s.Found = true
			}
			s.add(w, load)
		}
	}
	if err := v.addWork(ctx, byName); err != nil {
		return nil, err
	}
	return states, v.addProblems(ctx, states)
}

// logsOf asks an engine for what functions have written; nil where there is none.
func logsOf(e *deploy.Engine) func(context.Context, string) ([]deploy.LogLine, error) {
	if e == nil {
		return nil
	}
	return e.Logs
}

// add adds what a worker has. The workers of a node come one after the other.
func (s *functionState) add(w queue.Heartbeat, load queue.FunctionLoad) {
	if n := len(s.Nodes); n == 0 || s.Nodes[n-1].Node != w.Node {
		s.Nodes = append(s.Nodes, nodeState{Node: w.Node})
	}
	n := &s.Nodes[len(s.Nodes)-1]
	n.Tasks, n.Slots, n.Idle = n.Tasks+load.Tasks, n.Slots+load.Slots, n.Idle+load.Idle
	n.Trouble = w.Trouble
	if load.Tasks > 0 && load.Lifecycle != "" {
		s.Lifecycle = deploy.Lifecycle(load.Lifecycle)
	}
}

func (v *functionsView) addServices(ctx context.Context, states map[string]*functionState) error {
	if v.services == nil {
		return nil
	}
	services, err := v.services(ctx)
	if err != nil {
		return fmt.Errorf("ask for the services: %w", err)
	}
	for name, service := range services {
		if service.Settled && service.Wanted > 0 && !v.queue.Present(name) {
			service.Settled, service.Problem = false, "no worker serves it yet"
		}
		if s := states[name]; s != nil {
			s.Service, s.Problem = service, service.Problem
		}
	}
	return nil
}

// addWork adds what waits and runs, and the last outcomes.
func (v *functionsView) addWork(ctx context.Context, states map[string]*functionState) error {
	stats, err := v.queue.Stats(ctx)
	if err != nil {
		return err
	}
	for _, f := range stats {
		if s := states[f.Function]; s != nil {
			s.Waiting = f.Calls.Waiting + f.Replays.Waiting + f.Events.Waiting
			s.Running = f.Calls.Running + f.Replays.Running + f.Events.Running
		}
	}
	records, err := v.queue.List(ctx, queue.Filter{Limit: lastRuns})
	if err != nil && !errors.Is(err, queue.ErrIndexing) { // a gateway that has just started does not know yet
		return err
	}
	for _, r := range records {
		if s := states[r.Function]; s != nil && (s.Last == nil || r.Time.After(s.Last.Time)) {
			s.Last = &lastRun{ID: r.ID, Time: r.Time, Outcome: r.State}
		}
	}
	return nil
}

// addProblems says of the functions that have no task why, where it is known. That no worker has one is asked for.
func (v *functionsView) addProblems(ctx context.Context, states []*functionState) error {
	group, _ := errgroup.WithContext(ctx)
	group.SetLimit(consumersAt)
	for _, s := range states {
		for _, n := range s.Nodes {
			if s.Problem == "" && n.Trouble != "" && n.Slots == 0 {
				s.Problem = fmt.Sprintf("the worker on %s does not know the tasks of its node: %s", n.Node, n.Trouble)
			}
		}
		group.Go(func() error {
			if s.Problem == "" && !v.queue.Present(s.Function) {
				s.Problem = "no worker serves it"
			}
			return nil
		})
	}
	return group.Wait()
}

func functionsCommand() *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use: "functions", Short: "List the functions, what they do, and why one does not run", Args: takesCommand,
		Long: `functions prints a line for every function of the manifest in force: its image, its tasks on every node, how many of
its slots are idle and busy, what waits, and what became of the last event or call. A line below says why it does not
run.`,
	}
	admin.addRemote(cmd)
	cmd.AddCommand(functionChangeCommands(&admin)...)
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		states, err := read(&admin, cmd, "/api/v1/functions", nil, func(ctx context.Context, q *queue.Queue) ([]functionState, error) {
			ctx, cancel := context.WithTimeout(ctx, functionsLimit)
			defer cancel()
			return queue.Ask[[]functionState](ctx, q, "functions", "")
		})
		if err != nil {
			return err
		}
		if *out == "json" {
			return printList(cmd.OutOrStdout(), states)
		}
		return printFunctions(cmd.OutOrStdout(), states)
	}
	return cmd
}

const functionsLimit = 30 * time.Second

func printFunctions(w io.Writer, states []functionState) error {
	if len(states) == 0 {
		_, err := fmt.Fprintln(w, "no functions yet: funker-dispatch apply FILE")
		return err
	}
	t := newTable(w)
	fmt.Fprintln(t, "FUNCTION\tIMAGE\tLIFECYCLE\tTASKS\tIDLE\tBUSY\tWAITING\tLAST")
	for _, s := range states {
		idle, busy := s.slots()
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", s.Function, cmp.Or(s.Image, "-"), s.Lifecycle, s.tasks(), idle, busy, s.Waiting, s.last())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range states {
		if s.Paused {
			if _, err := fmt.Fprintf(w, "%s is paused: %d wait; funker-dispatch functions resume %s\n", s.Function, s.Waiting, s.Function); err != nil {
				return err
			}
		}
		if s.Problem != "" {
			if _, err := fmt.Fprintf(w, "%s does not run: %s\n", s.Function, s.Problem); err != nil {
				return err
			}
		}
	}
	return nil
}

// tasks is "2/3", those that run of those that shall, and where they are: "2/3 (pi1 1, pi2 1)".
func (s *functionState) tasks() string {
	var where []string
	total := 0
	for _, n := range s.Nodes {
		if total += n.Tasks; n.Tasks > 0 {
			where = append(where, fmt.Sprintf("%s %d", n.Node, n.Tasks))
		}
	}
	text := "-"
	switch {
	case s.Service != nil:
		text = fmt.Sprintf("%d/%d", s.Service.Running, s.Service.Wanted)
	case len(s.Nodes) > 0:
		text = fmt.Sprint(total)
	}
	if len(where) > 0 {
		text += " (" + strings.Join(where, ", ") + ")"
	}
	return text
}

// slots is "-" twice when no worker says anything.
func (s *functionState) slots() (idle, busy string) {
	if len(s.Nodes) == 0 {
		return "-", "-"
	}
	slots, free := 0, 0
	for _, n := range s.Nodes {
		slots, free = slots+n.Slots, free+n.Idle
	}
	return fmt.Sprint(free), fmt.Sprint(slots - free)
}

func (s *functionState) last() string {
	if s.Last == nil {
		return "-"
	}
	return fmt.Sprintf("%s %s ago", s.Last.Outcome, time.Since(s.Last.Time).Round(time.Second))
}
