package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

func testFilterCommand(admin *adminFlags) *cobra.Command {
	var chosen eventFlags
	var from filterSource
	cmd := &cobra.Command{
		Use: "test-filter [EXPRESSION]", Short: "Show which stored events a filter would let pass", Args: takes("[EXPRESSION]"),
		Long: `test-filter asks a filter of stored events, the newest first, and changes nothing. The filter is an EXPRESSION as in the
key "if" of a route or, with --trigger, those of the routes of a trigger in a manifest: of its own events, unless
--source names others. What the filter in force has kept out was not stored, so it is not among them.`,
		Example: `  funker-dispatch events test-filter 'body.ref == "refs/heads/main"' --source github-acme --since 24h
  funker-dispatch events test-filter --trigger github-acme --manifest functions.yaml`,
	}
	chosen.add(cmd.Flags(), "event")
	cmd.Flags().StringVar(&from.trigger, "trigger", "", "in place of EXPRESSION: the trigger of the manifest whose routes are tried")
	cmd.Flags().StringVar(&from.route, "route", "", "of these, only the route to this function")
	cmd.Flags().StringVar(&from.manifest.file, "manifest", "", "manifest file (default functions.yaml or services.json in this folder)")
	limit := limitFlag(cmd)
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := chosen.parse()
		if err != nil {
			return err
		}
		f.Limit = int(*limit)
		trial, err := from.trial(args, &f)
		if err != nil {
			return err
		}
		show := func(listed int, err error) error {
			if err != nil {
				return err
			}
			limit.tell(cmd, listed)
			if *out == "json" {
				return printJSON(cmd.OutOrStdout(), trial.report)
			}
			return trial.report.print(cmd.OutOrStdout())
		}
		far, err := admin.remote(cmd)
		if err != nil {
			return err
		}
		if far != nil {
			return show(trial.run(cmd.Context(), far, f))
		}
		return admin.with(cmd, func(ctx context.Context, q *queue.Queue) error {
			if err := q.CheckNames(ctx, f.Function, f.Source); err != nil {
				return err
			}
			return show(trial.run(ctx, q, f))
		})
	}
	return cmd
}

// filterSource says where the filters are that are tried.
type filterSource struct {
	trigger, route string
	manifest       manifestFlags
}

// trial reads the filters. Those of a trigger are tried on its own events, unless f names a source.
func (s *filterSource) trial(args []string, f *queue.Filter) (*trial, error) {
	switch {
	case len(args) == 1 && s.trigger+s.route+s.manifest.file != "":
		return nil, usagef("EXPRESSION and --trigger, --route or --manifest exclude each other: leave one out")
	case len(args) == 1:
		t := &trial{}
		return t, t.add("", "", deploy.Filter{If: args[0]})
	case s.trigger == "":
		return nil, usagef("there is no filter: give an EXPRESSION, or --trigger NAME with a manifest")
	}
	found, err := s.find()
	if err != nil {
		return nil, err
	}
	if f.Source == "" {
		f.Source = found.Source()
	}
	return s.routes(found)
}

// find reads the trigger, without its secrets.
func (s *filterSource) find() (*deploy.Trigger, error) {
	file := s.manifest.find()
	if file == "" {
		return nil, usagef("no manifest: name one with --manifest")
	}
	m, err := deploy.LoadWithoutSecrets(file)
	if err != nil {
		return nil, err
	}
	return findTrigger(m, s.trigger)
}

func (s *filterSource) routes(of *deploy.Trigger) (*trial, error) {
	t := &trial{}
	var known []string
	for _, r := range of.Routes {
		known = append(known, r.Function)
		if s.route != "" && s.route != r.Function {
			continue
		}
		if err := t.add(of.Kind, r.Function, r.Filter); err != nil {
			return nil, err
		}
	}
	switch {
	case len(known) == 0:
		return nil, usagef("the trigger %s has no routes: it calls functions by the names of events", of.Source())
	case len(t.routes) == 0:
		return nil, usagef("%s has no route to %q; it has: %s", of.Source(), s.route, strings.Join(known, ", "))
	}
	return t, nil
}

