package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/console"
	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// read returns what a command shows: over HTTP when --url says where the gateway is, else from its queue.
func read[T any](a *adminFlags, cmd *cobra.Command, path string, parameters url.Values, local func(context.Context, *queue.Queue) (T, error)) (v T, err error) {
	r, err := a.remote(cmd)
	if err != nil {
		return v, err
	}
	if r != nil {
		_, err = r.ask(cmd.Context(), http.MethodGet, path, parameters, "", &v)
		return v, err
	}
	err = a.with(cmd, func(ctx context.Context, q *queue.Queue) (err error) {
		v, err = local(ctx, q)
		return err
	})
	return v, err
}

// replayEvent is Replay of a queue.
func (r *remote) replayEvent(ctx context.Context, ref, to string) (queue.Replayed, error) {
	return r.replay(ctx, "/api/v1/events/", ref, to)
}

// replayDead is ReplayDead of a queue.
func (r *remote) replayDead(ctx context.Context, ref, to string) (queue.Replayed, error) {
	return r.replay(ctx, "/api/v1/dead/", ref, to)
}

func (r *remote) replay(ctx context.Context, path, ref, to string) (replayed queue.Replayed, err error) {
	_, err = r.ask(ctx, http.MethodPost, path+url.PathEscape(ref)+"/replay", query("to", to), "", &replayed)
	return replayed, about(ref, err)
}

// drop is Drop of a queue.
func (r *remote) drop(ctx context.Context, ref string) error {
	_, err := r.ask(ctx, http.MethodDelete, "/api/v1/dead/"+url.PathEscape(ref), nil, "", nil)
	return about(ref, err)
}

// about says which event an error is about.
func about(ref string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", ref, err)
	}
	return nil
}

// query makes one of names and values in turn, without the empty ones.
func query(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	return v
}

// moments are the parameters of a time range.
func moments(since, until time.Time) []string {
	text := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339Nano)
	}
	return []string{"since", text(since), "until", text(until)}
}

func eventQuery(f queue.Filter) url.Values {
	return query(append(moments(f.Since, f.Until), "kind", f.Kind, "function", f.Function, "source", f.Source, "state", string(f.State),
		"limit", strconv.Itoa(f.Limit))...)
}

func deadQuery(f queue.DeadFilter) url.Values {
	return query(append(moments(f.Since, f.Until), "function", f.Function, "source", f.Source, "reason", string(f.Reason),
		"all", strconv.FormatBool(f.All), "limit", strconv.Itoa(f.Limit))...)
}

// runNamed does something to what a command line names, at a gateway somewhere else.
func (b *bulkFlags) runNamed(cmd *cobra.Command, args []string, do func(context.Context, string) (string, error)) error {
	if b.dryRun {
		return usagef("with --url, --dry-run goes with a filter: look at one with \"show\"")
	}
	chosen, err := named(args, b.after)
	if err != nil {
		return err
	}
	return b.run(cmd.Context(), cmd, args, chosen, do)
}

// apply gives the gateway a manifest in place of the one that it has now.
func (r *remote) apply(ctx context.Context, a applyRequest) (applied, error) {
	condition, tag := "If-Match", ""
	header, err := r.ask(ctx, http.MethodGet, "/api/v1/manifest", nil, "", nil)
	var p *console.Problem
	switch {
	case errors.As(err, &p) && p.Code == "no_manifest":
		condition, tag = "If-None-Match", "*"
	case err != nil:
		return applied{}, err
	default:
		tag = header.Get("Etag")
	}
	var done applied
	_, err = r.ask(ctx, http.MethodPut, "/api/v1/manifest", query("dry_run", strconv.FormatBool(a.DryRun)), a.Text, &done, condition, tag)
	if errors.As(err, &p) && len(p.Faults) > 0 {
		for _, f := range p.Faults {
			done.Faults = append(done.Faults, deploy.Fault{File: a.File, Line: f.Line, Column: f.Column, Message: f.Message}.String())
		}
		return done, nil
	}
	return done, err
}

// functions are what is known of every function.
func (r *remote) functions(ctx context.Context) (states []functionState, err error) {
	_, err = r.ask(ctx, http.MethodGet, "/api/v1/functions", nil, "", &states)
	return states, err
}

// List is List of a queue. Misspelt names are errors.
func (r *remote) List(ctx context.Context, f queue.Filter) (records []queue.Record, err error) {
	_, err = r.ask(ctx, http.MethodGet, "/api/v1/events", eventQuery(f), "", &records)
	return records, err
}

// Get is Get of a queue.
func (r *remote) Get(ctx context.Context, ref string) (record queue.Record, err error) {
	_, err = r.ask(ctx, http.MethodGet, "/api/v1/events/"+url.PathEscape(ref), nil, "", &record)
	return record, err
}
