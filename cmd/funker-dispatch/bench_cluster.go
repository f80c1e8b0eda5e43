package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/funker-dispatch/funker-dispatch/funker"
)

// clusterReport is what `bench --cluster` prints: three gateways and three workers, each in a process of its own.
type clusterReport struct {
	Rows   []row  `json:"rows"`
	Losses []loss `json:"losses"`
	Lost   int    `json:"lost_events"`   // accepted while gateways went, and no gateway knows them at the end
	Hidden int    `json:"hidden_events"` // likewise, and some gateway does not know them
	Goals  []goal `json:"goals"`
}

const (
	aloneAccept  = "durable accept by one gateway alone"
	clusterOwn   = "call through a cluster, run by a worker of the gateway"
	clusterTCP   = "call through a cluster, run by a worker of another process"
	clusterPush  = "durable accept by a cluster, on the disks of two gateways at least"
	clusterRun   = "events through a cluster: accepted, and run to their end"
	aloneRun     = "events through one gateway alone: accepted, and run to their end"
	sleepOne     = "calls of a function that takes 50 ms, one worker of 4 slots"
	sleepThree   = "calls of a function that takes 50 ms, three workers of 4 slots"
	sleepTime    = 50 * time.Millisecond
	sleepSlots   = 4
	sleepClients = 3 * sleepSlots * 2 // so many that there is always work for all slots
	runSlots     = 64
)

