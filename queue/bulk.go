package queue

import (
	"cmp"
	"context"
	"errors"
	"time"
)

const (
	// BulkInFlight is how many pieces of a bulk are under way at a time, so that they share the syncs of the disk.
	BulkInFlight = 16
	// pieceLimit is how long one piece may take, also when the bulk is told to stop meanwhile.
	pieceLimit = 10 * time.Second
)

// Bulk does the same to many stored events. What it is given is started in order, and reported in order.
type Bulk[T any] struct {
	Do     func(ctx context.Context, ref string) (T, error)
	Report func(r Reach, result T, err error) error // after each piece, with what Do returned; its error stops the bulk
	Rate   int                                      // pieces per second; 0: no limit
}

// Reach is how far a bulk has got.
type Reach struct {
	Done   int
	Failed int
	Last   string // the reference up to which all are done or have failed; "" at the start
}

// Sum is how many pieces have ended.
func (r Reach) Sum() int { return r.Done + r.Failed }

// References gives what a bulk works on to visit, one after the other, and returns the first error of visit.
type References func(ctx context.Context, visit func(ref string) error) error

type piece[T any] struct {
	ref    string
	result T
	err    error
}

// Run works until all is done. A piece that fails does not stop the others, unless the queue takes no more of them.
// What is under way when ctx is cancelled is finished. It returns what stopped it before the end.
func (b *Bulk[T]) Run(ctx context.Context, refs References) (Reach, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	started := make(chan chan piece[T], BulkInFlight-1) // one more is waited for
	given := make(chan error, 1)
	go func() {
		pace := pace{rate: b.Rate}
		given <- refs(ctx, func(ref string) error {
			if err := pace.wait(ctx); err != nil {
				return err
			}
			return b.start(ctx, ref, started)
		})
		close(started)
	}()
	var r Reach
	var failed error
	for result := range started {
		p := <-result
		failed = cmp.Or(failed, Hopeless(p.err))
		r.count(p.ref, p.err, failed == nil)
		failed = cmp.Or(failed, b.Report(r, p.result, p.err))
		if failed != nil {
			stop()
		}
	}
	return r, cmp.Or(failed, <-given)
}

// start begins a piece as soon as fewer than BulkInFlight are under way.
func (b *Bulk[T]) start(ctx context.Context, ref string, started chan<- chan piece[T]) error {
	result := make(chan piece[T], 1)
	select {
	case started <- result:
	case <-ctx.Done():
		return ctx.Err()
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pieceLimit)
		defer cancel()
		got, err := b.Do(ctx, ref)
		result <- piece[T]{ref, got, err}
	}()
	return nil
}

// count adds a piece. known is whether it is known what became of it and of all before it.
func (r *Reach) count(ref string, err error, known bool) {
	if err != nil {
		r.Failed++
	} else {
		r.Done++
	}
	if known {
		r.Last = ref
	}
}

// Hopeless returns err when the pieces that follow would fail for the same reason.
func Hopeless(err error) error {
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrFull) {
		return err
	}
	return nil
}

// pace spreads work evenly over time.
type pace struct {
	rate int // per second; 0: no limit
	next time.Time
}

// paceSlack is what may be caught up at once after a delay.
const paceSlack = 50 * time.Millisecond

// wait returns when the next piece of work is due, or the error of ctx.
func (p *pace) wait(ctx context.Context) error {
	if p.rate > 0 {
		now := time.Now()
		if earliest := now.Add(-paceSlack); p.next.Before(earliest) {
			p.next = earliest
		}
		timer := time.NewTimer(p.next.Sub(now))
		defer timer.Stop()
		p.next = p.next.Add(time.Second / time.Duration(p.rate))
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}
