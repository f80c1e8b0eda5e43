package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// The server keeps what a consumer has had acknowledged in a file, which it writes anew and renames ten times a second,
// without a sync. A power cut in the wrong millisecond leaves the name and no content: then the server would not open
// the consumer, or begin with the first event again. So there is a second copy, a few seconds older and synced. With it,
// what was acknowledged in these seconds runs once more.
const (
	stateFile = "o.dat"
	keptFile  = "o.kept"
	keepEvery = 10 * time.Second

	statesPattern = "*/obs/*/" + stateFile
)

// serverFolder is the server's part of a data folder.
func serverFolder(dir string) string {
	return filepath.Join(dir, streamsDir, "jetstream", "$G", "streams")
}

// dropSchedules removes the server's index of the schedules, which says up to which message it goes. After a power cut it
// may go further than the messages do: then the server would pass over the retries that come next. It makes the index
// again when there is none. The server must not run.
func dropSchedules(dir string) error {
	store := serverFolder(dir)
	files, err := fs.Glob(os.DirFS(store), "*/msgs/sched.db")
	if err != nil {
		return fmt.Errorf("look for schedules: %w", err)
	}
	for _, name := range files {
		if err := os.Remove(filepath.Join(store, name)); err != nil {
			return fmt.Errorf("remove index of schedules: %w", err)
		}
	}
	return nil
}

// restoreStates replaces consumers' states that a power cut has torn. The server must not run.
func restoreStates(dir string, log *slog.Logger) error {
	store := os.DirFS(serverFolder(dir))
	files, err := fs.Glob(store, statesPattern)
	if err != nil {
		return fmt.Errorf("look for consumers: %w", err)
	}
	for _, name := range files {
		state, err := fs.ReadFile(store, name)
		if err != nil {
			return fmt.Errorf("read state of consumer: %w", err)
		}
		if !isTorn(state) {
			continue
		}
		log.Warn("a power cut has torn the state of a consumer: some events run again", "file", name)
		if err := restoreState(filepath.Join(serverFolder(dir), name)); err != nil {
			return fmt.Errorf("restore state of consumer: %w", err)
		}
	}
	return nil
}

// restoreState puts the copy in the place of a state. A consumer without one is so young that it may begin anew.
func restoreState(file string) error {
	kept, err := os.ReadFile(filepath.Join(filepath.Dir(file), keptFile))
	if errors.Is(err, fs.ErrNotExist) {
		return os.Remove(file)
	}
	if err != nil {
		return err
	}
	return WriteFile(file, string(kept))
}

// isTorn reports whether a state was never written to the disk: it is empty or of zeros.
func isTorn(state []byte) bool { return len(state) == 0 || state[0] == 0 }

// keeper copies the states that have changed.
type keeper struct {
	dir  string // of the streams
	kept map[string]fs.FileInfo
}

func (k *keeper) keep(ctx context.Context) error {
	store := os.DirFS(k.dir)
	files, err := fs.Glob(store, statesPattern)
	if err != nil {
		return fmt.Errorf("look for consumers: %w", err)
	}
	before := k.kept
	k.kept = make(map[string]fs.FileInfo, len(files))
	for _, name := range files {
		if ctx.Err() != nil {
			return nil
		}
		info, err := keepState(filepath.Join(k.dir, name), before[name])
		if errors.Is(err, fs.ErrNotExist) {
			continue // the consumer was deleted
		}
		if err != nil {
			return fmt.Errorf("keep state of consumer: %w", err)
		}
		k.kept[name] = info
	}
	return nil
}

// keepState copies a state unless it is as it was before.
func keepState(file string, before fs.FileInfo) (fs.FileInfo, error) {
	info, err := os.Lstat(file)
	if err != nil || before != nil && os.SameFile(before, info) && before.ModTime().Equal(info.ModTime()) {
		return info, err
	}
	state, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	copied := filepath.Join(filepath.Dir(file), keptFile)
	if last, err := os.ReadFile(copied); err == nil && bytes.Equal(last, state) {
		return info, nil
	}
	return info, WriteFile(copied, string(state))
}
