package queue

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/avl"
)

// VerifyFolder does what Verify does with the data folder of a gateway that does not run: it returns ErrLocked when one
// does. It reads the files itself and changes nothing. The server would not do: when it finds a record damaged, at a
// start after a crash or when it first reads the file, it cuts off the rest of that file, with all the sound messages in
// it.
func VerifyFolder(ctx context.Context, dir string, progress Progress) (VerifyReport, error) {
	a := newAudit()
	lock, err := shareFolder(dir)
	if err != nil {
		return a.VerifyReport, err
	}
	if lock != nil {
		defer lock.Close()
	}
	streams := filepath.Join(dir, streamsDir, server.JetStreamStoreDir, server.DEFAULT_GLOBAL_ACCOUNT, "streams")
	names, err := entries(streams)
	if err != nil {
		return a.VerifyReport, fmt.Errorf("no streams in %s: %w", dir, err)
	}
	names = sortStreams(names)
	for _, name := range bodiesLast(names, func(name string) string { return name }) {
		f := &streamFolder{streamAudit: a.begin(name, 1), dir: filepath.Join(streams, name)}
		if err := f.verify(ctx, progress); err != nil {
			return a.VerifyReport, fmt.Errorf("verify %s: %w", name, err)
		}
	}
	err = a.judgeBodies(func(claimant) (bool, error) { return true, nil })
	return a.VerifyReport, err
}

// shareFolder keeps gateways off the folder, which may be read-only. Without a lock file there has never been one.
func shareFolder(dir string) (*os.File, error) {
	f, err := os.Open(filepath.Join(dir, lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open data folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s is held by process %s", ErrLocked, dir, holder(f))
		}
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	return f, nil
}

func entries(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = e.Name()
	}
	return names, err
}

// streamFolder is the stored form of one stream.
type streamFolder struct {
	*streamAudit
	dir     string
	begun   bool            // FirstSeq and LastSeq are known
	present avl.SequenceSet // what the files have and was not deleted
	buried  uint64          // newest deleted sequence
	tail    []byte          // the last bytes of the newest file
	broken  *Finding        // damage, until it is known which sequence comes behind it
	note    note
}

func (f *streamFolder) verify(ctx context.Context, progress Progress) error {
	if err := f.checkSettings(); err != nil {
		return err
	}
	var err error
	if f.note, err = readNote(filepath.Join(f.dir, "msgs", "index.db"), f.Name); err != nil {
		return err
	}
	blocks, err := f.blocks()
	if err != nil {
		return err
	}
	for i, number := range blocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.readBlock(number, i == len(blocks)-1); err != nil {
			return err
		}
		if progress != nil {
			progress(f.Name, uint64(i+1), uint64(len(blocks)))
		}
	}
	f.finish()
	return nil
}

