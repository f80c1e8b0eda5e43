package queue

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// series returns the metrics of one name as "label=value,…" with their values; of a histogram, how many it has seen.
func series(t *testing.T, g prometheus.Gatherer, name string) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			found[strings.Join(labels, ",")] = m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return found
}

func TestMetrics_AttemptsOfAllWorkersAreTimed(t *testing.T) {
	registry := prometheus.NewRegistry()
	tracer, _ := traced(t)
	q := openWith(t, Options{Dir: t.TempDir(), Metrics: registry, Tracer: tracer}, "f")
	runs := 0
	workAs(t, q, "f", Retry{Attempts: 2, Initial: 1}, 1, func(*Event) Result {
		if runs++; runs == 1 {
			return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed}
		}
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	})
	e := &Event{Source: "s", Function: "f", Body: []byte("1")}
	if _, err := q.Publish(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	const name = "funker_attempt_duration_seconds"
	within(t, patience, "both attempts are counted", func() bool {
		got := series(t, registry, name)
		return got["function=f,outcome=retry"] == 1 && got["function=f,outcome=ok"] == 1
	})
	if text := fmt.Sprint(exemplarsOf(t, registry, name)); !strings.Contains(text, e.TraceID()) || e.TraceID() == "" {
		t.Errorf("exemplars %s, want the trace %s", text, e.TraceID())
	}
}

func exemplarsOf(t *testing.T, g prometheus.Gatherer, name string) (values []string) {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			for _, b := range m.GetHistogram().GetBucket() {
				for _, l := range b.GetExemplar().GetLabel() {
					values = append(values, l.GetName()+"="+l.GetValue())
				}
			}
		}
	}
	return values
}

func TestMetrics_WorkersAreCountedByFunction(t *testing.T) {
	registry := prometheus.NewRegistry()
	q := openWith(t, Options{Dir: t.TempDir(), Metrics: registry}, "f", "g")
	for i, load := range []FunctionLoad{{Function: "f", Slots: 3, Idle: 1}, {Function: "f", Slots: 2, Idle: 2}} {
		if err := q.Beat(Heartbeat{Worker: fmt.Sprint(i), Node: fmt.Sprint("n", i), Functions: []FunctionLoad{load}}); err != nil {
			t.Fatal(err)
		}
	}
	within(t, patience, "the metrics have both workers", func() bool {
		workers, slots := series(t, registry, "funker_workers"), series(t, registry, "funker_slots")
		return workers["function=f"] == 2 && workers["function=g"] == 0 && len(workers) == 2 &&
			slots["function=f,state=idle"] == 3 && slots["function=f,state=busy"] == 2
	})
}
