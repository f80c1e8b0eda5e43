package queue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/klauspost/compress/s2"
	natsarchive "github.com/nats-io/nats-server/v2/server/archive"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A backup is a folder with a manifest and, for each stream, a folder as `nats backup stream` makes it.
const (
	manifestFile    = "manifest.json"
	archiveFile     = "stream.arc.s2"
	settingsFile    = "backup.json"
	manifestVersion = 1
)

// manifest is written last, and says what a backup has.
type manifest struct {
	Version  int            `json:"version"`
	Time     time.Time      `json:"time"` // when the backup began: whatever was accepted before is in it
	Streams  []backedStream `json:"streams"`
	Findings []Finding      `json:"findings"` // what could not be saved, or is saved although something is wrong with it
	// Final is the id of the notice in the store whose last backup this is: see FinalBackup.
	Final string `json:"final,omitempty"`
}

type backedStream struct {
	VerifiedStream
	Sum string `json:"sha256"` // of the archive
}

// Backup writes all streams, with what their consumers have done, to a new folder, and verifies every message on the
// way. It appears under its name when it is complete and on disk; a backup that was broken off leaves a folder with
// ".partial" in its name at most.
//
// The gateway goes on working meanwhile, and moves messages from stream to stream. The backup holds every event that
// was accepted before it began, in each place where a crash of that moment could have left it, so after a restore an
// event may run twice, but none is lost: first the state of all consumers is saved, in the order in which messages move,
// and then each stream is read on until it holds whatever these states say was moved to it. That is done in the
// opposite order, so that a message which the backup has refers to nothing that it has not.
func (q *Queue) Backup(ctx context.Context, dir string, progress Progress) (report VerifyReport, err error) {
	return q.backup(ctx, dir, manifest{Version: manifestVersion, Time: time.Now().UTC()}, progress)
}

func (q *Queue) backup(ctx context.Context, dir string, m manifest, progress Progress) (report VerifyReport, err error) {
	a := newAudit()
	defer func() { report = a.VerifyReport }()
	dir = filepath.Clean(dir)
	if _, err := os.Lstat(dir); err == nil {
		return report, fmt.Errorf("%s exists: choose a new folder", dir)
	}
	partial, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".partial-")
	if err != nil {
		return report, fmt.Errorf("make backup folder: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(partial))
		}
	}()
	streams, err := q.streams(ctx)
	if err != nil {
		return report, err
	}
	if m.Streams, err = q.backupStreams(ctx, streams, partial, a, progress); err != nil {
		return report, err
	}
	m.Findings = a.Findings
	if err := writeJSON(filepath.Join(partial, manifestFile), m); err != nil {
		return report, err
	}
	if err := syncTree(partial); err != nil {
		return report, fmt.Errorf("sync backup: %w", err)
	}
	if err := os.Rename(partial, dir); err != nil {
		return report, fmt.Errorf("complete backup: %w", err)
	}
	return report, syncPath(filepath.Dir(dir))
}

func (q *Queue) backupStreams(ctx context.Context, streams []jetstream.Stream, dir string, a *audit, progress Progress) (saved []backedStream, err error) {
	all := make([]*streamBackup, 0, len(streams))
	defer func() {
		for _, b := range all {
			err = errors.Join(err, b.file.Close())
		}
	}()
	for _, s := range streams {
		b, err := q.newStreamBackup(s, dir, a, progress)
		if err != nil {
			return nil, err
		}
		all = append(all, b)
		if err := b.snapshot(ctx); err != nil {
			return nil, fmt.Errorf("back up %s: %w", b.Name, err)
		}
	}
	for _, b := range slices.Backward(all) {
		if err := errors.Join(b.readOn(ctx), b.close()); err != nil {
			return nil, fmt.Errorf("back up %s: %w", b.Name, err)
		}
	}
	for _, b := range all {
		if err := b.judgeGaps(ctx, q, b.stream); err != nil {
			return nil, fmt.Errorf("back up %s: %w", b.Name, err)
		}
		b.end()
		saved = append(saved, backedStream{b.VerifiedStream, hex.EncodeToString(b.sum.Sum(nil))})
	}
	return saved, a.judgeBodies(func(c claimant) (bool, error) { return q.isThere(ctx, c.stream, c.seq) })
}

