package queue

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// several returns so many events of one sender, each with a delivery id and a body of its own.
func several(n int, functions ...string) []*Event {
	events := make([]*Event, n)
	for i := range events {
		body := fmt.Sprintf(`{"n":%d}`, i)
		events[i] = &Event{Source: "s", Function: functions[i%len(functions)], DeliveryID: fmt.Sprintf("d%d", i), Body: []byte(body)}
	}
	return events
}

// again returns events as their sender sends them again: without our ids.
func again(events []*Event) []*Event {
	sent := make([]*Event, len(events))
	for i, e := range events {
		sent[i] = &Event{Source: e.Source, Function: e.Function, DeliveryID: e.DeliveryID, Body: e.Body}
	}
	return sent
}

func publishAll(t testing.TB, q *Queue, events []*Event) []Receipt {
	t.Helper()
	r, err := q.PublishAll(t.Context(), events)
	if err != nil || len(r) != len(events) {
		t.Fatalf("%d receipts for %d events, %v", len(r), len(events), err)
	}
	return r
}

// storedInOrder fails the test when the stream does not hold these events, and no others, in this order.
func storedInOrder(t *testing.T, q *Queue, events []*Event) {
	t.Helper()
	got := stored(t, q, streamEvents)
	if len(got) != len(events) {
		t.Fatalf("%d events are stored, want %d", len(got), len(events))
	}
	for i, m := range got {
		if m.Header.Get(headerID) != events[i].ID || !bytes.Equal(m.Data, events[i].Body) {
			t.Fatalf("%d is %s %s, want %s %s", i, m.Header.Get(headerID), m.Data, events[i].ID, events[i].Body)
		}
	}
}

func TestBatch_StoresAllInOrder(t *testing.T) {
	for _, n := range []int{0, 1, 2, 999, 1000, 1001, 2500} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			q := open(t, "F")
			events := several(n, "F")
			for i, r := range publishAll(t, q, events) {
				if r != (Receipt{ID: events[i].ID}) || r.ID == "" {
					t.Fatalf("%d: got %+v", i, r)
				}
			}
			storedInOrder(t, q, events)
			for i, r := range publishAll(t, q, again(events)) {
				if r != (Receipt{ID: events[i].ID, Duplicate: true}) {
					t.Fatalf("%d again: got %+v, want a repeat of %s", i, r, events[i].ID)
				}
			}
			storedInOrder(t, q, events)
		})
	}
}

func TestBatch_OfSeveralFunctionsGivesEachItsEvent(t *testing.T) {
	q := open(t, "A", "B", "C")
	var ran sync.Map
	for _, f := range []string{"A", "B", "C"} {
		work(t, q, f, 1, func(e *Event) Result {
			ran.Store(e.ID, fmt.Sprintf("%s %s %v", e.Function, e.Body, e.Header))
			return Result{Outcome: OutcomeOK, Reply: []byte("1")}
		})
	}
	var events []*Event
	for _, f := range []string{"A", "B", "C"} { // one delivery
		events = append(events, &Event{Source: "s", Function: f, DeliveryID: "d", Body: []byte("1"), Header: map[string]string{"X-Kind": "push"}})
	}
	first := publishAll(t, q, events)
	for _, f := range []string{"A", "B", "C"} {
		settledAll(t, q, f)
	}
	for i, r := range first {
		wantOutcomes(t, q, r.ID, "1 ok")
		if got, _ := ran.Load(r.ID); got != events[i].Function+" 1 map[X-Kind:push]" {
			t.Errorf("%s was given %v", events[i].Function, got)
		}
	}
	events = append(again(events), &Event{Source: "s", Function: "A", DeliveryID: "d2", Body: []byte("2")})
	for i, r := range publishAll(t, q, events)[:3] {
		if r != (Receipt{ID: first[i].ID, Duplicate: true}) {
			t.Errorf("%s again: got %+v", events[i].Function, r)
		}
	}
	balanced(t, q)
}

