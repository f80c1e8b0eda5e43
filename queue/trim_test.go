package queue

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestTrim_GoalLeavesAloneWhatIsNotNearItsLimit(t *testing.T) {
	for _, c := range []struct {
		now, most, need uint64
		short           bool
		want            uint64
	}{
		{now: 79, most: 100, want: 79},
		{now: 80, most: 100, want: 80},
		{now: 81, most: 100, want: 70},
		{now: 60, most: 100, need: 50, want: 50},       // a large message was refused
		{now: 50, most: 100, need: 500, want: 0},       // it will never fit
		{now: 99, most: 100, need: 1, want: 70},        // the usual goal is far enough
		{now: 64, most: 1000, short: true, want: 56},   // the disk is short
		{now: 960, most: 1000, short: true, want: 700}, // likewise
		{now: 100, most: 100, need: 1, short: true, want: 70},
	} {
		c.now, c.most, c.need, c.want = c.now*1000, c.most*1000, c.need*1000, c.want*1000
		if got := goal(c.now, c.most, c.need, c.short); got != c.want {
			t.Errorf("%+v: got %d", c, got)
		}
	}
}

// openSmall returns a queue whose events may take 1 MiB.
func openSmall(t *testing.T, functions ...string) *Queue {
	t.Helper()
	q, err := Open(t.Context(), Options{Dir: t.TempDir(), MaxEvents: 1 << 20, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	for _, f := range functions {
		if err := q.AddFunction(t.Context(), f, Retry{}); err != nil {
			t.Fatal(err)
		}
	}
	return q
}

// offer publishes an event of 16 KiB.
func offer(t *testing.T, q *Queue, function string) error {
	_, err := q.Publish(t.Context(), &Event{Source: "s", Function: function, Body: bytes.Repeat([]byte("x"), 16<<10)})
	return err
}

func TestTrim_WhatIsDoneMakesRoomForWhatIsNew(t *testing.T) {
	q := openSmall(t, "Quick")
	work(t, q, "Quick", 2, ok("1"))
	for i := range 150 { // twice what the stream may take
		for err := offer(t, q, "Quick"); err != nil; err = offer(t, q, "Quick") {
			if !errors.Is(err, ErrFull) { // the sender is faster than the worker
				t.Fatalf("event %d: %v", i, err)
			}
			within(t, patience, "the worker has caught up", func() bool {
				c, err := q.js.Consumer(t.Context(), streamEvents, consumerName("Quick"))
				return err == nil && c.CachedInfo().NumPending == 0
			})
		}
	}
	settledAll(t, q, "Quick")
	ran := 0
	for _, m := range stored(t, q, streamLog) {
		if m.Header.Get(headerOutcome) == string(OutcomeOK) {
			ran++
		}
	}
	if ran != 150 {
		t.Errorf("%d events have run, want 150", ran)
	}
}

func TestTrim_AStoreFullOfWaitingEventsRefusesUntilTheyHaveRun(t *testing.T) {
	q := openSmall(t, "Waiting")
	accepted := 0
	err := offer(t, q, "Waiting")
	for ; err == nil; err = offer(t, q, "Waiting") {
		accepted++
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("after %d events: %v, want ErrFull", accepted, err)
	}
	if kept := len(stored(t, q, streamEvents)); kept != accepted || accepted < 50 {
		t.Fatalf("%d of %d waiting events are kept", kept, accepted)
	}
	work(t, q, "Waiting", 1, ok("1"))
	settledAll(t, q, "Waiting")
	within(t, 10*trimPause, "events are accepted again", func() bool { return offer(t, q, "Waiting") == nil })
	if ran := len(stored(t, q, streamLog)); ran < accepted {
		t.Errorf("%d of %d events have run", ran, accepted)
	}
}

func TestTrim_AFunctionThatIsStuckKeepsItsOwnEventsOnly(t *testing.T) {
	q := openSmall(t, "Stuck", "Quick")
	if err := errors.Join(offer(t, q, "Stuck"), offer(t, q, "Nobody")); err != nil { // nobody has made the consumers of the second
		t.Fatal(err)
	}
	w := another(t, q)
	take(t, w, "Stuck", stored(t, q, streamEvents)[0].Header.Get(headerID)) // it runs
	if err := offer(t, q, "Stuck"); err != nil {
		t.Fatal(err)
	}
	stop := work(t, q, "Quick", 1, ok("1"))
	for range 40 {
		if err := offer(t, q, "Quick"); err != nil {
			t.Fatal(err)
		}
		settledAll(t, q, "Quick")
	}
	stop()
	for range 60 {
		if err := offer(t, q, "Stuck"); err != nil {
			break
		}
	}
	count := map[string]int{}
	for _, m := range stored(t, q, streamEvents) {
		count[m.Header.Get(headerFunction)]++
	}
	if count["Stuck"] < 50 || count["Nobody"] != 1 || count["Quick"] > 10 {
		t.Errorf("%v are left", count)
	}
	if _, err := q.message(t.Context(), streamEvents, 1); err != nil {
		t.Errorf("the event that runs: %v", err)
	}
	balanced(t, q)
}

func TestTrim_WhatHasNoConsumerYetWaits(t *testing.T) {
	q := openSmall(t, "Quick")
	waiting := publish(t, q, "Nobody")
	work(t, q, "Quick", 1, ok("1"))
	publish(t, q, "Quick")
	settledAll(t, q, "Quick")
	if _, err := q.cut(t.Context(), q.house.history.archives()[0], 0); err != nil {
		t.Fatal(err)
	}
	if left := stored(t, q, streamEvents); len(left) != 1 || left[0].Header.Get(headerID) != waiting.ID {
		t.Errorf("%d events are left", len(left))
	}
}

func TestTrim_ARepeatOfWhatWasTrimmedIsStillKnown(t *testing.T) {
	q := open(t, "Twice")
	var runs atomic.Int32
	work(t, q, "Twice", 1, func(*Event) Result {
		if runs.Add(1) == 1 {
			return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Final: true}
		}
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	})
	deliver := func(id string) Receipt {
		r, err := q.Publish(t.Context(), &Event{Source: "s", Function: "Twice", DeliveryID: id, Body: []byte("1")})
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		settledAll(t, q, "Twice")
		return r
	}
	dead, done := deliver("dead"), deliver("done")
	if _, err := q.cut(t.Context(), q.house.history.archives()[0], 0); err != nil {
		t.Fatal(err)
	}
	if got := deliver("done"); got.ID != done.ID || !got.Duplicate || got.Replay {
		t.Errorf("done: got %+v, want a duplicate of %s", got, done.ID)
	}
	if got := deliver("dead"); got.ID != dead.ID || !got.Replay || got.Duplicate {
		t.Errorf("dead: got %+v, want a replay of %s", got, dead.ID)
	}
	if runs.Load() != 3 {
		t.Errorf("%d runs, want 3", runs.Load())
	}
	balanced(t, q)
}

// balanced makes sure that trimming is not taken for a loss.
func balanced(t *testing.T, q *Queue) {
	t.Helper()
	if b, err := q.Balance(t.Context()); err != nil || b.Drift != 0 {
		t.Errorf("balance: %+v, %v", b, err)
	}
}

func TestTrim_ARunGoesOnWhenItsEventIsTrimmed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := openSmall(t, "Later", "Quick")
		var tries atomic.Int32
		workAs(t, q, "Later", Retry{Initial: time.Minute}, 1, func(*Event) Result {
			if tries.Add(1) == 1 {
				return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, RetryAfter: time.Minute}
			}
			return Result{Outcome: OutcomeOK, Reply: []byte("1")}
		})
		r := publish(t, q, "Later")
		time.Sleep(time.Second)
		if _, err := q.cut(t.Context(), q.house.history.archives()[0], 0); err != nil {
			t.Fatal(err)
		}
		if left := stored(t, q, streamEvents); len(left) != 0 {
			t.Fatalf("%d events are left", len(left))
		}
		balanced(t, q)
		time.Sleep(2 * time.Minute)
		if got := outcomes(t, q, r.ID); got != "1 retry, 2 ok" {
			t.Errorf("the log says %s", got)
		}
		balanced(t, q)
	})
}