// streamBackup writes the archive of one stream: S2-compressed; an entry with its state, one for each consumer, one for
// each message, and an empty one at the end.
type streamBackup struct {
	*streamAudit
	q        *Queue
	stream   jetstream.Stream
	dir      string
	file     *os.File
	sum      hash.Hash // of the file
	packer   *s2.Writer
	archive  *natsarchive.Writer
	total    uint64 // sequences of the snapshot
	progress Progress
}

func (q *Queue) newStreamBackup(s jetstream.Stream, dir string, a *audit, progress Progress) (*streamBackup, error) {
	name := s.CachedInfo().Config.Name
	b := &streamBackup{q: q, stream: s, dir: filepath.Join(dir, name), sum: sha256.New(), streamAudit: a.begin(name, 1), progress: progress}
	if err := os.Mkdir(b.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make backup folder: %w", err)
	}
	var err error
	if b.file, err = os.OpenFile(filepath.Join(b.dir, archiveFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, fmt.Errorf("make archive: %w", err)
	}
	b.packer = s2.NewWriter(io.MultiWriter(b.file, b.sum), s2.WriterConcurrency(1))
	b.archive = natsarchive.NewWriter(b.packer)
	return b, nil
}

// snapshotTries bounds how often the server is asked for a snapshot that breaks off at its beginning.
const snapshotTries = 16

// errBrokenOff means that the server gave up in the middle of a snapshot.
var errBrokenOff = errors.New("the server broke the snapshot off")

// snapshot saves what the server gives out as the state of the stream. It comes with the consumers first, and with
// those messages that it finds one after the other until it gets to what was the newest at the beginning: not with what
// it cannot read, nor with a retry that became due meanwhile and was moved to the end.
//
// At a file that it cannot read the server breaks off. It takes turns at random between the error and what it has read
// before it: one try in two is without the consumers.
func (b *streamBackup) snapshot(ctx context.Context) error {
	begun := time.Now()
	for try := 1; ; try++ {
		err := b.trySnapshot(ctx)
		switch {
		case brokenOff(err) && b.q.clustered() && time.Since(begun) < leadersPatience:
			if b.q.pauseFor(ctx, joinEvery); ctx.Err() != nil {
				return err
			}
		case !errors.Is(err, errBrokenOff) || try >= snapshotTries:
			return err
		}
	}
}

// leadersPatience is how long the consumers of a cluster may take to elect their leaders. Without one the server cannot
// tell where the consumer stands, and breaks the snapshot off.
const leadersPatience = 30 * time.Second

// brokenOff reports whether a snapshot has no end.
func brokenOff(err error) bool {
	return errors.Is(err, errBrokenOff) || errors.Is(err, natsarchive.ErrInvalidArchive) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func (b *streamBackup) trySnapshot(ctx context.Context) error {
	s, err := b.q.openSnapshot(ctx, b.Name)
	if err != nil {
		return err
	}
	defer s.close()
	b.FirstSeq = max(1, s.State.FirstSeq)
	b.LastSeq = b.FirstSeq - 1
	b.total = s.State.LastSeq + 1 - b.FirstSeq
	if err := b.copy(s.archive); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return writeJSON(filepath.Join(b.dir, settingsFile), map[string]any{"config": s.Config, "state": s.State})
}

// snapshot is what the server gives out of a stream.
type snapshot struct {
	Config  json.RawMessage       `json:"config"`
	State   jetstream.StreamState `json:"state"`
	Error   *jetstream.APIError   `json:"error"`
	archive *natsarchive.Reader
	sub     *nats.Subscription
}

func (s *snapshot) close() { _ = s.sub.Unsubscribe() } // fails only when the connection is closed

func (q *Queue) openSnapshot(ctx context.Context, stream string) (*snapshot, error) {
	sub, err := q.nc.SubscribeSync(q.nc.NewInbox())
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	s := &snapshot{sub: sub, archive: natsarchive.NewReader(s2.NewReader(chunks(ctx, sub)))}
	err = q.api(ctx, "STREAM.SNAPSHOT."+stream, map[string]any{"deliver_subject": sub.Subject}, s)
	if err == nil && s.Error != nil {
		err = s.Error
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

type archived struct {
	header  *natsarchive.Header
	content []byte
}

// copy takes the entries of a snapshot over. When it breaks off behind the consumers, readOn does the rest.
func (b *streamBackup) copy(in *natsarchive.Reader) error {
	head, err := readHead(in)
	if err != nil {
		return err
	}
	for _, e := range head {
		if err := b.write(e.header, e.content); err != nil {
			return err
		}
	}
	for {
		e, err := readEntry(in)
		if err != nil || e.header.Sequence == 0 && e.header.Name == "" {
			return nil
		}
		if err := b.write(e.header, e.content); err != nil {
			return err
		}
	}
}

// readHead reads the state of the stream and its consumers.
func readHead(in *natsarchive.Reader) ([]archived, error) {
	first, err := readEntry(in)
	if err != nil {
		return nil, err
	}
	var state jetstream.StreamState
	if err := json.Unmarshal(first.content, &state); err != nil {
		return nil, fmt.Errorf("%s: %w", first.header.Name, err)
	}
	head := []archived{first}
	for range state.Consumers {
		e, err := readEntry(in)
		if err != nil {
			return nil, err
		}
		head = append(head, e)
	}
	return head, nil
}

func readEntry(in *natsarchive.Reader) (archived, error) {
	h, err := in.Next()
	if err != nil {
		return archived{}, err
	}
	e := archived{h, make([]byte, h.HeaderSize+h.PayloadSize)}
	_, err = io.ReadFull(in, e.content)
	return e, err
}

// write adds an entry to the archive, and a message to the account.
func (b *streamBackup) write(h *natsarchive.Header, content []byte) error {
	if err := b.archive.WriteHeader(h); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	if _, err := b.archive.Write(content); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	if h.Sequence == 0 {
		return nil
	}
	m, err := (&plainMessage{Subject: h.Name, Header: content[:h.HeaderSize], Data: content[h.HeaderSize:]}).message()
	if err != nil {
		b.find(Finding{b.Name, h.Sequence, h.Sequence, "", "headers: " + err.Error()})
	}
	b.add(h.Sequence, m)
	if done := h.Sequence + 1 - b.FirstSeq; b.progress != nil {
		b.progress(b.Name, done, max(done, b.total))
	}
	return nil
}

// readOn reads to the end of the stream. Whoever removes a retry from its place has added it at the end before, so it
// is found there when reading begins after that. When messages of the part that was read are gone, they may have been
// retries that were moved while it was read.
func (b *streamBackup) readOn(ctx context.Context) error {
	for {
		info, err := b.stream.Info(ctx)
		if err != nil {
			return err
		}
		gaps := len(b.gaps)
		for b.LastSeq < info.State.LastSeq {
			m, err := b.q.stored(ctx, b.Name, b.LastSeq+1)
			if err != nil {
				return fmt.Errorf("read on from sequence %d: %w", b.LastSeq+1, err)
			}
			if m == nil {
				next, err := b.q.resume(ctx, b.Name, b.LastSeq+1, info.State.LastSeq)
				if err != nil {
					return fmt.Errorf("read on from sequence %d: %w", b.LastSeq+1, err)
				}
				b.missed(next - 1)
				continue
			}
			h := &natsarchive.Header{
				Name: m.Subject, Sequence: m.Sequence, Timestamp: m.Time.UnixNano(),
				HeaderSize: int64(len(m.Header)), PayloadSize: int64(len(m.Data)),
			}
			if err := b.write(h, slices.Concat(m.Header, m.Data)); err != nil {
				return err
			}
		}
		if len(b.gaps) == gaps {
			return nil
		}
	}
}

// close ends the archive.
func (b *streamBackup) close() error {
	return errors.Join(b.archive.WriteHeader(&natsarchive.Header{}), b.packer.Close())
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// chunks reads a snapshot as it arrives. A chunk is confirmed when it has been used up, so few of them are under way.
func chunks(ctx context.Context, sub *nats.Subscription) io.Reader {
	chunk := &nats.Msg{}
	return readFunc(func(p []byte) (int, error) {
		if len(chunk.Data) == 0 {
			if chunk.Reply != "" {
				if err := chunk.Respond(nil); err != nil {
					return 0, err
				}
			}
			waiting, cancel := context.WithTimeout(ctx, readPatience)
			defer cancel()
			var err error
			if chunk, err = sub.NextMsgWithContext(waiting); err != nil {
				return 0, err
			}
			if status := chunk.Header.Get("Status"); status != "" && status != "204" {
				return 0, fmt.Errorf("%w: %s %s", errBrokenOff, status, chunk.Header.Get("Description"))
			}
			if len(chunk.Data) == 0 {
				return 0, io.EOF
			}
		}
		n := copy(p, chunk.Data)
		chunk.Data = chunk.Data[n:]
		return n, nil
	})
}

func writeJSON(file string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o600)
}

// syncTree makes a folder durable, with all that is in it.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, syncPath(path))
	})
}