// trial asks filters of stored events.
type trial struct {
	routes []trialRoute
	report filterReport
}

type trialRoute struct {
	function string // "" for an expression that stands alone
	match    *deploy.Matcher
}

func (t *trial) add(kind, function string, f deploy.Filter) error {
	match, err := deploy.NewMatcher(kind, f)
	if err != nil {
		return usagef("%w", err)
	}
	t.routes = append(t.routes, trialRoute{function, match})
	return nil
}

// filterReport is what came of a trial.
type filterReport struct {
	Tested  int            `json:"tested"` // events
	Passed  int            `json:"passed"` // results, as are the next
	Refused int            `json:"refused"`
	Failed  int            `json:"failed"` // of those that passed: the filter could not be asked
	Results []filterResult `json:"results"`
}

// filterResult is what one filter makes of one event.
type filterResult struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	Source   string    `json:"source"`
	Function string    `json:"function"` // that ran it
	Event    string    `json:"event,omitempty"`
	Route    string    `json:"route,omitempty"` // function of the route
	Passes   bool      `json:"passes"`
	Error    string    `json:"error,omitempty"` // why the filter could not be asked
}

// records are those of a queue, here or at a gateway somewhere else.
type records interface {
	List(ctx context.Context, f queue.Filter) ([]queue.Record, error)
	Get(ctx context.Context, ref string) (queue.Record, error)
}

// run asks about the events that f chooses, and returns how many were listed.
func (t *trial) run(ctx context.Context, q records, f queue.Filter) (int, error) {
	t.report.Results = []filterResult{}
	records, err := q.List(ctx, f)
	if err != nil {
		return 0, err
	}
	for _, listed := range records {
		r, err := q.Get(ctx, listed.Origin)
		if errors.Is(err, queue.ErrNotFound) {
			continue // it has made room meanwhile
		}
		if err != nil {
			return 0, err
		}
		t.ask(r)
	}
	return len(records), nil
}

// ask gives each filter the event as the gateway did when it came in.
func (t *trial) ask(r queue.Record) {
	t.report.Tested++
	in := deploy.Incoming{Event: r.Name, Source: r.Source, Header: r.Header, ContentType: r.Type, Form: r.Form, Body: r.Body}
	for _, route := range t.routes {
		passes, err := route.match.Passes(&in)
		t.report.add(filterResult{
			ID: r.ID, Time: r.Time, Source: r.Source, Function: r.Function, Event: r.Name, Route: route.function, Passes: passes, Error: whyNot(err),
		})
	}
}

func (p *filterReport) add(r filterResult) {
	p.Results = append(p.Results, r)
	switch {
	case !r.Passes:
		p.Refused++
		return
	case r.Error != "":
		p.Failed++
	}
	p.Passed++
}

// whyNot is the whole reason of an error of a filter: a person who may read the event asks.
func whyNot(err error) string {
	var failed *deploy.FilterError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &failed) && failed.Detail != "":
		return failed.Reason + ": " + failed.Detail
	}
	return err.Error()
}

func (p *filterReport) print(w io.Writer) error {
	if p.Tested == 0 {
		_, err := fmt.Fprintln(w, "no events")
		return err
	}
	t := newTable(w)
	fmt.Fprintf(t, "ID\tTIME (%s)\tSOURCE\tFUNCTION\tEVENT\tROUTE\tPASSES\n", zone())
	for _, r := range p.Results {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.Time.Local().Format(time.DateTime), r.Source, r.Function, oneLine(r.Event), r.Route, verdict(r))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d of %d would pass%s\n", p.Passed, len(p.Results), p.failures())
	return err
}

func verdict(r filterResult) string {
	switch {
	case r.Error != "":
		return "yes, for the filter could not be asked: " + oneLine(r.Error)
	case r.Passes:
		return "yes"
	}
	return "no"
}

func (p *filterReport) failures() string {
	if p.Failed == 0 {
		return ""
	}
	return fmt.Sprintf(", %d of them because the filter could not be asked", p.Failed)
}