func TestBatch_WakesAWorkerForEachEvent(t *testing.T) {
	q := open(t, "A", "B")
	var mu sync.Mutex
	woken := map[string]int{}
	if err := q.Arrivals(func(function string) { mu.Lock(); woken[function]++; mu.Unlock() }); err != nil {
		t.Fatal(err)
	}
	publishAll(t, q, several(30, "A", "A", "B"))
	within(t, patience, "all are announced", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return woken["A"] == 20 && woken["B"] == 10
	})
}

func TestBatch_TellsRepeatsFromWhatIsNew(t *testing.T) {
	q := open(t, "F")
	old := several(3, "F")
	publishAll(t, q, old[:2])
	work(t, q, "F", 1, func(e *Event) Result {
		if e.DeliveryID == "" && string(e.Body) == `{"n":0}` {
			return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "no", Final: true}
		}
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	})
	settledAll(t, q, "F")
	within(t, patience, "one is dead", func() bool { return counted(t, q, streamDead) == 1 })

	sent := append(again(old), again(old)...) // dead, done, new, and all of them once more
	r := publishAll(t, q, sent)
	want := []Receipt{
		{ID: old[0].ID, Replay: true}, {ID: old[1].ID, Duplicate: true}, {ID: sent[2].ID},
		{ID: old[0].ID, Duplicate: true}, {ID: old[1].ID, Duplicate: true}, {ID: sent[2].ID, Duplicate: true},
	}
	if !slices.Equal(r, want) {
		t.Errorf("got  %+v\nwant %+v", r, want)
	}
	if n, m := counted(t, q, streamEvents), len(stored(t, q, streamRetry)); n != 3 || m != 1 {
		t.Errorf("%d events and %d replays are stored, want 3 and 1", n, m)
	}
	balanced(t, q)
}

// Two requests with the same events at the same time are those of a sender that is impatient.
func TestBatch_OfManyAtOnceStoresEachEventOnce(t *testing.T) {
	q := open(t, "F")
	events := several(40, "F")
	ids := make([]sync.Map, len(events))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			mine := again(events[i*4 : min(i*4+20, len(events))])
			r, err := q.PublishAll(t.Context(), mine)
			if err != nil {
				t.Error(err)
			}
			for j := range r {
				ids[i*4+j].Store(r[j].ID, true)
			}
		})
	}
	wg.Wait()
	if n := counted(t, q, streamEvents); n != uint64(len(events)) {
		t.Errorf("%d events are stored, want %d", n, len(events))
	}
	for i := range ids {
		n := 0
		ids[i].Range(func(any, any) bool { n++; return true })
		if n != 1 {
			t.Errorf("event %d was answered with %d ids", i, n)
		}
	}
}

func TestBatch_ThatDoesNotFitLeavesNothing(t *testing.T) {
	for fitting := range 4 {
		t.Run(fmt.Sprintf("%d of 4 would fit", fitting), func(t *testing.T) {
			q := open(t, "F")
			publish(t, q, "F")
			state, err := q.state(t.Context(), streamEvents)
			if err != nil {
				t.Fatal(err)
			}
			events := several(4, "F")
			for _, e := range events {
				e.Body = bytes.Repeat([]byte("x"), 10<<10)
			}
			limit(t, q, streamEvents, int64(state.Bytes)+int64(fitting)*11<<10)
			if _, err := q.PublishAll(t.Context(), events); !errors.Is(err, ErrFull) {
				t.Fatalf("got %v, want ErrFull", err)
			}
			if n := counted(t, q, streamEvents); n != 1 {
				t.Fatalf("%d events are stored, want the one before", n)
			}
			limit(t, q, streamEvents, 1<<20)
			for i, r := range publishAll(t, q, again(events)) {
				if r.Duplicate || r.Replay {
					t.Errorf("%d, with room again: got %+v", i, r)
				}
			}
		})
	}
}

func TestBatch_OfAFullDiskLeavesNothing(t *testing.T) {
	q := open(t, "F")
	for fitting := range int64(3) { // the server itself would store these, and then say nothing
		if err := q.house.disk.limit(fitting * 11 << 10); err != nil {
			t.Fatal(err)
		}
		events := several(3, "F")
		for _, e := range events {
			e.Body = bytes.Repeat([]byte("x"), 10<<10)
		}
		if _, err := q.PublishAll(t.Context(), events); !errors.Is(err, ErrFull) || counted(t, q, streamEvents) != 0 {
			t.Errorf("%d of 3 fit: got %v, and %d events are stored", fitting, err, counted(t, q, streamEvents))
		}
	}
}

