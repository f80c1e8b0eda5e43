package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// measurement is one thing to measure, and what to compare it with.
type measurement struct {
	what    string
	clients int
	versus  string
	do      func(ctx context.Context) error
	after   func(ctx context.Context) error // waits until nothing goes on any more, or tidies up; nil: nothing to do
	bad     bool                            // bad requests come meanwhile
	viewers int                             // of the live overview, meanwhile
	long    bool                            // it takes longViewed times as long as others: see there
	whole   bool                            // after is a part of it: its time counts too

	gateways []*served // processes whose processor time and writes are counted
}

// measureAll measures everything, several times.
func (b *bench) measureAll(ctx context.Context, all []measurement) ([]row, error) {
	rounds, err := b.measureRounds(ctx, all)
	if err != nil {
		return nil, err
	}
	return compare(all, rounds), nil
}

// measureRounds measures everything in turns, so that a slow minute of the machine hits what is compared alike. It returns
// the rounds of each measurement.
func (b *bench) measureRounds(ctx context.Context, all []measurement) ([][]row, error) {
	rounds := make([][]row, len(all))
	for range b.rounds {
		for i, m := range all {
			r, err := b.measure(ctx, m)
			if err != nil {
				return nil, fmt.Errorf("%s, %d clients: %w", m.what, m.clients, err)
			}
			rounds[i] = append(rounds[i], r)
		}
	}
	return rounds, nil
}

// compare makes a row of the rounds of each measurement.
func compare(all []measurement, rounds [][]row) []row {
	rows := make([]row, len(all))
	for i, m := range all {
		rows[i] = medianRow(rounds[i])
		if m.versus != "" {
			other := slices.IndexFunc(all, func(o measurement) bool {
				return o.what == m.versus && (o.clients == m.clients || m.versus == rawSync)
			})
			rows[i].Versus = m.versus
			rows[i].RateBy = rateRatio(rounds[i], rounds[other])
			if all[other].clients == m.clients {
				rows[i].P50By = median(rounds[i], func(k int) float64 { return rounds[i][k].P50 / rounds[other][k].P50 })
				if m.long {
					rows[i].CPUBy = median(rounds[i], func(k int) float64 { return rounds[i][k].CPU / rounds[other][k].CPU })
				}
				rows[i].P99By = median(rounds[i], func(k int) float64 { return rounds[i][k].P99 / rounds[other][k].P99 })
			}
		}
	}
	return rows
}

// rateRatio is how many times as fast one thing is as another, in the median of the rounds.
func rateRatio(one, other []row) float64 {
	return median(one, func(k int) float64 { return one[k].Rate / other[k].Rate })
}

// measure runs one thing with its clients for the time of one figure, after a tenth of it to warm up. What is under way
// then is finished and counts, and its time too.
func (b *bench) measure(ctx context.Context, m measurement) (row, error) {
	b.client.CloseIdleConnections() // before the server does
	if m.long {
		return b.measureViewed(ctx, m)
	}
	if len(m.gateways) > 0 {
		return b.measureGateways(ctx, m)
	}
	if !m.bad {
		return b.measureAlone(ctx, m, b.time)
	}
	bad := b.startBad(ctx)
	r, err := b.measureAlone(ctx, m, b.time)
	rate, failed := bad.stop()
	r.Bad = rate
	return r, errors.Join(err, failed)
}

func (b *bench) measureAlone(ctx context.Context, m measurement, length time.Duration) (row, error) {
	var failures atomic.Int64
	var firstError error
	var once sync.Once
	begin := time.Now()
	warm, end := begin.Add(length/10), begin.Add(length/10+length)
	if m.whole {
		warm = begin
	}
	times := make([][]time.Duration, m.clients)
	var clients sync.WaitGroup
	for i := range m.clients {
		clients.Go(func() {
			for ctx.Err() == nil {
				start := time.Now()
				if start.After(end) {
					return
				}
				if err := m.do(ctx); err != nil {
					failures.Add(1)
					once.Do(func() { firstError = err })
				} else if took := time.Since(start); start.Add(took).After(warm) {
					times[i] = append(times[i], took)
				}
			}
		})
	}
	clients.Wait()
	elapsed := time.Since(warm)
	if ctx.Err() != nil {
		return row{}, context.Cause(ctx)
	}
	if m.after != nil {
		if err := m.after(ctx); err != nil {
			return row{}, err
		}
	}
	if m.whole {
		elapsed = time.Since(begin)
	}
	all := slices.Concat(times...)
	if len(all) == 0 {
		return row{}, fmt.Errorf("nothing succeeded: %w", firstError)
	}
	slices.Sort(all)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return row{What: m.what, Clients: m.clients, Rate: float64(len(all)) / elapsed.Seconds(), P50: ms(all[len(all)/2]),
		P99: ms(all[len(all)*99/100]), Failures: failures.Load()}, nil
}
