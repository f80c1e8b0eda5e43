package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/funker"
)

const (
	lookupLimit = 100 * time.Millisecond // an upstream name server that drops queries would take 5 s
	badTime     = 300 * time.Millisecond // how long a task that refused is the last choice
)

// Lookup finds the addresses ("host:port") of a function's tasks, just before one is dialled: addresses are reused by
// the network. No task is an error.
type Lookup func(ctx context.Context, function string) ([]string, error)

// LookupDNS asks for tasks.<function>, as Swarm names the tasks of a service, and then for <function>.
func LookupDNS(ctx context.Context, function string) ([]string, error) {
	var errs []error
	for _, name := range []string{"tasks." + function, function} {
		hosts, err := lookupHost(ctx, name)
		if err == nil && len(hosts) > 0 {
			addresses := make([]string, len(hosts))
			for i, h := range hosts {
				addresses[i] = net.JoinHostPort(h, strconv.Itoa(funker.Port))
			}
			return addresses, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("look up tasks of %s: %w", function, errors.Join(errs...))
}

func lookupHost(ctx context.Context, name string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	return net.DefaultResolver.LookupHost(ctx, name)
}

// tasks hands out the tasks of one function, each to as many callers at a time as it takes connections.
type tasks struct {
	lookup Lookup
	mu     sync.Mutex
	known  []*task          // fixed addresses, or those that DNS named and that are in use or bad
	of     *deploy.Function // whose fixed addresses are known
}

type task struct {
	address string
	busy    int
	bad     time.Time // when it last refused
	gone    bool      // no lookup names it any more
}

func newTasks(lookup Lookup) *tasks { return &tasks{lookup: lookup} }

var errNoTask = errors.New("no task takes the connection")

// acquire returns an idle task that is not in tried, the ones that refused lately last. It returns errNoTask.
func (t *tasks) acquire(ctx context.Context, fn *deploy.Function, tried map[*task]bool) (*task, error) {
	var found []string
	if len(fn.Addresses) == 0 {
		var err error
		if found, err = t.lookup(ctx, fn.Name); err != nil {
			return nil, fmt.Errorf("%w: %w", errNoTask, err)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case found != nil:
		t.learn(found)
	case t.of != fn:
		t.learn(fn.Addresses)
		t.of = fn
	}
	var best *task
	for _, c := range t.known {
		if !c.gone && c.busy < fn.Concurrency && !tried[c] && (best == nil || better(c, best)) {
			best = c
		}
	}
	if best == nil {
		return nil, errNoTask
	}
	best.busy++
	return best, nil
}

// better prefers a task that has not refused lately, then the less busy one.
func better(a, b *task) bool {
	aBad, bBad := time.Since(a.bad) < badTime, time.Since(b.bad) < badTime
	if aBad != bBad {
		return bBad
	}
	return a.busy < b.busy
}

// learn takes over the addresses. A task that is gone stays while it is busy. It is called with the lock.
func (t *tasks) learn(addresses []string) {
	old := make(map[string]*task, len(t.known))
	for _, k := range t.known {
		old[k.address] = k
	}
	next := make([]*task, 0, len(addresses))
	for _, a := range addresses {
		k := old[a]
		if k == nil {
			k = &task{address: a}
		}
		k.gone = false
		delete(old, a)
		next = append(next, k)
	}
	for _, k := range old {
		if k.gone = true; k.busy > 0 {
			next = append(next, k)
		}
	}
	t.known = next
}

func (t *tasks) release(c *task, refused bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.busy--
	if refused {
		c.bad = time.Now()
	} else {
		c.bad = time.Time{}
	}
}
