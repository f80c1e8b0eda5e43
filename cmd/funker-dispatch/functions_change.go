package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/funker-dispatch/funker-dispatch/console"
	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// functionChange is a change of one function in the stored manifest, as the endpoint funker.function gets it.
type functionChange struct {
	Function string          `json:"function"`
	Do       string          `json:"do"` // "pause", "resume" or "scale"
	Replicas deploy.Replicas `json:"replicas,omitzero"`
}

func (c functionChange) edit(text []byte) ([]byte, error) {
	switch c.Do {
	case "pause", "resume":
		return deploy.SetPaused(text, c.Function, c.Do == "pause")
	case "scale":
		return deploy.SetReplicas(text, c.Function, c.Replicas)
	}
	return nil, fmt.Errorf("request: there is no %q", c.Do)
}

// done says how the function is after the change.
func (c functionChange) done() string {
	switch r := c.Replicas; {
	case c.Do == "pause":
		return c.Function + " is paused: its events wait, its calls are refused"
	case c.Do == "resume":
		return c.Function + " is not paused any more: it goes on with what waits"
	case r.Min == r.Max:
		return fmt.Sprintf("%s has %d tasks from now on", c.Function, r.Max)
	default:
		return fmt.Sprintf("%s has %d to %d tasks from now on", c.Function, r.Min, r.Max)
	}
}

// change answers the endpoint funker.function.
func (k *keeper) change(ctx context.Context, body string) (any, error) {
	var c functionChange
	if err := json.Unmarshal([]byte(body), &c); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	a, err := k.edit(ctx, c.edit)
	if wrong := (faulty{}); errors.As(err, &wrong) {
		return refusal(wrong.error), nil
	}
	return applied{Applied: a}, err
}

// edit puts the stored manifest in force with a change, of which nobody else's can come in between. The error is faulty
// when the stored manifest has faults, also before the change.
func (k *keeper) edit(ctx context.Context, change func(text []byte) ([]byte, error)) (a console.Applied, err error) {
	if k.fixed {
		return a, k.inFile()
	}
	if err := k.take(ctx); err != nil {
		return a, err
	}
	defer k.giveBack()
	if k.text == "" {
		return a, deploy.ErrNotNamed
	}
	text, err := change([]byte(k.text))
	if faults := (deploy.Faults{}); errors.As(err, &faults) && !errors.Is(err, deploy.ErrByHand) {
		return a, faulty{err}
	}
	if err != nil {
		return a, err
	}
	return k.putHeld(ctx, storedName, console.Change{Text: string(text)})
}

// Edit implements console.Manifests. It goes on when whoever asked has gone.
func (m manifests) Edit(ctx context.Context, change func(text []byte) ([]byte, error)) (console.Applied, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), applyLimit)
	defer cancel()
	return answerOf(m.edit(ctx, change))
}

// functionChangeCommands are pause, resume and scale.
func functionChangeCommands(admin *adminFlags) []*cobra.Command {
	change := func(cmd *cobra.Command, c functionChange) error {
		a, err := changeFunction(cmd, admin, c)
		if err != nil {
			return err
		}
		if len(a.Faults) > 0 {
			return refused(a.Faults)
		}
		for _, w := range a.Warnings {
			fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+w)
		}
		text := c.done()
		if len(a.Changes) == 0 {
			text = "nothing to change"
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
		return err
	}
	pause := &cobra.Command{
		Use: "pause FUNCTION", Short: "Run nothing new of a function: its events wait, its calls are refused", Args: takes("FUNCTION"),
		Long: `pause sets "paused: true" in the stored manifest. What runs goes on to its end. Events are still accepted; they wait, and
none counts as an attempt. Calls are refused at once with the code paused; Alexa says its apology. It lasts until "resume",
or until a manifest without the key is applied.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return change(cmd, functionChange{Function: args[0], Do: "pause"})
		},
	}
	resume := &cobra.Command{
		Use: "resume FUNCTION", Short: "Let a paused function go on with what waits", Args: takes("FUNCTION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return change(cmd, functionChange{Function: args[0], Do: "resume"})
		},
	}
	scale := &cobra.Command{
		Use: "scale FUNCTION N|MIN-MAX", Short: "Set how many tasks a function has", Args: takes("FUNCTION", "N|MIN-MAX"),
		Long: `scale sets "replicas" in the stored manifest, for a function that has an image: N tasks at all times, or from MIN to MAX,
as many as its work needs at a time.`,
		Example: `  funker-dispatch functions scale HelloIntent 3
  funker-dispatch functions scale HelloIntent 0-8`,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := replicasOf(args[1])
			if err != nil {
				return err
			}
			return change(cmd, functionChange{Function: args[0], Do: "scale", Replicas: r})
		},
	}
	return []*cobra.Command{pause, resume, scale}
}

// replicasOf reads "3" or "0-8".
func replicasOf(text string) (r deploy.Replicas, err error) {
	least, most, isRange := strings.Cut(text, "-")
	if !isRange {
		most = least
	}
	if r.Min, err = strconv.Atoi(least); err == nil {
		r.Max, err = strconv.Atoi(most)
	}
	if err != nil {
		return r, usagef("how many tasks is %q? Write a number such as 3, or the least and the greatest such as 0-8", text)
	}
	return r, nil
}

// changeFunction changes a function at a gateway, over HTTP when --url says where that is.
func changeFunction(cmd *cobra.Command, admin *adminFlags, c functionChange) (a applied, err error) {
	r, err := admin.remote(cmd)
	if err != nil {
		return a, err
	}
	if r != nil {
		parameters := url.Values{}
		if c.Do == "scale" {
			parameters = url.Values{"min": {strconv.Itoa(c.Replicas.Min)}, "max": {strconv.Itoa(c.Replicas.Max)}}
		}
		_, err = r.ask(cmd.Context(), http.MethodPost, "/api/v1/functions/"+url.PathEscape(c.Function)+"/"+c.Do, parameters, "", &a)
		return a, err
	}
	err = admin.with(cmd, func(ctx context.Context, q *queue.Queue) (err error) {
		ctx, cancel := context.WithTimeout(ctx, applyLimit)
		defer cancel()
		a, err = queue.Ask[applied](ctx, q, "function", c)
		return err
	})
	return a, err
}
