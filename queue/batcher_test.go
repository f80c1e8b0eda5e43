package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// waitTogether begins requests while a batch is on its way, and lets them go when all of them wait. It returns what each
// was answered.
func waitTogether(t *testing.T, q *Queue, requests ...[]*Event) ([][]Receipt, []error) {
	t.Helper()
	receipts, errs := make([][]Receipt, len(requests)), make([]error, len(requests))
	q.batcher.turn <- struct{}{}
	var wg sync.WaitGroup
	for i, events := range requests {
		wg.Go(func() { receipts[i], errs[i] = q.PublishAll(t.Context(), events) })
		within(t, patience, "it waits", func() bool {
			q.batcher.mu.Lock()
			defer q.batcher.mu.Unlock()
			return len(q.batcher.waiting) == i+1
		})
	}
	<-q.batcher.turn
	wg.Wait()
	return receipts, errs
}

func batchIDs(t *testing.T, q *Queue) (ids []string) {
	t.Helper()
	for _, m := range stored(t, q, streamEvents) {
		ids = append(ids, m.Header.Get(headerBatch))
	}
	return slices.Compact(ids)
}

func TestBatcher_WhoWaitsGoesTogether(t *testing.T) {
	q := open(t, "F")
	var requests [][]*Event
	var all []*Event
	for i := range 8 {
		requests = append(requests, named(fmt.Sprint("of ", i), 2+i, 100))
		all = append(all, requests[i]...)
	}
	receipts, errs := waitTogether(t, q, requests...)
	for i, r := range receipts {
		for j := range r {
			if errs[i] != nil || r[j] != (Receipt{ID: requests[i][j].ID}) {
				t.Errorf("%d.%d: got %+v, %v", i, j, r[j], errs[i])
			}
		}
	}
	storedInOrder(t, q, all)
	if ids := batchIDs(t, q); len(ids) != 1 {
		t.Errorf("it took %d batches", len(ids))
	}
	large := []*Event(nil)
	for _, e := range all {
		large = append(large, &Event{Source: "s", Function: "F", DeliveryID: e.DeliveryID + " large", Body: e.Body})
	}
	if _, errs := waitTogether(t, q, named("x", 600, 1000), named("y", 400, 1000), large); errors.Join(errs...) != nil {
		t.Error(errs)
	}
	if ids := batchIDs(t, q); len(ids) != 3 {
		t.Errorf("1000 events and some more took %d batches", len(ids)-1)
	}
}

func TestBatcher_ARepeatSpoilsNothingForTheOthers(t *testing.T) {
	q := open(t, "F")
	old := named("old", 2, 100)
	publishAll(t, q, old)
	mixed := append(named("new", 2, 100), again(old)...)
	receipts, errs := waitTogether(t, q, named("a", 3, 100), mixed, named("b", 3, 100), named("b", 3, 100)) // the last two are the same
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	repeats := []int{0, 2, 0, 3}
	for i, r := range receipts {
		n := 0
		for j := range r {
			if r[j].Duplicate {
				n++
			}
		}
		if n != repeats[i] {
			t.Errorf("%d has %d repeats, want %d: %+v", i, n, repeats[i], r)
		}
	}
	if n := counted(t, q, streamEvents); n != 2+3+2+3 {
		t.Errorf("%d events are stored, want 10", n)
	}
}

func TestBatcher_OneThatDoesNotFitSpoilsNothingForTheOthers(t *testing.T) {
	q := open(t, "F")
	limit(t, q, streamEvents, 50<<10)
	_, errs := waitTogether(t, q, named("a", 2, 10<<10), named("b", 10, 10<<10), named("c", 2, 10<<10))
	if errs[0] != nil || !errors.Is(errs[1], ErrFull) || errs[2] != nil {
		t.Errorf("got %v", errs)
	}
	if n := counted(t, q, streamEvents); n != 4 {
		t.Errorf("%d events are stored, want 4", n)
	}
}

func TestBatcher_WhoGivesUpWhileHeWaitsHasNothingStored(t *testing.T) {
	q := open(t, "F")
	q.batcher.turn <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := q.PublishAll(ctx, named("a", 2, 100)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	<-q.batcher.turn
	events := named("b", 2, 100)
	publishAll(t, q, events)
	storedInOrder(t, q, events)
}
