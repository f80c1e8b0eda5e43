package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func backup(t *testing.T, q *Queue) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "backup")
	r, err := q.Backup(t.Context(), dir, nil)
	if err != nil || len(r.Findings) > 0 {
		t.Fatalf("backup: got %+v, %v", r.Findings, err)
	}
	return dir
}

func restore(t *testing.T, from string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	r, err := Restore(t.Context(), from, dir, testLog(t), nil)
	if err != nil || len(r.Findings) > 0 {
		t.Fatalf("restore: got %+v, %v", r.Findings, err)
	}
	return dir
}

// runs counts the runs of each event.
type runs struct {
	mu sync.Mutex
	n  map[string]int
}

func (r *runs) count(e *Event) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == nil {
		r.n = make(map[string]int)
	}
	r.n[e.ID]++
	return r.n[e.ID]
}

func (r *runs) of(id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n[id]
}

func TestBackup_OfAQuietQueueIsExact(t *testing.T) {
	q := open(t, "Works", "Breaks", "Again", "Waits")
	var done runs
	work(t, q, "Works", 1, func(e *Event) Result { done.count(e); return Result{Outcome: OutcomeOK, Reply: []byte("1")} })
	work(t, q, "Breaks", 1, func(e *Event) Result {
		done.count(e)
		return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "no", Final: true}
	})
	stop := work(t, q, "Again", 1, func(*Event) Result { // it does not wait for the retry, on a slow machine either
		return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "later", RetryAfter: 2 * time.Second, Last: true}
	})
	ran, dead, retried, waiting := publish(t, q, "Works"), publish(t, q, "Breaks"), publish(t, q, "Again"), publish(t, q, "Waits")
	big, err := q.Publish(t.Context(), &Event{Source: "s", Function: "Waits", Body: make([]byte, 100_000)})
	if err != nil {
		t.Fatal(err)
	}
	delivery := Event{Source: "s", Function: "Waits", DeliveryID: "d1", Body: []byte("1")}
	first := delivery
	if _, err := q.Publish(t.Context(), &first); err != nil {
		t.Fatal(err)
	}
	apart, err := q.Publish(t.Context(), &Event{Source: "s", Function: "Waits", Body: make([]byte, MaxMessage+1)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Call(t.Context(), &Event{Source: "s", Function: "Works", Body: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	settledAll(t, q, "Works")
	settledAll(t, q, "Breaks")
	within(t, patience, "all is in the log", func() bool { return len(stored(t, q, streamLog)) == 4 })
	stop()
	before := make(map[string]string)
	for _, stream := range moveOrder {
		before[stream] = contents(t, q, stream)
	}
	from := backup(t, q)

	again := openIn(t, restore(t, from), "Works", "Breaks", "Again", "Waits")
	for _, stream := range moveOrder {
		if got := contents(t, again, stream); got != before[stream] && stream != streamRetry { // its retry may be due
			t.Errorf("%s: got\n%swant\n%s", stream, got, before[stream])
		}
	}
	if r, err := again.Verify(t.Context(), nil); err != nil || len(r.Findings) > 0 {
		t.Errorf("got %+v, %v", r, err)
	}
	var then runs
	for _, f := range []string{"Works", "Breaks", "Again", "Waits"} {
		work(t, again, f, 1, func(e *Event) Result {
			then.count(e)
			if e.ID == apart.ID && len(e.Body) != MaxMessage+1 {
				t.Errorf("a body has %d bytes", len(e.Body))
			}
			return Result{Outcome: OutcomeOK, Reply: []byte("1")}
		})
	}
	for _, f := range []string{"Works", "Breaks", "Again", "Waits"} {
		settledAll(t, again, f)
	}
	for id, want := range map[string]int{ran.ID: 0, dead.ID: 0, retried.ID: 1, waiting.ID: 1, big.ID: 1, apart.ID: 1} {
		if got := then.of(id); got != want {
			t.Errorf("%s ran %d times after the restore, want %d", id, got, want)
		}
	}
	if letters := stored(t, again, streamDead); len(letters) != 1 || letters[0].Header.Get(headerID) != dead.ID {
		t.Errorf("%d dead letters", len(letters))
	}
	if got := outcomes(t, again, retried.ID); got != "1 retry, 2 ok" {
		t.Errorf("the log says %s", got)
	}
	if r, err := again.Publish(t.Context(), &delivery); err != nil || !r.Duplicate || r.ID != first.ID {
		t.Errorf("repeat: got %+v, %v; want a duplicate of %s", r, err, first.ID)
	}
}

// contents is every message of a stream, in order.
func contents(t *testing.T, q *Queue, stream string) string {
	t.Helper()
	var b strings.Builder
	for _, m := range stored(t, q, stream) {
		fmt.Fprintf(&b, "%d %s %s %v %d %x\n", m.Sequence, m.Time.UTC(), m.Subject, m.Header, len(m.Data), m.Data[:min(len(m.Data), 50)])
	}
	return b.String()
}

// TestBackup_UnderLoad makes backups while events are accepted, run, moved to retries and to the dead letters. After a
// restore, each event that was accepted before the backup began must come to an end.
func TestBackup_UnderLoad(t *testing.T) {
	retry := Retry{Attempts: 4, Initial: 100 * time.Millisecond, Max: 300 * time.Millisecond}
	functions := []string{"Works", "Flaky", "Breaks", "Early", "Waits"}
	start := func(t *testing.T, q *Queue, r *runs) (stop func()) {
		var stops []func()
		for _, f := range functions[:4] {
			stops = append(stops, workAs(t, q, f, retry, 4, func(e *Event) Result {
				n := r.count(e)
				switch {
				case f == "Flaky" && n < 3:
					return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "not yet"}
				case f == "Breaks":
					return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "never", Final: true}
				}
				return Result{Outcome: OutcomeOK, Reply: []byte("1")}
			}))
		}
		return func() {
			var all sync.WaitGroup
			for _, stop := range stops {
				all.Go(stop)
			}
			all.Wait()
		}
	}
	openQuick := func(t *testing.T, dir string) *Queue {
		q, err := Open(t.Context(), Options{Dir: dir, AckWait: MinAckWait, Log: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := q.Close(); err != nil {
				t.Error(err)
			}
		})
		for _, f := range functions {
			if err := q.AddFunction(t.Context(), f, retry); err != nil {
				t.Fatal(err)
			}
		}
		return q
	}
	q := openQuick(t, t.TempDir())
	var before runs
	stop := start(t, q, &before)
	var early []string
	for range 5 {
		early = append(early, publish(t, q, "Early").ID)
	}
	settledAll(t, q, "Early")

	var accepted sync.Map
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	body := []byte(`"` + strings.Repeat("x", 5_000) + `"`)
	for _, f := range []string{"Works", "Flaky", "Flaky", "Breaks", "Waits"} {
		load.Go(func() {
			pace := time.NewTicker(5 * time.Millisecond)
			defer pace.Stop()
			for n := 0; n < 60 && ctx.Err() == nil; n++ {
				r, err := q.Publish(ctx, &Event{Source: "s", Function: f, Body: body})
				if err == nil {
					accepted.Store(r.ID, f)
				} else if ctx.Err() == nil {
					t.Error(err)
				}
				<-pace.C
			}
		})
	}
	within(t, patience, "retries come and go", func() bool {
		state, err := q.state(t.Context(), streamRetry)
		return err == nil && state.LastSeq > 60
	})
	expected := make(map[string]string)
	accepted.Range(func(id, f any) bool { expected[id.(string)] = f.(string); return true })
	from := backup(t, q)
	done := ended(t, q) // their line may come into the log a moment after the backup has read it
	cancel()
	load.Wait()
	stop()

	again := openQuick(t, restore(t, from))
	if r, err := again.Verify(t.Context(), nil); err != nil || len(r.Findings) > 0 {
		t.Errorf("got %+v, %v", r.Findings, err)
	}
	var after runs
	defer start(t, again, &after)()
	work(t, again, "Waits", 4, ok("1"))
	for _, f := range functions {
		settledAll(t, again, f)
	}
	then, there := ended(t, again), make(map[string]bool)
	readAll(t, again, streamEvents, func(_ uint64, m *nats.Msg) { there[m.Header.Get(headerID)] = true })
	lost := make(map[string]int)
	for id, f := range expected {
		if !there[id] || !then[id] && !done[id] {
			lost[f]++
		}
	}
	if len(lost) > 0 {
		t.Errorf("of %d events these are not there or did not come to an end: %v", len(expected), lost)
	}
	for _, id := range early {
		if after.of(id) > 0 {
			t.Errorf("%s was done before the backup and ran again", id)
		}
	}
	referencesExist(t, again)
}

// ended reads which events have succeeded or died.
func ended(t *testing.T, q *Queue) map[string]bool {
	t.Helper()
	all := make(map[string]bool)
	readAll(t, q, streamLog, func(_ uint64, m *nats.Msg) {
		if o := Outcome(m.Header.Get(headerOutcome)); o == OutcomeOK || o == OutcomeDead {
			all[m.Header.Get(headerID)] = true
		}
	})
	return all
}

func readAll(t *testing.T, q *Queue, stream string, f func(seq uint64, m *nats.Msg)) {
	t.Helper()
	r, err := q.newScanner(jetstream.StreamConfig{Name: stream, AllowDirect: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	for next, from := uint64(1), uint64(0); next != from; {
		from = next
		if next, err = r.read(t.Context(), from, f); err != nil {
			t.Fatal(err)
		}
	}
}

// referencesExist looks up what messages refer to.
func referencesExist(t *testing.T, q *Queue) {
	t.Helper()
	there := make(map[string]bool)
	for _, stream := range moveOrder {
		readAll(t, q, stream, func(seq uint64, m *nats.Msg) {
			there[reference(stream, seq)] = true
			if root := m.Header.Get(headerRoot); root != "" && !there[root] {
				t.Errorf("%s refers to %s, which is not there", reference(stream, seq), root)
			}
		})
	}
}

func TestBackup_RefersToNothingThatItDoesNotHave(t *testing.T) {
	q := open(t, "Works")
	work(t, q, "Works", 1, ok("1"))
	lines := 0
	run := func() {
		publish(t, q, "Works")
		lines++
		within(t, patience, "it is in the log", func() bool { return len(stored(t, q, streamLog)) == lines })
	}
	run()
	dir := filepath.Join(t.TempDir(), "backup")
	_, err := q.Backup(t.Context(), dir, func(stream string, done, _ uint64) {
		switch {
		case stream == streamLog && lines == 1:
			run() // after the snapshots
		case stream == streamEvents && done == 2:
			run() // while the events are read on
		}
	})
	if err != nil || lines != 3 {
		t.Fatalf("%d lines, %v", lines, err)
	}
	referencesExist(t, openIn(t, restore(t, dir), "Works"))
}

func TestBackup_FollowsARetryThatBecomesDueMeanwhile(t *testing.T) {
	q := open(t, "Waits")
	e := &Event{ID: NewID(), Source: "s", Function: "Waits", Body: []byte("1")}
	if _, err := q.store(t.Context(), retryMessage(e, time.Now().Add(500*time.Millisecond), NewID())); err != nil {
		t.Fatal(err)
	}
	s, err := q.js.Stream(t.Context(), streamRetry)
	if err != nil {
		t.Fatal(err)
	}
	a := newAudit()
	b, err := q.newStreamBackup(s, t.TempDir(), a, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.file.Close()
	if err := b.snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	within(t, patience, "the retry is due", func() bool {
		info, err := s.Info(t.Context())
		return err == nil && info.State.LastSeq == 2 && info.State.Msgs == 1
	})
	if err := errors.Join(b.readOn(t.Context()), b.close(), b.judgeGaps(t.Context(), q, s)); err != nil {
		t.Fatal(err)
	}
	if b.LastSeq != 2 || len(a.Findings) > 0 {
		t.Errorf("got %+v, %+v", b.VerifiedStream, a.Findings)
	}
}

func TestBackup_SavesWhatCanBeReadAndNamesTheRest(t *testing.T) {
	// The server itself may have noticed by then that a file is gone.
	found := func(r VerifyReport) string { return strings.ReplaceAll(findings(r), "9-16 lost", "9-16 unreadable") }
	for name, damage := range map[string]struct {
		do   func(dir string) error // while the gateway runs
		want string
	}{
		"one message": {func(string) error { return nil }, "FUNKER_EVENTS/12-12 unreadable"},
		"a file": {func(dir string) error {
			file := streamFile(dir, streamEvents, "2.blk")
			return errors.Join(os.Remove(file), os.Mkdir(file, 0o700))
		}, "FUNKER_EVENTS/9-16 unreadable"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t)
			flip(t, streamFile(dir, streamEvents, "2.blk"), 3, 1001, 1)
			q := openIn(t, dir)
			if err := damage.do(dir); err != nil {
				t.Fatal(err)
			}
			from := filepath.Join(t.TempDir(), "backup")
			r, err := q.Backup(t.Context(), from, nil)
			if err != nil || found(r) != damage.want {
				t.Fatalf("backup: got %q, %v; want %q", findings(r), err, damage.want)
			}
			r, err = Restore(t.Context(), from, filepath.Join(t.TempDir(), "data"), testLog(t), nil)
			if err != nil || found(r) != damage.want {
				t.Errorf("restore: got %q, %v; want %q", findings(r), err, damage.want)
			}
		})
	}
}

func TestBackup_BrokenOffLeavesNothing(t *testing.T) {
	q := open(t)
	fill(t, q, 20, 100_000)
	parent := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	_, err := q.Backup(ctx, filepath.Join(parent, "backup"), func(stream string, done, _ uint64) {
		if stream == streamEvents && done == 10 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if names, err := entries(parent); err != nil || len(names) > 0 {
		t.Errorf("left %v, %v", names, err)
	}
	if _, err := q.Backup(t.Context(), parent, nil); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("existing folder: got %v", err)
	}
}

func TestRestore_TakesCompleteBackupsAndEmptyFoldersOnly(t *testing.T) {
	q := open(t)
	fill(t, q, 3, 100)
	good := backup(t, q)
	for name, c := range map[string]struct {
		spoil func(from, to string) error
		want  string
	}{
		"not empty":   {func(_, to string) error { return os.WriteFile(filepath.Join(to, "admin.nk"), nil, 0o600) }, "is not empty"},
		"no manifest": {func(from, _ string) error { return os.Remove(filepath.Join(from, manifestFile)) }, "no complete backup"},
		"no JSON":     {func(from, _ string) error { return os.WriteFile(filepath.Join(from, manifestFile), []byte("{"), 0o600) }, manifestFile},
		"newer": {func(from, _ string) error {
			return os.WriteFile(filepath.Join(from, manifestFile), []byte(`{"version":2}`), 0o600)
		}, "version 2"},
		"archive cut": {func(from, _ string) error { return os.Truncate(filepath.Join(from, streamEvents, archiveFile), 100) }, "damaged"},
		"no archive":  {func(from, _ string) error { return os.Remove(filepath.Join(from, streamEvents, archiveFile)) }, archiveFile},
		"no settings": {func(from, _ string) error { return os.Remove(filepath.Join(from, streamLog, settingsFile)) }, settingsFile},
	} {
		from, to := copyTree(t, good), t.TempDir()
		if err := c.spoil(from, to); err != nil {
			t.Fatal(err)
		}
		_, err := Restore(t.Context(), from, to, testLog(t), nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if _, err := os.Stat(filepath.Join(to, streamsDir)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: there are streams: %v", name, err)
		}
	}
	killed := t.TempDir()
	if err := os.Mkdir(filepath.Join(killed, restoring), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), good, killed, testLog(t), nil); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("got %v", err)
	}
	if _, err := Open(t.Context(), Options{Dir: killed, Log: testLog(t)}); !errors.Is(err, ErrForeign) {
		t.Errorf("a gateway starts on what a killed restore left: %v", err)
	}
	to := t.TempDir()
	if _, err := Restore(t.Context(), good, to, testLog(t), nil); err != nil {
		t.Error(err)
	}
	if names, err := entries(to); err != nil || strings.Join(names, " ") != streamsDir {
		t.Errorf("got %v, %v", names, err)
	}
}

func TestRestore_OfAStoreThatTheServerSyncs(t *testing.T) {
	o := Options{Dir: t.TempDir(), Durability: DurabilityAlways, Log: testLog(t)}
	q, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	ids := fill(t, q, 3, 100)
	o.Dir = restore(t, backup(t, q))
	again, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if r, err := again.Get(t.Context(), ids[2]); err != nil || r.Size != 102 {
		t.Errorf("got %+v, %v", r, err)
	}
}
