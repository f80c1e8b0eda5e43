package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// reference is what was measured on the machine of DESIGN.md, by copies: `bench --cluster` of 2026-11-30, with clients,
// functions and all gateways on the same two cores.
var reference = map[int]capacity{
	1: {Accept: 7300, Run: 2700, CPU: 314, Written: 2050},
	3: {Accept: 4200, Run: 1100, CPU: 480, Written: 6900},
}

func planCommand() *cobra.Command {
	d := demand{Size: bodySize, Copies: 3, Memory: 4 << 30}
	var measured string
	cmd := &cobra.Command{
		Use: "plan", Short: "Say what a load needs: gateways, disks, memory, workers, and which limit comes first", Args: takes(),
		Long: `plan does the arithmetic of docs/scaling.md. It asks nothing and changes nothing. Its figures are those of a small
machine which ran everything at the same time; with --measured they are those of yours.`,
		Example: `  funker-dispatch plan --events 1000 --size 4KiB --duration 200ms
  funker-dispatch bench --cluster -o json >bench.json; funker-dispatch plan --events 1000 --measured bench.json`,
	}
	f := cmd.Flags()
	f.Float64Var(&d.Events, "events", 10, "events that are accepted in a second, at the busiest time of the day")
	f.Var((*size)(&d.Size), "size", "size of a body, such as 4KiB")
	f.DurationVar(&d.Time, "duration", 50*time.Millisecond, "how long a function takes for one event")
	f.Float64Var(&d.Again, "retries", 0.01, "share of the attempts that fail and come again, below 1")
	f.Float64Var(&d.Days, "days", 1, "how long what has ended is kept")
	f.IntVar(&d.Copies, "replicas", 3, "copies of each event: 3 in clusters of three gateways, 1 in gateways that stand alone")
	f.Float64Var(&d.Cores, "cores", 2, "processors of the machine of each gateway")
	f.Var((*size)(&d.Memory), "memory", "memory of the machine of each gateway")
	f.StringVar(&measured, "measured", "", `file with the output of "funker-dispatch bench --cluster -o json" (default: the figures of docs/scaling.md)`)
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := d.check(); err != nil {
			return err
		}
		c := reference[d.Copies]
		if measured != "" {
			var err error
			if c, err = readMeasured(measured, d.Copies); err != nil {
				return err
			}
		}
		return printEither(cmd, *out, needsOf(d, c), func(w io.Writer, p needs) error { return printPlan(w, d, p) })
	}
	return cmd
}

// mostEvents keeps numbers such that a person can read them.
const mostEvents = 1e9

func (d demand) check() error {
	switch {
	case !(d.Events > 0 && d.Events <= mostEvents):
		return usagef("--events %g: choose more than 0, up to %g", d.Events, mostEvents)
	case d.Time <= 0:
		return usagef("--duration %s: choose more than 0s", d.Time)
	case !(d.Again >= 0 && d.Again <= 0.99):
		return usagef("--retries %g: choose a share from 0 to 0.99, such as 0.01", d.Again)
	case !(d.Days > 0 && d.Days <= 30):
		return usagef("--days %g: choose more than 0, up to 30: nothing is kept longer", d.Days)
	case d.Copies != 1 && d.Copies != 3:
		return usagef("--replicas %d: choose 1 or 3", d.Copies)
	case !(d.Cores > 0):
		return usagef("--cores %g: choose more than 0", d.Cores)
	}
	return nil
}

// readMeasured reads a report of bench.
func readMeasured(file string, copies int) (capacity, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return capacity{}, fmt.Errorf("--measured: %w", err)
	}
	var r clusterReport
	if err := json.Unmarshal(data, &r); err != nil {
		return capacity{}, fmt.Errorf("--measured %s: %w", file, err)
	}
	accept, run := aloneAccept, aloneRun
	if copies > 1 {
		accept, run = clusterPush, clusterRun
	}
	a, r1 := find(r.Rows, accept, 256), find(r.Rows, run, runSlots)
	if a.Rate <= 0 || r1.Rate <= 0 || r1.Busiest == nil {
		return capacity{}, fmt.Errorf("--measured %s has no figures of a cluster: make it with \"funker-dispatch bench --cluster -o json\"", file)
	}
	return capacity{Accept: a.Rate, Run: r1.Rate, CPU: r1.Busiest.CPU, Written: r1.Busiest.Written}, nil
}

// find returns an empty row when there is none.
func find(rows []row, what string, clients int) row {
	i := slices.IndexFunc(rows, func(r row) bool { return r.What == what && r.Clients == clients })
	if i < 0 {
		return row{}
	}
	return rows[i]
}

func printPlan(w io.Writer, d demand, p needs) error {
	copies, group := "3 copies", "clusters of 3 gateways"
	if d.Copies == 1 {
		copies, group = "1 copy", "gateways that stand alone"
	}
	fmt.Fprintf(w, "%s events/s of %s, %s each, %g %% of the attempts come again, %s, days of history: %g.\n\n",
		grouped(d.Events), sizeText(float64(d.Size)), d.Time, d.Again*100, copies, d.Days)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range [][2]string{
		{group, fmt.Sprintf("%s, %s events/s each", grouped(float64(p.Clusters)), grouped(p.Each))},
		{"gateways, on a machine each", grouped(float64(p.Gateways))},
		{"  processors", fmt.Sprintf("%.1f", p.Cores)},
		{"  memory", sizeText(p.Memory)},
		{"  --max-events", sizeText(p.MaxEvents)},
		{"  disk", fmt.Sprintf("%s, %s/s written", sizeText(p.Disk), sizeText(p.Writes))},
		{"  network of the leader", sizeText(p.Network) + "/s"},
		{"  known what came of an event", timeText(p.Outcomes)},
		{"  restart, until all states are known", timeText(p.Restart)},
		{"slots of functions", grouped(float64(p.Slots))},
		{fmt.Sprintf("workers of %d slots", planSlots), grouped(float64(p.Workers))},
	} {
		fmt.Fprintf(t, "%s\t%s\n", l[0], l[1])
	}
	fmt.Fprintln(t, "\nlimit, the first one to be hit first\tused\tmetric")
	for _, l := range p.Limits {
		used := fmt.Sprintf("%.0f %%", 100*l.Used)
		if l.Used > 1 {
			used += ": too much"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", l.What, used, l.Metric)
	}
	return t.Flush()
}

// grouped writes a number with commas.
func grouped(x float64) string {
	if x < 10 && x != float64(int64(x)) {
		return fmt.Sprintf("%.1f", x)
	}
	digits := fmt.Sprintf("%.0f", x)
	var b strings.Builder
	for i, c := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// sizeText writes a number of bytes with a unit.
func sizeText(x float64) string {
	for i, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if n := x / float64(int64(1)<<(40-10*i)); n >= 1 {
			return grouped(n) + " " + unit
		}
	}
	return grouped(x) + " B"
}

// timeText writes a time with the unit that suits it.
func timeText(seconds float64) string {
	switch {
	case seconds >= 2*daySeconds:
		return fmt.Sprintf("%.1f days", seconds/daySeconds)
	case seconds >= 7200:
		return fmt.Sprintf("%.1f hours", seconds/3600)
	case seconds >= 120:
		return fmt.Sprintf("%.0f minutes", seconds/60)
	}
	return fmt.Sprintf("%.1f seconds", seconds)
}
