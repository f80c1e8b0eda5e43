package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// FinalBackup is Backup of a store that nobody serves, which nobody serves any more from then on: its events belong to
// whoever restores the backup. The store gets a notice first, so that nothing can be added to it while it is saved; a backup
// that fails takes the notice away, unless there was one before. Killed at any time, it is called again with the same
// folder: a backup that is complete stays.
func (q *Queue) FinalBackup(ctx context.Context, dir string, progress Progress) (report VerifyReport, err error) {
	if err := q.exclusive(ctx); err != nil {
		return report, err
	}
	m, err := q.notice(ctx)
	switch {
	case err != nil:
		return report, err
	case m != nil && m.kind == noticeFilling:
		return report, errors.New("a restore into this store is not complete: run it again, or begin with new data folders")
	case m != nil:
		if done, err := finalBackup(dir, m.id); done != nil || err != nil {
			return done.report(), err
		}
		return q.backup(ctx, dir, manifest{Version: manifestVersion, Time: time.Now().UTC(), Final: m.id}, progress)
	}
	if _, err := os.Lstat(dir); err == nil { // before the store is changed
		return report, fmt.Errorf("%s exists: choose a new folder", dir)
	}
	id := NewID()
	err = q.again(ctx, "notice", func() error { return q.setNotice(ctx, noticeMoved, id) })
	if err == nil {
		err = q.refuseServed(ctx)
	}
	if err == nil {
		report, err = q.backup(ctx, dir, manifest{Version: manifestVersion, Time: time.Now().UTC(), Final: id}, progress)
	}
	if err != nil {
		err = errors.Join(err, q.clearNotice(context.WithoutCancel(ctx)))
	}
	return report, err
}

// finalBackup returns the manifest of the last backup of the store with a notice, nil when dir does not exist.
func finalBackup(dir, id string) (*manifest, error) {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	m, err := readManifest(dir)
	if err != nil {
		return nil, err
	}
	if m.Final != id {
		return nil, fmt.Errorf("%s is not the last backup of this store: choose a new folder", filepath.Clean(dir))
	}
	return &m, nil
}

// report is what Backup returned.
func (m *manifest) report() VerifyReport {
	if m == nil {
		return VerifyReport{}
	}
	r := VerifyReport{Streams: []VerifiedStream{}, Findings: m.Findings}
	for _, s := range m.Streams {
		r.Streams = append(r.Streams, s.VerifiedStream)
	}
	return r
}

// WithFolder calls f with the store of a gateway that stands alone and does not run. It returns ErrLocked when it runs. The
// folder has to be this user's: the server writes to it, and the gateway could not read that afterwards.
func WithFolder(ctx context.Context, o Options, f func(context.Context, *Queue) error) (err error) {
	if err := isDataFolder(o.Dir); err != nil {
		return err
	}
	if err := isOurs(o.Dir); err != nil {
		return err
	}
	if o, err = o.withDefaults(); err != nil {
		return err
	}
	q, _, err := openStore(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	return f(ctx, q)
}

// isDataFolder returns an error for a folder that has no streams. A server would make some.
func isDataFolder(dir string) error {
	if _, err := os.Stat(serverFolder(dir)); err != nil {
		return fmt.Errorf("no streams in %s: %w", dir, err)
	}
	return nil
}

func isOurs(dir string) error {
	info, err := os.Stat(serverFolder(dir))
	if err != nil {
		return fmt.Errorf("look at the data folder: %w", err)
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is that of user %d, who could not read what user %d writes there: run this as user %[2]d", dir, s.Uid, os.Geteuid())
	}
	return nil
}
