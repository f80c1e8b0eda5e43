package queue

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/funker-dispatch/funker-dispatch/queue/natstest"
)

// well waits until a gateway finds nothing wrong with the cluster.
func (f *fleet) well(name string) (s ClusterState) {
	f.t.Helper()
	defer func() {
		if f.t.Failed() {
			f.t.Logf("%s finds: %s", name, strings.Join(s.Problems, "; "))
		}
	}()
	within(f.t, 3*time.Minute, name+" finds nothing wrong", func() bool {
		var err error
		s, err = f.open[name].ClusterState(f.t.Context())
		if err != nil {
			f.t.Fatal(err)
		}
		return len(s.Problems) == 0
	})
	return s
}

func TestClusterState_SaysWhoLeadsAndWhoseCopiesAreCurrent(t *testing.T) {
	f := newFleet(t)
	s := f.well("a")
	if s.Node != "a" || !slices.Contains([]string{"a", "b", "c"}, s.Leader) || !f.open[s.Leader].Leads() {
		t.Errorf("got %+v", s)
	}
	if got := fmt.Sprint(s.Gateways); got != "[{a true 1.2} {b true 1.2} {c true 1.2}]" {
		t.Errorf("gateways: %s", got)
	}
	if len(s.Streams) != len(streamConfigs(Options{})) {
		t.Errorf("%d streams", len(s.Streams))
	}
	for _, c := range s.Streams {
		if len(c.Copies) != replicas || c.Current() != replicas || c.Leader == "" {
			t.Errorf("%+v", c)
		}
	}
	if !f.open["a"].Together() {
		t.Error("a says that it does not reach the others")
	}
}

func TestClusterState_SaysWhoIsAwayUntilItsCopiesAreCurrentAgain(t *testing.T) {
	f := newFleet(t)
	f.well("a")
	f.stop("c")
	a := f.open["a"]
	if err := a.AddFunction(t.Context(), "Hello", Retry{}); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		publish(t, a, "Hello")
	}
	var s ClusterState
	within(t, 3*time.Minute, "a says that c is away, and two copies of each stream are current", func() bool {
		var err error
		s, err = a.ClusterState(t.Context())
		return err == nil && len(s.Problems) == 1 && s.Problems[0] == "the gateway c is not reached from a: its copies fall behind" &&
			!slices.ContainsFunc(s.Streams, func(c StreamCopies) bool { return c.Current() != 2 })
	})
	if s.Gateways[2] != (GatewayState{Name: "c"}) || !a.Together() {
		t.Errorf("got %+v", s)
	}
	f.start("c")
	f.well("c")
	f.well("a")
}

func TestClusterState_CallsAReplacedGatewayCurrentOnlyWhenTheNextOneMayBeLost(t *testing.T) {
	f := newFleet(t)
	f.well("a")
	a := f.open["a"]
	for i := range 3 {
		if err := a.AddFunction(t.Context(), fmt.Sprintf("F%d", i), Retry{}); err != nil {
			t.Fatal(err)
		}
	}
	large := bytes.Repeat([]byte("1"), 100<<10)
	for i := range 20 {
		if _, err := a.Publish(t.Context(), &Event{Source: "s", Function: fmt.Sprintf("F%d", i%3), Body: large}); err != nil {
			t.Fatal(err)
		}
	}
	f.well("a")
	f.kill("c")
	if err := os.RemoveAll(filepath.Join(f.dir, "c")); err != nil {
		t.Fatal(err)
	}
	f.start("c")
	f.well("a")
	f.kill("b")
	begin := time.Now()
	ran := make(chan string, 100)
	for i := range 3 {
		work(t, f.open["c"], fmt.Sprintf("F%d", i), 1, func(e *Event) Result {
			ran <- e.ID
			return Result{Outcome: OutcomeOK}
		})
	}
	last := &Event{Source: "s", Function: "F0", Body: []byte(`1`)}
	within(t, electionLimit, "the sender's next try is accepted", func() bool {
		_, err := a.Publish(t.Context(), last)
		return err == nil
	})
	t.Logf("accepted after %s", time.Since(begin).Round(time.Millisecond))
	seen := map[string]bool{}
	for len(seen) < 21 {
		seen[await(t, ran)] = true
	}
	if !seen[last.ID] {
		t.Errorf("%s has not run", last.ID)
	}
	t.Logf("all have run after %s", time.Since(begin).Round(time.Millisecond))
}

func TestClusterState_OfTheLastOneIsThatNothingCanBeStored(t *testing.T) {
	f := newFleet(t)
	f.well("a")
	f.stop("b")
	f.stop("c")
	a := f.open["a"]
	within(t, 3*time.Minute, "a says so", func() bool {
		s, err := a.ClusterState(t.Context())
		return err == nil && s.Leader == "" && len(s.Problems) > 0 && strings.HasSuffix(s.Problems[0], "no gateway leads, and nothing can be stored")
	})
	if a.Together() {
		t.Error("a says that it reaches most of the others")
	}
}

