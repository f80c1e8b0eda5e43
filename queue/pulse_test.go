package queue

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// about reports whether a time is right to 20 percent.
func about(got, want time.Duration) bool {
	return float64(got) > 0.8*float64(want) && float64(got) < 1.2*float64(want)
}

func TestPulses_AreOfWhatEndedAndSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	begin := func() *Queue {
		q, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	q := begin()
	for _, f := range []string{"Good", "Bad", "Slow", "Idle"} {
		if err := q.AddFunction(t.Context(), f, Retry{}); err != nil {
			t.Fatal(err)
		}
	}
	took := func(d time.Duration, o Outcome) Handler {
		return func(*Event) Result { return Result{Outcome: o, Code: CodeFunctionFailed, Final: true, Duration: d} }
	}
	stops := []func(){
		work(t, q, "Good", 1, took(40*time.Millisecond, OutcomeOK)), work(t, q, "Bad", 1, took(0, OutcomeFailed)), work(t, q, "Slow", 1, took(2*time.Second, OutcomeOK)),
	}
	for range 3 {
		if _, err := q.Call(t.Context(), &Event{Source: "alexa", Function: "Good"}); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, q, "Slow")
	publish(t, q, "Bad")
	publish(t, q, "Idle")
	check := func(what string) {
		t.Helper()
		var all map[string]Pulse
		within(t, patience, "all is recorded", func() bool {
			var err error
			all, err = q.Pulses(t.Context())
			return err == nil && all["Good"].Succeeded == 3 && all["Bad"].Failed == 1 && all["Slow"].Succeeded == 1
		})
		if good := all["Good"]; good.Failed != 0 || !about(good.P50, 40*time.Millisecond) || !about(good.P99, 40*time.Millisecond) || len(good.Parts) != PulseParts {
			t.Errorf("%s: calls: got %+v", what, good)
		}
		if slow := all["Slow"]; slow.P50 < 1600*time.Millisecond {
			t.Errorf("%s: events: got %+v", what, slow)
		}
		if bad := all["Bad"]; bad.Succeeded != 0 || bad.P99 != 0 || len(all) != 3 {
			t.Errorf("%s: got %+v of %d", what, bad, len(all))
		}
	}
	check("at once")
	for _, stop := range stops {
		stop()
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q = begin()
	check("after a restart")
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// ended makes the line of a call.
func endedLine(function uint16, at time.Time, took time.Duration, outcome runState) *entry {
	return &entry{kind: entryLine, function: function, stored: at.UnixMilli(), took: took, outcome: outcome}
}

var aCall = newRef(shelfCalls, 1)

func TestPulses_QuantilesAreRightTo20Percent(t *testing.T) {
	var p pulses
	now := time.Now()
	random := rand.New(rand.NewPCG(1, 2))
	var times []time.Duration
	for range 10_000 {
		took := time.Duration(random.ExpFloat64() * float64(30*time.Millisecond))
		times = append(times, took)
		p.noteLine(endedLine(1, now, took, runOK), aCall, now.UnixMilli())
	}
	slices.Sort(times)
	got := p[1].read(pulseEpoch(now.UnixMilli()))
	if !about(got.P50, times[5000]) || !about(got.P99, times[9900]) || got.Succeeded != 10_000 {
		t.Errorf("got %s and %s, want %s and %s", got.P50, got.P99, times[5000], times[9900])
	}
	for _, took := range []time.Duration{-time.Second, 0, time.Nanosecond, pulseFirst, 1000 * time.Hour} {
		p.noteLine(endedLine(2, now, took, runOK), aCall, now.UnixMilli())
	}
	if got := p[2].read(pulseEpoch(now.UnixMilli())); got.Succeeded != 5 || got.P50 > pulseFirst || got.P99 < time.Hour {
		t.Errorf("got %+v", got)
	}
}

func TestPulses_ForgetWhatIsOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pulses
		read := func() Pulse { return p[1].read(pulseEpoch(time.Now().UnixMilli())) }
		for range PulseParts {
			p.noteLine(endedLine(1, time.Now(), time.Second, runOK), aCall, time.Now().UnixMilli())
			p.noteLine(endedLine(1, time.Now(), time.Second, runFailed), aCall, time.Now().UnixMilli())
			time.Sleep(pulsePart)
		}
		p.noteLine(endedLine(1, time.Now().Add(-PulseTime), time.Second, runOK), aCall, time.Now().UnixMilli()) // too late
		if got := read(); got.Succeeded != PulseParts-1 || got.Failed != PulseParts-1 || got.Parts[0].Succeeded != 1 || got.Parts[PulseParts-1].Succeeded != 0 {
			t.Errorf("got %+v", got)
		}
		time.Sleep(PulseTime)
		if got := read(); got.Succeeded+got.Failed != 0 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestPulses_AreBoundedAndMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pulses
		for f := range uint16(PulseFunctions + 10) {
			p.noteLine(endedLine(f, time.Now(), time.Second, runOK), aCall, time.Now().UnixMilli())
		}
		if len(p) != PulseFunctions {
			t.Errorf("%d functions", len(p))
		}
		time.Sleep(PulseTime)
		p.noteLine(endedLine(1, time.Now().Add(-PulseTime), time.Second, runOK), aCall, time.Now().UnixMilli())
		p.noteLine(endedLine(PulseFunctions+1, time.Now(), time.Second, runOK), aCall, time.Now().UnixMilli())
		if len(p) > PulseFunctions || p[PulseFunctions+1] == nil {
			t.Errorf("%d functions, and the new one is %v", len(p), p[PulseFunctions+1])
		}
	})
}