func TestTrim_AMessageThatIsLargerThanTheRoomMakesIt(t *testing.T) {
	q := openSmall(t, "Large")
	work(t, q, "Large", 1, ok("1"))
	for range 40 { // 640 KiB, well below the mark
		if err := offer(t, q, "Large"); err != nil {
			t.Fatal(err)
		}
	}
	settledAll(t, q, "Large")
	if _, err := q.Publish(t.Context(), &Event{Source: "s", Function: "Large", Body: make([]byte, 600<<10)}); err != nil {
		t.Error(err)
	}
}

func TestTrim_WhoWaitsForTheHousekeepersTrimHasItsRoom(t *testing.T) {
	q := openSmall(t, "Quick")
	for range 52 { // more than 80 percent
		if err := offer(t, q, "Quick"); err != nil {
			t.Fatal(err)
		}
	}
	h, refused := &q.house.history, time.Now()
	work(t, q, "Quick", 2, ok("1"))
	settledAll(t, q, "Quick")
	h.mu.Lock()
	h.idle = nil // the housekeeper may have looked before they were done
	h.mu.Unlock()
	q.house.trim(t.Context())
	full := &jetstream.APIError{ErrorCode: 10077}
	if !h.makeRoom(t.Context(), refused, 1, full) {
		t.Error("a message that was refused before the trim is not tried again")
	}
	if h.makeRoom(t.Context(), time.Now(), 1, full) {
		t.Error("one that was refused after it is")
	}
}

