package console

import (
	"encoding/xml"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

func TestLines_StayInTheChartAndBreakWhereNothingIs(t *testing.T) {
	t.Parallel()
	values := make([]float64, queue.PulseParts)
	for i := range values {
		values[i] = gap
	}
	if got := lines("x", values, 1); got != nil {
		t.Errorf("of nothing: got %v", got)
	}
	values[0], values[1], values[5], values[queue.PulseParts-1] = 0, 1, 0.5, 1
	got := lines("x", values, 1)
	want := []chartLine{{"x", "1,23 5,2"}, {"x dot", "21,12 21,12"}, {"x dot", "119,2 119,2"}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestCharts_SayWhatTheyShow(t *testing.T) {
	t.Parallel()
	parts := make([]queue.PulsePart, queue.PulseParts)
	parts[3] = queue.PulsePart{Succeeded: 1, Failed: 3, P50: 20 * time.Millisecond, P99: 20 * time.Millisecond}
	parts[4] = queue.PulsePart{Succeeded: 5, P50: 30 * time.Millisecond, P99: 2 * time.Second}
	parts[9] = queue.PulsePart{Failed: 1}
	p := queue.Pulse{Succeeded: 6, Failed: 4, P50: 25 * time.Millisecond, P99: 2 * time.Second, Parts: parts}
	r := queue.Recent{Accepted: 9, Parts: []int{0, 2, 7}}
	for want, c := range map[string]chart{
		"Accepted over time: at most 7 within 30 s":                                   acceptedChart(r),
		"Success over time: at worst 0 % within 30 s":                                 successChart(p),
		"Times over time: p50 25 ms, p99 2.0 s in all; p99 at most 2.0 s within 30 s": timesChart(p),
	} {
		if c.Text != want || len(c.Lines) == 0 {
			t.Errorf("got %q with %d lines, want %q", c.Text, len(c.Lines), want)
		}
		var b strings.Builder
		if err := templates()["overview"].ExecuteTemplate(&b, "chart", c); err != nil {
			t.Fatal(err)
		}
		if err := xml.Unmarshal([]byte(b.String()), new(struct{ XMLName xml.Name })); err != nil || !strings.Contains(b.String(), `role="img" aria-label="`+want+`"`) {
			t.Errorf("%s: %v", b.String(), err)
		}
	}
	for _, c := range []chart{acceptedChart(queue.Recent{}), successChart(queue.Pulse{}), timesChart(queue.Pulse{})} {
		if c.Lines != nil {
			t.Errorf("of nothing: got %+v", c)
		}
	}
}

func TestRoughly_HasTwoDigits(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		84 * time.Microsecond: "84 µs", 1200 * time.Microsecond: "1.2 ms", 9990 * time.Microsecond: "10 ms", 250 * time.Millisecond: "250 ms", 90 * time.Second: "1.5 min", 7 * time.Hour: "7.0 h",
	} {
		if got := roughly(d); got != want {
			t.Errorf("%s: got %s, want %s", d, got, want)
		}
	}
}
