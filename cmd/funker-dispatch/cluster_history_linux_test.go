package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// told is what a gateway says: its balance, and its records by event id.
type told struct {
	balance queue.Balance
	records map[string]queue.Record
}

// read asks a gateway for all that it knows.
func (g *clusterGateway) read(ctx context.Context) (h told, err error) {
	r, err := g.api()
	if err != nil {
		return h, err
	}
	var s stats
	if _, err = r.ask(ctx, http.MethodGet, "/api/v1/stats", nil, "", &s); err != nil {
		return h, err
	}
	if s.Balance == nil {
		return h, queue.ErrIndexing
	}
	h = told{*s.Balance, map[string]queue.Record{}}
	for page := (url.Values{"limit": {"1000"}}); page != nil; {
		var records []queue.Record
		header, err := r.ask(ctx, http.MethodGet, "/api/v1/events", page, "", &records)
		if err != nil {
			return h, err
		}
		for _, record := range records {
			if other, twice := h.records[record.ID]; twice {
				return h, fmt.Errorf("event %s is stored twice: %s and %s", record.ID, other.Origin, record.Origin)
			}
			h.records[record.ID] = record
		}
		if page, err = nextPage(header); err != nil {
			return h, err
		}
	}
	return h, nil
}

// nextPage returns nil behind the last page.
func nextPage(h http.Header) (url.Values, error) {
	link, found := strings.CutSuffix(h.Get("Link"), `>; rel="next"`)
	if !found {
		return nil, nil
	}
	u, err := url.Parse(strings.TrimPrefix(link, "<"))
	if err != nil {
		return nil, err
	}
	return u.Query(), nil
}

// kindEvent is the kind of the records of events.
const kindEvent = "event"

// open is which events have not ended yet, "" when all have. What came of a call may be lost with a leader: its caller was
// the one who waited for it.
func (h told) open() string {
	var b strings.Builder
	if h.balance.Waiting+h.balance.Running+h.balance.Scheduled+h.balance.Unrecorded+h.balance.Drift != 0 {
		fmt.Fprintf(&b, "%+v", h.balance)
	}
	for _, r := range h.records {
		if r.Kind == kindEvent && !hasEnded(r) {
			fmt.Fprintf(&b, "\n  of %s%s", r.Function, showRecords([]queue.Record{r}))
		}
	}
	return b.String()
}

// differs is the first thing in which two gateways do not agree, "" when there is none.
func (h told) differs(other told) string {
	if h.balance != other.balance {
		return fmt.Sprintf("%+v and %+v", h.balance, other.balance)
	}
	for id, r := range h.records {
		if o := other.records[id]; o.Origin != r.Origin || o.State != r.State || o.Reason != r.Reason {
			return fmt.Sprintf("%s: %s %s %s and %s %s %s", id, r.Origin, r.State, r.Reason, o.Origin, o.State, o.Reason)
		}
	}
	if len(h.records) != len(other.records) {
		return fmt.Sprintf("%d records and %d", len(h.records), len(other.records))
	}
	return ""
}

// drain waits until all that was accepted has ended, and all gateways say the same.
func (c *trio) drain() told {
	c.t.Helper()
	var all []told
	why := ""
	c.awaitText(func() string { return "all has ended, and all gateways say so: " + why }, func() bool {
		if all, why = c.readAll(); why != "" {
			return false
		}
		for i, h := range all {
			if open := h.open(); open != "" {
				why += "\n" + c.gateways[i].name + ": " + open
			} else if d := all[0].differs(h); d != "" {
				why += "\n" + c.gateways[0].name + " and " + c.gateways[i].name + ": " + d
			}
		}
		return why == ""
	})
	return all[0]
}

// readAll asks all gateways. why says which did not answer.
func (c *trio) readAll() (all []told, why string) {
	for _, g := range c.gateways {
		h, err := g.read(c.t.Context())
		if err != nil {
			why += "\n" + g.name + ": " + err.Error()
			continue
		}
		all = append(all, h)
	}
	return all, why
}

