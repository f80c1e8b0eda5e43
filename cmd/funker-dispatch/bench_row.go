package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// row is one line of the table: medians over the rounds.
type row struct {
	What     string  `json:"what"`
	Clients  int     `json:"clients"`
	Rate     float64 `json:"per_second"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Versus   string  `json:"versus,omitempty"`     // the row it is compared with
	RateBy   float64 `json:"rate_ratio,omitempty"` // median of the rounds' ratios
	P50By    float64 `json:"p50_ratio,omitempty"`  // likewise
	P99By    float64 `json:"p99_ratio,omitempty"`  // likewise
	CPU      float64 `json:"cpu_us,omitempty"`     // processor time of this process, clients and all, for one
	CPUBy    float64 `json:"cpu_ratio,omitempty"`  // likewise
	Failures int64   `json:"failures"`
	Busiest  *use    `json:"busiest_gateway,omitempty"` // of several gateways, for one; nil where they are no processes of their own
	Pictures float64 `json:"pictures,omitempty"`        // that each viewer of the live overview was sent meanwhile
	Bad      float64 `json:"bad_per_second,omitempty"`  // requests that came beside, and were refused
	Cost     *cost   `json:"verification,omitempty"`    // of a request that was only verified; nil for all others
}

func medianRow(rounds []row) row {
	r := rounds[0]
	r.Rate = median(rounds, func(k int) float64 { return rounds[k].Rate })
	r.P50 = median(rounds, func(k int) float64 { return rounds[k].P50 })
	r.P99 = median(rounds, func(k int) float64 { return rounds[k].P99 })
	r.Bad = median(rounds, func(k int) float64 { return rounds[k].Bad })
	r.CPU = median(rounds, func(k int) float64 { return rounds[k].CPU })
	r.Pictures = median(rounds, func(k int) float64 { return rounds[k].Pictures })
	if r.Busiest != nil {
		r.Busiest = &use{
			CPU:     median(rounds, func(k int) float64 { return rounds[k].Busiest.CPU }),
			Written: median(rounds, func(k int) float64 { return rounds[k].Busiest.Written }),
		}
	}
	r.Failures = 0
	for _, one := range rounds {
		r.Failures += one.Failures
	}
	return r
}

func median(rounds []row, value func(k int) float64) float64 {
	values := make([]float64, len(rounds))
	for k := range rounds {
		values[k] = value(k)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func printRows(w io.Writer, rows []row) error {
	verified := func(r row) bool { return r.Cost != nil }
	path := slices.DeleteFunc(slices.Clone(rows), verified)
	costs := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return !verified(r) })
	return errors.Join(printPath(w, path), printCosts(w, costs))
}

// printPath prints what was measured of the data path.
func printPath(w io.Writer, rows []row) error {
	if err := printRates(w, rows); err != nil {
		return err
	}
	for _, r := range rows {
		if r.Bad > 0 {
			fmt.Fprintf(w, "\nBeside %.0f bad requests/s, clients %d: the p99 is %.2f × that without them.", r.Bad, r.Clients, r.P99By)
		}
	}
	for _, r := range rows {
		if r.Pictures > 0 {
			fmt.Fprintf(w, "\nBeside %d viewers of the live overview, clients %d: the rate is %.2f ×, the p99 %.2f × of that without them, and the processor time of a call %.2f ×; each was sent %.1f pictures.",
				benchViewers, r.Clients, r.RateBy, r.P99By, r.CPUBy, r.Pictures)
		}
	}
	_, err := fmt.Fprintf(w, `

Ratios compare a call through the gateway with the bare handler, and a durable accept with append + fsync (1 client),
within each round; one beside bad requests with the same without them. The bare handler that appends and syncs shows
how much more than 1 this machine allows.
On loopback a call per connection uses up a local port for a second: about 14,000/s is the limit of the machine,
whoever calls.
`)
	return err
}

func printRates(w io.Writer, rows []row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "clients\tper second\tp50 ms\tp99 ms\trate ratio\tp50 ratio\tfailures\t  what")
	for _, r := range rows {
		ratio, p50 := "", ""
		if r.Versus != "" {
			ratio = fmt.Sprintf("%.2f ×", r.RateBy)
		}
		if r.P50By > 0 {
			p50 = fmt.Sprintf("%.2f ×", r.P50By)
		}
		fmt.Fprintf(t, "%d\t%.0f\t%.2f\t%.2f\t%s\t%s\t%d\t  %s\n", r.Clients, r.Rate, r.P50, r.P99, ratio, p50, r.Failures, r.What)
	}
	return t.Flush()
}
