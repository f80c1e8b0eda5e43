package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// badRate is how many bad requests come in a second, and badClients from how many connections.
const (
	badRate    = 2000
	badClients = 64
)

// badSenders send what has to be refused, beside a measurement.
type badSenders struct {
	cancel context.CancelFunc
	done   chan error
	begin  time.Time
	sent   atomic.Int64
}

// startBad sends requests that have to be refused, unsigned and forged ones in turns, until it is stopped.
func (b *bench) startBad(ctx context.Context) *badSenders {
	ctx, cancel := context.WithCancel(ctx)
	s := &badSenders{cancel: cancel, done: make(chan error, 1), begin: time.Now()}
	group, ctx := errgroup.WithContext(ctx)
	for i := range badClients {
		group.Go(func() error { return b.sendBad(ctx, s, i) })
	}
	go func() { s.done <- group.Wait() }()
	return s
}

func (b *bench) sendBad(ctx context.Context, s *badSenders, i int) error {
	const pause = badClients * time.Second / badRate
	unsigned := http.Header{"Content-Type": {"application/json"}, "X-Github-Event": {"push"}}
	forged := unsigned.Clone()
	forged.Set("X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64))
	body := payload()
	next := s.begin.Add(time.Duration(i) * pause / badClients)
	for n := i; ; n++ {
		select {
		case <-time.After(time.Until(next)):
			next = next.Add(pause)
		case <-ctx.Done():
			return nil
		}
		_, err := b.post(ctx, b.public+"/github/bench", []http.Header{unsigned, forged}[n%2], body, http.StatusUnauthorized)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("a bad request: %w", err)
		}
		s.sent.Add(1)
	}
}

// stop returns how many requests came in a second.
func (s *badSenders) stop() (rate float64, err error) {
	s.cancel()
	err = <-s.done
	return float64(s.sent.Load()) / time.Since(s.begin).Seconds(), err
}