// verify has every gateway read all that is stored.
func (c *trio) verify() {
	c.t.Helper()
	for _, g := range c.gateways {
		r, err := g.api()
		if err != nil {
			c.t.Error(err)
			return
		}
		report, err := r.verify(c.t.Context(), func(string, uint64, uint64) {})
		if err != nil || len(report.Findings) > 0 {
			c.t.Errorf("verify at %s: %+v, %v", g.name, report.Findings, err)
		}
	}
}

// result is what became of all that was sent.
type result struct {
	sent, accepted, refused, unknown int // events
	stored, ok, dead, again, twoEnds int
	calls, replied, callsRun         int
	lostCalls, openCalls             int // that ran and are not stored; of which it is not stored how they ended
}

func (r result) String() string {
	return fmt.Sprintf("%d events sent: %d accepted, %d refused, %d unknown; %d stored: %d ok, %d dead, %d ran again, %d logged two ends; %d calls: %d replied, %d ran, the record of %d is lost, the end of %d",
		r.sent, r.accepted, r.refused, r.unknown, r.stored, r.ok, r.dead, r.again, r.twoEnds, r.calls, r.replied, r.callsRun, r.lostCalls, r.openCalls)
}

func (r *result) add(o result) {
	r.sent += o.sent
	r.accepted += o.accepted
	r.refused += o.refused
	r.unknown += o.unknown
	r.stored += o.stored
	r.ok += o.ok
	r.dead += o.dead
	r.again += o.again
	r.twoEnds += o.twoEnds
	r.calls += o.calls
	r.replied += o.replied
	r.callsRun += o.callsRun
	r.lostCalls += o.lostCalls
	r.openCalls += o.openCalls
}

// check compares what the clients were told and what the functions saw with what the gateways say.
func (s *scenario) check(x *clients, h told) result {
	s.t.Helper()
	stored := s.byNumber(h)
	var sum result
	for id, n := range x.sent {
		records := stored[id]
		if len(records) > 1 {
			s.t.Errorf("%s is stored %d times: %s", id, len(records), showRecords(records))
		}
		if n.kind == kindCall {
			s.checkCall(&sum, n, records)
		} else {
			s.checkEvent(&sum, n, records)
		}
	}
	for id := range stored {
		if x.sent[id] == nil {
			s.t.Errorf("nobody sent %q: %s", id, showRecords(stored[id]))
		}
	}
	for id := range s.j.runs {
		if x.sent[id] == nil {
			s.t.Errorf("nobody sent %q, which ran%s", id, s.j.show(id))
		}
	}
	b := h.balance
	want := queue.Balance{Accepted: int64(sum.stored), Replays: b.Replays, Succeeded: int64(sum.ok), Dead: int64(sum.dead) + b.Replays}
	if b != want {
		s.t.Errorf("balance is %+v; want %+v", b, want)
	}
	return sum
}

// byNumber sorts the records by the number that is in their body.
func (s *scenario) byNumber(h told) map[string][]queue.Record {
	s.t.Helper()
	r, err := s.gateways[0].api()
	if err != nil {
		s.t.Fatal(err)
	}
	stored := map[string][]queue.Record{}
	for _, id := range slices.Sorted(maps.Keys(h.records)) {
		record := h.records[id]
		number := record.Header["X-Github-Delivery"]
		if number == "" {
			var w work
			if _, err := r.ask(s.t.Context(), http.MethodGet, "/api/v1/events/"+id, nil, "", &struct{ Body *work }{&w}); err != nil {
				s.t.Errorf("read %s: %v", id, err)
				continue
			}
			number = w.ID
		}
		stored[number] = append(stored[number], record)
	}
	return stored
}

