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
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// restoring is the folder in a new data folder where the streams are until they are complete. No gateway starts on a
// folder that has it.
const restoring = "restoring"

// Restore makes a data folder from a backup: dir must not exist, or be empty. It first compares the backup with its
// manifest, then reads it in, compares every message, and last verifies what is on disk. When it returns an error, dir has no streams. The
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
	differences, err := restoreStreams(ctx, m, backup, work, log, progress)
	if err != nil {
		return VerifyReport{}, err
	}
	if report, err = VerifyFolder(ctx, work, nil); err != nil {
		return report, fmt.Errorf("verify what was restored: %w", err)
	}
	report.Findings = slices.Concat(m.Findings, differences, report.Findings)
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

// restoreStreams returns in what the streams differ from the backup then.
func restoreStreams(ctx context.Context, m manifest, backup, dir string, log *slog.Logger, progress Progress) (differences []Finding, err error) {
	o, err := Options{Dir: dir, Log: log}.withDefaults()
	if err != nil {
		return nil, err
	}
	q, _, err := openStore(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	for _, s := range m.Streams {
		from := filepath.Join(backup, s.Name)
		if err := q.restoreStream(ctx, s, from, progress); err != nil {
			return nil, fmt.Errorf("restore %s: %w", s.Name, err)
		}
		c, err := q.compareStream(ctx, s.Name, from)
		if err != nil {
			return nil, fmt.Errorf("compare %s with the backup: %w", s.Name, err)
		}
		differences = append(differences, c.findings...)
	}
	return differences, nil
}

// restoredSettings are those of a stream in a backup, with as many copies as it has here.
func (q *Queue) restoredSettings(dir string) (map[string]json.RawMessage, error) {
	data, err := os.ReadFile(filepath.Join(dir, settingsFile))
	if err != nil {
		return nil, err
	}
	var settings, config map[string]json.RawMessage
	if err := json.Unmarshal(data, &settings); err != nil {
		return nil, fmt.Errorf("%s: %w", settingsFile, err)
	}
	if err := json.Unmarshal(settings["config"], &config); err != nil {
		return nil, fmt.Errorf("%s: %w", settingsFile, err)
	}
	config["num_replicas"] = json.RawMessage("1")
	if q.clustered() {
		config["num_replicas"] = json.RawMessage(strconv.Itoa(replicas))
		delete(config, "persist_mode") // see inCluster
	}
	settings["config"], err = json.Marshal(config)
	return settings, err
}

// archivePiece is how much of an archive the server gets at a time. A server of a cluster hears nothing from the others while it
// writes one, and is taken for dead when that takes long.
const archivePiece = 64 << 10

// restoreStream gives an archive to the server, a piece at a time.
func (q *Queue) restoreStream(ctx context.Context, s backedStream, dir string, progress Progress) error {
	settings, err := q.restoredSettings(dir)
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
	for at := int64(0); at < size; at += archivePiece {
		data := make([]byte, min(archivePiece, size-at))
		if _, err := f.ReadAt(data, at); err != nil {
			return err
		}
		if err := q.giveOn(ctx, begin.To, data, at == 0); err != nil {
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

// giveOn gives a piece that is not the last one. In a cluster the server at hand may not know yet where the first one
// goes.
func (q *Queue) giveOn(ctx context.Context, to string, piece []byte, first bool) error {
	for begun := time.Now(); ; {
		_, err := q.give(ctx, to, piece)
		if !first || !errors.Is(err, nats.ErrNoResponders) || time.Since(begun) > joinQuiet {
			return err
		}
		select {
		case <-time.After(joinEvery / 10):
		case <-ctx.Done():
			return err
		}
	}
}

// How long the server may take to write a piece, and for what is left to do after the last one.
const (
	piecePatience = 15 * time.Second // it gives up itself when it gets nothing for five
	endPatience   = 2 * time.Minute
)

// give sends a piece of an archive, or nothing at its end; after the last one, which is empty, the server answers what has become of the stream.
func (q *Queue) give(ctx context.Context, to string, piece []byte) (jetstream.StreamState, error) {
	var answer struct {
		State jetstream.StreamState `json:"state"`
		Error *jetstream.APIError   `json:"error"`
	}
	patience := endPatience
	if len(piece) > 0 {
		patience = piecePatience
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
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
