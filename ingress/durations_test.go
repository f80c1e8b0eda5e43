package ingress

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

func TestDurations_EndWithTheirTrigger(t *testing.T) {
	s := newSenders("", "")
	registry := prometheus.NewRegistry()
	registry.MustRegister(s)
	s.follow(&deploy.Manifest{Triggers: []*deploy.Trigger{{Config: trigger.Config{Kind: trigger.GitHub}, Name: "a", Path: "/a"}}})
	source := s.order[0]
	x := &exchange{r: httptest.NewRequest("POST", "/a", nil), start: time.Now(), source: source, event: "e", status: 202}
	s.note(x)
	if got := observed(t, registry); got[source+" 2xx"] != 1 || got[source+" 5xx"] != 0 {
		t.Errorf("got %v", got)
	}
	s.follow(&deploy.Manifest{})
	s.note(x) // it came late
	got := observed(t, registry)
	if _, there := got[source+" 2xx"]; there || got["none 2xx"] != 1 {
		t.Errorf("after the trigger is removed: %v", got)
	}
}

// observed is how many requests were timed, by "source status".
func observed(t *testing.T, g prometheus.Gatherer) map[string]uint64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]uint64{}
	for _, f := range families {
		if f.GetName() != "funker_request_duration_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			counts[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = m.GetHistogram().GetSampleCount()
		}
	}
	return counts
}
