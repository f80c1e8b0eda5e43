package queue

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go/jetstream"
)

// restoring is the folder in a new data folder where the streams are until they are complete. No gateway starts on a
// folder that has it.
const restoring = "restoring"

// Restore makes a data folder from a backup: dir must not exist, or be empty. It first compares the backup with its
// manifest, then reads it in, and last verifies what is on disk. When it returns an error, dir has no streams. The
// report also has what the backup says was wrong when it was made. Messages that are older than their stream keeps them
// are dropped, and a retry that is overdue moves to its function's waiting work at once.
func Restore(ctx context.Context, backup, dir string, log *slog.Logger, progress Progress) (report VerifyReport, err error) {
	m, err := readManifest(backup)
	if err != nil {
		return VerifyReport{}, err
	}
	if err := checkEmpty(dir); err != nil {
		return VerifyReport{}, err
	}
	work := filepath.Join(dir, restoring)
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if err := restoreStreams(ctx, m, backup, work, log, progress); err != nil {
		return VerifyReport{}, err
	}
	if report, err = VerifyFolder(ctx, work, nil); err != nil {
		return report, fmt.Errorf("verify what was restored: %w", err)
	}
	report.Findings = append(m.Findings, report.Findings...)
	if err := os.Rename(filepath.Join(work, streamsDir), filepath.Join(dir, streamsDir)); err != nil {
		return report, fmt.Errorf("complete data folder: %w", err)
	}
	return report, syncPath(dir)
}

func checkEmpty(dir string) error {
	names, err := entries(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open data folder: %w", err)
	}
	for _, name := range names {
		if name == restoring {
			return fmt.Errorf("%s is not empty: %s is of a restore that runs or was killed; remove it if it was, or choose another folder with --data", dir, name)
		}
		if name != "lost+found" {
			return fmt.Errorf("%s is not empty: it has %s; choose another folder with --data", dir, name)
		}
	}
	return nil
}

// readManifest returns the manifest of a backup that is as it was made.
func readManifest(backup string) (manifest, error) {
	var m manifest
	data, err := os.ReadFile(filepath.Join(backup, manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("%s is no complete backup: %w", backup, err)
	}
	if err != nil {
		return m, fmt.Errorf("read backup: %w", err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("read backup: %s: %w", manifestFile, err)
	}
	if m.Version != manifestVersion {
		return m, fmt.Errorf("backup has version %d of its format, this program reads %d", m.Version, manifestVersion)
	}
	for _, s := range m.Streams {
		sum, err := sumFile(filepath.Join(backup, s.Name, archiveFile))
		if err != nil {
			return m, fmt.Errorf("read backup: %w", err)
		}
		if sum != s.Sum {
			return m, fmt.Errorf("backup is damaged: %s is not the one that was made", filepath.Join(s.Name, archiveFile))
		}
	}
	return m, nil
}

func sumFile(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}

func restoreStreams(ctx context.Context, m manifest, backup, dir string, log *slog.Logger, progress Progress) (err error) {
	o, err := Options{Dir: dir, Log: log}.withDefaults()
	if err != nil {
		return err
	}
	q, _, err := openStore(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	for _, s := range m.Streams {
		if err := q.restoreStream(ctx, s, filepath.Join(backup, s.Name), progress); err != nil {
			return fmt.Errorf("restore %s: %w", s.Name, err)
		}
	}
	return nil
}

// settingsAlone reads the settings of a stream for a server that stands alone: the backup may be that of a cluster.
func settingsAlone(file string) (settings map[string]any, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&settings); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	config, ok := settings["config"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s has no config of a stream", file)
	}
	config["num_replicas"] = 1
	return settings, nil
}

// restoreStream gives an archive to the server, a piece at a time.
func (q *Queue) restoreStream(ctx context.Context, s backedStream, dir string, progress Progress) error {
	settings, err := settingsAlone(filepath.Join(dir, settingsFile))
	if err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(dir, archiveFile))
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	var begin struct {
		To    string              `json:"deliver_subject"`
		Error *jetstream.APIError `json:"error"`
	}
	if err := q.api(ctx, "STREAM.RESTORE."+s.Name, settings, &begin); err != nil {
		return err
	}
	if begin.Error != nil {
		return begin.Error
	}
	const piece = 1 << 20
	for at := int64(0); at < size; at += piece {
		data := make([]byte, min(piece, size-at))
		if _, err := f.ReadAt(data, at); err != nil {
			return err
		}
		if _, err := q.give(ctx, begin.To, data); err != nil {
			return err
		}
		if progress != nil {
			progress(s.Name, uint64(at)+uint64(len(data)), uint64(size))
		}
	}
	state, err := q.give(ctx, begin.To, nil)
	if err == nil && state.LastSeq < s.LastSeq {
		err = fmt.Errorf("the newest sequence is %d, not %d", state.LastSeq, s.LastSeq)
	}
	return err
}

// give sends a piece of an archive; after the last one, which is empty, the server answers what has become of the stream.
func (q *Queue) give(ctx context.Context, to string, piece []byte) (jetstream.StreamState, error) {
	var answer struct {
		State jetstream.StreamState `json:"state"`
		Error *jetstream.APIError   `json:"error"`
	}
	m, err := q.nc.RequestWithContext(ctx, to, piece)
	if err != nil {
		return answer.State, err
	}
	if len(bytes.TrimSpace(m.Data)) > 0 {
		err = json.Unmarshal(m.Data, &answer)
	}
	if answer.Error != nil {
		err = answer.Error
	}
	return answer.State, err
}