func TestBatch_WhatIsDoneMakesRoomForIt(t *testing.T) {
	q := openSmall(t, "Quick")
	work(t, q, "Quick", 2, ok("1"))
	for i := range 20 { // five times what the stream may take
		events := make([]*Event, 16)
		for j := range events {
			events[j] = &Event{Source: "s", Function: "Quick", Body: bytes.Repeat([]byte("x"), 16<<10)}
		}
		publishAll(t, q, events)
		settledAll(t, q, "Quick")
		if n := counted(t, q, streamLog); n != uint64(16*(i+1)) {
			t.Fatalf("round %d: %d events have run", i, n)
		}
	}
}

func TestBatch_IsRefusedBeforeAnythingIsStored(t *testing.T) {
	q := open(t, "F")
	for want, e := range map[error]*Event{
		ErrTooLarge: {Source: "s", Function: "F", Body: make([]byte, MaxBody+1)},
		ErrName:     {Source: "s", Function: strings.Repeat("f", 64)},
	} {
		events := several(3, "F")
		events[0].Body = large(MaxMessage + 1)
		if _, err := q.PublishAll(t.Context(), append(events, e)); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	if n := counted(t, q, streamEvents) + counted(t, q, streamBodies); n != 0 {
		t.Errorf("%d messages are stored", n)
	}
}

func TestBatch_WithLargeBodies(t *testing.T) {
	q := open(t, "A", "B")
	events := several(4, "A", "B")
	events[0].Body, events[3].Body = large(MaxMessage+1), large(MaxMessage+2)
	first := publishAll(t, q, events)
	sent := again(events)
	for i, r := range publishAll(t, q, sent) {
		if r != (Receipt{ID: first[i].ID, Duplicate: true}) {
			t.Errorf("%d again: got %+v", i, r)
		}
	}
	if n := bodies(t, q); n != 2 {
		t.Errorf("%d bodies are stored, want 2", n)
	}
	for i, r := range first {
		if rec, err := q.Get(t.Context(), r.ID); err != nil || !bytes.Equal(rec.Body, events[i].Body) {
			t.Errorf("%d: got %d bytes, %v", i, len(rec.Body), err)
		}
	}
	sweepAll(t, q)
	if n := bodies(t, q); n != 2 {
		t.Errorf("after a sweep: %d bodies are stored, want 2", n)
	}
}

func TestBatch_ThatDoesNotFitDropsItsBodies(t *testing.T) {
	for name, fill := range map[string]func(q *Queue){
		"the second body does not fit": func(q *Queue) { limit(t, q, streamBodies, 12<<20) },
		"the events do not fit":        func(q *Queue) { limit(t, q, streamEvents, 600) },
	} {
		q := open(t, "F")
		fill(q)
		events := several(3, "F")
		events[0].Body, events[2].Body = large(MaxMessage+1), large(MaxMessage+1)
		if _, err := q.PublishAll(t.Context(), events); !errors.Is(err, ErrFull) {
			t.Errorf("%s: got %v, want ErrFull", name, err)
		}
		if n, m := counted(t, q, streamEvents), counted(t, q, streamBodies); n+m != 0 {
			t.Errorf("%s: %d events and %d chunks are stored", name, n, m)
		}
		limit(t, q, streamBodies, 80<<20)
		limit(t, q, streamEvents, 1<<20)
		publishAll(t, q, events)
		if n := bodies(t, q); n != 2 {
			t.Errorf("%s: with room again: %d bodies", name, n)
		}
	}
}

// The bodies together are more than a batch may take, more than the server keeps for a stream to take, and more than half
// of what the stream of the second queue may take.
func TestBatch_OfManyBytesIsParted(t *testing.T) {
	for _, most := range []int64{0, 100 << 20} {
		q := openWith(t, Options{Dir: t.TempDir(), MaxEvents: most, Durability: DurabilityNone}, "F") // how fast the disk is does not matter
		if most > 0 {
			work(t, q, "F", 1, ok("1"))
		}
		events := several(24, "F")
		for i, e := range events {
			e.Body = large(MaxMessage - i)
		}
		for from := 0; from < len(events); from += 8 { // 63 MB each
			publishAll(t, q, events[from:from+8])
			if most > 0 {
				settledAll(t, q, "F")
			}
		}
	}
}

func TestBatches_KeepTheLimits(t *testing.T) {
	of := func(size int) *post { return &post{event: &Event{Body: make([]byte, size)}} }
	for _, c := range []struct {
		sizes []int
		most  int
		want  string
	}{
		{nil, 1 << 20, "[]"},
		{[]int{1}, 1 << 20, "[1]"},
		{make([]int, 1000), 2 << 20, "[1000]"},
		{make([]int, 2500), 2 << 20, "[1000 1000 500]"},
		{[]int{1 << 10, 1 << 10, 1 << 10}, 4 << 10, "[2 1]"},
		{[]int{1 << 20, 1, 1, 1 << 20, 1 << 20}, 4 << 10, "[1 2 1 1]"},
		{[]int{MaxMessage + 1, MaxMessage + 1}, 4 << 10, "[2]"}, // their bodies are elsewhere
	} {
		var posts []*post
		for _, size := range c.sizes {
			posts = append(posts, of(size))
		}
		got := []int{}
		for b := range batches(posts, c.most) {
			got = append(got, len(b))
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%d posts: got batches of %v, want %s", len(c.sizes), got, c.want)
		}
	}
	for range batches([]*post{of(1), of(1)}, 1) {
		break // which must end it
	}
}

// Who waits for the answer may give up at any time, and the answer may be lost: then the sender comes again.
func TestBatch_OfAnUnknownOutcomeIsFoundAgain(t *testing.T) {
	q := open(t, "F")
	for i := range 30 {
		events := several(50, "F")
		for j, e := range events {
			e.DeliveryID = fmt.Sprintf("%d-%d", i, j)
		}
		before := counted(t, q, streamEvents)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*200*time.Microsecond)
		_, err := q.PublishAll(ctx, events)
		cancel()
		if err != nil && !errors.Is(err, ErrUnavailable) {
			t.Fatalf("after %d × 0.2 ms: %v", i, err)
		}
		for j, r := range publishAll(t, q, again(events)) {
			if r.Duplicate && r.ID != events[j].ID {
				t.Fatalf("%d: a repeat of %s, want %s", j, r.ID, events[j].ID)
			}
		}
		if n := counted(t, q, streamEvents) - before; n != 50 {
			t.Fatalf("round %d stored %d events, want 50", i, n)
		}
	}
}

