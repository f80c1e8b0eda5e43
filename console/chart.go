package console

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// The charts of a function are drawn in these units, as the template has them. Each has a point for each of the
// queue.PulseParts parts of its time at most.
const (
	chartWidth  = 120
	chartHeight = 24
)

// chart is one small chart, drawn on the server.
type chart struct {
	Lines []chartLine // none: there is nothing to draw
	Text  string      // what it shows, for whoever does not see it
}

type chartLine struct {
	Class  string
	Points string
}

// gap is a value that is not there: its line is broken.
const gap = -1

// lines are those of one row of values, of which most is at the top and 0 at the bottom.
func lines(class string, values []float64, most float64) (all []chartLine) {
	var points []string
	end := func() {
		switch len(points) {
		case 0:
			return
		case 1:
			all = append(all, chartLine{class + " dot", points[0] + " " + points[0]})
		default:
			all = append(all, chartLine{class, strings.Join(points, " ")})
		}
		points = nil
	}
	for i, v := range values {
		if v == gap {
			end()
			continue
		}
		x := 1 + i*(chartWidth-2)/max(1, len(values)-1)
		y := chartHeight - 1 - int(math.Round(v*(chartHeight-3)/max(most, 1e-9)))
		points = append(points, fmt.Sprintf("%d,%d", x, y))
	}
	end()
	return all
}

// acceptedChart is of what came.
func acceptedChart(r queue.Recent) chart {
	if r.Accepted == 0 {
		return chart{}
	}
	values, most := make([]float64, len(r.Parts)), 0
	for i, n := range r.Parts {
		values[i], most = float64(n), max(most, n)
	}
	return chart{lines("rate", values, float64(most)), fmt.Sprintf("Accepted over time: at most %d within %s", most, partText)}
}

// partText is how long a part of a chart is.
var partText = coarse(queue.PulseTime / queue.PulseParts)

// successChart is of how much of what ended succeeded. Where nothing ended there is no line.
func successChart(p queue.Pulse) chart {
	if p.Succeeded+p.Failed == 0 {
		return chart{}
	}
	values, worst := make([]float64, len(p.Parts)), 1.0
	worstText := "100 %"
	for i, part := range p.Parts {
		values[i] = gap
		if ended := part.Succeeded + part.Failed; ended > 0 {
			if values[i] = float64(part.Succeeded) / float64(ended); values[i] < worst {
				worst, worstText = values[i], percent(part.Succeeded, ended)
			}
		}
	}
	return chart{lines("success", values, 1), fmt.Sprintf("Success over time: at worst %s within %s", worstText, partText)}
}

// timesChart is of the median and the 99th percentile of the times of what succeeded.
func timesChart(p queue.Pulse) chart {
	if p.Succeeded == 0 {
		return chart{}
	}
	median, slow, most := make([]float64, len(p.Parts)), make([]float64, len(p.Parts)), time.Duration(0)
	for i, part := range p.Parts {
		median[i], slow[i] = gap, gap
		if part.Succeeded > 0 {
			median[i], slow[i], most = float64(part.P50), float64(part.P99), max(most, part.P99)
		}
	}
	return chart{
		append(lines("slow", slow, float64(most)), lines("median", median, float64(most))...),
		fmt.Sprintf("Times over time: p50 %s, p99 %s in all; p99 at most %s within %s", roughly(p.P50), roughly(p.P99), roughly(most), partText),
	}
}

// roughly writes a time that is right to 20 percent: two digits of it.
func roughly(d time.Duration) string {
	unit, name := time.Microsecond, "µs"
	switch {
	case d >= time.Hour:
		unit, name = time.Hour, "h"
	case d >= time.Minute:
		unit, name = time.Minute, "min"
	case d >= time.Second:
		unit, name = time.Second, "s"
	case d >= time.Millisecond:
		unit, name = time.Millisecond, "ms"
	}
	if n := float64(d) / float64(unit); n < 9.95 {
		return fmt.Sprintf("%.1f %s", n, name)
	}
	return fmt.Sprintf("%.0f %s", float64(d)/float64(unit), name)
}
