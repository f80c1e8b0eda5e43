package queue

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// recordCall stores a call that nobody takes.
func recordCall(t testing.TB, q *Queue, function string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := q.Call(ctx, &Event{Source: "test", Function: function, Body: []byte(`1`)}); err == nil {
		t.Fatal("somebody took the call")
	}
}

func originsOf(records []Record) (all []string) {
	for _, r := range records {
		all = append(all, r.Origin)
	}
	return all
}

func TestList_PagesHaveEverythingOnceWhileOthersArrive(t *testing.T) {
	q := open(t, "A")
	for i := range 9 {
		if publish(t, q, "A"); i%3 == 0 {
			recordCall(t, q, "A")
		}
	}
	whole, err := q.List(t.Context(), Filter{Limit: 100})
	if err != nil || len(whole) != 12 {
		t.Fatalf("got %d, %v", len(whole), err)
	}
	for _, kind := range []string{"", "event", "call"} {
		want := slices.DeleteFunc(originsOf(whole), func(o string) bool {
			return kind == "event" && parseRef(o).shelf() != shelfEvents || kind == "call" && parseRef(o).shelf() != shelfCalls
		})
		for limit := 1; limit <= 5; limit++ {
			var got []string
			f := Filter{Kind: kind, Limit: limit, Until: whole[0].Time.Add(time.Second)}
			for more := true; more; {
				page, err := q.List(t.Context(), f)
				if err != nil {
					t.Fatal(err)
				}
				if got = append(got, originsOf(page)...); len(got) == limit {
					publish(t, q, "A")
				}
				f, more = f.Next(page)
			}
			if got = slices.DeleteFunc(got, func(o string) bool { return !slices.Contains(want, o) }); !slices.Equal(got, want) {
				t.Errorf("%q, %d at a time: got %v, want %v", kind, limit, got, want)
			}
		}
	}
}

func TestDeadLetters_PagesHaveEverythingOnceWhileOthersArrive(t *testing.T) {
	q := open(t, "A")
	var want []string
	for range 7 {
		want = append([]string{bury(t, q, "A", "x", ReasonRefused)}, want...)
	}
	for limit := 1; limit <= 8; limit++ {
		var got []string
		f := DeadFilter{Limit: limit}
		for more := true; more; {
			page, err := q.DeadLetters(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, idsOf(page)...)
			if f, more = f.Next(page); more && len(got) == limit {
				want = append([]string{bury(t, q, "A", "x", ReasonRefused)}, want...)
			}
		}
		if !slices.Equal(got, want[len(want)-len(got):]) || len(got) < 7 {
			t.Errorf("%d at a time: got %v, want %v", limit, got, want)
		}
	}
	all, err := q.SelectDead(t.Context(), DeadFilter{}, "FUNKER_DEAD/3")
	slices.Reverse(all)
	if err != nil || !slices.Equal(idsOf(all), want[:len(want)-3]) {
		t.Errorf("behind the third: got %v, %v, want %v", idsOf(all), err, want[:len(want)-3])
	}
}

func TestPages_RefuseEndsThatAreNone(t *testing.T) {
	q, remote := openListening(t, "A")
	for _, q := range []*Queue{q, remote} {
		for _, before := range []string{"x", "FUNKER_EVENTS/0", "FUNKER_DEAD/1", "FUNKER_EVENTS/1;FUNKER_CALLS/1"} {
			if _, err := q.List(t.Context(), Filter{Before: before}); !errors.Is(err, ErrArgument) {
				t.Errorf("%q: got %v", before, err)
			}
		}
		if _, err := q.DeadLetters(t.Context(), DeadFilter{Before: "FUNKER_EVENTS/1"}); !errors.Is(err, ErrArgument) {
			t.Errorf("got %v", err)
		}
		if _, err := q.SelectDead(t.Context(), DeadFilter{}, "FUNKER_EVENTS/1"); !errors.Is(err, ErrArgument) {
			t.Errorf("got %v", err)
		}
	}
}

// Whatever the times are, what a page takes of each list is its beginning.
func TestMergeNewest_TakesTheBeginningOfEachList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var lists [][]finding
		for _, s := range []shelf{shelfEvents, shelfCalls} {
			var list []finding
			for i, made := range rapid.SliceOf(rapid.Int64Range(1, 9)).Draw(t, "times") {
				list = append(list, finding{record: newRef(s, uint64(100-i)), made: made}) //nolint:gosec // small
			}
			lists = append(lists, list)
		}
		limit := rapid.IntRange(1, 10).Draw(t, "limit")
		got := mergeNewest(slices.Clone(lists), limit)
		if len(got) != min(limit, len(lists[0])+len(lists[1])) {
			t.Fatalf("got %d of %d", len(got), limit)
		}
		if !slices.IsSortedFunc(got, func(a, b finding) int { return int(b.made - a.made) }) {
			t.Errorf("out of order: %v", got)
		}
		for _, list := range lists {
			n := 0
			for _, f := range got {
				if len(list) > 0 && f.record.shelf() == list[0].record.shelf() {
					n++
				}
			}
			for _, f := range list[:n] {
				if !slices.ContainsFunc(got, func(g finding) bool { return g.record == f.record }) {
					t.Errorf("%s is passed over", f.record)
				}
			}
		}
	})
}
