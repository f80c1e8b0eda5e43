package queue

import (
	"errors"
	"strings"
	"testing"
)

// publishByHand stores two events as `nats pub` does: without any of our headers.
func publishByHand(t *testing.T, q *Queue, subject string) {
	t.Helper()
	for _, body := range []string{`{"n":1}`, `{"n":2}`} {
		if err := q.nc.Publish(subject, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestByHand_EachEventHasADeadLetterOfItsOwn(t *testing.T) {
	for name, c := range map[string]struct {
		subject string
		failure Result
		reason  Reason
	}{
		"refused":            {"funker.event.by=20hand.Strict", Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Final: true}, ReasonRefused},
		"after retries":      {"funker.event.by=20hand.Strict", Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed}, ReasonExhausted},
		"of a due retry too": {"funker.redo.Strict", Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed}, ReasonExhausted},
	} {
		t.Run(name, func(t *testing.T) {
			q := open(t, "Strict")
			publishByHand(t, q, c.subject)
			var got []*Event
			workAs(t, q, "Strict", quick, 1, func(e *Event) Result {
				got = append(got, e)
				return c.failure
			})
			var letters []DeadLetter
			within(t, patience, "both are dead", func() bool {
				var err error
				letters, err = q.DeadLetters(t.Context(), DeadFilter{})
				return err == nil && len(letters) == 2
			})
			for _, l := range letters {
				if l.Function != "Strict" || l.Reason != c.reason || l.ID == "" || l.ID == letters[0].ID && l != letters[0] {
					t.Errorf("got %+v", l)
				}
			}
			if e := got[0]; e.Function != "Strict" || strings.Contains(c.subject, "hand") && e.Source != "by hand" {
				t.Errorf("the function got %+v", e)
			}
			if b := balanceOf(t, q); b.Drift != 0 || b.Dead != 2 {
				t.Errorf("%+v", b)
			}
		})
	}
}

func TestByHand_AnEventIsShownAndReplayedByItsPlace(t *testing.T) {
	q := open(t, "Easy")
	publishByHand(t, q, "funker.event.s.Easy")
	work(t, q, "Easy", 1, ok("1"))
	settledAll(t, q, "Easy")
	if _, err := q.Replay(t.Context(), "FUNKER_EVENTS/2", ""); err != nil {
		t.Fatal(err)
	}
	within(t, patience, "it has run twice", func() bool {
		r, err := q.Get(t.Context(), "FUNKER_EVENTS/2")
		return err == nil && r.State == StateOK && len(r.Attempts) == 2
	})
}

// Ids that somebody made up are no tokens of a subject, and may be long.
func TestByHand_OddIDsAreRetried(t *testing.T) {
	q := open(t, "Odd")
	for _, id := range []string{"a.b *", strings.Repeat("x", 500)} {
		m := encode(&Event{ID: id, Source: "s", Function: "Odd", Body: []byte("1")}, eventSubject("s", "Odd"))
		if _, err := q.js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	workAs(t, q, "Odd", quick, 1, failOnce)
	within(t, patience, "both are dead", func() bool {
		b, err := q.Balance(t.Context())
		if errors.Is(err, ErrIndexing) {
			return false
		}
		return err == nil && b.Dead == 2 && b.Drift == 0
	})
}
