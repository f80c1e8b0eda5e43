package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

func invokeCommand() *cobra.Command {
	var admin adminFlags
	var data string
	var async bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:     "invoke FUNCTION",
		Short:   "Call a function through the gateway and print its reply",
		Example: `  funker-dispatch invoke HelloIntent -d '{"name":"Ada"}'`,
		Args:    takes("FUNCTION"),
	}
	cmd.Flags().StringVarP(&data, "body", "d", "{}", "what the function gets: JSON, @FILE or @-")
	cmd.Flags().BoolVar(&async, "async", false, "store it as an event and print its id, without waiting for the function")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait for the reply")
	admin.addRemote(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body, err := readData(cmd, data)
		if err != nil {
			return fmt.Errorf("read data: %w", err)
		}
		if err := trigger.CheckJSON(body); err != nil {
			return usagef("-d: %w", err)
		}
		far, err := admin.remote(cmd)
		if err != nil {
			return err
		}
		if far != nil {
			return invokeAt(cmd, far, args[0], string(body), async, timeout)
		}
		e := &queue.Event{Source: "cli", Function: args[0], ContentType: "application/json", Body: body}
		return admin.with(cmd, func(ctx context.Context, q *queue.Queue) error {
			if err := q.HasFunction(ctx, e.Function); err != nil {
				return err
			}
			if async {
				r, err := q.Publish(ctx, e)
				if err == nil {
					_, err = fmt.Fprintln(cmd.OutOrStdout(), r.ID)
				}
				return err
			}
			if err := refuseWhilePaused(ctx, q, e.Function); err != nil {
				return err
			}
			e.Deadline = time.Now().Add(timeout)
			reply, err := q.Call(ctx, e)
			if err == nil {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", reply)
			}
			return err
		})
	}
	return cmd
}

// refuseWhilePaused spares the caller a wait: a paused function that has no task now would be told so by nobody.
func refuseWhilePaused(ctx context.Context, q *queue.Queue, function string) error {
	stats, err := q.Stats(ctx)
	if err != nil {
		return err
	}
	for _, f := range stats {
		if f.Function == function && f.Paused {
			return fmt.Errorf("%s is paused: funker-dispatch functions resume %s, or let it wait with --async", function, function)
		}
	}
	return nil
}

// invokeAt is invoke at a gateway somewhere else.
func invokeAt(cmd *cobra.Command, far *remote, function, body string, async bool, timeout time.Duration) error {
	if async {
		id, err := far.store(cmd.Context(), function, body)
		if err == nil {
			_, err = fmt.Fprintln(cmd.OutOrStdout(), id)
		}
		return err
	}
	reply, err := far.call(cmd.Context(), function, body, timeout)
	if err == nil {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", reply)
	}
	return err
}
