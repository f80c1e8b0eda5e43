package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

const (
	// recentTime is what the rates and the success on the overview are about.
	recentTime  = queue.PulseTime
	recentParts = queue.PulseParts
)

// overview is what the overview shows.
type overview struct {
	At        time.Time
	Attention []attention
	Functions []functionRow
	Balance   *queue.Balance // nil while the index is being built
	Window    time.Duration  // of the rates
	Cluster   string         // how its gateways are; "" for one that stands alone
	Failed    string         // what could not be asked; "" when all could
	Untried   bool           // nothing has come yet, and a test could be sent
}

// attention is something that a person should look at.
type attention struct {
	Grave bool // it costs events or opens a door now
	Text  string
	Link  string // "" when there is no page for it
	Go    string // what the link says
}

// functionRow is a line of the table of functions.
type functionRow struct {
	queue.FunctionStats
	Waiting     uint64
	Running     int
	DeadInAll   int64
	Served      bool // by a worker that is alive
	Slots, Busy int
	Rate        float64 // accepted per minute
	Success     string  // of what ended; "" when nothing did
	Times       string  // of what succeeded, p50 and p99; "" when nothing did
	Accepted    chart
	Succeeded   chart
	Took        chart
}

// overviewPage serves GET /.
func (s *Server) overviewPage(w http.ResponseWriter, r *http.Request) {
	s.render(w, r, http.StatusOK, "overview", "Overview", s.overview(r.Context()))
}

// overview asks all that the overview shows. What cannot be asked is missing, and the page says so: the rest is needed
// all the more then.
func (s *Server) overview(ctx context.Context) overview {
	o := overview{At: time.Now(), Window: recentTime}
	stats, err := s.queue.Stats(ctx)
	o.missing(err)
	recent, window, err := s.queue.Recent(ctx, recentTime, recentParts)
	o.missing(err)
	if window > 0 {
		o.Window = window
	}
	pulses, err := s.queue.Pulses(ctx)
	o.missing(err)
	o.Functions = s.functionRows(stats, recent, pulses, o.Window)
	if b, err := s.queue.Balance(ctx); err == nil {
		o.Balance = &b
	} else {
		o.missing(err)
	}
	usage, err := s.queue.Usage(ctx)
	o.missing(err)
	cluster, err := s.queue.ClusterState(ctx)
	o.missing(err)
	o.Cluster = clusterText(cluster)
	for _, problem := range cluster.Problems {
		o.add(true, "Cluster: "+problem, "", "")
	}
	senders := s.senders(&o)
	o.attend(usage, senders, s.catalog.Manifest().Partial)
	o.Untried = s.tests != nil && len(s.catalog.Manifest().Triggers) > 0 && o.Balance != nil && o.Balance.Accepted == 0 &&
		!slices.ContainsFunc(senders, func(t sender) bool { return t.Accepted > 0 })
	return o
}

func (o *overview) missing(err error) {
	switch {
	case err == nil:
	case errors.Is(err, queue.ErrIndexing):
		o.Failed = "The gateway has just started and still reads what is stored. Some numbers are missing."
	default:
		o.Failed = "The queue does not answer. Some numbers are missing."
	}
}

func (s *Server) functionRows(stats []queue.FunctionStats, recent map[string]queue.Recent, pulses map[string]queue.Pulse, window time.Duration) []functionRow {
	loads := map[string]functionRow{}
	for _, w := range s.queue.Workers() {
		for _, f := range w.Functions {
			l := loads[f.Function]
			l.Served, l.Slots, l.Busy = true, l.Slots+f.Slots, l.Busy+f.Slots-f.Idle
			loads[f.Function] = l
		}
	}
	rows := make([]functionRow, 0, len(stats))
	for _, f := range stats {
		row := loads[f.Function]
		row.FunctionStats = f
		row.Waiting = f.Calls.Waiting + f.Replays.Waiting + f.Events.Waiting
		row.Running = f.Calls.Running + f.Replays.Running + f.Events.Running
		for _, n := range f.Dead {
			row.DeadInAll += n
		}
		row.recently(recent[f.Function], pulses[f.Function], window)
		rows = append(rows, row)
	}
	return rows
}

func (f *functionRow) recently(r queue.Recent, p queue.Pulse, window time.Duration) {
	f.Rate = float64(r.Accepted) / window.Minutes()
	f.Accepted = acceptedChart(r)
	f.Succeeded, f.Took = successChart(p), timesChart(p)
	if ended := p.Succeeded + p.Failed; ended > 0 {
		f.Success = percent(p.Succeeded, ended)
	}
	if p.Succeeded > 0 {
		f.Times = roughly(p.P50) + " / " + roughly(p.P99)
	}
}