func (s *scenario) checkEvent(sum *result, n *numbered, records []queue.Record) {
	s.t.Helper()
	sum.sent++
	ack, runs := n.acked(), s.j.count(n.ID)
	switch {
	case ack != nil:
		sum.accepted++
	case n.refused():
		sum.refused++
		if len(records) > 0 {
			s.t.Errorf("%s was refused and is stored: %s%s", n.ID, showRecords(records), n.show())
		}
	default:
		sum.unknown++
	}
	if len(records) == 0 {
		if ack != nil {
			s.t.Errorf("LOST: %s was accepted and is not stored%s%s", n.ID, n.show(), s.j.show(n.ID))
		} else if runs > 0 {
			s.t.Errorf("%s ran and is not stored%s%s", n.ID, n.show(), s.j.show(n.ID))
		}
		return
	}
	r := records[0]
	for _, t := range n.tries {
		if t.acked() && t.event != r.ID {
			s.t.Errorf("%s was accepted as %s and is stored as %s%s", n.ID, t.event, r.ID, n.show())
		}
	}
	if runs == 0 || !n.Plan.ends(r.State, r.Reason, runs) {
		s.t.Errorf("%s (%s), event %s, is %s %s after %d runs%s%s%s", n.ID, n.Plan, r.ID, r.State, r.Reason, runs, n.show(), history(r), s.j.show(n.ID))
	}
	sum.stored++
	switch r.State {
	case queue.StateOK:
		sum.ok++
	case queue.StateDead:
		sum.dead++
	}
	if runs > n.Plan.runs() {
		sum.again++
	}
	if len(endsOf(r)) > 1 {
		sum.twoEnds++
	}
}

// refused reports whether nothing is stored for certain.
func (n *numbered) refused() bool {
	return !slices.ContainsFunc(n.tries, func(t try) bool { return t.code != "store_full" })
}

// neverStarted are the codes that say that a call did not run.
var neverStarted = []string{"no_worker", "no_task", "no_ports", "paused", "store_full"}

// callSlack is what a machine with other work adds between the last look at a deadline and the begin of a run.
const callSlack = time.Second

func (s *scenario) checkCall(sum *result, n *numbered, records []queue.Record) {
	s.t.Helper()
	sum.calls++
	if len(n.tries) == 0 {
		return
	}
	t, runs := n.tries[0], s.j.count(n.ID)
	sum.callsRun += runs
	bad := ""
	switch {
	case runs > 1:
		bad = "ran more than once"
	case t.status == http.StatusOK && (t.body != strconv.Quote(n.ID) || runs != 1):
		bad = "got another reply than its own"
	case runs > 0 && slices.Contains(neverStarted, t.code):
		bad = "ran although it was said not to"
	case runs > 0 && len(records) == 0:
		sum.lostCalls++
	case runs > 0 && s.j.runs[n.ID][0].begin.After(records[0].Time.Add(trioCall+callSlack)):
		bad = "GHOST: ran after its deadline"
	case runs > 0 && s.j.runs[n.ID][0].begin.After(t.begin.Add(trioCall+callSlack)) && !s.disturbed(t.gateway, t.begin, s.j.runs[n.ID][0].begin):
		bad = "GHOST: ran after its deadline, through a gateway with which nothing was wrong"
	}
	if bad != "" {
		s.t.Errorf("%s %s: %s%s%s", n.ID, bad, showRecords(records), n.show(), s.j.show(n.ID))
	}
	if t.status == http.StatusOK {
		sum.replied++
	}
	if len(records) > 0 && records[0].State == queue.StateWaiting {
		sum.openCalls++
	}
}

func showRecords(records []queue.Record) string {
	var b strings.Builder
	for _, r := range records {
		fmt.Fprintf(&b, "\n  record %s %s at %s: %s %s%s", r.ID, r.Origin, r.Time.Format("05.000"), r.State, r.Reason, history(r))
	}
	return b.String()
}

func (n *numbered) show() string {
	var b strings.Builder
	for _, t := range n.tries {
		fmt.Fprintf(&b, "\n  try %s–%s at %s: %d %s %s", t.begin.Format("05.000"), t.end.Format("05.000"), t.gateway, t.status, t.code, t.event)
	}
	return b.String()
}