// blocks lists the numbers of the message files.
func (f *streamFolder) blocks() ([]int, error) {
	names, err := entries(filepath.Join(f.dir, "msgs"))
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, name := range names {
		text, ok := strings.CutSuffix(name, ".blk")
		if n, err := strconv.Atoi(text); ok && err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

func (f *streamFolder) readBlock(number int, newest bool) error {
	file := strconv.Itoa(number) + ".blk"
	sum, err := newChecksum(f.Name + "-" + strconv.Itoa(number))
	if err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(f.dir, "msgs", file))
	if err != nil {
		f.damaged(fmt.Sprintf("%s cannot be read: %v", file, err), nil)
		return nil
	}
	f.tail = data[max(0, len(data)-recordSum):]
	for at := 0; at < len(data); {
		if r, ok := readRecord(data[at:], sum); ok {
			f.take(r)
			at += r.size
			continue
		}
		end := at + 1
		for end < len(data) && !isRecord(data[end:], sum) {
			end++
		}
		if newest && end == len(data) && f.unfinished(data[at:]) {
			f.Torn = int64(end - at)
			return nil
		}
		f.damaged(fmt.Sprintf("damaged at byte %d of %s: the server may cut off the rest of this file", at, file), data[at:end])
		at = end
	}
	return nil
}

// unfinished reports whether the end of the newest file is a write that a crash interrupted.
func (f *streamFolder) unfinished(rest []byte) bool {
	if f.note.last > max(f.LastSeq, f.buried) {
		return false // the server had it in full
	}
	return len(rest) < recordHead || int(binary.LittleEndian.Uint32(rest)&^withHeaders) > len(rest) || len(bytes.Trim(rest, "\x00")) == 0
}

var storedID = regexp.MustCompile(headerID + `: ([0-9A-Z]{26})\r\n`)

// damaged notes what is wrong before the next sound record.
func (f *streamFolder) damaged(problem string, bad []byte) {
	if f.broken != nil {
		return
	}
	f.broken = &Finding{Problem: problem}
	if ids := storedID.FindAllSubmatch(bad, 2); len(ids) == 1 {
		f.broken.Event = string(ids[0][1])
	}
}

// take adds a record to the account.
func (f *streamFolder) take(r fileRecord) {
	if r.deletes {
		f.present.Delete(r.seq)
		f.buried = max(f.buried, r.seq)
		return
	}
	if r.seq == 0 || r.seq <= f.LastSeq && f.begun {
		return
	}
	if !f.begun {
		f.begun, f.FirstSeq, f.LastSeq = true, r.seq, r.seq-1
		if f.broken != nil {
			f.LastSeq = max(r.seq, 2) - 2
		}
	}
	if f.broken != nil {
		f.mend(r.seq - 1)
	}
	if r.erased {
		f.LastSeq = r.seq
		return
	}
	m, err := (&plainMessage{Subject: r.subject, Header: r.header, Data: r.body}).message()
	if err != nil {
		f.find(Finding{f.Name, r.seq, r.seq, "", "headers: " + err.Error()})
	}
	f.present.Insert(r.seq)
	f.add(r.seq, m)
}

// mend reports damage, now that the sequence before the next sound record is known.
func (f *streamFolder) mend(last uint64) {
	first := f.LastSeq + 1
	if last < first { // it was no message: a deletion
		first, last = 0, 0
	}
	f.find(Finding{f.Name, first, last, f.broken.Event, f.broken.Problem})
	for seq := first; seq > 0 && seq <= last; seq++ {
		f.present.Insert(seq) // what is reported is not missed again
		f.LastSeq = seq
	}
	f.broken = nil
}

func (f *streamFolder) finish() {
	defer f.end()
	if f.broken != nil {
		f.mend(max(f.note.last, f.buried, f.LastSeq+1))
	}
	if f.note.last > max(f.LastSeq, f.buried) {
		f.find(Finding{f.Name, f.LastSeq + 1, f.note.last, "", "missing: the server had it, and the files end before"})
		return
	}
	if !bytes.Equal(f.note.tail, f.tail) {
		return // the note is older than the files
	}
	f.Messages = 0
	f.present.Range(func(seq uint64) bool {
		if seq >= f.note.first {
			f.Messages++
		}
		return true
	})
	if f.Messages < f.note.messages {
		f.find(Finding{Stream: f.Name, Problem: fmt.Sprintf("missing: the server had %d messages, the files have %d", f.note.messages, f.Messages)})
	}
}

// checkSettings compares what describes the stream and its consumers with its hashes: what the server finds damaged, it
// leaves out, and then the work of a consumer begins anew.
func (f *streamFolder) checkSettings() error {
	consumers, err := entries(filepath.Join(f.dir, "obs"))
	if err != nil {
		return err
	}
	if err := f.checkSetting(".", f.Name); err != nil {
		return err
	}
	for _, c := range consumers {
		if err := f.checkSetting(filepath.Join("obs", c), f.Name+"/"+c); err != nil {
			return err
		}
	}
	return nil
}

func (f *streamFolder) checkSetting(dir, key string) error {
	sum, err := newChecksum(key)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, server.JetStreamMetaFile)
	meta, err := os.ReadFile(filepath.Join(f.dir, file))
	want, err2 := os.ReadFile(filepath.Join(f.dir, dir, server.JetStreamMetaFileSum))
	if err := errors.Join(err, err2); err != nil {
		f.find(Finding{Stream: f.Name, Problem: "unreadable: " + err.Error()})
	} else if hex.EncodeToString(sum.of(meta)) != string(want) {
		f.find(Finding{Stream: f.Name, Problem: "damaged: " + file + ", the server leaves it out"})
	}
	return nil
}

