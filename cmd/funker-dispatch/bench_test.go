package main

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestBench_PrintsEveryRow(t *testing.T) {
	var rows []row
	if err := json.Unmarshal([]byte(mustCLI(t, "bench", "--time", "50ms", "--rounds", "1", "-o", "json")), &rows); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.Rate <= 0 || r.P50 <= 0 && r.What != drained || r.Failures > 0 || (r.Bad > 0) != (r.What == besideBad) {
			t.Errorf("got %+v", r)
		}
	}
	costs := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return r.Cost == nil })
	if len(rows)-len(costs) < 10 || len(costs) != 12 {
		t.Errorf("got %d rows, %d of them of verification", len(rows), len(costs))
	}
	for _, r := range costs {
		if alone := r.What == hashAlone; r.Cost.Speed <= 0 || r.Cost.Body == 0 || !alone && r.Cost.Allocs < 1 || (r.RateBy > 0) != (r.Versus == hashAlone) {
			t.Errorf("got %+v, %+v", r, r.Cost)
		}
	}
}

func TestBench_MeasuresAGatewayBehindABacklog(t *testing.T) {
	t.Setenv(asProgram, "1")
	var r backlogReport
	out := mustCLI(t, "bench", "--backlog", "300", "--settle", "10ms", "--time", "50ms", "--rounds", "1", "-o", "json")
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]float64{
		"rate": r.Filled, "accept": r.Accept, "accept ratio": r.AcceptBy, "call": r.Call, "call ratio": r.CallBy, "status": float64(r.Status),
		"ready": float64(r.Ready), "status known": float64(r.Indexed - r.Ready),
		"memory": float64(r.Memory - 10<<20), "memory after the restart": float64(r.Restarted - 10<<20),
	} {
		if value <= 0 {
			t.Errorf("%s: got %+v", name, r)
		}
	}
}
