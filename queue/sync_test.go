package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// syncLog has the paths that were synced, relative to the folder of the streams.
type syncLog struct {
	mu    sync.Mutex
	paths []string
}

const streamsFolder = "$G/streams"

// syncsOf makes a syncer of a data folder, which has synced everything and settled, and its log.
func syncsOf(t testing.TB, dir string) (*syncer, *syncLog) {
	t.Helper()
	s, l := newSyncer(filepath.Join(dir, "jetstream/jetstream")), &syncLog{}
	s.fsync = func(path string) error {
		if rel, err := filepath.Rel(filepath.Join(s.root, streamsFolder), path); err == nil {
			l.mu.Lock()
			l.paths = append(l.paths, rel)
			l.mu.Unlock()
		}
		return syncPath(path)
	}
	settle(t, s)
	if err := s.all(); err != nil {
		t.Fatal(err)
	}
	l.take()
	return s, l
}

// settle makes the folders look as if nothing had changed for an hour.
func settle(t testing.TB, s *syncer) {
	t.Helper()
	err := filepath.WalkDir(s.root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chtimes(path, time.Time{}, time.Now().Add(-time.Hour))
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = nil // what was purged is removed in the background
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	mustWait(t, s)
}

// take empties the log.
func (l *syncLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	paths := l.paths
	l.paths = nil
	slices.Sort(paths)
	return paths
}

func mustWait(t testing.TB, s *syncer) {
	t.Helper()
	if err := s.wait(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
}

func publishRaw(t testing.TB, q *Queue, subject string, body []byte) {
	t.Helper()
	if _, err := q.js.Publish(t.Context(), subject, body); err != nil {
		t.Fatal(err)
	}
}

// smallBlocks creates a stream that begins a new block every 30 KB or so.
func smallBlocks(t testing.TB, q *Queue, name, subject string) jetstream.Stream {
	t.Helper()
	cfg := jetstream.StreamConfig{Name: name, Subjects: []string{subject}, MaxBytes: 64 << 10}
	if _, err := q.js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	cfg.MaxBytes = 1 << 30 // the size of the blocks stays until a restart
	stream, err := q.js.UpdateStream(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func TestSyncer_SyncsWhatTheServerAcknowledgedAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	q := openIn(t, dir, "F")
	s, log := syncsOf(t, dir)
	body := bytes.Repeat([]byte("body"), 256)
	for range 3 {
		publishRaw(t, q, eventSubject("s", "F"), body)
		stored, err := os.ReadFile(filepath.Join(s.root, streamsFolder, streamEvents, "msgs/1.blk"))
		if err != nil || !bytes.HasSuffix(stored[:len(stored)-8], body) {
			t.Fatalf("the server has not written what it acknowledged: %d bytes, %v", len(stored), err)
		}
		mustWait(t, s)
		if got := log.take(); !slices.Equal(got, []string{streamEvents + "/msgs/1.blk"}) {
			t.Errorf("after an event: synced %q", got)
		}
	}
	publishRaw(t, q, eventSubject("s", "F"), body)
	publishRaw(t, q, redoSubject("F"), body)
	mustWait(t, s)
	if got := log.take(); !slices.Equal(got, []string{streamEvents + "/msgs/1.blk", streamRetry + "/msgs/1.blk"}) {
		t.Errorf("after an event and a retry: synced %q", got)
	}
	publishRaw(t, q, calledSubject(callSubject("s", "F")), body)
	mustWait(t, s)
	if got := log.take(); got != nil {
		t.Errorf("after a call: synced %q", got)
	}
}

func TestSyncer_OfOneStreamLeavesTheOthersToTheNextOne(t *testing.T) {
	dir := t.TempDir()
	q := openIn(t, dir, "F")
	s, log := syncsOf(t, dir)
	publishRaw(t, q, eventSubject("s", "F"), nil)
	publishRaw(t, q, redoSubject("F"), nil)
	waitFor := func(stream string, want ...string) {
		t.Helper()
		if err := s.wait(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
		if got := log.take(); !slices.Equal(got, want) {
			t.Errorf("of %q: synced %q, want %q", stream, got, want)
		}
	}
	waitFor(streamEvents, streamEvents+"/msgs/1.blk")
	waitFor(streamEvents)
	waitFor(streamRetry, streamRetry+"/msgs/1.blk")
	publishRaw(t, q, eventSubject("s", "F"), nil)
	publishRaw(t, q, redoSubject("F"), nil)
	waitFor("", streamEvents+"/msgs/1.blk", streamRetry+"/msgs/1.blk")
	smallBlocks(t, q, "NEW", "new")
	publishRaw(t, q, redoSubject("F"), nil)
	waitFor("NEW", ".", "NEW", "NEW/meta.inf", "NEW/meta.sum", "NEW/msgs", "NEW/msgs/1.blk")
}

func TestSyncer_FindsNewStreamsAndBlocksInOneSync(t *testing.T) {
	dir := t.TempDir()
	q := openIn(t, dir)
	s, log := syncsOf(t, dir)
	stream := smallBlocks(t, q, "NEW", "new")
	publishRaw(t, q, "new", nil)
	mustWait(t, s)
	if got := log.take(); !slices.Equal(got, []string{".", "NEW", "NEW/meta.inf", "NEW/meta.sum", "NEW/msgs", "NEW/msgs/1.blk"}) {
		t.Errorf("a new stream: synced %q", got)
	}
	settle(t, s)
	for range 40 {
		publishRaw(t, q, "new", make([]byte, 1000))
	}
	mustWait(t, s)
	if got := log.take(); !slices.Equal(got, []string{"NEW/msgs", "NEW/msgs/1.blk", "NEW/msgs/2.blk"}) {
		t.Errorf("a new block: synced %q", got)
	}
	settle(t, s)
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustWait(t, s)
	got := log.take()
	for _, want := range []string{"NEW", "NEW/msgs", "NEW/msgs/3.blk"} {
		if !slices.Contains(got, want) {
			t.Errorf("a purge put another folder in the place of msgs: %s is not among %q", want, got)
		}
	}
}

func TestSyncer_AllTakesConsumersAndRecordsToo(t *testing.T) {
	dir := t.TempDir()
	q := openIn(t, dir)
	s, log := syncsOf(t, dir)
	if err := q.AddFunction(t.Context(), "F", Retry{}); err != nil {
		t.Fatal(err)
	}
	publishRaw(t, q, calledSubject(callSubject("s", "F")), nil)
	mustWait(t, s)
	if got := log.take(); got != nil {
		t.Errorf("wait synced %q", got)
	}
	var got []string
	for _, want := range []string{"msgs/1.blk", "obs", "obs/fn-F", "obs/fn-F/meta.inf", "obs/fn-F/meta.sum", "obs/fn-F/o.dat"} {
		within(t, patience, "all syncs "+want, func() bool { // the server may write records later
			if err := s.all(); err != nil {
				t.Fatal(err)
			}
			got = append(got, log.take()...)
			return slices.Contains(got, streamCalls+"/"+want)
		})
	}
}

// What a sync skips must be as it was synced, whatever the server did to its files.
func TestSyncer_SkipsNothingThatTheServerChanges(t *testing.T) {
	dir := t.TempDir()
	q := openIn(t, dir, "F")
	stream := smallBlocks(t, q, "S", "s.*")
	s, _ := syncsOf(t, dir)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	ctx := t.Context()
	for range 400 { // more than nine blocks
		publishRaw(t, q, "s.0", make([]byte, 1000))
	}
	for step := range 80 {
		if r.IntN(2) == 0 {
			settle(t, s)
		}
		info, err := stream.Info(ctx)
		if err != nil {
			t.Fatal(err)
		}
		some := info.State.FirstSeq + r.Uint64N(info.State.LastSeq+2-info.State.FirstSeq)
		what := r.IntN(13)
		switch what {
		case 0:
			err = stream.SecureDeleteMsg(ctx, some)
		case 1, 2, 3:
			err = stream.DeleteMsg(ctx, some)
		case 4:
			err = stream.Purge(ctx, jetstream.WithPurgeSequence(some))
		case 5:
			err = stream.Purge(ctx, jetstream.WithPurgeSubject(fmt.Sprintf("s.%d", r.IntN(3))))
		case 6:
			if r.IntN(4) == 0 {
				err = stream.Purge(ctx)
			}
		case 7:
			if r.IntN(4) == 0 {
				err = q.js.DeleteStream(ctx, "S")
				stream = smallBlocks(t, q, "S", "s.*")
			}
		default:
			for range r.IntN(40) {
				publishRaw(t, q, fmt.Sprintf("s.%d", r.IntN(3)), make([]byte, r.IntN(3000)))
			}
		}
		if err != nil && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) { // no such message
			t.Fatal(err)
		}
		one, within := "", ""
		if r.IntN(2) == 0 {
			one, within = "S", "/S/"
		}
		if err := s.wait(ctx, one); err != nil {
			t.Fatal(err)
		}
		skipped := slices.DeleteFunc(unsynced(t, s), func(path string) bool { return !strings.Contains(path, within) })
		if len(skipped) > 0 {
			t.Fatalf("seed %d, step %d, kind %d: a sync of %q skipped %q", seed, step, what, one, skipped)
		}
	}
}

// unsynced compares every file of the durable streams with what the syncer knows.
func unsynced(t *testing.T, s *syncer) (paths []string) {
	t.Helper()
	known := make(map[string]fs.FileInfo)
	var collect func(f *folder)
	collect = func(f *folder) {
		for name, info := range f.files {
			known[filepath.Join(f.path, name)] = info
		}
		for _, sub := range f.folders {
			collect(sub)
		}
	}
	collect(s.tree)
	err := filepath.WalkDir(s.root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // what was purged is removed in the background
		}
		if err != nil || d.IsDir() {
			if err == nil && skipped[d.Name()] {
				err = fs.SkipDir
			}
			return err
		}
		info, err := d.Info()
		switch before := known[path]; {
		case errors.Is(err, fs.ErrNotExist), filepath.Ext(path) == ".db", strings.Contains(path, "__"):
			return nil
		case err != nil:
			return err
		case before == nil || !os.SameFile(before, info) || before.Size() != info.Size() || !before.ModTime().Equal(info.ModTime()):
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestSyncer_EveryWaiterGetsASyncThatBeganAfterItsCall(t *testing.T) {
	s := newSyncer(filepath.Dir(t.TempDir()))
	var synced sync.Map // path -> size before its sync
	s.fsync = func(path string) error {
		if info, err := os.Stat(path); err == nil {
			synced.Store(path, info.Size())
		}
		return syncPath(path)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		path := filepath.Join(t.TempDir(), "1.blk")
		wg.Go(func() {
			f, err := os.Create(path)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			for written := range 30 {
				if _, err := f.WriteString("."); err != nil {
					t.Error(err)
				}
				if written%7 == i%7 {
					err = s.all()
				} else {
					err = s.wait(t.Context(), "")
				}
				if size, ok := synced.Load(path); err != nil || !ok || size.(int64) <= int64(written) {
					t.Errorf("%s: %v of %d bytes are synced, %v", path, size, written+1, err)
				}
			}
		})
	}
	wg.Wait()
}

// blocked makes a syncer whose first sync waits for release, in a bubble, with that sync under way.
func blocked(t *testing.T) (s *syncer, release func(error), first <-chan error, syncs *int) {
	t.Helper()
	s = newSyncer(t.TempDir())
	syncs = new(int)
	s.observe = func(time.Duration) { *syncs++ }
	gate := make(chan error)
	s.fsync = func(path string) error {
		if path == s.root {
			return <-gate
		}
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- s.wait(context.Background(), "") }()
	synctest.Wait()
	return s, func(err error) {
		gate <- err
		close(gate)
	}, done, syncs
}

func TestSyncer_AllWhoWaitShareOneSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, release, first, syncs := blocked(t)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if err := s.wait(t.Context(), ""); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		release(nil)
		wg.Wait()
		if err := <-first; err != nil || *syncs != 2 {
			t.Errorf("%d syncs for the first and 50 others, %v", *syncs, err)
		}
	})
}

func TestSyncer_AWaiterMayGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, release, first, syncs := blocked(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.wait(ctx, ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		release(nil)
		if err := <-first; err != nil || *syncs != 1 {
			t.Errorf("%d syncs, %v", *syncs, err)
		}
		if err := s.wait(t.Context(), ""); err != nil || *syncs != 2 {
			t.Errorf("the round that was given up: %d syncs, %v", *syncs, err)
		}
	})
}

func TestSyncer_AFailedSyncFailsAllWaitersForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, release, first, syncs := blocked(t)
		second := make(chan error, 1)
		go func() { second <- s.wait(context.Background(), "") }()
		synctest.Wait()
		release(fmt.Errorf("%w: input/output error", errNotOnDisk))
		for name, err := range map[string]error{"leader": <-first, "waiter": <-second, "later": s.wait(t.Context(), ""), "all": s.all()} {
			if !errors.Is(err, errNotOnDisk) {
				t.Errorf("%s: got %v", name, err)
			}
		}
		if *syncs != 1 {
			t.Errorf("got %d syncs, want none after the failed one", *syncs)
		}
	})
}

