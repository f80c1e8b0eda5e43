package queue

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// refuse fails the events of a test for good, until they are edited.
func refuse(ran chan<- *Event) Handler {
	return func(e *Event) Result {
		ran <- e
		if e.EditOf == "" && e.ReplayOf == "" || strings.Contains(string(e.Body), "bad") {
			return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "no such field", Final: true}
		}
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	}
}

func awaitState(t *testing.T, q *Queue, ref string, want State) (r Record) {
	t.Helper()
	within(t, patience, ref+" is "+string(want), func() bool {
		var err error
		r, err = q.Get(t.Context(), ref)
		return err == nil && r.State == want
	})
	return r
}

func openLetters(t *testing.T, q *Queue) (origins []string) {
	t.Helper()
	letters, err := q.DeadLetters(t.Context(), DeadFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range letters {
		origins = append(origins, d.Origin)
	}
	return origins
}

func TestReplayEdited_IsANewEventInPlaceOfTheDeadOne(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"A", "B"} {
		if err := q.AddFunction(t.Context(), f, Retry{}); err != nil {
			t.Fatal(err)
		}
	}
	ran := make(chan *Event, 10)
	stopA, stopB := work(t, q, "A", 1, refuse(ran)), work(t, q, "B", 1, refuse(ran))
	first := &Event{Source: "github", Function: "A", Name: "push", ContentType: "application/json", DeliveryID: "d1",
		Header: map[string]string{"X-Github-Event": "push"}, Body: []byte(`{"n":"x"}`)}
	if _, err := q.Publish(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	<-ran
	awaitState(t, q, first.ID, StateDead)
	rep, err := q.ReplayEdited(t.Context(), first.ID, "B", []byte(`{"n":1}`))
	if err != nil || rep.ID == first.ID || rep.Run != rep.ID || rep.From != "FUNKER_EVENTS/1" || rep.As != "FUNKER_EVENTS/2" || rep.To != "B" || !rep.Edited {
		t.Fatalf("got %+v, %v", rep, err)
	}
	if e := <-ran; e.ID != rep.ID || e.Function != "B" || e.Source != "github" || e.Name != "push" || e.ContentType != "application/json" ||
		e.Header["X-Github-Event"] != "push" || string(e.Body) != `{"n":1}` || e.EditOf != "FUNKER_EVENTS/1" || e.Attempt != 0 {
		t.Errorf("ran %+v", e)
	}
	check := func(what string) {
		t.Helper()
		if r := awaitState(t, q, rep.ID, StateOK); r.ReplayOf != "FUNKER_EVENTS/1" || !r.Edited || r.Replaced != "" || string(r.Body) != `{"n":1}` {
			t.Errorf("%s: the new one is %+v", what, r)
		}
		r := awaitState(t, q, first.ID, StateReplaced)
		if r.Replaced != "FUNKER_EVENTS/2" || r.DeadAs != "" || r.Reason != ReasonRefused || string(r.Body) != `{"n":"x"}` || len(r.Attempts) != 1 || r.Edited {
			t.Errorf("%s: the original is %+v", what, r)
		}
		if got := openLetters(t, q); got != nil {
			t.Errorf("%s: dead letters %v", what, got)
		}
		if list, err := q.List(t.Context(), Filter{State: StateReplaced}); err != nil || len(list) != 1 || list[0].ID != first.ID {
			t.Errorf("%s: list %v, %v", what, list, err)
		}
		if b := balanceOf(t, q); b.Accepted != 2 || b.Dead != 1 || b.Succeeded != 1 || b.Replays != 0 || b.Drift != 0 {
			t.Errorf("%s: %+v", what, b)
		}
	}
	check("at once")
	left, err := q.SelectEnded(t.Context(), Filter{}, "", func(r Record) error {
		if r.ID == first.ID {
			t.Error("a bulk would run the original again")
		}
		return nil
	})
	if left != 1 || err != nil {
		t.Errorf("%d left, %v", left, err)
	}
	if _, err := q.ReplayDead(t.Context(), "FUNKER_DEAD/1", ""); !errors.Is(err, ErrNotDead) {
		t.Errorf("replay of the letter: got %v, want ErrNotDead", err)
	}
	if r, err := q.Publish(t.Context(), &Event{Source: "github", Function: "A", DeliveryID: "d1", Body: first.Body}); err != nil || !r.Duplicate || r.Replay {
		t.Errorf("a repeat of the delivery: got %+v, %v", r, err)
	}
	stopA()
	stopB()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q = openIn(t, dir)
	check("built anew")
}

func TestReplayEdited_ThatDiesIsADeadLetterOfItsOwn(t *testing.T) {
	q := open(t, "A")
	ran := make(chan *Event, 10)
	work(t, q, "A", 1, refuse(ran))
	first := publish(t, q, "A")
	<-ran
	awaitState(t, q, first.ID, StateDead)
	second, err := q.ReplayEdited(t.Context(), "FUNKER_DEAD/1", "", []byte(`"still bad"`))
	if err != nil {
		t.Fatal(err)
	}
	<-ran
	if r := awaitState(t, q, second.ID, StateDead); r.DeadAs != "FUNKER_DEAD/2" {
		t.Errorf("got %+v", r)
	}
	if got := openLetters(t, q); !slices.Equal(got, []string{"FUNKER_DEAD/2"}) {
		t.Errorf("dead letters %v", got)
	}
	third, err := q.ReplayEdited(t.Context(), second.ID, "", []byte(`"good"`))
	if err != nil || third.From != "FUNKER_EVENTS/2" {
		t.Fatalf("got %+v, %v", third, err)
	}
	<-ran
	awaitState(t, q, third.ID, StateOK)
	if r := awaitState(t, q, second.ID, StateReplaced); r.Replaced != third.As || r.ReplayOf != "FUNKER_EVENTS/1" {
		t.Errorf("got %+v", r)
	}
	if got := openLetters(t, q); got != nil {
		t.Errorf("dead letters %v", got)
	}
}

// A replay of the original comes after its edit, and dies: nobody has answered that one.
func TestReplayEdited_DoesNotHideALaterDeath(t *testing.T) {
	q := open(t, "A")
	id := bury(t, q, "A", "x", ReasonRefused)
	edited, err := q.ReplayEdited(t.Context(), id, "", []byte(`{"n":2}`))
	if err != nil {
		t.Fatal(err)
	}
	rep, err := q.Replay(t.Context(), id, "")
	if err != nil {
		t.Fatal(err)
	}
	buryRun(t, q, &Event{ID: id, Source: "x", Function: "A", RunID: rep.Run, Root: rep.As, ReplayOf: "FUNKER_EVENTS/1"}, ReasonExpired)
	if r := awaitState(t, q, id, StateDead); r.DeadAs != "FUNKER_DEAD/2" || r.Replaced != "" {
		t.Errorf("got %+v", r)
	}
	if got := openLetters(t, q); !slices.Equal(got, []string{"FUNKER_DEAD/2"}) {
		t.Errorf("dead letters %v", got)
	}
	if r, err := q.Get(t.Context(), edited.ID); err != nil || r.State != StateWaiting {
		t.Errorf("the edited one is %+v, %v", r, err)
	}
}

func TestReplayEdited_OfWhatSucceededLeavesItAlone(t *testing.T) {
	q, remote := dialled(t, "A")
	work(t, q, "A", 1, ok("1"))
	first := publish(t, q, "A")
	awaitState(t, q, first.ID, StateOK)
	large := `"` + strings.Repeat("x", MaxMessage) + `"`
	rep, err := remote.ReplayEdited(t.Context(), first.ID, "", []byte(large)) // from another process
	if err != nil {
		t.Fatal(err)
	}
	if r := awaitState(t, q, rep.ID, StateOK); r.ReplayOf != "FUNKER_EVENTS/1" || string(r.Body) != large {
		t.Errorf("got %+v", r)
	}
	awaitState(t, q, first.ID, StateOK)
}

func TestReplayEdited_RefusesWhatCannotRun(t *testing.T) {
	q := open(t, "A")
	id := bury(t, q, "A", "x", ReasonRefused)
	for _, c := range []struct {
		to, body string
		want     error
		says     string
	}{
		{"", "{\n  \"n\": x}", ErrNotJSON, "line 2, column 8"}, {"", "", ErrNotJSON, "unexpected end"},
		{"nobody", "{}", ErrNoFunction, "nobody"}, {"", `"` + strings.Repeat("x", MaxBody) + `"`, ErrTooLarge, "at most"},
	} {
		if _, err := q.ReplayEdited(t.Context(), id, c.to, []byte(c.body)); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("to %q: got %v, want %v that says %q", c.to, err, c.want, c.says)
		}
	}
	if _, err := q.ReplayEdited(t.Context(), NewID(), "", []byte("{}")); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	if got := openLetters(t, q); !slices.Equal(got, []string{"FUNKER_DEAD/1"}) {
		t.Errorf("dead letters %v", got)
	}
	if b := balanceOf(t, q); b.Accepted != 1 {
		t.Errorf("something was stored: %+v", b)
	}
}
