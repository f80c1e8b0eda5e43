package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// goal is something that is wanted of a cluster.
type goal struct {
	What   string  `json:"what"`
	Wanted float64 `json:"wanted"` // a ratio, or seconds
	Got    float64 `json:"got"`
	Most   bool    `json:"at_most,omitempty"` // else at least
	Unit   string  `json:"unit"`
}

const (
	wantedClients = 3.0 // of 64 clients to one, accepts
	wantedWorkers = 2.8 // of three workers to one, calls
	wantedLoss    = 2 * time.Second
)

func (g goal) met() bool { return g.Got == g.Wanted || (g.Got < g.Wanted) == g.Most }

// judgeRates compares what was measured in the same rounds.
func (r *clusterReport) judgeRates(all []measurement, rounds [][]row) {
	of := func(what string, clients int) []row {
		i := slices.IndexFunc(all, func(m measurement) bool { return m.what == what && m.clients == clients })
		if i < 0 {
			return nil
		}
		return rounds[i]
	}
	if one := of(clusterPush, 1); one != nil {
		r.Goals = append(r.Goals, goal{What: "durable accepts, 64 clients to one", Wanted: wantedClients, Got: rateRatio(of(clusterPush, 64), one), Unit: "×"})
	}
	if one := of(sleepOne, sleepClients); one != nil {
		r.Goals = append(r.Goals, goal{What: "calls, three workers to one", Wanted: wantedWorkers, Got: rateRatio(of(sleepThree, sleepClients), one), Unit: "×"})
	}
}

// judge looks at the worst of all times that a gateway went.
func (r *clusterReport) judge() {
	seconds := func(what string, of func(loss) time.Duration) {
		worst := of(slices.MaxFunc(r.Losses, func(a, b loss) int { return int(of(a) - of(b)) }))
		r.Goals = append(r.Goals, goal{What: what, Wanted: wantedLoss.Seconds(), Got: worst.Seconds(), Most: true, Unit: "s"})
	}
	seconds("a gateway goes: until an event is accepted that was sent after it", func(l loss) time.Duration { return l.Accepted })
	seconds("a gateway goes: longest that a client had no event accepted", func(l loss) time.Duration { return l.Events.Longest })
	seconds("a gateway goes: longest that a client had no call answered", func(l loss) time.Duration { return l.Calls.Longest })
	r.Goals = append(r.Goals, goal{What: "a gateway goes: accepted events that no gateway knows", Got: float64(r.Lost), Most: true},
		goal{What: "a gateway goes: accepted events that some gateway does not know", Got: float64(r.Hidden), Most: true})
}

func printClusterBench(w io.Writer, r clusterReport) error {
	if err := printRates(w, r.Rows); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nRatios compare calls with the bare handler, accepts with append + fsync, the rest with the line before, within each round.")
	if err := printUse(w, r.Rows); err != nil {
		return err
	}
	if err := printLosses(w, r.Losses); err != nil {
		return err
	}
	return printGoals(w, r.Goals)
}

// printUse prints what one costs the gateways.
func printUse(w io.Writer, rows []row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\nclients\tall gateways, CPU µs\tthe busiest, CPU µs\tthe busiest, bytes to disk\t  what one of them costs")
	for _, r := range rows {
		if r.Busiest != nil {
			fmt.Fprintf(t, "%d\t%.0f\t%.0f\t%.0f\t  %s\n", r.Clients, r.CPU, r.Busiest.CPU, r.Busiest.Written, r.What)
		}
	}
	return t.Flush()
}

// printLosses prints the median and the longest of each kind.
func printLosses(w io.Writer, all []loss) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\ntimes\taccepted again s\tno event for s\tno call for s\trefused events\trefused calls\t  a gateway goes (median, longest)")
	for _, what := range []string{lostLeader, lostKeeper, stopped} {
		these := slices.DeleteFunc(slices.Clone(all), func(l loss) bool { return l.What != what })
		if len(these) == 0 {
			continue
		}
		both := func(of func(loss) time.Duration) string {
			var times []time.Duration
			for _, l := range these {
				times = append(times, of(l))
			}
			slices.Sort(times)
			return fmt.Sprintf("%.2f, %.2f", times[len(times)/2].Seconds(), times[len(times)-1].Seconds())
		}
		events, calls := 0, 0
		for _, l := range these {
			events, calls = events+l.Events.Refused, calls+l.Calls.Refused
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%d\t%d\t  %s\n", len(these), both(func(l loss) time.Duration { return l.Accepted }),
			both(func(l loss) time.Duration { return l.Events.Longest }), both(func(l loss) time.Duration { return l.Calls.Longest }), events, calls, what)
	}
	return t.Flush()
}

func printGoals(w io.Writer, all []goal) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\ngoal\twanted\tgot\t")
	for _, g := range all {
		sign, verdict := "≥", "met"
		if g.Most {
			sign = "≤"
		}
		if !g.met() {
			verdict = "missed"
		}
		fmt.Fprintf(t, "%s\t%s %g %s\t%.2f %s\t%s\n", g.What, sign, g.Wanted, g.Unit, g.Got, g.Unit, verdict)
	}
	return t.Flush()
}