func TestTrim_OfRetriesAndReplaysOnlyWhatHasRunGoes(t *testing.T) {
	q := openSmall(t, "Again")
	e := &Event{ID: NewID(), Source: "s", Function: "Again", Body: bytes.Repeat([]byte("x"), 32<<10)}
	retry := func() {
		copied := *e
		copied.RunID = NewID()
		if _, err := q.store(t.Context(), retryMessage(&copied, time.Now().Add(time.Hour), "FUNKER_EVENTS/1")); err != nil {
			t.Fatal(err)
		}
	}
	redo := func() {
		if _, err := q.js.PublishMsg(t.Context(), encode(e, redoSubject("Again"))); err != nil {
			t.Fatal(err)
		}
	}
	retry()
	for range 9 {
		redo()
	}
	stop := work(t, q, "Again", 1, ok("1"))
	within(t, patience, "the replays have run", func() bool { return acknowledged(t, q, streamRetry, "Again", redoSubject("Again")) })
	stop()
	retry()
	redo()
	if _, err := q.house.history.trim(t.Context(), 0, false); err != nil {
		t.Fatal(err)
	}
	state, err := q.state(t.Context(), streamRetry)
	if err != nil || state.Bytes > 256<<10 {
		t.Errorf("%d bytes are left, %v", state.Bytes, err)
	}
	left := subjectsOf(t, q, streamRetry)
	if retries := len(left) - 1; retries != 2 || left[redoSubject("Again")] < 1 {
		t.Errorf("%v are left", left)
	}
	work(t, q, "Again", 1, ok("1"))
	within(t, patience, "the last replay has run", func() bool { return acknowledged(t, q, streamRetry, "Again", redoSubject("Again")) })
}

// A trim of a random history keeps all that is not settled, goes as far as it has to and hardly farther.
func TestTrim_CutsDoneMessagesOnlyAndOnlyAsManyAsItHasTo(t *testing.T) {
	q := open(t, "A", "B", "C")
	s := q.house.history.archives()[0]
	for round := range 8 {
		seed := uint64(round)
		r := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // a test
		waiting := map[uint64]bool{}
		for range 60 {
			function := string(rune('A' + min(r.IntN(6), 2)))
			body := make([]byte, r.IntN(4000))
			if _, err := q.js.PublishMsg(t.Context(), encode(&Event{ID: NewID(), Source: "s", Function: function, Body: body}, eventSubject("s", function))); err != nil {
				t.Fatal(err)
			}
		}
		for _, function := range []string{"A", "B", "C"} {
			settleSome(t, q, function, r)
		}
		stream, err := q.js.Stream(t.Context(), streamEvents)
		if err != nil {
			t.Fatal(err)
		}
		begin := stream.CachedInfo().State
		b, err := q.borders(t.Context(), stream, s)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range stored(t, q, streamEvents) {
			waiting[m.Sequence] = m.Sequence >= b.of[m.Header.Get(headerFunction)]
		}
		goal := begin.Bytes * uint64(r.IntN(100)) / 100
		freed, err := q.cut(t.Context(), s, goal)
		if err != nil {
			t.Fatal(err)
		}
		left := map[uint64]bool{}
		done := 0
		for _, m := range stored(t, q, streamEvents) {
			if left[m.Sequence] = true; !waiting[m.Sequence] {
				done++
			}
		}
		for seq, keep := range waiting {
			if keep && !left[seq] {
				t.Fatalf("round %d: message %d is gone, which is not settled", round, seq)
			}
		}
		end, err := q.state(t.Context(), streamEvents)
		if err != nil {
			t.Fatal(err)
		}
		if freed != begin.Bytes-end.Bytes {
			t.Errorf("round %d: freed %d, and said %d", round, begin.Bytes-end.Bytes, freed)
		}
		if end.Bytes > goal && done > 0 {
			t.Errorf("round %d: %d bytes are left instead of %d, although %d messages are done", round, end.Bytes, goal, done)
		}
		if end.Bytes+40<<10 < goal {
			t.Errorf("round %d: only %d bytes are left instead of %d", round, end.Bytes, goal)
		}
	}
}

// settleSome lets a worker take some of the events of a function and acknowledge most of them.
func settleSome(t *testing.T, q *Queue, function string, r *rand.Rand) {
	t.Helper()
	c, err := q.js.Consumer(t.Context(), streamEvents, consumerName(function))
	if err != nil {
		t.Fatal(err)
	}
	batch, err := c.FetchNoWait(1 + r.IntN(40))
	if err != nil {
		t.Fatal(err)
	}
	var acked []jetstream.Msg
	for m := range batch.Messages() {
		if r.IntN(20) > 0 {
			acked = append(acked, m)
		}
	}
	for i, m := range acked {
		if i < len(acked)-1 {
			err = m.Ack()
		} else {
			err = m.DoubleAck(t.Context()) // the server takes them in order: all are taken now
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
