package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// ask connects to the gateway as the command line does.
func (s *swarm) ask(f func(context.Context, *queue.Queue) error) error {
	q, err := queue.Dial("nats://"+s.nats, filepath.Join(s.data, queue.AdminKey), queue.RoleAdmin, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	err = f(ctx, q)
	if closed := q.Close(); err == nil {
		err = closed
	}
	return err
}

// records reads all events, by the id that their sender gave them. Two records with one id are an error: something was
// accepted twice.
func (s *swarm) records() (map[string]queue.Record, error) {
	found, seen := map[string]queue.Record{}, map[string]bool{}
	return found, s.ask(func(ctx context.Context, q *queue.Queue) error {
		for until := (time.Time{}); ; {
			page, err := q.List(ctx, queue.Filter{Kind: "event", Until: until, Limit: queue.MaxLimit})
			if err != nil {
				return err
			}
			fresh := slices.DeleteFunc(page, func(r queue.Record) bool { return seen[r.Origin] })
			if len(fresh) == 0 {
				return nil
			}
			for _, r := range fresh {
				seen[r.Origin] = true
				id := r.Header["X-Github-Delivery"]
				if r.Source == "github-pair" {
					id = half(id, r.Function)
				}
				if twice, ok := found[id]; ok {
					return fmt.Errorf("push %s is stored twice: %s and %s", id, twice.Origin, r.Origin)
				}
				found[id], until = r, r.Time
			}
		}
	})
}

// half names one of the two events of a push to /pair.
func half(id, function string) string { return id + "/" + function }

// awaitEnds waits until nothing is under way any more, and nothing is left to be given out again for want of a record.
func (s *swarm) awaitEnds(limit time.Duration) map[string]queue.Record {
	s.t.Helper()
	var b queue.Balance
	var err error
	withinLimit(s.t, limit, func() string { return fmt.Sprintf("all has ended: %+v %v", b, err) }, func() bool {
		err = s.ask(func(ctx context.Context, q *queue.Queue) (err error) { b, err = q.Balance(ctx); return err })
		return err == nil && b.Waiting+b.Running+b.Scheduled+b.Unrecorded == 0
	})
	records, err := s.records()
	if err != nil {
		s.t.Fatal(err)
	}
	return records
}

// withinLimit is within with another limit.
func withinLimit(t *testing.T, limit time.Duration, what func() string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Errorf("not within %s: %s", limit, what())
			return
		}
	}
}

// tally is what became of the events of a test.
type tally struct {
	sent, accepted, unanswered, ok, dead, crashed, again, twice, torn int
}

func (c tally) String() string {
	return fmt.Sprintf("%d sent, %d accepted (%d of them without an answer): %d succeeded, %d dead, %d of these crashed; %d ran more often than planned, %d of these logged two ends; %d requests torn",
		c.sent, c.accepted, c.unanswered, c.ok, c.dead, c.crashed, c.again, c.twice, c.torn)
}

// callID is how the ids of calls begin, which are no events.
const callID = "call"

// audit compares what the senders were told, what the functions saw, and what the gateway says.
func (s *swarm) audit(from *sender, j *journal, records map[string]queue.Record) tally {
	t := s.t
	t.Helper()
	c := tally{sent: len(from.pushes), accepted: len(records), torn: j.torn}
	for id, p := range from.pushes {
		r, stored := records[id]
		switch {
		case !stored && !p.acked.IsZero():
			t.Errorf("LOST: push %s was accepted as %s and is not stored", id, p.event)
			continue
		case !stored:
			continue
		case p.acked.IsZero():
			c.unanswered++
		case r.ID != p.event:
			t.Errorf("push %s was accepted as %s and is stored as %s", id, p.event, r.ID)
		}
		c.add(t, p, j, r)
	}
	for id := range records {
		if from.pushes[id] == nil {
			t.Errorf("event %s of push %q was never sent", records[id].ID, id)
		}
	}
	for id := range j.runs {
		if _, stored := records[id]; !stored && !strings.HasPrefix(id, callID) {
			t.Errorf("push %s has run and is not stored", id)
		}
	}
	if 100*c.crashed > max(100, c.accepted) { // one may be in hand at five kills by chance
		t.Errorf("%d of %d events were in hand at five kills", c.crashed, c.accepted)
	}
	s.balance(c)
	return c
}

// add checks one event and counts it. An event has one end; its log may show a second one, when two workers finished it
// in the same moment or a line was long under way.
func (c *tally) add(t *testing.T, p *push, j *journal, r queue.Record) {
	t.Helper()
	runs, ends := j.count(p.ID), endsOf(r)
	bad := func(a queue.Attempt) bool { return !p.Plan.ends(queue.State(a.Outcome), a.Reason, runs) }
	if runs == 0 || r.Reason != queue.ReasonCrashed && (!p.Plan.ends(r.State, r.Reason, runs) || slices.ContainsFunc(ends, bad)) {
		t.Errorf("push %s (%s), event %s, is %s %s after %d runs%s%s", p.ID, p.Plan, r.ID, r.State, r.Reason, runs, history(r), j.show(p.ID))
	}
	switch r.State {
	case queue.StateOK:
		c.ok++
	case queue.StateDead:
		c.dead++
	}
	if r.Reason == queue.ReasonCrashed {
		c.crashed++
		t.Logf("push %s (%s), event %s, has crashed its workers%s%s", p.ID, p.Plan, r.ID, history(r), j.show(p.ID))
	}
	if runs > p.Plan.runs() {
		c.again++
	}
	if len(ends) > 1 {
		c.twice++
	}
}

// balance checks that the gateway counts the same.
func (s *swarm) balance(c tally) {
	s.t.Helper()
	var b queue.Balance
	err := s.ask(func(ctx context.Context, q *queue.Queue) (err error) { b, err = q.Balance(ctx); return err })
	// A sender that was not answered repeats what may be dead by now: that is a replay, and dies as well. A gateway that is
	// killed may have stored an acknowledgement and not the line of the log before it.
	want := queue.Balance{
		Accepted: int64(c.accepted), Replays: b.Replays, Succeeded: int64(c.ok) - b.Unrecorded, Unrecorded: b.Unrecorded, Dead: int64(c.dead) + b.Replays,
	}
	if err != nil || b != want || 100*b.Unrecorded > b.Accepted {
		s.t.Errorf("balance is %+v, %v; want %+v", b, err, want)
	}
}

func hasEnded(r queue.Record) bool { return r.State == queue.StateOK || r.State == queue.StateDead }

// endsOf are the attempts that ended the first run of an event. They are missing in the log when the worker was killed
// before it could write.
func endsOf(r queue.Record) []queue.Attempt {
	return slices.DeleteFunc(slices.Clone(r.Attempts), func(a queue.Attempt) bool {
		return a.Run != "" || a.Outcome != queue.OutcomeOK && a.Outcome != queue.OutcomeDead
	})
}

// history shows the log of an event.
func history(r queue.Record) string {
	var b strings.Builder
	for _, a := range r.Attempts {
		fmt.Fprintf(&b, "\n  log %s", attemptLine(a))
	}
	return b.String()
}
