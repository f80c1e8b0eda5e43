package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// load is clients that send one thing after the other, and go on when one is refused.
type load struct {
	clients sync.WaitGroup
	mu      sync.Mutex
	done    []success
	last    []time.Time // by client: when it sent what succeeded last
	refused int
	why     error // of the last refusal
}

// success is something that a client got, after some tries perhaps.
type success struct {
	begun time.Time     // when the first try was sent
	sent  time.Time     // when the last one was
	took  time.Duration // from begun
}

// startLoad calls do with numbers that go up, by lossClients clients, until ctx ends.
func startLoad(ctx context.Context, do func(ctx context.Context, n int) error) *load {
	l := &load{last: make([]time.Time, lossClients)}
	for i := range lossClients {
		l.clients.Go(func() { l.client(ctx, i, do) })
	}
	return l
}

func (l *load) client(ctx context.Context, i int, do func(ctx context.Context, n int) error) {
	begun := time.Now()
	for n := i; ctx.Err() == nil; n++ {
		sent := time.Now()
		switch err := do(ctx, n); {
		case ctx.Err() != nil:
			return
		case err != nil:
			l.refuse(err)
		default:
			l.succeed(i, success{begun, sent, time.Since(begun)})
			begun = time.Time{}
		}
		if rest(ctx, lossPause) != nil {
			return
		}
		if begun.IsZero() {
			begun = time.Now()
		}
	}
}

func (l *load) refuse(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused++
	l.why = err
}

func (l *load) refusal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

func (l *load) succeed(client int, s success) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = append(l.done, s)
	l.last[client] = s.sent
}

// recovered returns when each client has got something that it sent lossWatch after a time.
func (l *load) recovered(ctx context.Context, at time.Time) error {
	for !l.allAfter(at.Add(lossWatch)) {
		if time.Since(at) > lossLimit {
			return fmt.Errorf("after %s some clients have got nothing: %w", lossLimit, cmp.Or(l.refusal(), errors.New("they wait for answers")))
		}
		if err := rest(ctx, lookEvery); err != nil {
			return err
		}
	}
	return nil
}

func (l *load) allAfter(at time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, sent := range l.last {
		if sent.Before(at) {
			return false
		}
	}
	return true
}

// firstAfter is how long after a time the first success came of what was sent after it.
func (l *load) firstAfter(at time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := lossLimit
	for _, s := range l.done {
		if s.sent.After(at) {
			first = min(first, s.begun.Add(s.took).Sub(at))
		}
	}
	return first
}

// waits is what the clients saw when something happened at a time. The load has ended.
func (l *load) waits(at time.Time) waits {
	l.clients.Wait()
	w := waits{Done: len(l.done), Refused: l.refused}
	if l.why != nil {
		w.Why = l.why.Error()
	}
	for _, s := range l.done {
		if s.took > w.Longest {
			w.Longest, w.Begun = s.took, s.begun.Sub(at)
		}
	}
	return w
}
