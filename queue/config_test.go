package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
)

func put(t *testing.T, q *Queue, text string, after uint64) uint64 {
	t.Helper()
	revision, err := q.PutConfig(t.Context(), []byte(text), after)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func wantConfig(t *testing.T, q *Queue, text string, revision uint64) {
	t.Helper()
	c, err := q.Config(t.Context())
	if err != nil || string(c.Text) != text || c.Revision != revision {
		t.Errorf("got %q in revision %d, %v; want %q in %d", c.Text, c.Revision, err, text, revision)
	}
}

func TestConfig_IsReplacedByWhoeverKnowsTheLastOne(t *testing.T) {
	q := open(t)
	wantConfig(t, q, "", 0)
	first := put(t, q, "one", 0)
	if _, err := q.PutConfig(t.Context(), []byte("late"), 0); !errors.Is(err, ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
	wantConfig(t, q, "one", first)
	second := put(t, q, "two", first)
	if _, err := q.PutConfig(t.Context(), []byte("late"), first); !errors.Is(err, ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
	wantConfig(t, q, "two", second)
}

func TestConfig_HasOneWinnerOfMany(t *testing.T) {
	q := open(t)
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			switch _, err := q.PutConfig(t.Context(), fmt.Append(nil, i), 0); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, ErrConflict):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of 16 have stored theirs in place of the same one, want 1", won.Load())
	}
}

func TestConfig_IsTheSameAfterARestart(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	revision := put(t, q, "text", 0)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	wantConfig(t, openIn(t, dir), "text", revision)
}

func TestConfig_IsOnDiskWhenItIsConfirmed(t *testing.T) {
	q := open(t)
	var synced atomic.Int32
	fsync := q.sync.fsync
	q.sync.turn <- struct{}{}
	q.sync.fsync = func(path string) error {
		if filepath.Base(filepath.Dir(filepath.Dir(path))) == streamConfig {
			synced.Add(1)
		}
		return fsync(path)
	}
	<-q.sync.turn
	put(t, q, "text", 0)
	if synced.Load() == 0 {
		t.Error("no file of the configuration was synced")
	}
}

func TestConfig_OfTheStockCommandIsAnotherRevision(t *testing.T) {
	q := open(t)
	first := put(t, q, "one", 0)
	kv, err := q.js.KeyValue(t.Context(), configBucket)
	if err != nil {
		t.Fatal(err)
	}
	second, err := kv.Put(t.Context(), configKey, []byte("by hand"))
	if err != nil {
		t.Fatal(err)
	}
	wantConfig(t, q, "by hand", second)
	if _, err := q.PutConfig(t.Context(), []byte("late"), first); !errors.Is(err, ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
	if err := kv.Delete(t.Context(), configKey); err != nil {
		t.Fatal(err)
	}
	wantConfig(t, q, "", second+1)
	put(t, q, "again", second+1)
}

func TestConfig_ThatIsDamagedIsNotTaken(t *testing.T) {
	q := open(t)
	if _, err := q.js.PublishMsg(t.Context(), &nats.Msg{
		Subject: configSubject(configKey), Data: []byte("damaged"), Header: nats.Header{headerSum: {"00"}},
	}); err != nil {
		t.Fatal(err)
	}
	if c, err := q.Config(t.Context()); !errors.Is(err, ErrCorrupt) || c.Text != nil || c.Revision != 1 {
		t.Errorf("got %+v, %v; want ErrCorrupt", c, err)
	}
	report, err := q.Verify(t.Context(), nil)
	if err != nil || len(report.Findings) != 1 || report.Findings[0].Stream != streamConfig {
		t.Errorf("verify: got %+v, %v; want one finding", report.Findings, err)
	}
}

func TestConfig_IsInABackup(t *testing.T) {
	q := open(t)
	put(t, q, "one", 0)
	revision := put(t, q, "two", 1)
	dir := filepath.Join(t.TempDir(), "backup")
	if _, err := q.Backup(t.Context(), dir, nil); err != nil {
		t.Fatal(err)
	}
	restored := filepath.Join(t.TempDir(), "data")
	if err := os.MkdirAll(restored, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), dir, restored, testLog(t), nil); err != nil {
		t.Fatal(err)
	}
	again := openIn(t, restored)
	wantConfig(t, again, "two", revision)
	put(t, again, "three", revision)
}

func TestWatchConfig_TellsOfEveryChange(t *testing.T) {
	q := open(t)
	put(t, q, "one", 0)
	ctx, cancel := context.WithCancel(t.Context())
	var seen atomic.Uint64
	done := make(chan error, 1)
	go func() {
		done <- q.WatchConfig(ctx, func() {
			c, err := q.Config(ctx)
			if err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			seen.Store(c.Revision)
		})
	}()
	for revision := uint64(1); revision < 4; revision++ {
		within(t, patience, "the change is seen", func() bool { return seen.Load() == revision })
		put(t, q, "next", revision)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestID_IsTheSameForEver(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(t.Context(), Options{Dir: dir, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	first, err := q.ID(t.Context())
	if err != nil || first == "" {
		t.Fatalf("got %q, %v", first, err)
	}
	saved := restore(t, backup(t, q))
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dir, saved} {
		if id, err := openIn(t, dir).ID(t.Context()); err != nil || id != first {
			t.Errorf("got %q, %v; want %q", id, err, first)
		}
	}
	if other, err := open(t).ID(t.Context()); err != nil || other == first {
		t.Errorf("another store: got %q, %v", other, err)
	}
}
