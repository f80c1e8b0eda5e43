package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// generations are manifests, each with two functions that bear its number.
type generations struct {
	*stored
	confirmed atomic.Int64
}

// applyAll applies one after the other until ctx ends, or the gateway.
func (g *generations) applyAll(ctx context.Context) error {
	file := filepath.Join(g.dir, "functions.yaml")
	for n := g.confirmed.Load() + 1; ctx.Err() == nil; n++ {
		if err := os.WriteFile(file, fmt.Appendf(nil, "functions: {F%d: , G%d: }\n", n, n), 0o600); err != nil {
			return err
		}
		if run(ctx, []string{"apply", file, "--nats-url", g.nats, "--data", g.data, "--wait", "0"}, io.Discard, io.Discard) != exitOK {
			return nil
		}
		g.confirmed.Store(n)
	}
	return nil
}

// inForce is the number of the manifest in force, 0 for the empty one.
func (g *generations) inForce() int64 {
	g.t.Helper()
	var f, also int64
	states := g.functions()
	if len(states) == 0 {
		return 0
	}
	if _, err := fmt.Sscanf(states[0].Function, "F%d", &f); err != nil {
		g.t.Fatal(err)
	}
	if _, err := fmt.Sscanf(states[len(states)-1].Function, "G%d", &also); err != nil || f != also || len(states) != 2 {
		g.t.Fatalf("not one whole manifest is in force: %+v", states)
	}
	return f
}

// What apply has confirmed is in force after a kill, or what came after it: a manifest that was stored and was not in force
// yet does no harm.
func TestApply_SurvivesAKillAtAnyTime(t *testing.T) {
	dir := t.TempDir()
	public, nats, data := fixedAddress(t), fixedAddress(t), filepath.Join(dir, "data")
	gateway := newProcess(t, "gateway", "msg=ready", "serve", "--no-worker", "--data", data, "--listen", public, "--admin", "127.0.0.1:0", "--nats-listen", nats)
	g := &generations{stored: &stored{t: t, dir: dir}}
	g.nats, g.data = "nats://"+nats, data
	gateway.start()
	gateway.awaitReady()
	for kill := range int64(5) {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.applyAll(ctx) }()
		until := g.confirmed.Load() + kill
		within(t, "some are applied", func() bool { return g.confirmed.Load() >= until })
		gateway.kill()
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		gateway.start()
		gateway.awaitReady()
		confirmed, now := g.confirmed.Load(), g.inForce()
		if now != confirmed && now != confirmed+1 {
			t.Errorf("kill %d: %d was confirmed, and %d is in force", kill, confirmed, now)
		}
		g.confirmed.Store(now)
	}
}
