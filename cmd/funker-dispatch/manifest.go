package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/funker-dispatch/funker-dispatch/console"
	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// manifests is the manifest of a gateway for its admin side.
type manifests struct{ *keeper }

// Stored implements console.Manifests.
func (m manifests) Stored(ctx context.Context) (queue.Config, error) {
	if m.fixed {
		return queue.Config{}, m.inFile()
	}
	return m.queue.Config(ctx)
}

// Apply implements console.Manifests. It goes on when whoever asked has gone.
func (m manifests) Apply(ctx context.Context, c console.Change) (console.Applied, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), applyLimit)
	defer cancel()
	return answerOf(m.put(ctx, storedName, c))
}

// answerOf makes what came of a manifest the answer of the admin side.
func answerOf(a console.Applied, err error) (console.Applied, error) {
	a.Changes = append([]deploy.Difference{}, a.Changes...) // no null
	if wrong := (faulty{}); errors.As(err, &wrong) {
		return a, &console.Problem{
			Status: http.StatusUnprocessableEntity, Code: "bad_manifest", Detail: "the manifest is refused, and nothing has changed", Faults: faultsOf(wrong.error),
		}
	}
	return a, err
}

func (k *keeper) inFile() error {
	return &console.Problem{Status: http.StatusConflict, Code: "manifest_file", Detail: fmt.Sprintf(
		"this gateway takes its manifest from the file %s: change that and start it again, or start it without a manifest file", k.file)}
}

func faultsOf(err error) (all []console.Fault) {
	var faults deploy.Faults
	if !errors.As(err, &faults) {
		return []console.Fault{{Message: err.Error()}}
	}
	for _, f := range faults {
		all = append(all, console.Fault{Line: f.Line, Column: f.Column, Message: f.Message})
	}
	return all
}