// percent never says 100 % when something has failed.
func percent(part, of int) string {
	if part < of && part*1000 >= of*999 {
		return "99.9 %"
	}
	return strings.Replace(fmt.Sprintf("%.1f %%", 100*float64(part)/float64(of)), ".0 %", " %", 1)
}

// attend lists what needs a person, the gravest first.
func (o *overview) attend(usage queue.Usage, senders []sender, partial bool) {
	if b := o.Balance; b != nil && b.Drift != 0 {
		o.add(true, fmt.Sprintf("%d runs are unaccounted for: run “funker-dispatch verify”", b.Drift), "", "")
	}
	for _, warning := range usage.Warnings() {
		o.add(usage.Free >= 0 && usage.Free <= usage.Reserve, "Store: "+warning, "", "")
	}
	var idle []string
	for _, f := range o.Functions {
		if o.attendFunction(f); !f.Served && !f.Paused && f.work() == 0 {
			idle = append(idle, f.Function)
		}
	}
	if len(idle) > 0 {
		o.add(false, "No worker serves "+namesText(idle)+"; nothing waits for one", "", "")
	}
	for _, t := range senders {
		o.attendSender(t)
	}
	if partial {
		o.add(false, "The stored manifest has a fault and is used in part: see the log of the gateway", "", "")
	}
	slices.SortStableFunc(o.Attention, func(a, b attention) int {
		return cmp.Compare(map[bool]int{true: 0, false: 1}[a.Grave], map[bool]int{true: 0, false: 1}[b.Grave])
	})
}

func (o *overview) add(grave bool, text, link, label string) {
	o.Attention = append(o.Attention, attention{grave, text, link, label})
}

func (o *overview) attendFunction(f functionRow) {
	q := url.QueryEscape(f.Function)
	switch work := f.work(); {
	case f.Paused:
		o.add(false, fmt.Sprintf("%s is paused: %s waiting%s", f.Function, countText(work, "event"), since(f.Oldest)), functionPath(f.Function), "Function")
	case !f.Served && work > 0:
		o.add(true, fmt.Sprintf("No worker serves %s: %s waiting%s", f.Function, countText(work, "event"), since(f.Oldest)), "/events?state=waiting&function="+q, "What waits")
	case f.Slots == 0 && work > 0:
		o.add(true, fmt.Sprintf("%s has no task: %s waiting%s", f.Function, countText(work, "event"), since(f.Oldest)), "/events?state=waiting&function="+q, "What waits")
	}
	if f.DeadInAll > 0 {
		o.add(true, fmt.Sprintf("%s of %s: %s", countText(f.DeadInAll, "dead letter"), f.Function, reasonsText(f.Dead)), "/dead?function="+q, "Look at them")
	}
	if f.Scheduled > 0 {
		o.add(false, fmt.Sprintf("%s of %s failed and will be tried again", countText(f.Scheduled, "event"), f.Function), "/events?state=retry&function="+q, "Why")
	}
}

// work is what waits or runs.
func (f functionRow) work() int { return int(f.Waiting) + f.Running } //nolint:gosec // counts of messages

// namesMost is how many names a line tells.
const namesMost = 5

func namesText(names []string) string {
	if more := len(names) - namesMost; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:namesMost], ", "), more)
	}
	return strings.Join(names, ", ")
}

func since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return ", the oldest for " + coarse(time.Since(t))
}

// reasonsText is "2 exhausted, 1 refused", the most frequent first.
func reasonsText[K ~string, N int64 | uint64](all map[K]N) string {
	keys := slices.SortedFunc(maps.Keys(all), func(a, b K) int { return cmp.Or(cmp.Compare(all[b], all[a]), cmp.Compare(a, b)) })
	parts := make([]string, len(keys))
	for i, k := range keys {
		parts[i] = fmt.Sprintf("%d %s", all[k], k)
	}
	return strings.Join(parts, ", ")
}

// senders asks what became of the requests of the triggers.
func (s *Server) senders(o *overview) (all []sender) {
	if s.triggers == nil {
		return nil
	}
	o.missing(s.askTriggers("", &all))
	return all
}

func (o *overview) attendSender(t sender) {
	if t.Problem != "" {
		o.add(true, fmt.Sprintf("The trigger %s is closed: %s", t.Source, t.Problem), t.Link(), "Trigger")
	}
	if t.Insecure() {
		o.add(false, fmt.Sprintf("INSECURE: nothing verifies what comes to %s (%s)", t.Path, t.Source), t.Link(), "Trigger")
	}
	if t.Path != "" && len(t.Refused) > 0 {
		o.add(false, fmt.Sprintf("Requests of %s were refused since the gateway started: %s", t.Source, reasonsText(t.Refused)), t.Link(), "Which")
	}
}