// cluster measures three gateways with one store.
func (b *bench) cluster(ctx context.Context, times int) (r clusterReport, err error) {
	running, cancel := context.WithCancel(ctx)
	var group errgroup.Group
	defer func() {
		cancel()
		err = errors.Join(err, group.Wait())
	}()
	if err := errors.Join(b.startFunctions(running, &group), b.startBaselines(running, &group)); err != nil {
		return r, err
	}
	if err := b.startSleeper(running, &group); err != nil {
		return r, err
	}
	f, err := b.newFleet(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	if err := b.clusterRates(ctx, f, &r); err != nil {
		return r, err
	}
	if err := f.lose(ctx, times, &r); err != nil {
		return r, err
	}
	r.judge()
	return r, nil
}

// clusterRates measures gateways that have workers, and then workers of other processes.
func (b *bench) clusterRates(ctx context.Context, f *fleet, r *clusterReport) error {
	if err := f.start(ctx); err != nil {
		return err
	}
	alone, err := b.serve(ctx, "alone")
	if err != nil {
		return err
	}
	file, err := b.appendFile("raw")
	if err != nil {
		return errors.Join(err, alone.stop())
	}
	err = b.rates(ctx, b.withOwnWorkers(f, alone, file), r)
	b.client.CloseIdleConnections()
	if err := errors.Join(err, file.Close(), alone.stop(), f.stop()); err != nil {
		return err
	}
	if err := f.startApart(ctx); err != nil {
		return err
	}
	return b.rates(ctx, b.withOtherWorkers(f), r)
}

// rates measures, once the cluster is whole.
func (b *bench) rates(ctx context.Context, all []measurement, r *clusterReport) error {
	rounds, err := b.measureRounds(ctx, all)
	if err != nil {
		return err
	}
	r.Rows = append(r.Rows, compare(all, rounds)...)
	r.judgeRates(all, rounds)
	return nil
}

func (b *bench) withOwnWorkers(f *fleet, alone *served, file *os.File) []measurement {
	body := payload()
	all := []measurement{{what: rawSync, clients: 1, after: emptied(file), do: func(context.Context) error {
		if _, err := file.Write(body); err != nil {
			return err
		}
		return file.Sync()
	}}}
	for _, n := range []int{1, 64} {
		all = append(all, b.bareCalls(n), measurement{what: clusterOwn, clients: n, versus: baseline, gateways: f.gateways(), do: f.calls("Bench")})
	}
	for _, n := range []int{1, 64, 256} {
		all = append(all,
			measurement{what: aloneAccept, clients: n, versus: rawSync, gateways: []*served{alone}, do: b.pushes("/github/hangs", alone.public)},
			measurement{what: clusterPush, clients: n, versus: rawSync, gateways: f.gateways(), do: b.pushes("/github/hangs", f.urls()...)})
	}
	return append(all,
		measurement{what: aloneRun, clients: runSlots, whole: true, gateways: []*served{alone}, do: b.pushes("/github/runs", alone.public), after: ran(alone)},
		measurement{what: clusterRun, clients: runSlots, whole: true, versus: aloneRun, gateways: f.gateways(), do: b.pushes("/github/runs", f.urls()...), after: ran(f.nodes[0].served)})
}

func (b *bench) withOtherWorkers(f *fleet) (all []measurement) {
	for _, n := range []int{1, 64} {
		all = append(all, b.bareCalls(n), measurement{what: clusterTCP, clients: n, versus: baseline, gateways: f.gateways(), do: f.calls("Bench")})
	}
	return append(all, measurement{what: sleepOne, clients: sleepClients, do: f.calls("SleepOne")},
		measurement{what: sleepThree, clients: sleepClients, versus: sleepOne, do: f.calls("SleepThree")})
}

func (b *bench) bareCalls(clients int) measurement {
	body := payload()
	return measurement{what: baseline, clients: clients, do: func(ctx context.Context) error {
		_, err := b.post(ctx, b.bare+"/call", nil, body, http.StatusOK)
		return err
	}}
}

// ran waits until the pushes have run.
func ran(s *served) func(context.Context) error {
	return func(ctx context.Context) error { return empty(ctx, s.queue, "Run") }
}

func (f *fleet) urls() (all []string) {
	for _, n := range f.nodes {
		all = append(all, n.url())
	}
	return all
}

// calls calls a function through all gateways in turns.
func (f *fleet) calls(function string) func(context.Context) error {
	var turn atomic.Uint64
	urls, body := f.urls(), payload()
	return func(ctx context.Context) error {
		_, err := f.b.post(ctx, urls[turn.Add(1)%uint64(len(urls))]+"/functions/"+function, nil, body, http.StatusOK)
		return err
	}
}

// pushes sends signed pushes to all gateways in turns.
func (b *bench) pushes(path string, urls ...string) func(context.Context) error {
	var turn atomic.Uint64
	push := b.signedPush()
	return func(ctx context.Context) error {
		_, err := push(ctx, urls[turn.Add(1)%uint64(len(urls))]+path)
		return err
	}
}

// startSleeper runs a function that takes its time, in the group, until ctx ends, and puts it into the manifest.
func (b *bench) startSleeper(ctx context.Context, group *errgroup.Group) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	group.Go(func() error {
		return funker.Serve(ctx, l, func(ctx context.Context, in json.RawMessage) (json.RawMessage, error) {
			return in, rest(ctx, sleepTime)
		},
			funker.Options{Concurrency: 256, Log: slog.New(slog.DiscardHandler)})
	})
	sleeps := func(name string) string {
		return fmt.Sprintf("  %s: {addresses: [%q], concurrency: %d}\n", name, l.Addr(), sleepSlots)
	}
	run := fmt.Sprintf("  Run: {addresses: [%q], concurrency: %d}\n", b.address, runSlots)
	three := "functions:\n" + sleeps("SleepThree")
	return errors.Join(b.writeManifest(run+sleeps("SleepOne")+sleeps("SleepThree"), "  - {github: runs, secret-file: secret, function: Run}\n"),
		os.WriteFile(filepath.Join(b.dir, "three.yaml"), []byte(three), 0o600))
}

// startApart starts the gateways without workers, and three workers of which one alone has SleepOne.
func (f *fleet) startApart(ctx context.Context) error {
	if err := f.start(ctx, "--no-worker"); err != nil {
		return err
	}
	other := filepath.Join(f.b.dir, "three.yaml")
	for _, manifest := range []string{f.b.manifest(), other, other} {
		if err := f.startWorker(ctx, manifest); err != nil {
			return err
		}
	}
	return nil
}