func TestSyncer_AFileThatCannotBeOpenedFailsOneSync(t *testing.T) {
	s := newSyncer(t.TempDir())
	block := filepath.Join(s.root, "1.blk")
	if err := os.WriteFile(block, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var refused []string
	s.fsync = func(path string) error {
		if path == block && refused == nil {
			refused = append(refused, path)
			return fs.ErrPermission
		}
		return syncPath(path)
	}
	if err := s.wait(t.Context(), ""); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v", err)
	}
	mustWait(t, s)
	if err := s.wait(t.Context(), ""); err != nil || s.tree.files["1.blk"] == nil {
		t.Errorf("got %v, %v", err, s.tree)
	}
	if err := os.Symlink(block, filepath.Join(s.root, "2.blk")); err != nil {
		t.Fatal(err)
	}
	if err := s.wait(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "2.blk") {
		t.Errorf("a link: got %v", err)
	}
}

// tapSyncs gives the queue another way to sync a path.
func tapSyncs(q *Queue, fsync func(path string) error) {
	q.sync.turn <- struct{}{}
	q.sync.fsync = fsync
	<-q.sync.turn
}

func TestSyncer_ADiskThatDoesNotAnswerKeepsNobody(t *testing.T) {
	q := open(t, "F")
	publish(t, q, "F")
	answer := make(chan struct{})
	tapSyncs(q, func(path string) error { <-answer; return syncPath(path) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := q.Publish(ctx, &Event{Source: "s", Function: "F", Body: []byte("1")})
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("the only one who waits: got %v, want ErrUnavailable", err)
	}
	close(answer)
	publish(t, q, "F")
}

func TestSyncer_ADropIsOnDiskBeforeTheLetterGoes(t *testing.T) {
	q := open(t, "Bad")
	r := publish(t, q, "Bad")
	work(t, q, "Bad", 1, func(*Event) Result { return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Final: true} })
	wantOutcomes(t, q, r.ID, "1 dead")
	letters := -1
	tapSyncs(q, func(path string) error {
		if strings.Contains(path, streamLog) && letters < 0 {
			letters = len(stored(t, q, streamDead))
		}
		return syncPath(path)
	})
	if err := q.Drop(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	if letters != 1 {
		t.Errorf("when the log was synced there were %d letters, want 1", letters)
	}
}

func TestSyncer_AQueueThatCannotSyncSaysSo(t *testing.T) {
	q := openF(t, t.TempDir())
	defer func() {
		if err := q.Close(); !errors.Is(err, errNotOnDisk) {
			t.Errorf("closing: got %v, want that it cannot sync", err)
		}
	}()
	q.sync.turn <- struct{}{}
	q.sync.fsync = func(string) error { return fmt.Errorf("%w: input/output error", errNotOnDisk) }
	<-q.sync.turn
	if _, err := q.Publish(t.Context(), &Event{Source: "s", Function: "F"}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	select {
	case err := <-q.Failed():
		if !errors.Is(err, errNotOnDisk) {
			t.Errorf("got %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the queue does not say that it has failed")
	}
}

func TestSyncPath_TellsAFailedSyncFromTheRest(t *testing.T) {
	if err := syncPath("/dev/null"); !errors.Is(err, errNotOnDisk) {
		t.Errorf("what cannot be synced: got %v", err)
	}
	if err := syncPath(filepath.Join(t.TempDir(), "none")); err != nil {
		t.Errorf("what has vanished: got %v", err)
	}
}

func TestSettled_KnowsCoarseClocks(t *testing.T) {
	whole := time.Unix(1_700_000_000, 0)
	for _, c := range []struct {
		mtime time.Time
		later time.Duration
		want  bool
	}{
		{whole.Add(1), time.Millisecond, false},
		{whole.Add(1), 200 * time.Millisecond, true},
		{whole.Add(1), -time.Hour, false},
		{whole, 200 * time.Millisecond, false},
		{whole, 4 * time.Second, true},
	} {
		if got := settled(c.mtime, c.mtime.Add(c.later)); got != c.want {
			t.Errorf("%v after %v: got %v", c.later, c.mtime, got)
		}
	}
}

// What one shared sync costs a publisher that is alone, against the least a disk can do: append and sync one file.
func BenchmarkSync_Raw(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "raw"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	body := make([]byte, 1024)
	measure(b, func() error {
		_, err := f.Write(body)
		return errors.Join(err, f.Sync())
	})
}

func BenchmarkSync_PublishAndWait(b *testing.B) {
	dir := b.TempDir()
	q := openIn(b, dir, "F")
	publishAndWait(b, q, dir)
}

func BenchmarkSync_PublishAndWaitWith300BlocksAnd600Consumers(b *testing.B) {
	dir := b.TempDir()
	fillStore(b, dir)
	q := openIn(b, dir, "F")
	publishAndWait(b, q, dir)
}

// A backup, say, which writes to the same file system and leaves the syncing to the kernel.
func BenchmarkSync_PublishAndWaitBesideANoisyNeighbour(b *testing.B) {
	dir := b.TempDir()
	q := openIn(b, dir, "F")
	makeNoise(b, dir)
	publishAndWait(b, q, dir)
}

func publishAndWait(b *testing.B, q *Queue, dir string) {
	s, _ := syncsOf(b, dir)
	body := make([]byte, 1024)
	measure(b, func() error {
		_, err := q.js.Publish(b.Context(), eventSubject("s", "F"), body)
		return errors.Join(err, s.wait(b.Context(), streamEvents))
	})
}

// measure reports percentiles: an average would show the slowest syncs only.
func measure(b *testing.B, step func() error) {
	b.Helper()
	var took []time.Duration
	for b.Loop() {
		begin := time.Now()
		if err := step(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "us-p50")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "us-p99")
}

// fillStore leaves 300 blocks of events and 600 consumers in a data folder.
func fillStore(b *testing.B, dir string) {
	b.Helper()
	q, err := Open(b.Context(), Options{Dir: dir, MaxEvents: 64 << 10, Log: testLog(b)}) // small blocks, until a restart
	if err != nil {
		b.Fatal(err)
	}
	cfg := streamConfigs(Options{MaxEvents: 1 << 30})[0]
	if _, err := q.js.UpdateStream(b.Context(), cfg); err != nil {
		b.Fatal(err)
	}
	for range 300 {
		publishRaw(b, q, eventSubject("s", "F"), make([]byte, 30<<10))
	}
	for i := range 200 {
		if err := q.AddFunction(b.Context(), fmt.Sprintf("f%d", i), Retry{}); err != nil {
			b.Fatal(err)
		}
	}
	if err := q.Close(); err != nil {
		b.Fatal(err)
	}
}

func makeNoise(b *testing.B, dir string) {
	b.Helper()
	f, err := os.Create(filepath.Join(dir, "noise"))
	if err != nil {
		b.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		chunk := make([]byte, 1<<20)
		for i := int64(0); ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := f.WriteAt(chunk, i%512<<20); err != nil {
				b.Error(err)
				return
			}
		}
	}()
	b.Cleanup(func() {
		close(stop)
		<-done
		f.Close()
	})
}
