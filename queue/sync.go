package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// errNotOnDisk means that the kernel could not write what it had accepted. It may have dropped the data then and call
// the file clean, so that a second sync of it proves nothing: only a new start tells what there is.
var errNotOnDisk = errors.New("the disk did not take what was written: repair it and restart")

// syncer makes durable what the server wrote. All who wait at the same time share one sync ("group commit"). It has a
// goroutine of its own: a disk that does not answer keeps nobody longer than he wants to wait.
//
// The server writes a message to its file before it acknowledges it, but does not sync it. A sync looks for what has
// changed since the last one and syncs just that. It need not look at every file, because the server (filestore.go of
// v2.15.2)
//
//   - appends messages and tombstones to the newest block of a stream only, and creates it as the next number;
//   - replaces every other file by a rename (compaction of a block, secure delete, meta files, consumers' state) and a
//     whole folder too (purge), which gives the folder around it a new mtime;
//   - rewrites in place only what it can rebuild: index.db.
//
// So in a folder with its old mtime nothing but the newest block can have changed. What has vanished meanwhile needs
// no sync: the server removes a block when nothing in it is left.
type syncer struct {
	root    string // the server's folder
	observe func(time.Duration)
	fsync   func(path string) error // syncPath; ErrNotExist is no error

	mu     sync.Mutex
	next   *round // which those join who come now; nil when nobody waits
	failed error  // wraps errNotOnDisk, for ever

	turn chan struct{} // held while syncing; guards the tree
	tree *folder       // as it was at the last sync; nil: not known
}

// round is one sync and those who wait for it.
type round struct {
	scope scope
	done  chan struct{}
	err   error // once done is closed
}

// scope is what a sync looks at: the streams of some names, all but records, or everything.
type scope struct {
	streams []string
	stored  bool // every stream but records
	full    bool // records and the state of consumers too
}

func (c *scope) add(o scope) {
	for _, name := range o.streams {
		if !slices.Contains(c.streams, name) {
			c.streams = append(c.streams, name)
		}
	}
	c.stored, c.full = c.stored || o.stored, c.full || o.full
}

// covers reports whether a sync looks at a folder in another one.
func (c *scope) covers(parent, name string) bool {
	switch {
	case c.full, slices.Contains(c.streams, name):
		return true
	case skipped[name]:
		return false
	}
	return c.stored || filepath.Base(parent) != "streams"
}

// newSyncer works on the server's folder in a data folder. Its first sync takes in what an earlier process left.
func newSyncer(root string) *syncer {
	return &syncer{root: root, fsync: syncPath, turn: make(chan struct{}, 1)}
}

// wait returns when a sync has ended that began after the call: what the server acknowledged before in one stream is on
// disk then, or when stream is empty in all but records (FUNKER_CALLS, FUNKER_LOG); consumers' state is not, whose loss
// means one more run. It returns the error of that sync, or of ctx when that ends first. After errNotOnDisk every wait
// fails.
func (s *syncer) wait(ctx context.Context, stream string) error {
	if stream == "" {
		return s.join(ctx, scope{stored: true})
	}
	return s.join(ctx, scope{streams: []string{stream}})
}

// all is wait for the whole folder: every stream, every consumer and its state.
func (s *syncer) all() error { return s.join(context.Background(), scope{stored: true, full: true}) }

func (s *syncer) join(ctx context.Context, what scope) error {
	r := s.enter(what)
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	case s.turn <- struct{}{}:
	}
	if s.begin(r) {
		go s.finish(r)
	} else {
		<-s.turn
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// finish does the sync of a round and gives the turn back. Who waits for the next turn waits for it.
func (s *syncer) finish(r *round) {
	r.err = s.sync(r.scope)
	close(r.done)
	<-s.turn
}

// enter joins the round that begins next.
func (s *syncer) enter(what scope) *round {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = &round{done: make(chan struct{})}
	}
	s.next.scope.add(what)
	return s.next
}

