package queue

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMetrics_TellWhatIsStuckAndThatNothingIsLost(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	q, err := Open(t.Context(), Options{Dir: t.TempDir(), Log: testLog(t), Metrics: registry})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, f := range []string{"Broken", "Waits"} {
		if err := q.AddFunction(t.Context(), f, quick); err != nil {
			t.Fatal(err)
		}
	}
	workAs(t, q, "Broken", quick, 1, func(*Event) Result {
		return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Final: true}
	})
	publish(t, q, "Broken")
	publish(t, q, "Waits")
	settledAll(t, q, "Broken")
	want := `
# HELP funker_conservation_drift Runs that are unaccounted for: accepted or replayed, and neither under way nor ended. Anything but 0 is a bug or a damaged store.
# TYPE funker_conservation_drift gauge
funker_conservation_drift 0
# HELP funker_dead_letters Dead letters whose event is still dead, by reason.
# TYPE funker_dead_letters gauge
funker_dead_letters{function="Broken",reason="bad-payload"} 0
funker_dead_letters{function="Broken",reason="corrupt"} 0
funker_dead_letters{function="Broken",reason="crashed"} 0
funker_dead_letters{function="Broken",reason="exhausted"} 0
funker_dead_letters{function="Broken",reason="expired"} 0
funker_dead_letters{function="Broken",reason="refused"} 1
funker_dead_letters{function="Waits",reason="bad-payload"} 0
funker_dead_letters{function="Waits",reason="corrupt"} 0
funker_dead_letters{function="Waits",reason="crashed"} 0
funker_dead_letters{function="Waits",reason="exhausted"} 0
funker_dead_letters{function="Waits",reason="expired"} 0
funker_dead_letters{function="Waits",reason="refused"} 0
# HELP funker_runs Runs (accepted events and replays) that the store knows, by where they stand: waiting, running, scheduled, succeeded, dead, dropped, unrecorded.
# TYPE funker_runs gauge
funker_runs{state="dead"} 1
funker_runs{state="dropped"} 0
funker_runs{state="running"} 0
funker_runs{state="scheduled"} 0
funker_runs{state="succeeded"} 0
funker_runs{state="unrecorded"} 0
funker_runs{state="waiting"} 1
`
	within(t, patience, "the metrics say so", func() bool {
		err = testutil.GatherAndCompare(registry, strings.NewReader(want), "funker_conservation_drift", "funker_dead_letters", "funker_runs")
		return err == nil
	})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, f := range families {
		found[f.GetName()] = true
		for _, m := range f.GetMetric() {
			switch {
			case f.GetName() == "funker_sync_seconds" && m.GetHistogram().GetSampleCount() < 2:
				t.Errorf("%d syncs", m.GetHistogram().GetSampleCount())
			case f.GetName() == "funker_oldest_waiting_seconds" && m.GetLabel()[0].GetValue() == "Waits" && m.GetGauge().GetValue() <= 0:
				t.Error("what waits has no age")
			}
		}
	}
	for _, name := range []string{"funker_sync_seconds", "funker_oldest_waiting_seconds", "funker_waiting", "funker_running", "funker_scheduled",
		"funker_store_bytes", "funker_store_limit_bytes", "funker_disk_free_bytes", "funker_disk_reserve_bytes"} {
		if !found[name] {
			t.Errorf("no %s", name)
		}
	}
}
