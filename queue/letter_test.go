package queue

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// bury makes a dead letter of a new event.
func bury(t *testing.T, q *Queue, function, source string, reason Reason) string {
	t.Helper()
	e := &Event{Source: source, Function: function, Body: []byte(`{"n":1}`)}
	if _, err := q.Publish(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	r, err := q.Get(t.Context(), e.ID)
	if err != nil {
		t.Fatal(err)
	}
	e.Root, e.Attempt = r.Origin, 3
	buryRun(t, q, e, reason)
	return e.ID
}

func buryRun(t *testing.T, q *Queue, e *Event, reason Reason) {
	t.Helper()
	m := deadLetter(e, reason)
	set(m.Header, headerCode, CodeFunctionFailed)
	set(m.Header, headerError, "it broke")
	if _, err := q.store(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func idsOf(letters []DeadLetter) (ids []string) {
	for _, d := range letters {
		ids = append(ids, d.ID)
	}
	return ids
}

func TestDeadLetters_AreChosenByTheFilter(t *testing.T) {
	q := open(t, "A", "my fn")
	a := bury(t, q, "A", "x", ReasonRefused)
	b := bury(t, q, "my fn", "x", ReasonExhausted)
	<-time.After(2 * time.Millisecond)
	middle := time.Now()
	c := bury(t, q, "A", "y", ReasonExhausted)
	for _, tc := range []struct {
		filter DeadFilter
		want   []string
	}{
		{DeadFilter{}, []string{c, b, a}}, {DeadFilter{Limit: 2}, []string{c, b}}, {DeadFilter{Function: "my fn"}, []string{b}},
		{DeadFilter{Source: "x"}, []string{b, a}}, {DeadFilter{Reason: ReasonExhausted}, []string{c, b}},
		{DeadFilter{Since: middle}, []string{c}}, {DeadFilter{Until: middle}, []string{b, a}}, {DeadFilter{Function: "none"}, nil},
	} {
		if got, err := q.DeadLetters(t.Context(), tc.filter); err != nil || !slices.Equal(idsOf(got), tc.want) {
			t.Errorf("%+v: got %v, %v, want %v", tc.filter, idsOf(got), err, tc.want)
		}
	}
	d, err := q.DeadLetter(t.Context(), b)
	if err != nil || d.Origin != "FUNKER_DEAD/2" || d.Record != "FUNKER_EVENTS/2" || d.Root != d.Record || d.Function != "my fn" || d.Source != "x" ||
		d.Reason != ReasonExhausted || d.Code != CodeFunctionFailed || d.Error != "it broke" || d.Attempts != 3 || d.Size != 7 || d.State != StateDead ||
		d.First.After(d.Time) || time.Since(d.First) > time.Minute {
		t.Errorf("got %+v, %v", d, err)
	}
	if _, err := q.DeadLetters(t.Context(), DeadFilter{Function: "a\nb"}); !errors.Is(err, ErrName) {
		t.Errorf("got %v, want ErrName", err)
	}
}

func TestDeadLetters_ThatAreAnsweredAreLeftOut(t *testing.T) {
	q := open(t, "A")
	replayed, dropped := bury(t, q, "A", "x", ReasonRefused), bury(t, q, "A", "x", ReasonRefused)
	rep, err := q.Replay(t.Context(), "FUNKER_DEAD/1", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Drop(t.Context(), dropped); err != nil {
		t.Fatal(err)
	}
	open := func(all bool, want ...string) {
		t.Helper()
		got, err := q.DeadLetters(t.Context(), DeadFilter{All: all})
		var origins []string
		for _, d := range got {
			origins = append(origins, d.Origin+" "+string(d.State))
		}
		if err != nil || !slices.Equal(origins, want) {
			t.Errorf("got %v, %v, want %v", origins, err, want)
		}
	}
	open(false)
	open(true, "FUNKER_DEAD/1 waiting")
	buryRun(t, q, &Event{ID: replayed, Source: "x", Function: "A", RunID: rep.Run, Root: rep.As, ReplayOf: "FUNKER_EVENTS/1"}, ReasonExpired)
	open(false, "FUNKER_DEAD/3 dead")
	open(true, "FUNKER_DEAD/3 dead", "FUNKER_DEAD/1 dead")
	if r, err := q.Get(t.Context(), dropped); err != nil || r.State != StateDropped || r.Reason != ReasonRefused || r.DeadAs != "" {
		t.Errorf("dropped: got %+v, %v", r, err)
	}
	if _, err := q.Replay(t.Context(), dropped, ""); err != nil {
		t.Errorf("what was dropped cannot be replayed: %v", err)
	}
	for _, ref := range []string{dropped, "FUNKER_DEAD/2", "FUNKER_DEAD/9", NewID()} {
		if err := q.Drop(t.Context(), ref); !errors.Is(err, ErrNotFound) {
			t.Errorf("drop %s: got %v, want ErrNotFound", ref, err)
		}
	}
	if b := balanceOf(t, q); b.Drift != 0 || b.Dead != 2 || b.Dropped != 1 || b.Waiting != 1 {
		t.Errorf("got %+v", b)
	}
}
