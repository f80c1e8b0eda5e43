package queue

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// filled returns a data folder whose gateway has stopped: 20 events, 8 to a file.
func filled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	q, err := Open(t.Context(), Options{Dir: dir, MaxEvents: 120_000, Log: testLog(t)}) // files of 32 kB
	if err != nil {
		t.Fatal(err)
	}
	fill(t, q, 20, 3500)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func fill(t *testing.T, q *Queue, n, size int) (ids []string) {
	t.Helper()
	if err := q.AddFunction(t.Context(), "Waits", Retry{}); err != nil {
		t.Fatal(err)
	}
	body := []byte(`"` + strings.Repeat("x", size) + `"`)
	for range n {
		r, err := q.Publish(t.Context(), &Event{Source: "s", Function: "Waits", Body: body})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.ID)
	}
	return ids
}

func streamFile(dir, stream, name string) string {
	return filepath.Join(dir, "jetstream", "jetstream", "$G", "streams", stream, "msgs", name)
}

// edit changes the bytes of a file.
func edit(t *testing.T, file string, change func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, change(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

// flip changes one bit of the nth record of a file, counted from 0.
func flip(t *testing.T, file string, n, at int, bit byte) {
	t.Helper()
	edit(t, file, func(data []byte) []byte {
		start := 0
		for range n {
			start += int(binary.LittleEndian.Uint32(data[start:]) &^ withHeaders)
		}
		data[start+at] ^= bit
		return data
	})
}

func verifyFolder(t *testing.T, dir string) VerifyReport {
	t.Helper()
	r, err := VerifyFolder(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func verifyLive(t *testing.T, dir string) VerifyReport {
	t.Helper()
	r, err := openIn(t, dir).Verify(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func countOf(r VerifyReport, stream string) VerifiedStream {
	for _, s := range r.Streams {
		if s.Name == stream {
			return s
		}
	}
	return VerifiedStream{}
}

func findings(r VerifyReport) string {
	var all []string
	for _, f := range r.Findings {
		what, _, _ := strings.Cut(f.Problem, ":")
		all = append(all, fmt.Sprintf("%s/%d-%d %s", f.Stream, f.First, f.Last, what))
	}
	return strings.Join(all, "; ")
}

func TestVerify_FindsNothingInASoundStore(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"Works", "Breaks"} {
		if err := q.AddFunction(t.Context(), f, Retry{}); err != nil {
			t.Fatal(err)
		}
	}
	stopWorks := work(t, q, "Works", 2, ok(`1`))
	stopBreaks := workAs(t, q, "Breaks", Retry{Attempts: 2, Initial: time.Millisecond}, 1, func(*Event) Result {
		return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "no"}
	})
	for range 20 {
		publish(t, q, "Works")
		publish(t, q, "Breaks")
	}
	settledAll(t, q, "Works")
	settledAll(t, q, "Breaks")
	if _, err := q.Call(t.Context(), &Event{Source: "s", Function: "Works", Body: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	var told uint64
	live, err := q.Verify(t.Context(), func(_ string, done, total uint64) {
		if done > total {
			t.Errorf("%d of %d", done, total)
		}
		told += done
	})
	if err != nil || len(live.Findings) > 0 {
		t.Errorf("got %v, %v", live, err)
	}
	if n := countOf(live, streamEvents); n.Messages != 40 || n.Unhashed != 0 || n.FirstSeq != 1 || n.LastSeq != 40 {
		t.Errorf("events: got %+v", n)
	}
	if n := countOf(live, streamDead); n.Messages != 20 {
		t.Errorf("dead letters: got %+v", n)
	}
	if n := countOf(live, streamLog); n.Messages != n.Unhashed || n.Messages < 60 {
		t.Errorf("log: got %+v", n)
	}
	if told == 0 {
		t.Error("no progress")
	}
	if _, err := VerifyFolder(t.Context(), dir, nil); !errors.Is(err, ErrLocked) {
		t.Errorf("folder in use: got %v", err)
	}
	stopWorks()
	stopBreaks()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if r := verifyFolder(t, dir); len(r.Findings) > 0 || countOf(r, streamEvents).Messages != 40 || countOf(r, streamDead).Messages != 20 {
		t.Errorf("stopped: got %+v", r)
	}
}

func TestVerify_NamesWhatOneFlippedBitDestroys(t *testing.T) {
	const second = "2.blk" // FUNKER_EVENTS/9 to 16
	for _, c := range []struct {
		name             string
		record, at       int
		bit              byte
		offline, stopped string // before a start, and at a gateway that was stopped before
		crashed          string // at a gateway that was killed before
	}{
		{"body", 3, 1001, 1, "FUNKER_EVENTS/12-12 damaged at byte", "FUNKER_EVENTS/12-12 unreadable", "FUNKER_EVENTS/12-16 missing"},
		{"length of the record", 3, 2, 4, "FUNKER_EVENTS/12-12 damaged at byte", "FUNKER_EVENTS/12-16 lost", "FUNKER_EVENTS/12-16 missing"},
		{"sequence", 3, 5, 1, "FUNKER_EVENTS/12-12 damaged at byte", "FUNKER_EVENTS/12-16 lost", "FUNKER_EVENTS/12-16 missing"},
		{"length of the subject", 3, 21, 128, "FUNKER_EVENTS/12-12 damaged at byte", "FUNKER_EVENTS/12-16 lost", "FUNKER_EVENTS/12-16 missing"},
		{"length of the headers", 3, recordHead + len("funker.event.s.Waits"), 1, "FUNKER_EVENTS/12-12 body does not match", "FUNKER_EVENTS/12-12 body does not match its hash", "FUNKER_EVENTS/12-12 body does not match its hash"},
		{"first of a file", 0, 1001, 1, "FUNKER_EVENTS/9-9 damaged at byte", "FUNKER_EVENTS/9-9 unreadable", "FUNKER_EVENTS/9-16 missing"},
		{"last of a file", 7, 1001, 1, "FUNKER_EVENTS/16-16 damaged at byte", "FUNKER_EVENTS/16-16 unreadable", "FUNKER_EVENTS/16-16 missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filled(t)
			flip(t, streamFile(dir, streamEvents, second), c.record, c.at, c.bit)
			before := hashTree(t, dir)
			if got := findings(verifyFolder(t, dir)); !strings.HasPrefix(got, c.offline) {
				t.Errorf("offline: got %q, want %q", got, c.offline)
			}
			if hashTree(t, dir) != before {
				t.Error("VerifyFolder changes files")
			}
			killed := copyTree(t, dir)
			if err := os.Remove(streamFile(killed, streamEvents, "index.db")); err != nil {
				t.Fatal(err)
			}
			if got := findings(verifyLive(t, dir)); got != c.stopped {
				t.Errorf("after a stop: got %q, want %q", got, c.stopped)
			}
			if got := findings(verifyLive(t, killed)); got != c.crashed {
				t.Errorf("after a kill: got %q, want %q", got, c.crashed)
			}
		})
	}
}

func copyTree(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

func hashTree(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(h, "%s %d\n%s", path, len(data), data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func TestVerify_TornLastWrite(t *testing.T) {
	cut := func(data []byte) []byte { return data[:len(data)-100] }
	t.Run("of an event that was accepted", func(t *testing.T) {
		dir := filled(t)
		edit(t, streamFile(dir, streamEvents, "3.blk"), cut)
		if got := findings(verifyFolder(t, dir)); got != "FUNKER_EVENTS/20-20 damaged at byte 11334 of 3.blk" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("of an event that was not", func(t *testing.T) {
		dir := filled(t)
		edit(t, streamFile(dir, streamEvents, "3.blk"), cut)
		if err := os.Remove(streamFile(dir, streamEvents, "index.db")); err != nil { // nothing says that it was
			t.Fatal(err)
		}
		r := verifyFolder(t, dir)
		if n := countOf(r, streamEvents); len(r.Findings) > 0 || n.Messages != 19 || n.Torn < 3000 {
			t.Errorf("got %+v, %+v", n, r.Findings)
		}
		if r := verifyLive(t, dir); len(r.Findings) > 0 || countOf(r, streamEvents).Messages != 19 {
			t.Errorf("after the start: got %+v", r)
		}
	})
	t.Run("whose bytes never came", func(t *testing.T) {
		dir := filled(t)
		edit(t, streamFile(dir, streamEvents, "3.blk"), func(data []byte) []byte { return append(data, make([]byte, 4096)...) })
		if r := verifyFolder(t, dir); len(r.Findings) > 0 || countOf(r, streamEvents).Torn != 4096 {
			t.Errorf("got %+v", r)
		}
	})
}

func TestVerify_NamesTheEventOfWhatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	ids := fill(t, q, 3, 1000)
	stop := work(t, q, "Waits", 1, ok("1"))
	settledAll(t, q, "Waits")
	stop()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	flip(t, streamFile(dir, streamEvents, "1.blk"), 1, 600, 1)
	for _, r := range []VerifyReport{verifyFolder(t, dir), verifyLive(t, dir)} {
		if len(r.Findings) != 1 || r.Findings[0].First != 2 || r.Findings[0].Event != ids[1] {
			t.Errorf("got %+v, want %s", r.Findings, ids[1])
		}
	}
}

func TestVerify_PassesOverAFileThatCannotBeRead(t *testing.T) {
	dir := filled(t)
	q := openIn(t, dir)
	file := streamFile(dir, streamEvents, "2.blk")
	if err := errors.Join(os.Remove(file), os.Mkdir(file, 0o700)); err != nil {
		t.Fatal(err)
	}
	r, err := q.Verify(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	// Whether the server has marked them as lost by now depends on what it happened to look up before.
	got := findings(r)
	if got != "FUNKER_EVENTS/9-16 unreadable" && got != "FUNKER_EVENTS/9-16 lost" || countOf(r, streamEvents).Messages != 12 {
		t.Errorf("got %q, %+v", got, countOf(r, streamEvents))
	}
}

func TestVerify_ReadsTheStreamsOfOthers(t *testing.T) {
	dir := t.TempDir()
	q := openIn(t, dir)
	if _, err := q.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"other"}}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := q.js.Publish(t.Context(), "other", make([]byte, maxPayload-1000)); err != nil {
			t.Fatal(err)
		}
	}
	// A body that is not the one of its hash, and headers that are none.
	if _, err := q.js.PublishMsg(t.Context(), &nats.Msg{Subject: "funker.event.s.F", Header: nats.Header{headerSum: {"00"}, headerID: {"id"}}, Data: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	r, err := q.Verify(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := countOf(r, "OTHER"); n.Messages != 3 || n.Unhashed != 3 {
		t.Errorf("got %+v", n)
	}
	if got := findings(r); got != "FUNKER_EVENTS/1-1 body does not match its hash" || r.Findings[0].Event != "id" {
		t.Errorf("got %+v", r.Findings)
	}
}

func TestVerify_UnderLoad(t *testing.T) {
	dir := t.TempDir()
	q := openIn(t, dir, "Works", "Breaks")
	work(t, q, "Works", 2, ok("1"))
	workAs(t, q, "Breaks", Retry{Attempts: 3, Initial: 10 * time.Millisecond}, 2, func(*Event) Result {
		return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "no"}
	})
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	defer load.Wait()
	defer cancel()
	for _, function := range []string{"Works", "Breaks"} {
		load.Go(func() {
			for ctx.Err() == nil {
				if _, err := q.Publish(ctx, &Event{Source: "s", Function: function, Body: []byte("1")}); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	events, err := q.js.Stream(t.Context(), streamEvents)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(5) {
		within(t, patience, "more events", func() bool {
			info, err := events.Info(t.Context())
			return err == nil && info.State.LastSeq > 200*(i+1)
		})
		trimmed := make(chan error, 1)
		go func() { trimmed <- events.Purge(t.Context(), jetstream.WithPurgeSequence(150*(i+1))) }()
		r, err := q.Verify(t.Context(), nil)
		if err := errors.Join(err, <-trimmed); err != nil {
			t.Fatal(err)
		}
		if len(r.Findings) > 0 {
			t.Fatalf("got %+v", r)
		}
	}
}

func TestVerify_WhatIsDoneMayBeDeleted(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.Close() }() // again
	if err := q.AddFunction(t.Context(), "Works", Retry{}); err != nil {
		t.Fatal(err)
	}
	stop := work(t, q, "Works", 1, ok("1"))
	fill(t, q, 1, 10) // waits as FUNKER_EVENTS/1
	for range 20 {
		publish(t, q, "Works")
	}
	fill(t, q, 10, 10)
	settledAll(t, q, "Works")
	stop()
	events, err := q.js.Stream(t.Context(), streamEvents)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what, live, offline string) {
		t.Helper()
		if r, err := q.Verify(t.Context(), nil); err != nil || findings(r) != live {
			t.Errorf("%s: got %q, %v; want %q", what, findings(r), err, live)
		}
		stopped := copyTree(t, dir)
		if err := os.Remove(filepath.Join(stopped, lockFile)); err != nil {
			t.Fatal(err)
		}
		if got := findings(verifyFolder(t, stopped)); got != offline {
			t.Errorf("%s, offline: got %q, want %q", what, got, offline)
		}
	}
	err = events.Purge(t.Context(), jetstream.WithPurgeSubject(eventSubject("*", "Works")), jetstream.WithPurgeSequence(10))
	if err != nil {
		t.Fatal(err)
	}
	check("trimmed function by function", "", "")
	if err := events.DeleteMsg(t.Context(), 15); err != nil {
		t.Fatal(err)
	}
	check("deleted with its body", "", "")
	if err := events.DeleteMsg(t.Context(), 25); err != nil { // it waits
		t.Fatal(err)
	}
	check("waiting", "FUNKER_EVENTS/25-25 missing", "")
	if err := events.Purge(t.Context(), jetstream.WithPurgeSequence(31)); err != nil {
		t.Fatal(err)
	}
	check("trimmed", "", "")
	if err := events.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("empty", "", "")
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if got := findings(verifyFolder(t, dir)); got != "" {
		t.Errorf("stopped: got %q", got)
	}
}

func TestVerifyFolder_FindsWhatIsDamagedBesidesMessages(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(dir string) error
		want  string
	}{
		{"file gone", func(dir string) error { return os.Remove(streamFile(dir, streamEvents, "2.blk")) }, "FUNKER_EVENTS/0-0 missing"},
		{"newest file gone", func(dir string) error { return os.Remove(streamFile(dir, streamEvents, "3.blk")) }, "FUNKER_EVENTS/17-20 missing"},
		{"all files gone", func(dir string) error {
			return errors.Join(os.Remove(streamFile(dir, streamEvents, "1.blk")), os.Remove(streamFile(dir, streamEvents, "2.blk")),
				os.Remove(streamFile(dir, streamEvents, "3.blk")))
		}, "FUNKER_EVENTS/1-20 missing"},
		{"settings of a stream", func(dir string) error {
			return os.WriteFile(streamFile(dir, streamEvents, "../meta.inf"), []byte("{}"), 0o600)
		}, "FUNKER_EVENTS/0-0 damaged"},
		{"no settings", func(dir string) error { return os.Remove(streamFile(dir, streamEvents, "../meta.inf")) }, "FUNKER_EVENTS/0-0 unreadable"},
		{"settings of a consumer", func(dir string) error {
			return os.WriteFile(streamFile(dir, streamEvents, "../obs/fn-Waits/meta.inf"), []byte("{}"), 0o600)
		}, "FUNKER_EVENTS/0-0 damaged"},
		{"damaged to the end of a file", func(dir string) error { return os.Truncate(streamFile(dir, streamEvents, "2.blk"), 10_000) }, "FUNKER_EVENTS/11-16 damaged at byte 7556 of 2.blk"},
		{"unreadable file", func(dir string) error {
			file := streamFile(dir, streamEvents, "2.blk")
			return errors.Join(os.Remove(file), os.Mkdir(file, 0o700))
		}, "FUNKER_EVENTS/9-16 2.blk cannot be read"},
		{"note", func(dir string) error {
			return os.WriteFile(streamFile(dir, streamEvents, "index.db"), make([]byte, 100), 0o600) // the server makes a new one
		}, ""},
	} {
		dir := filled(t)
		if err := c.spoil(dir); err != nil {
			t.Fatal(err)
		}
		if got := findings(verifyFolder(t, dir)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	if _, err := VerifyFolder(t.Context(), t.TempDir(), nil); err == nil {
		t.Error("an empty folder is a data folder")
	}
}

func TestVerify_ComparesBodiesThatAreStoredApart(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.Close() }() // again
	body := []byte(`"` + strings.Repeat("x", MaxMessage) + `"`)
	var large []*Event
	for range 3 {
		e := &Event{Source: "s", Function: "Waits", Body: body}
		if _, err := q.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		large = append(large, e)
	}
	r, err := q.Verify(t.Context(), nil)
	if err != nil || len(r.Findings) > 0 || countOf(r, streamBodies).Messages < 24 {
		t.Fatalf("got %+v, %v", r, err)
	}
	bodies, err := q.js.Stream(t.Context(), streamBodies)
	if err != nil {
		t.Fatal(err)
	}
	if err := bodies.Purge(t.Context(), jetstream.WithPurgeSubject(chunkSubject(large[0].claim.object))); err != nil {
		t.Fatal(err)
	}
	if _, err := q.js.Publish(t.Context(), chunkSubject(large[1].claim.object), []byte("more")); err != nil {
		t.Fatal(err)
	}
	want := "FUNKER_EVENTS/1-1 body " + large[0].claim.object + " is not there, or not all of it; " +
		"FUNKER_EVENTS/2-2 body " + large[1].claim.object + " does not match its hash"
	if r, err = q.Verify(t.Context(), nil); err != nil || findings(r) != want || r.Findings[0].Event != large[0].ID {
		t.Errorf("got %q, %v; want %q", findings(r), err, want)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	want = strings.TrimPrefix(want, "FUNKER_EVENTS/1-1 body "+large[0].claim.object+" is not there, or not all of it; ")
	if got := findings(verifyFolder(t, dir)); !strings.HasSuffix(got, want) {
		t.Errorf("offline: got %q, want %q", got, want)
	}
}