func TestBatch_OfAStoppedQueueIsUnavailable(t *testing.T) {
	q, err := Open(t.Context(), Options{Dir: t.TempDir(), Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	var accepted atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				r, err := q.PublishAll(context.Background(), []*Event{{Source: "s", Function: "F"}, {Source: "s", Function: "G"}, {Source: "s", Function: "G"}})
				if err != nil {
					if !errors.Is(err, ErrUnavailable) {
						t.Errorf("got %v, want ErrUnavailable", err)
					}
					return
				}
				accepted.Add(int64(len(r)))
			}
		})
	}
	within(t, patience, "some are accepted", func() bool { return accepted.Load() > 20 })
	if err := q.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	q = openIn(t, filepath.Dir(q.server.lock.Name()))
	if n := counted(t, q, streamEvents); n < uint64(accepted.Load()) || n%3 != 0 {
		t.Errorf("%d events are stored, and %d were accepted, three at a time", n, accepted.Load())
	}
}

func TestBatch_OverAConnectionOfAnAdmin(t *testing.T) {
	dir := t.TempDir()
	q := openWith(t, Options{Dir: dir, Listen: "127.0.0.1:0"}, "F")
	remote, err := Dial(q.URL(), filepath.Join(dir, AdminKey), RoleAdmin, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	events := several(20, "F")
	publishAll(t, remote, events)
	storedInOrder(t, q, events)
}

// A sync that was asked for before the batch is stored does not count.
func TestBatch_IsConfirmedAfterASyncOfAllItsBlocks(t *testing.T) {
	dir := t.TempDir()
	q := openWith(t, Options{Dir: dir, MaxEvents: 64 << 10}, "F") // small blocks
	limit(t, q, streamEvents, 16<<20)
	publish(t, q, "F")
	var mu sync.Mutex
	synced := map[string]int64{} // path -> its size then
	tapSyncs(q, func(path string) error {
		err := syncPath(path)
		if info, stat := os.Stat(path); stat == nil {
			mu.Lock()
			synced[path] = info.Size()
			mu.Unlock()
		}
		return err
	})
	events := several(100, "F")
	for _, e := range events {
		e.Body = large(2 << 10)
	}
	if _, err := q.storeBatch(t.Context(), postsOf(t, events)); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	blocks, err := filepath.Glob(filepath.Join(serverFolder(dir), streamEvents, "msgs", "*.blk"))
	if err != nil || len(blocks) < 3 {
		t.Fatalf("%d blocks, %v", len(blocks), err)
	}
	for path := range synced {
		if strings.Contains(path, "batches") {
			t.Errorf("%s was synced, which is not stored yet", path)
		}
	}
	for _, block := range blocks {
		info, err := os.Stat(block)
		if err != nil {
			t.Fatal(err)
		}
		if synced[block] != info.Size() {
			t.Errorf("%s: %d of %d bytes are synced", filepath.Base(block), synced[block], info.Size())
		}
	}
}

func postsOf(t *testing.T, events []*Event) []*post {
	t.Helper()
	posts, _, err := newPosts(events)
	if err != nil {
		t.Fatal(err)
	}
	return posts
}

func TestBatch_LooksLikeOtherEvents(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.AddFunction(t.Context(), "F", Retry{}); err != nil {
		t.Fatal(err)
	}
	events := several(5, "F")
	publishAll(t, q, events)
	one := publish(t, q, "F")
	listed := 0
	if err := q.Select(t.Context(), Filter{}, "", func(r Record) bool { listed++; return r.State == StateWaiting }); err != nil || listed != 6 {
		t.Errorf("%d events are listed, %v", listed, err)
	}
	rec, err := q.Get(t.Context(), events[2].ID)
	if err != nil || len(rec.Header) != 0 || string(rec.Body) != `{"n":2}` {
		t.Errorf("got %+v, %v", rec, err)
	}
	if _, err := q.Replay(t.Context(), events[2].ID, ""); err != nil {
		t.Fatal(err)
	}
	for _, m := range stored(t, q, streamRetry) {
		if m.Header.Get(headerBatch) != "" {
			t.Errorf("a replay has the headers of the batch: %v", m.Header)
		}
	}
	if r, err := q.Verify(t.Context(), nil); err != nil || len(r.Findings) > 0 || countOf(r, streamEvents).Messages != 6 {
		t.Errorf("verify: %+v, %v", r, err)
	}
	saved := backup(t, q)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dir, restore(t, saved)} {
		if r := verifyFolder(t, dir); len(r.Findings) > 0 || countOf(r, streamEvents).Messages != 6 {
			t.Errorf("verify %s: %+v", dir, r)
		}
		q := openIn(t, dir, "F")
		work(t, q, "F", 1, ok("1"))
		settledAll(t, q, "F")
		for _, id := range []string{events[0].ID, events[4].ID, one.ID} {
			wantOutcomes(t, q, id, "1 ok")
		}
		balanced(t, q)
	}
}