// note is what the server wrote down about a stream when it stopped, or some time before.
type note struct {
	messages, first, last uint64
	tail                  []byte // the last bytes of the newest file of that time
}

// readNote returns an empty note when there is no sound one. A note begins with two bytes of version, then, as varints:
// messages, bytes, first sequence and its time, last sequence. It ends with the end of the newest file.
func readNote(file, stream string) (note, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return note{}, nil
	}
	if err != nil || len(data) < 2*recordSum {
		return note{}, err
	}
	sum, err := newChecksum(stream)
	if err != nil {
		return note{}, err
	}
	text := data[:len(data)-recordSum]
	if !bytes.Equal(sum.of(text), data[len(text):]) {
		return note{}, nil
	}
	var values [5]uint64
	at := 2
	for i := range values {
		v, n := binary.Uvarint(text[at:])
		if n <= 0 {
			return note{}, nil
		}
		values[i], at = v, at+n
	}
	return note{messages: values[0], first: values[2], last: values[4], tail: text[len(text)-recordSum:]}, nil
}

// fileRecord is an entry of a message file (nats-server 2.15, server/filestore.go):
//
//	 0  length of the record u32; highest bit: it has headers
//	 4  sequence u64; highest bit: erased, the next one: this says that the sequence was deleted
//	12  time u64
//	20  length of the subject u16
//	22  subject; with headers: their length u32, headers; body; hash u64 of bytes 4 to 20, subject, headers, body
type fileRecord struct {
	size            int
	seq             uint64
	erased, deletes bool
	subject         string
	header, body    []byte
}

const (
	recordHead   = 22
	recordSum    = highwayhash.Size64
	maxRecord    = 32 << 20 // bytes of a record
	withHeaders  = 1 << 31
	seqErased    = 1 << 63
	seqTombstone = 1 << 62
)

func isRecord(data []byte, sum checksum) bool {
	_, ok := readRecord(data, sum)
	return ok
}

func readRecord(data []byte, sum checksum) (fileRecord, bool) {
	if len(data) < recordHead+recordSum {
		return fileRecord{}, false
	}
	length, subject := binary.LittleEndian.Uint32(data), int(binary.LittleEndian.Uint16(data[20:]))
	size, lead := int(length&^withHeaders), recordHead+subject
	if length&withHeaders != 0 {
		lead += 4
	}
	if size > maxRecord || size > len(data) || lead+recordSum > size {
		return fileRecord{}, false
	}
	content := data[lead : size-recordSum]
	if !bytes.Equal(sum.of(data[4:20], data[recordHead:recordHead+subject], content), data[size-recordSum:size]) {
		return fileRecord{}, false
	}
	seq := binary.LittleEndian.Uint64(data[4:])
	r := fileRecord{size: size, seq: seq &^ (seqErased | seqTombstone), erased: seq&seqErased != 0, deletes: seq&seqTombstone != 0, body: content}
	r.subject = string(data[recordHead : recordHead+subject])
	if length&withHeaders != 0 {
		split := binary.LittleEndian.Uint32(data[lead-4:]) // the one field after the length that the hash leaves out
		if uint64(split) > uint64(len(content)) {
			return fileRecord{}, false
		}
		r.header, r.body = content[:split], content[split:]
	}
	return r, true
}

// checksum is the server's hash of what it stores.
type checksum struct{ *highwayhash.Digest64 }

func newChecksum(name string) (checksum, error) {
	key := sha256.Sum256([]byte(name))
	h, err := highwayhash.NewDigest64(key[:])
	return checksum{h}, err
}

func (c checksum) of(parts ...[]byte) []byte {
	c.Reset()
	for _, p := range parts {
		_, _ = c.Write(p) // a hash takes everything
	}
	return c.Sum(nil)
}