// begin closes a round to newcomers. It reports false when the round has already had its sync.
func (s *syncer) begin(r *round) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != r {
		return false
	}
	s.next = nil
	return true
}

func (s *syncer) sync(what scope) error {
	if err := s.failure(); err != nil {
		return err
	}
	begin := time.Now()
	err := s.syncChanged(what)
	if err != nil {
		s.tree = nil
		err = fmt.Errorf("sync %s: %w", s.root, err)
	}
	if errors.Is(err, errNotOnDisk) {
		s.mu.Lock()
		s.failed = err
		s.mu.Unlock()
	}
	if s.observe != nil {
		s.observe(time.Since(begin))
	}
	return err
}

// failure is why every sync fails from now on, or nil.
func (s *syncer) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

func (s *syncer) syncChanged(what scope) error {
	if s.tree == nil {
		syncAbove(filepath.Dir(s.root), s.fsync)
		s.tree, what.stored = &folder{path: s.root}, true
	}
	paths, err := s.changed(&what)
	if err != nil {
		return err
	}
	slices.Sort(paths)
	return s.syncAll(slices.Compact(paths))
}

// changed returns what has to be synced. Of a stream that is known it need not look at the folders above.
func (s *syncer) changed(what *scope) (paths []string, err error) {
	if what.stored {
		return s.tree.changed(nil, what)
	}
	for _, name := range what.streams {
		f := s.tree.below("$G", "streams", name)
		if f == nil || f.info == nil {
			return s.tree.changed(paths, what)
		}
		if paths, err = f.changed(paths, what); err != nil {
			return paths, err
		}
	}
	return paths, nil
}

// syncAbove syncs the folders above the data folder, which may be as new. Those that cannot be opened or synced are
// not ours, and neither are those above them.
func syncAbove(dir string, fsync func(string) error) {
	dir, err := filepath.Abs(dir)
	for err == nil && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		err = fsync(dir)
	}
}

// maxSyncs bounds the syncs at a time. They share the journal's commits and the disk's flushes.
const maxSyncs = 16