// killInBatch names the data folder for a process that is killed while it publishes.
const killInBatch = "FUNKER_TEST_KILL_IN_BATCH"

const victimsRequest = 300 // events

func TestBatch_OfAKilledProcessIsThereWholeOrNotAtAll(t *testing.T) {
	if dir := os.Getenv(killInBatch); dir != "" {
		publishUntilKilled(t, dir)
	}
	dir, whole := t.TempDir(), 0
	for range 6 {
		killSoon(t, dir)
		q, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		readAll(t, q, streamEvents, func(_ uint64, m *nats.Msg) { count[m.Header.Get(headerSource)]++ })
		for request, n := range count {
			if n != victimsRequest {
				t.Errorf("%d of %d events of request %s are stored", n, victimsRequest, request)
			}
		}
		whole = len(count)
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if whole == 0 {
		t.Error("no request is stored")
	}
}

// publishUntilKilled has several requests on their way all the time, each from a source of its own.
func publishUntilKilled(t *testing.T, dir string) {
	q := openIn(t, dir)
	fmt.Println("ready")
	var senders sync.WaitGroup
	for range 3 {
		senders.Go(func() {
			for {
				source, request := NewID(), named("", victimsRequest, 200)
				for _, e := range request {
					e.Source = source
				}
				publishAll(t, q, request)
			}
		})
	}
	senders.Wait()
}

// killSoon kills a process within a third of a second after it begins to publish.
func killSoon(t *testing.T, dir string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run", t.Name())
	cmd.Env = append(os.Environ(), killInBatch+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Text() != "ready"; {
		if !lines.Scan() {
			t.Fatal("the process has ended before it was ready")
		}
	}
	time.Sleep(rand.N(300 * time.Millisecond)) // any moment will do
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
}

// A power cut while a batch is being stored may leave a part of it. Nobody was told that it is stored.
func TestBatch_OfWhichAPowerCutLeftAPartIsCompletedByARepeat(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	events := several(3, "F")
	publishAll(t, q, events)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, streamFile(dir, streamEvents, "1.blk"), func(data []byte) []byte { return data[:len(data)-10] })
	if err := os.Remove(streamFile(dir, streamEvents, "index.db")); err != nil {
		t.Fatal(err)
	}
	q = openIn(t, dir, "F")
	sent := again(events)
	got := publishAll(t, q, sent)
	want := []Receipt{{ID: events[0].ID, Duplicate: true}, {ID: events[1].ID, Duplicate: true}, {ID: sent[2].ID}}
	if !slices.Equal(got, want) || counted(t, q, streamEvents) != 3 {
		t.Errorf("got %+v, want %+v; %d events are stored", got, want, counted(t, q, streamEvents))
	}
}

// A batch that is never completed, as of a connection that broke, is dropped and keeps nobody.
func TestBatch_ThatWasBegunOnlyIsNotStored(t *testing.T) {
	q := open(t, "F")
	for range 3 {
		posts := postsOf(t, several(2, "F"))
		m := posts[0].message()
		m.Header[headerBatch], m.Header[headerBatchSequence] = []string{NewID()}, []string{"1"}
		if err := q.nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	events := several(2, "F")
	publishAll(t, q, events)
	storedInOrder(t, q, events)
}

func TestBatch_OfWhichAMessageIsMissingIsUnavailable(t *testing.T) {
	q := open(t, "F")
	m := postsOf(t, several(1, "F"))[0].message()
	m.Header[headerBatch], m.Header[headerBatchSequence], m.Header[headerBatchCommit] = []string{NewID()}, []string{"2"}, []string{"1"}
	_, err := q.store(t.Context(), m)
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}

// named is several with other delivery ids.
func named(name string, n, size int) []*Event {
	events := several(n, "F")
	for _, e := range events {
		e.DeliveryID += name
		e.Body = large(size)
	}
	return events
}

// What PublishAll costs, against a loop of Publish.
func BenchmarkPublishAll(b *testing.B) {
	for _, n := range []int{1, 2, 10, 100, 1000, 10000} {
		ways := map[string]func(q *Queue, events []*Event) error{
			"batch": func(q *Queue, events []*Event) error { _, err := q.PublishAll(b.Context(), events); return err },
			"loop": func(q *Queue, events []*Event) error {
				for _, e := range events {
					if _, err := q.Publish(b.Context(), e); err != nil {
						return err
					}
				}
				return nil
			},
		}
		for _, way := range []string{"loop", "batch"} {
			b.Run(fmt.Sprintf("%s/%d", way, n), func(b *testing.B) {
				q, body := open(b, "F"), make([]byte, 1024)
				measure(b, func() error {
					events := make([]*Event, n)
					for i := range events {
						events[i] = &Event{Source: "s", Function: "F", Body: body}
					}
					return ways[way](q, events)
				})
			})
		}
	}
}
