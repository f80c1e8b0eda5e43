//go:build swarm

package deploy_test

import (
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

func TestSwarm_WhatAPausedFunctionHasToDoNeedsNoTask(t *testing.T) {
	b := newBed(t)
	paused, other := b.function("Paused"), b.function("Other")
	paused.Paused = true
	for _, f := range []*deploy.Function{paused, other} {
		f.Replicas = deploy.Replicas{Min: 0, Max: 3}
	}
	g := b.gateway("one", paused, other)
	ok(t, g.Reconcile(t.Context()))
	var work todo
	for _, name := range []string{"Paused", "Other"} {
		work.set(name, deploy.Work{Waiting: 3})
	}
	s := g.scaler(&work)
	s.Kick("Paused")
	s.Kick("Other")
	b.within(30*time.Second, "the other one has its tasks", func() bool { return b.asked("Other") == 3 })
	if n := b.asked("Paused"); n != 0 {
		t.Errorf("%d tasks for what waits", n)
	}
	resumed := *paused
	resumed.Paused = false
	g.deploy(&resumed, other)
	b.within(30*time.Second, "it has its tasks", func() bool { return b.asked("Paused") == 3 })
}
