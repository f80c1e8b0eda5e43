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

func applyCommand() *cobra.Command {
	var admin adminFlags
	var dryRun bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "apply FILE", Short: "Give the gateway a manifest", Args: takes("FILE"),
		Long: `apply checks a manifest, stores it at the gateway and puts it in force, without a restart of anything. A wrong one is
refused whole, with all its faults, and the one before stays. Applying it again changes nothing.

Secret files are those of the gateway, with their whole paths. Where the gateway also runs the services of the
functions, apply shows how they get there, and waits for it.`,
		Example: `  funker-dispatch apply functions.yaml --dry-run
  funker-dispatch apply functions.yaml`,
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what would change, and do nothing")
	cmd.Flags().DurationVar(&wait, "wait", 5*time.Minute, "how long to wait until the services are as the manifest says; 0: not at all")
	admin.addRemote(cmd)
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		text, err := deploy.ReadText(args[0])
		if err != nil {
			return err
		}
		if _, err := deploy.Check(args[0], text); err != nil {
			return refused([]string{err.Error()})
		}
		r := applyRequest{File: args[0], Text: string(text), DryRun: dryRun}
		far, err := admin.remote(cmd)
		if err != nil {
			return err
		}
		if far != nil {
			if err := applyTo(cmd.Context(), cmd, far.apply, r, *out); err != nil || dryRun || wait == 0 {
				return err
			}
			return awaitServices(cmd.Context(), far.functions, cmd.ErrOrStderr(), wait)
		}
		return admin.with(cmd, func(ctx context.Context, q *queue.Queue) error {
			give := func(ctx context.Context, r applyRequest) (applied, error) {
				return queue.Ask[applied](ctx, q, "apply", r)
			}
			if err := applyTo(ctx, cmd, give, r, *out); err != nil || dryRun || wait == 0 {
				return err
			}
			look := func(ctx context.Context) ([]functionState, error) {
				return queue.Ask[[]functionState](ctx, q, "functions", "brief")
			}
			return awaitServices(ctx, look, cmd.ErrOrStderr(), wait)
		})
	}
	return cmd
}

// applyTo gives the gateway a manifest and prints what comes of it.
func applyTo(ctx context.Context, cmd *cobra.Command, give func(context.Context, applyRequest) (applied, error), r applyRequest, out format) error {
	ctx, cancel := context.WithTimeout(ctx, applyLimit)
	defer cancel()
	a, err := give(ctx, r)
	switch {
	case errors.Is(err, queue.ErrConflict):
		return fmt.Errorf("%w: look at the difference with --dry-run, then apply again", err)
	case err != nil:
		return err
	case out == "json":
		err = printJSON(cmd.OutOrStdout(), a)
	case len(a.Faults) == 0:
		err = printChanges(cmd.OutOrStdout(), a)
	}
	for _, w := range a.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+w)
	}
	if len(a.Faults) > 0 {
		return errors.Join(err, refused(a.Faults))
	}
	return err
}

func refused(faults []string) error {
	return fmt.Errorf("the manifest is refused, and nothing has changed:\n%s", strings.Join(faults, "\n"))
}

func printChanges(w io.Writer, a applied) error {
	if len(a.Changes)+len(a.Services) == 0 {
		_, err := fmt.Fprintln(w, "nothing to change")
		return err
	}
	t := newTable(w)
	for _, c := range a.Changes {
		action := string(c.Action)
		if a.DryRun {
			action = "to be " + action
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", action, c.Kind, c.Name, strings.Join(c.Keys, ", "))
	}
	for _, c := range a.Services {
		fmt.Fprintln(t, "in the swarm: "+c)
	}
	return t.Flush()
}

// lookPause is the time between two looks at the services.
const lookPause = 500 * time.Millisecond

// awaitServices waits until the services of all functions are as the manifest says, and prints each step on the way.
// Where the gateway does not run the services there is nothing to wait for.
func awaitServices(ctx context.Context, look func(context.Context) ([]functionState, error), w io.Writer, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not all services run after %s; the gateway goes on trying: see funker-dispatch functions", limit))
	defer cancel()
	said := map[string]string{}
	for {
		states, err := look(ctx)
		if err != nil {
			return err
		}
		settled := true
		for _, s := range states {
			if s.Service == nil {
				continue
			}
			settled = settled && s.Service.Settled
			if text := s.Service.String(); text != said[s.Function] {
				said[s.Function] = text
				fmt.Fprintf(w, "%s: %s\n", s.Function, text)
			}
		}
		if settled {
			return nil
		}
		select {
		case <-time.After(lookPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