// syncAll syncs all paths, also after an error: one that wraps errNotOnDisk must not be missed.
func (s *syncer) syncAll(paths []string) error {
	if len(paths) == 1 {
		return s.fsync(paths[0])
	}
	var g errgroup.Group
	g.SetLimit(maxSyncs)
	errs := make([]error, len(paths))
	for i, path := range paths {
		g.Go(func() error {
			errs[i] = s.fsync(path)
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs
	for _, err := range errs {
		if errors.Is(err, errNotOnDisk) {
			return err
		}
	}
	return cmp.Or(errs...)
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("%w: %w", errNotOnDisk, err)
	}
	return nil
}

// folder is what is known of a folder in the store.
type folder struct {
	path    string
	info    fs.FileInfo // when it was listed; nil: never
	settled bool        // every change since would show in its mtime
	files   map[string]fs.FileInfo
	folders map[string]*folder
	newest  string // block; "" when there is none
}

// below is a folder within it, or nil when it is not known.
func (f *folder) below(names ...string) *folder {
	for _, name := range names {
		if f = f.folders[name]; f == nil {
			return nil
		}
	}
	return f
}

// skipped are the folders that a sync leaves out which is neither full nor asked for them. "batches" has what the server
// keeps of a batch until it stores it, and syncs by itself.
var skipped = map[string]bool{streamCalls: true, streamLog: true, "obs": true, "batches": true}

// changed appends the paths that have to be synced to paths, and takes them for synced.
func (f *folder) changed(paths []string, what *scope) ([]string, error) {
	now := time.Now()
	info, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		*f = folder{path: f.path}
		return paths, nil
	case err != nil:
		return nil, err
	case f.info == nil || !os.SameFile(f.info, info):
		*f = folder{path: f.path}
		paths = append(paths, filepath.Dir(f.path), f.path)
		paths, err = f.list(paths, now, info)
	case !f.settled || !f.info.ModTime().Equal(info.ModTime()):
		paths, err = f.list(paths, now, info)
	case f.newest != "":
		paths, err = f.check(paths, f.newest)
	}
	for name, sub := range f.folders {
		if err == nil && what.covers(f.path, name) {
			paths, err = sub.changed(paths, what)
		}
	}
	return paths, err
}

// list looks at everything in the folder, which had this info at a time before.
func (f *folder) list(paths []string, now time.Time, info fs.FileInfo) ([]string, error) {
	entries, err := os.ReadDir(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return paths, nil // its info is not kept: should the folder come back, it is new
	}
	if err != nil {
		return nil, err
	}
	before := *f
	f.files, f.folders, f.newest = make(map[string]fs.FileInfo), make(map[string]*folder), ""
	for _, e := range entries {
		switch name := e.Name(); {
		case e.IsDir():
			f.folders[name] = before.folders[name]
			if f.folders[name] == nil {
				f.folders[name] = &folder{path: filepath.Join(f.path, name)}
			}
		case !e.Type().IsRegular():
			return nil, fmt.Errorf("%s is neither a file nor a folder", filepath.Join(f.path, name))
		case filepath.Ext(name) != ".db": // indexes, which the server rebuilds; one that is ahead of its blocks does harm
			f.files[name] = before.files[name]
			if paths, err = f.check(paths, name); err != nil {
				return nil, err
			}
			if blockNumber(name) > blockNumber(f.newest) {
				f.newest = name
			}
		}
	}
	f.info, f.settled = info, settled(info.ModTime(), now)
	f.protect(&before)
	return paths, nil
}

// protect has the kernel sync what the server writes into the folders of a stream, except for the newest block, which is
// ours to sync. The server writes a block that it compacts anew and renames it over the old one, without a sync: a power
// cut within the next milliseconds would leave zeros in the place of messages that were on the disk already (ext4: in 6
// of 90 tries). On a file system without such a flag that can happen.
func (f *folder) protect(before *folder) {
	msgs := f.folders["msgs"]
	if before.info == nil && msgs != nil && !skipped[filepath.Base(f.path)] {
		// Not every file system has the flag.
		_ = setSyncFlag(f.path, true) // for the next msgs, after a purge
		_ = setSyncFlag(msgs.path, true)
	}
	newest := f.files[f.newest]
	if old := before.files[f.newest]; newest != nil && (old == nil || !os.SameFile(old, newest)) {
		_ = setSyncFlag(filepath.Join(f.path, f.newest), false)
	}
}

// check appends a file to paths that is not as it was, and the folder when the file is another one.
func (f *folder) check(paths []string, name string) ([]string, error) {
	path, before := filepath.Join(f.path, name), f.files[name]
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		delete(f.files, name)
		return paths, nil
	}
	if err != nil {
		return nil, err
	}
	f.files[name] = info
	switch {
	case before == nil || !os.SameFile(before, info):
		return append(paths, path, f.path), nil
	case before.Size() != info.Size() || !before.ModTime().Equal(info.ModTime()):
		return append(paths, path), nil
	}
	return paths, nil
}

// blockNumber is 0 for what is no block.
func blockNumber(name string) int {
	n, err := strconv.Atoi(strings.TrimSuffix(name, ".blk"))
	if err != nil || !strings.HasSuffix(name, ".blk") {
		return 0
	}
	return n
}

// settled reports whether a folder that is changed after now gets a later mtime than this one: mtimes are as coarse
// as a tick of the kernel's clock, and whole seconds on some file systems.
func settled(mtime, now time.Time) bool {
	tick := 100 * time.Millisecond
	if mtime.Nanosecond() == 0 {
		tick = 3 * time.Second
	}
	return mtime.Add(tick).Before(now)
}
