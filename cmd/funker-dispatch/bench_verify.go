package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// cost is what a row of verification has besides its time: how large the body is, how much of it is read in a second,
// how much memory a request takes, and what is wanted.
type cost struct {
	Body      int     `json:"body_bytes"`
	Speed     float64 `json:"mb_per_second"` // at the median
	Allocs    float64 `json:"allocs"`
	Allocated float64 `json:"allocated_bytes"`
	MostUS    float64 `json:"wanted_us,omitempty"`            // at most
	LeastMB   float64 `json:"wanted_mb_per_second,omitempty"` // at least
}

// verification is a request to verify, over and over.
type verification struct {
	what   string
	body   []byte
	do     func(ctx context.Context) error
	versus string
	wanted cost
}

// verifyShare of the time of a figure is enough for one of verification, which takes microseconds and does not wait.
const verifyShare = 40

// verify measures what it costs to verify requests, in turns and in one goroutine, without HTTP and without a store.
func (b *bench) verify(ctx context.Context) ([]row, error) {
	all, err := verifications(ctx)
	if err != nil {
		return nil, err
	}
	rounds := make([][]row, len(all))
	for range b.rounds {
		for i, v := range all {
			r, err := v.measure(ctx, b.time/verifyShare)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", v.what, err)
			}
			rounds[i] = append(rounds[i], r)
		}
	}
	rows := make([]row, len(all))
	for i, v := range all {
		rows[i] = v.row(rounds[i])
		if v.versus != "" {
			other := rounds[slices.IndexFunc(all, func(o verification) bool { return o.what == v.versus })]
			rows[i].RateBy = median(rounds[i], func(k int) float64 { return rounds[i][k].Rate / other[k].Rate })
			rows[i].P50By = median(rounds[i], func(k int) float64 { return rounds[i][k].P50 / other[k].P50 })
		}
	}
	return rows, nil
}

// row has the medians of the rounds.
func (v *verification) row(rounds []row) row {
	r, c := medianRow(rounds), v.wanted
	c.Body = len(v.body)
	c.Speed = r.Rate * float64(c.Body) / 1e6
	c.Allocs = median(rounds, func(k int) float64 { return rounds[k].Cost.Allocs })
	c.Allocated = median(rounds, func(k int) float64 { return rounds[k].Cost.Allocated })
	r.Versus, r.Cost = v.versus, &c
	return r
}

// measure verifies for a time, once at least. The rate is that of the median.
func (v *verification) measure(ctx context.Context, d time.Duration) (row, error) {
	times := make([]time.Duration, 0, 4096) // which must not grow: memory is measured
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for begin := time.Now(); len(times) == 0 || len(times) < cap(times) && time.Since(begin) < d; {
		start := time.Now()
		if err := v.do(ctx); err != nil {
			return row{}, err
		}
		times = append(times, time.Since(start))
	}
	runtime.ReadMemStats(&after)
	if ctx.Err() != nil {
		return row{}, context.Cause(ctx)
	}
	slices.Sort(times)
	p50, n := times[len(times)/2], float64(len(times))
	return row{What: v.what, Clients: 1, Rate: 1 / p50.Seconds(), P50: p50.Seconds() * 1e3, P99: times[len(times)*99/100].Seconds() * 1e3, Cost: &cost{
		Allocs: float64(after.Mallocs-before.Mallocs) / n, Allocated: float64(after.TotalAlloc-before.TotalAlloc) / n,
	}}, nil
}

func printCosts(w io.Writer, rows []row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\np50 µs\tp99 µs\tMB/s\t× SHA-256\tallocs\tallocated B\twanted\t  verification of one request, by one goroutine")
	for _, r := range rows {
		ratio, c := "", r.Cost
		if r.Versus != "" {
			ratio = fmt.Sprintf("%.2f ×", r.RateBy)
		}
		fmt.Fprintf(t, "%.1f\t%.1f\t%.0f\t%s\t%.0f\t%.0f\t%s\t  %s\n", r.P50*1e3, r.P99*1e3, c.Speed, ratio, c.Allocs, c.Allocated, c.verdict(r.P50*1e3), r.What)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "\nMB/s is of the whole body. Ratios are of that speed, to SHA-256 alone over the same bytes, within each round.")
	return err
}

// verdict says what is wanted of the median and the speed, and when it is missed.
func (c *cost) verdict(us float64) string {
	switch {
	case c.MostUS > 0 && us > c.MostUS:
		return fmt.Sprintf("≤ %.0f µs: missed", c.MostUS)
	case c.MostUS > 0:
		return fmt.Sprintf("≤ %.0f µs", c.MostUS)
	case c.LeastMB > 0 && c.Speed < c.LeastMB:
		return fmt.Sprintf("≥ %.0f MB/s: missed", c.LeastMB)
	case c.LeastMB > 0:
		return fmt.Sprintf("≥ %.0f MB/s", c.LeastMB)
	default:
		return ""
	}
}
