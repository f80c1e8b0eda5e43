package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrIndexing means that the state of events is not known yet, because the gateway has just started and reads what is
// stored. Events and calls are accepted and run meanwhile.
var ErrIndexing = errors.New("the index is being built")

// index knows where every stored event and call stands. Each gateway makes its own from what is stored. It follows the
// streams: when somebody asks, and once in a while so that little is left to read.
type index struct {
	js      jetstream.JetStream
	log     *slog.Logger
	stored  func(ctx context.Context, stream string, from uint64) (*plainMessage, error)
	connect func() (puller, error)

	clustered bool

	mu     sync.RWMutex // guards ledger
	ledger ledger

	readers [shelves]reader
	tap     puller
	noted   [2]ends   // the last two times
	started positions // when the index was begun
	early   time.Time // since when a message waits for one that it follows from; zero when none does
	kept    int       // how many values the ledger kept after the last sweep
	holes   uint64    // in FUNKER_EVENTS, when it was last pruned

	built       atomic.Bool
	read, total atomic.Int64

	turn  sync.Mutex // guards next
	next  *lap
	wake  chan struct{}
	stop  context.CancelFunc
	tasks sync.WaitGroup
}

// lap is one catching up: everybody who asked before it began waits for it.
type lap struct {
	done chan struct{}
	err  error
}

func newLap() *lap { return &lap{done: make(chan struct{})} }

// indexTick is how often the index follows the streams when nobody asks.
const indexTick = time.Second

// indexQuiet is how long the index may be behind in a cluster until the log says so: an election takes a moment.
const indexQuiet = 5 * time.Second

// puller reads messages that are stored already. pull is that of tap.
type puller interface {
	pull(ctx context.Context, stream, consumer string, batch int, visit func(*tapMessage)) (got int, known bool, err error)
	close()
}

// newIndex begins to build an index of the streams, which it reads by what connect returns.
func newIndex(q *Queue, connect func() (puller, error)) *index {
	ctx, stop := context.WithCancel(context.Background())
	x := &index{js: q.js, log: q.log, stored: q.stored, connect: connect, clustered: q.clustered(), next: newLap(), wake: make(chan struct{}, 1), stop: stop}
	for s := shelfEvents; s < shelves; s++ {
		x.readers[s] = reader{shelf: s, next: 1}
	}
	x.tasks.Go(func() { x.follow(ctx) })
	return x
}

// close ends the index. Whoever waits for it hears that the queue is not available.
func (x *index) close() {
	x.stop()
	x.tasks.Wait()
}

func (x *index) follow(ctx context.Context) {
	tick := time.NewTicker(indexTick)
	defer tick.Stop()
	current := time.Now()
	for ctx.Err() == nil {
		r, err := x.begin(), x.catchUp(ctx)
		if err != nil {
			r.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		close(r.done)
		switch {
		case err == nil:
			current = time.Now()
		case ctx.Err() == nil && (!x.clustered || time.Since(current) > indexQuiet):
			x.log.Warn("the index is behind", "error", err)
		}
		select {
		case <-tick.C:
		case <-x.wake:
		case <-ctx.Done():
		}
	}
	x.hangUp()
	x.turn.Lock()
	defer x.turn.Unlock()
	x.next.err = fmt.Errorf("%w: it is stopping", ErrUnavailable)
	close(x.next.done) // it stays: who comes from now on hears that too
}

// begin starts a lap: who comes from now on waits for the next one.
func (x *index) begin() *lap {
	x.turn.Lock()
	defer x.turn.Unlock()
	r := x.next
	x.next = newLap()
	return r
}

// fresh returns when the index knows everything that was stored when it was called. While the index is being built it
// waits, and returns ErrIndexing when ctx ends first.
func (x *index) fresh(ctx context.Context) error {
	x.turn.Lock()
	r := x.next
	x.turn.Unlock()
	select {
	case x.wake <- struct{}{}:
	default:
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
	}
	if !x.built.Load() {
		return fmt.Errorf("%w: %d of %d messages are read", ErrIndexing, x.read.Load(), x.total.Load())
	}
	return fmt.Errorf("follow the streams: %w", ctx.Err())
}
