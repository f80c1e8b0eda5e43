package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

func TestPlan_TheTablesOfThePageAreWhatTheProgramPrints(t *testing.T) {
	page := documents(t)[filepath.Join("docs", "scaling.md")]
	commands, tables := 0, 0
	for _, block := range blocks(page, "sh") {
		for line := range strings.Lines(block) {
			args, ours := strings.CutPrefix(strings.TrimSpace(line), "funker-dispatch plan")
			if !ours || strings.Contains(args, "--measured") {
				continue
			}
			commands++
			_, after, _ := strings.Cut(page, line)
			if out := mustCLI(t, append([]string{"plan"}, strings.Fields(args)...)...); strings.Contains(page, "```text\n"+out+"```\n") {
				tables++
			} else if strings.HasPrefix(after, "```\n\n```text\n") {
				t.Errorf("the page has another table than that of %s:\n%s", strings.TrimSpace(line), out)
			}
		}
	}
	if commands < 4 || tables < 3 {
		t.Errorf("the page has %d commands and %d of their tables", commands, tables)
	}
}

// drawn is any demand that the command takes.
func drawn(t *rapid.T) demand {
	return demand{
		Events: rapid.Float64Range(0.01, 1e6).Draw(t, "events"), Size: rapid.Int64Range(1, queue.MaxBody).Draw(t, "size"),
		Time:  time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "duration")),
		Again: rapid.Float64Range(0, 0.99).Draw(t, "again"), Days: rapid.Float64Range(0.01, 30).Draw(t, "days"),
		Copies: rapid.SampledFrom([]int{1, 3}).Draw(t, "copies"), Cores: rapid.Float64Range(1, 64).Draw(t, "cores"),
		Memory: rapid.Int64Range(1<<30, 1<<40).Draw(t, "memory"),
	}
}

func drawnCapacity(t *rapid.T) capacity {
	return capacity{
		Accept: rapid.Float64Range(10, 1e5).Draw(t, "accept"), Run: rapid.Float64Range(10, 1e5).Draw(t, "run"),
		CPU: rapid.Float64Range(1, 1e5).Draw(t, "cpu"), Written: rapid.Float64Range(0, 1e6).Draw(t, "written"),
	}
}

func TestPlan_IsEnoughAndNotMuchMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, c := drawn(t), drawnCapacity(t)
		p := needsOf(d, c)
		about := func(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b)) }
		if !about(p.Each*float64(p.Clusters), d.Events) || p.Gateways != p.Clusters*d.Copies {
			t.Fatalf("%d clusters of %g, %d gateways", p.Clusters, p.Each, p.Gateways)
		}
		most := planLoad * min(c.Accept, c.Run*(1-d.Again))
		if p.Each > most*(1+1e-9) || p.Clusters > 1 && d.Events/float64(p.Clusters-1) < most*(1-1e-9) {
			t.Fatalf("%d clusters, where each takes %g", p.Clusters, most)
		}
		running := p.Attempts * d.Time.Seconds()
		if float64(p.Slots)*planLoad < running*(1-1e-9) || p.Slots > 1 && float64(p.Slots-1)*planLoad >= running*(1+1e-9) {
			t.Fatalf("%d slots, where %g run at a time", p.Slots, running)
		}
		if p.Workers*planSlots < p.Slots || float64(p.Workers)*planLoad*planCalls < p.Attempts*(1-1e-9) || p.Workers < p.Clusters {
			t.Fatalf("%d workers for %d slots and %g attempts/s", p.Workers, p.Slots, p.Attempts)
		}
		if p.MaxEvents*trimmedAt < p.Each*d.Days*daySeconds*float64(d.Size)*(1-1e-9) || p.Disk < p.MaxEvents {
			t.Fatalf("%g bytes of events on a disk of %g", p.MaxEvents, p.Disk)
		}
		if !slices.IsSortedFunc(p.Limits, func(a, b bound) int { return int(math.Copysign(1, b.Used-a.Used)) }) {
			t.Fatalf("the first limit is not the first: %+v", p.Limits)
		}
	})
}

func TestPlan_MoreOfAnythingNeedsNoLess(t *testing.T) {
	totals := func(p needs) []float64 {
		n := float64(p.Clusters)
		return []float64{float64(p.Gateways), float64(p.Slots), float64(p.Workers), p.Attempts, n * p.Cores, n * p.Disk, n * p.Writes, n * p.Network, n * p.Memory}
	}
	rapid.Check(t, func(t *rapid.T) {
		d, c := drawn(t), drawnCapacity(t)
		more, what := d, rapid.SampledFrom([]string{"events", "size", "duration", "again", "days", "copies"}).Draw(t, "more")
		by := rapid.Float64Range(1, 100).Draw(t, "by")
		switch what {
		case "events":
			more.Events *= by
		case "size":
			more.Size = int64(float64(d.Size) * by)
		case "duration":
			more.Time = time.Duration(float64(d.Time) * by)
		case "again":
			more.Again = 1 - (1-d.Again)/by
		case "days":
			more.Days *= by
		case "copies":
			d.Copies, more.Copies = 1, 3
		}
		less, then := totals(needsOf(d, c)), totals(needsOf(more, c))
		for i := range less {
			if then[i] < less[i]*(1-1e-9) {
				t.Fatalf("more %s: number %d falls from %g to %g", what, i, less[i], then[i])
			}
		}
	})
}

