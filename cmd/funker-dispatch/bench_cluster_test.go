package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestBench_MeasuresAClusterAndWhatLosingAGatewayCosts(t *testing.T) {
	forCluster(t)
	t.Setenv(asProgram, "1")
	var r clusterReport
	var out, errs buffer
	if code := run(t.Context(), []string{"bench", "--cluster", "--kills", "1", "--time", "50ms", "--rounds", "1", "-o", "json"}, &out, &errs); code != exitOK {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 19 || len(r.Losses) != 3 || len(r.Goals) != 7 || r.Lost != 0 {
		t.Fatalf("got %d rows, %d losses, %d goals, %d lost", len(r.Rows), len(r.Losses), len(r.Goals), r.Lost)
	}
	for _, row := range r.Rows {
		if row.Rate <= 0 || row.P50 <= 0 || row.Failures > 0 || row.Versus != "" && row.RateBy <= 0 || row.What == clusterPush && (row.Busiest == nil || row.CPU < row.Busiest.CPU) {
			t.Errorf("got %+v", row)
		}
	}
	for i, what := range []string{lostKeeper, lostLeader, stopped} {
		l := r.Losses[i]
		if l.What != what || !slices.Contains([]string{"a", "b", "c"}, l.Gateway) || l.Accepted <= 0 || l.Events.Longest <= 0 || l.Calls.Longest <= 0 || l.Events.Done < lossClients || l.Calls.Done < lossClients {
			t.Errorf("got %+v, want %s", l, what)
		}
	}
	file := write(t, t.TempDir(), "bench.json", out.String())
	var p needs
	if err := json.Unmarshal([]byte(mustCLI(t, "plan", "--events", "1000", "--measured", file, "-o", "json")), &p); err != nil || p.Gateways < 3 {
		t.Errorf("plan with what was measured: %+v, %v", p, err)
	}
	var table strings.Builder
	if err := printClusterBench(&table, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{clusterPush, lostLeader, "durable accepts, 64 clients to one", "the busiest, CPU µs"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &table)
		}
	}
}

func TestBench_SaysWhichGoalsAreMet(t *testing.T) {
	pushes := []row{{Rate: 100}, {Rate: 10}}
	all := []measurement{{what: clusterPush, clients: 1}, {what: clusterPush, clients: 64}}
	var r clusterReport
	r.judgeRates(all, [][]row{pushes, {{Rate: 299}, {Rate: 10}}})
	r.judgeRates([]measurement{{what: sleepOne, clients: sleepClients}, {what: sleepThree, clients: sleepClients}}, [][]row{{{Rate: 10}}, {{Rate: 28}}})
	r.Losses = []loss{
		{Accepted: time.Second, Events: waits{Longest: 2 * time.Second}, Calls: waits{Longest: 3 * time.Second}},
		{Accepted: 2500 * time.Millisecond, Events: waits{Longest: time.Second}},
	}
	r.Lost = 1
	r.judge()
	var got []bool
	for _, g := range r.Goals {
		got = append(got, g.met())
	}
	if want := []bool{false, true, false, true, false, false, true}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v of %+v", got, want, r.Goals)
	}
	var out strings.Builder
	if err := printClusterBench(&out, r); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "missed"); n != 4 {
		t.Errorf("%d are missed in\n%s", n, &out)
	}
}

func TestLoad_TellsHowLongAClientHadNoSuccess(t *testing.T) {
	at := time.Now()
	l := &load{done: []success{
		{begun: at.Add(-time.Second), sent: at.Add(-time.Second), took: 100 * time.Millisecond},
		{begun: at.Add(-time.Second / 2), sent: at.Add(time.Second), took: 2 * time.Second},
		{begun: at.Add(2 * time.Second), sent: at.Add(2 * time.Second), took: 50 * time.Millisecond},
	}, refused: 3}
	if got := l.firstAfter(at); got != 1500*time.Millisecond {
		t.Errorf("accepted again after %s", got)
	}
	if got := l.waits(at); got != (waits{Longest: 2 * time.Second, Begun: -time.Second / 2, Done: 3, Refused: 3}) {
		t.Errorf("got %+v", got)
	}
}