func TestMetrics_OfTheLastGatewayOfAClusterAreWhatItKnowsItself(t *testing.T) {
	f := newFleet(t)
	a, registry := f.open["a"], prometheus.NewRegistry()
	if err := errors.Join(a.measure(registry), a.AddFunction(t.Context(), "Hello", Retry{})); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Balance(t.Context()); err != nil { // the index is built
		t.Fatal(err)
	}
	f.kill("b")
	f.kill("c")
	var found map[string]bool
	within(t, electionLimit, "the server does not say what waits", func() bool { // while a leads what it asks for, it does
		found = map[string]bool{}
		families, _ := registry.Gather() // its error is what is missing
		for _, family := range families {
			found[family.GetName()] = true
		}
		return !found["funker_waiting"]
	})
	for _, name := range []string{"funker_scheduled", "funker_dead_letters", "funker_workers", "funker_disk_free_bytes", "funker_leader", "funker_cluster_gateways", "funker_stream_copies"} {
		if !found[name] {
			t.Errorf("there is no %s", name)
		}
	}
	if found["funker_oldest_waiting_seconds"] {
		t.Error("there is an oldest event, and it is not known what waits")
	}
}

func TestClusterState_OfAGatewayThatStandsAloneIsEmpty(t *testing.T) {
	q := open(t)
	if err := q.AddFunction(t.Context(), "Hello", Retry{}); err != nil {
		t.Fatal(err)
	}
	s, err := q.ClusterState(t.Context())
	if err != nil || s.Node != "" || len(s.Gateways)+len(s.Streams)+len(s.Problems) > 0 || !q.Together() {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestClusterState_OfAGatewayAtAnOutsideServerIsEmpty(t *testing.T) {
	s := natstest.Start(t, plainServer)
	registry := prometheus.NewRegistry()
	q := openWith(t, Options{Dir: filepath.Join(t.TempDir(), "data"), Outside: &Outside{URL: s.URL()}, Metrics: registry})
	state, err := q.ClusterState(t.Context())
	if err != nil || state.Node != "" || len(state.Gateways)+len(state.Streams)+len(state.Problems) > 0 || !q.Together() {
		t.Errorf("got %+v, %v", state, err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Error(err)
	}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "funker_cluster") || f.GetName() == "funker_leader" {
			t.Errorf("it says %s", f)
		}
	}
}

func TestCopyOf_IsCurrentWithAllThatAnyoneKnowsOfAStreamAndItsConsumers(t *testing.T) {
	q := &Queue{lease: &lease{gateways: []string{"a", "b"}}}
	all := []holding{{"", "", 7, 7}, {"S", "", 30, 30}, {"S", "fn-F", 5, 5}, {"T", "", 9, 9}}
	for what, c := range map[string]struct {
		has  []holding
		want StreamCopy
	}{
		"the same":            {all, StreamCopy{"b", true, 0}},
		"more":                {append([]holding{{"S", "", 31, 31}}, all[0], all[2]), StreamCopy{"b", true, 0}},
		"nothing":             {nil, StreamCopy{"b", false, 42}},
		"no list":             {all[1:], StreamCopy{"b", false, 7}},
		"an old list":         {append([]holding{{"", "", 6, 6}}, all[1:]...), StreamCopy{"b", false, 1}},
		"no consumer":         {append([]holding{all[0]}, all[1], all[3]), StreamCopy{"b", false, 5}},
		"agreed and not made": {append([]holding{{"S", "", 28, 30}}, all[0], all[2]), StreamCopy{"b", false, 2}},
		"nothing of another":  {all[:3], StreamCopy{"b", true, 0}},
	} {
		words := map[string]gatewayWord{"a": {Holdings: all}, "b": {Holdings: c.has}}
		goal := agreed(map[string]gatewayWord{"a": words["a"]})
		lags := map[string]map[string]uint64{"b": words["b"].lags(goal)}
		if got := q.copyOf("S", "b", lags); got != c.want {
			t.Errorf("%s: got %+v, want %+v", what, got, c.want)
		}
	}
	if got := q.copyOf("S", "Server name unknown at this time", nil); got != (StreamCopy{}) {
		t.Errorf("got %+v", got)
	}
	lagging := StreamCopies{Stream: "S", Leader: "a", Copies: []StreamCopy{{"a", true, 0}, {"b", false, 400}}}
	s := ClusterState{Leader: "a", Gateways: []GatewayState{{"a", true, "1"}, {"b", true, "1"}}, Streams: []StreamCopies{lagging}}
	if got := fmt.Sprint(s.problems()); got != "[S: the copy of b is 400 changes behind]" {
		t.Errorf("got %s", got)
	}
}
