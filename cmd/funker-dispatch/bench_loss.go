package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// loss is one gateway that went while the other two were sent events and calls.
type loss struct {
	What     string        `json:"what"`
	Gateway  string        `json:"gateway"`
	Accepted time.Duration `json:"accepted_after_ns"` // until an event was accepted that was sent after it
	Events   waits         `json:"events"`
	Calls    waits         `json:"calls"`
}

// waits is what the clients of one kind saw.
type waits struct {
	Longest time.Duration `json:"longest_ns"` // that one client had no success, from when it sent what then failed or took long
	Begun   time.Duration `json:"begun_ns"`   // of that time, after the gateway went
	Done    int           `json:"done"`
	Refused int           `json:"refused"`
	Why     string        `json:"why,omitempty"` // the last refusal
}

const (
	lostLeader = "killed: the leader of the events"
	lostKeeper = "killed: the holder of the lease"
	stopped    = "stopped: the leader of the events"

	// lossClients of each kind send one thing after the other, lossPause apart: a load that does not use up the machine.
	lossClients = 8
	lossPause   = 20 * time.Millisecond
	// lossBefore is how long the load goes on before the gateway goes, and lossWatch how long after it at least.
	lossBefore = 500 * time.Millisecond
	lossWatch  = 5 * time.Second
	// lossLimit is how long a client may take to have a success again.
	lossLimit = 2 * time.Minute
)

// lose has each kind of gateway go some times, and asks at the end what is stored.
func (f *fleet) lose(ctx context.Context, times int, r *clusterReport) error {
	begin, accepted := time.Now(), newLedger()
	for _, what := range slices.Concat(slices.Repeat([]string{lostLeader, lostKeeper}, times), []string{stopped}) {
		one, err := f.loseOne(ctx, what, accepted)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		r.Losses = append(r.Losses, one)
		if err := f.start(ctx, "--no-worker"); err != nil {
			return err
		}
	}
	slices.SortStableFunc(r.Losses, func(a, b loss) int { return cmp.Compare(a.What, b.What) })
	var err error
	r.Lost, r.Hidden, err = f.missing(ctx, begin, accepted)
	return err
}

// loseOne has one gateway go under load.
func (f *fleet) loseOne(ctx context.Context, what string, accepted *ledger) (loss, error) {
	ready, cancel := context.WithTimeout(ctx, lossLimit)
	defer cancel()
	victim, keeper, err := f.healthy(ready)
	if err != nil {
		return loss{}, err
	}
	signal := syscall.SIGKILL
	switch what {
	case lostKeeper:
		victim = keeper
	case stopped:
		signal = syscall.SIGTERM
	}
	var urls []string
	for _, n := range f.nodes {
		if n != victim {
			urls = append(urls, n.url())
		}
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	events, calls := f.b.startLoads(running, urls, accepted)
	err = rest(ctx, lossBefore)
	var at time.Time
	if err == nil {
		at, err = victim.end(signal)
	}
	if err == nil {
		err = errors.Join(events.recovered(ctx, at), calls.recovered(ctx, at))
	}
	stop()
	f.b.client.CloseIdleConnections()
	one := loss{What: what, Gateway: victim.name, Accepted: events.firstAfter(at), Events: events.waits(at), Calls: calls.waits(at)}
	return one, err
}

// ledger is the ids of what was accepted.
type ledger struct {
	mu  sync.Mutex
	ids map[string]bool
}

func newLedger() *ledger { return &ledger{ids: map[string]bool{}} }

func (l *ledger) note(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids[id] = true
}

// missing counts what was accepted and no gateway knows, and what some gateway does not know.
func (f *fleet) missing(ctx context.Context, since time.Time, accepted *ledger) (lost, hidden int, err error) {
	ready, cancel := context.WithTimeout(ctx, lossLimit)
	defer cancel()
	if _, _, err := f.healthy(ready); err != nil {
		return 0, 0, err
	}
	known := map[string]int{}
	for _, n := range f.nodes {
		ids, err := n.stored(ready, since)
		if err != nil {
			return 0, 0, fmt.Errorf("ask %s what is stored: %w", n.name, err)
		}
		for id := range ids {
			known[id]++
		}
	}
	for id := range accepted.ids {
		switch known[id] {
		case 0:
			lost++
		case len(f.nodes):
		default:
			hidden++
		}
	}
	return lost, hidden, nil
}

// stored are the ids of what the gateway knows.
func (n *gatewayProcess) stored(ctx context.Context, since time.Time) (map[string]bool, error) {
	for {
		ids := map[string]bool{}
		err := n.queue.Select(ctx, queue.Filter{Kind: "event", Function: hanging, Since: since}, "", func(r queue.Record) bool {
			ids[r.ID] = true
			return true
		})
		if !errors.Is(err, queue.ErrIndexing) && !errors.Is(err, queue.ErrUnavailable) {
			return ids, err
		}
		if rest(ctx, lookEvery) != nil {
			return nil, err
		}
	}
}

// startLoads starts the clients of both kinds, each of which sends to all gateways in turns.
func (b *bench) startLoads(ctx context.Context, urls []string, accepted *ledger) (events, calls *load) {
	push := b.signedPush()
	events = startLoad(ctx, func(ctx context.Context, n int) error {
		id, err := push(ctx, urls[n%len(urls)]+"/github/hangs")
		if err == nil {
			accepted.note(id)
		}
		return err
	})
	body := payload()
	calls = startLoad(ctx, func(ctx context.Context, n int) error {
		_, err := b.post(ctx, urls[n%len(urls)]+"/functions/Bench", nil, body, http.StatusOK)
		return err
	})
	return events, calls
}
