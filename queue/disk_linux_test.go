package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestDisk_FormatsSizesAsPeopleDo(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 bytes", 1023: "1023 bytes", 1024: "1 KiB", 1536: "1.5 KiB", 4 << 30: "4 GiB", 5<<30 - 1: "4.9 GiB", 1 << 50: "1 PiB", 1<<63 - 1: "7.9 EiB",
	} {
		if got := formatSize(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func TestDisk_IsSharedOut(t *testing.T) {
	const mib, gib = 1 << 20, 1 << 30
	for _, c := range []struct {
		name         string
		space        space
		wanted, want int64
		says         string
	}{
		{name: "large", space: space{total: 250 * gib, free: 80 * gib}, want: 4 * gib},
		{name: "small", space: space{total: 4 * gib, free: 2 * gib, used: gib}, want: 3 * gib / 2},
		{name: "full of our own", space: space{total: 4 * gib, used: 3 * gib}, want: 3 * gib / 2},
		{name: "full of others'", space: space{total: 4 * gib}, want: mib},
		{name: "as wanted", space: space{total: 250 * gib, free: 80 * gib}, wanted: 70 * gib, want: 70 * gib},
		{name: "what is stored counts", space: space{total: 250 * gib, free: gib, used: 9 * gib}, wanted: 9 * gib, want: 9 * gib},
		{name: "too much", space: space{total: 250 * gib, free: 8 * gib, used: 512 * mib}, wanted: 200 * gib,
			says: "--max-events 200 GiB does not fit on the disk of the data folder: it has 8 GiB free, and the store uses 512 MiB; choose 8.4 GiB or less, or make room"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.space.maxEvents(c.wanted)
			if c.says != "" {
				if err == nil || err.Error() != c.says {
					t.Errorf("got %v\nwant %s", err, c.says)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("got %s, %v; want %s", formatSize(got), err, formatSize(c.want))
			}
		})
	}
}

func TestDisk_WhatDoesNotFitIsRefusedAtTheStart(t *testing.T) {
	_, err := Open(t.Context(), Options{Dir: t.TempDir(), MaxEvents: 1 << 60, Log: testLog(t)})
	if err == nil || !strings.Contains(err.Error(), "--max-events 1 EiB does not fit") {
		t.Errorf("got %v", err)
	}
}

// smallDisk mounts a file system of so many MiB.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", size)); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("a small disk cannot be mounted: %v", err)
		}
		t.Skipf("a small disk cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// occupy fills the disk with a file, until only so much is left.
func occupy(t *testing.T, dir string, left int64) (free func()) {
	t.Helper()
	s, err := look(dir)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "somebody else's")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, s.free-left); err != nil {
		t.Fatal(err)
	}
	free = sync.OnceFunc(func() {
		if err := errors.Join(f.Close(), os.Remove(file)); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(free)
	return free
}

// load publishes from several senders until it is stopped, and keeps the ids of what was accepted.
type load struct {
	accepted sync.Map
	count    atomic.Int64
	refused  atomic.Int64 // in a row
	others   sync.Map     // other errors
}

func (l *load) run(ctx context.Context, q *Queue, function string) {
	for ctx.Err() == nil {
		r, err := q.Publish(ctx, &Event{Source: "s", Function: function, Body: make([]byte, 20<<10)})
		switch {
		case err == nil:
			l.accepted.Store(r.ID, true)
			l.count.Add(1)
			l.refused.Store(0)
		case errors.Is(err, ErrFull):
			l.refused.Add(1)
			<-time.After(20 * time.Millisecond)
		case ctx.Err() == nil:
			l.others.Store(err.Error(), true)
		}
	}
}

func TestDisk_AFullDiskLosesNothingAndIsUsedAgainWhenThereIsRoom(t *testing.T) {
	dir := smallDisk(t, 100)
	q := openIn(t, dir, "Fails")
	var runs sync.Map
	var fails atomic.Int64
	stop := workAs(t, q, "Fails", quick, 2, func(e *Event) Result {
		runs.Store(e.ID, true)
		if fails.Add(1)%4 == 0 {
			return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Final: true}
		}
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	})
	var l load
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() { l.run(ctx, q, "Fails") })
	}
	within(t, patience, "events are accepted", func() bool { return l.count.Load() > 20 })
	s, err := look(dir)
	if err != nil {
		t.Fatal(err)
	}
	free := occupy(t, dir, s.reserve()+1<<20)
	within(t, patience, "events are refused", func() bool { return l.refused.Load() > 20 })
	settledAll(t, q, "Fails") // what was accepted goes on, dead letters too
	if _, err := q.Call(t.Context(), &Event{Source: "s", Function: "Fails", Body: []byte("1")}); !errors.Is(err, ErrFull) {
		t.Errorf("a call got %v, want ErrFull", err)
	}
	full := l.count.Load()
	free()
	within(t, patience, "events are accepted again", func() bool { return l.count.Load() > full+20 })
	cancel()
	senders.Wait()
	settledAll(t, q, "Fails")
	stop()
	l.accepted.Range(func(id, _ any) bool {
		if _, ran := runs.Load(id); !ran {
			t.Errorf("event %v was accepted and has not run", id)
		}
		return true
	})
	l.others.Range(func(err, _ any) bool { t.Errorf("a sender was told: %v", err); return true })
	if len(q.Failed()) > 0 {
		t.Errorf("the store has failed: %v", <-q.Failed())
	}
	t.Logf("%d accepted, %d of them before the disk was full", l.count.Load(), full)
}

func TestDisk_BelowTheReserveTheServerItselfRefuses(t *testing.T) {
	dir := smallDisk(t, 60)
	q := openIn(t, dir, "F")
	occupy(t, dir, 2<<20)
	within(t, patience, "the server refuses", func() bool {
		_, err := q.js.PublishMsg(t.Context(), encode(&Event{ID: NewID(), Function: "F"}, redoSubject("F")))
		if err != nil && !storeFull(err) {
			t.Fatal(err)
		}
		return err != nil
	})
	if len(q.Failed()) > 0 {
		t.Errorf("the store has failed: %v", <-q.Failed())
	}
}

func TestDisk_AStoreThatFailedSaysSoAndKeepsWhatWasAccepted(t *testing.T) {
	dir := smallDisk(t, 60)
	q, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.AddFunction(t.Context(), "F", Retry{}); err != nil {
		t.Fatal(err)
	}
	var want []string
	for range 10 {
		want = append(want, publish(t, q, "F").ID)
	}
	free := occupy(t, dir, 0) // between two looks at the disk
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := q.js.PublishMsg(ctx, encode(&Event{ID: NewID(), Function: "F", Body: make([]byte, 100<<10)}, eventSubject("s", "F"))); err == nil {
		t.Fatal("the disk has no limit")
	}
	select {
	case err := <-q.Failed():
		t.Log(err)
	case <-time.After(5 * watchEvery):
		t.Error("the store has failed, and nobody says so")
	}
	begin := time.Now()
	if err := q.Close(); err != nil {
		t.Log(err)
	}
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("closing took %s", d)
	}
	free()
	q = openIn(t, dir, "F")
	for i, m := range stored(t, q, streamEvents) {
		if i >= len(want) || m.Header.Get(headerID) != want[i] {
			t.Fatalf("event %d is %s", i, m.Header.Get(headerID))
		}
		want[i] = ""
	}
	if got := strings.Join(want, ""); got != "" {
		t.Errorf("lost: %s", got)
	}
}