func TestPlan_TakesWhatBenchMeasured(t *testing.T) {
	report := clusterReport{Rows: []row{
		{What: aloneAccept, Clients: 64, Rate: 1}, {What: aloneAccept, Clients: 256, Rate: 9000},
		{What: aloneRun, Clients: runSlots, Rate: 5000, Busiest: &use{CPU: 100, Written: 2000}},
		{What: clusterPush, Clients: 256, Rate: 4000},
		{What: clusterRun, Clients: runSlots, Rate: 2000, Busiest: &use{CPU: 200, Written: 7000}},
	}}
	data, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, t.TempDir(), "bench.json", string(data))
	for copies, want := range map[string]int{"1": 2, "3": 15} {
		var p needs
		if err := json.Unmarshal([]byte(mustCLI(t, "plan", "--events", "5000", "--retries", "0", "--replicas", copies, "--measured", file, "-o", "json")), &p); err != nil {
			t.Fatal(err)
		}
		if p.Gateways != want {
			t.Errorf("%s copies: %d gateways, want %d", copies, p.Gateways, want)
		}
	}
}

func TestPlan_RefusesWhatMakesNoSense(t *testing.T) {
	none := write(t, t.TempDir(), "none.json", "{}")
	for _, c := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"--events", "0"}, exitUsage, "--events 0: choose more than 0"},
		{[]string{"--events", "NaN"}, exitUsage, "--events NaN"},
		{[]string{"--duration", "0s"}, exitUsage, "--duration 0s: choose more"},
		{[]string{"--retries", "1"}, exitUsage, "--retries 1: choose a share"},
		{[]string{"--days", "31"}, exitUsage, "--days 31: choose"},
		{[]string{"--replicas", "2"}, exitUsage, "--replicas 2: choose 1 or 3"},
		{[]string{"--cores", "0"}, exitUsage, "--cores 0: choose"},
		{[]string{"--size", "1KB"}, exitUsage, "such as 4GiB"},
		{[]string{"--measured", none}, exitFailed, `make it with "funker-dispatch bench --cluster -o json"`},
		{[]string{"--measured", none + "x"}, exitFailed, "--measured"},
	} {
		code, _, stderr := cli(t, append([]string{"plan"}, c.args...)...)
		if code != c.code || !strings.Contains(stderr, c.text) {
			t.Errorf("%v: got %d %q; want %d with %q", c.args, code, stderr, c.code, c.text)
		}
	}
}

// What the plan takes for the size of an event besides its body, and of its line in the log, is enough and not much more.
func TestPlan_SizesAreThoseOfTheStore(t *testing.T) {
	w := newWorkshop(t, "CommitCount")
	const events = 50
	body := string(payload())
	for range events {
		w.send("CommitCount", body)
	}
	each := func(stream string) (bytes float64) {
		for _, block := range glob(t, filepath.Join(w.data, "*", "*", "streams", stream, "msgs", "*.blk"), filepath.Join(w.data, "*", "*", "*", "streams", stream, "msgs", "*.blk")) {
			info, err := os.Stat(block)
			if err != nil {
				t.Fatal(err)
			}
			bytes += float64(info.Size())
		}
		return bytes / events
	}
	within(t, "all is in the log", func() bool { return each("FUNKER_LOG") > outcomeBytes/2 })
	for what, got := range map[string]float64{"event": each("FUNKER_EVENTS") - float64(len(body)) - eventOverhead, "outcome": each("FUNKER_LOG") - outcomeBytes} {
		if got > 0 || got < -200 {
			t.Errorf("one %s is %.0f bytes larger than the plan takes it for", what, got)
		}
	}
}

func TestPlan_MetricsAreDocumented(t *testing.T) {
	texts := documents(t)
	for _, l := range needsOf(demand{Events: 1, Size: 1, Time: 1, Days: 1, Copies: 1, Cores: 1, Memory: 1}, reference[1]).Limits {
		name, _, _ := strings.Cut(l.Metric, "{")
		if !strings.Contains(texts[filepath.Join("docs", "operations.md")], "`"+name) {
			t.Errorf("%s is not in docs/operations.md", l.Metric)
		}
	}
}
