package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/s2"
	natsarchive "github.com/nats-io/nats-server/v2/server/archive"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ComparedStream is what a backup and the store that was restored from it have of a stream.
type ComparedStream struct {
	Name      string `json:"name"`
	InBackup  uint64 `json:"in_backup"` // messages
	Same      uint64 `json:"same"`      // those of them that are the same here, byte for byte, with their sequence and time
	Due       uint64 `json:"due"`       // retries that became due since, and wait at the end
	Expired   uint64 `json:"expired"`   // messages that their stream does not keep any more: too old, or no room
	FirstSeq  uint64 `json:"first_seq"`
	LastSeq   uint64 `json:"last_seq"`
	Consumers int    `json:"consumers"` // that stand where they stood
}

// comparison reads a stream in a backup and in the store side by side.
type comparison struct {
	ComparedStream
	findings []Finding
	config   jetstream.StreamConfig
	due      map[string]bool // retries that are not in their place any more
}

// What is wrong with a message or a consumer after a restore.
const (
	problemDiffers  = "differs from the one in the backup"
	problemAbsent   = "is in the backup and not in the store"
	problemExtra    = "is in the store and not in the backup"
	problemConsumer = "the consumer does not stand where it stood in the backup"
)

// compareStream tells how a stream differs from the one in a backup. dir has the archive.
func (q *Queue) compareStream(ctx context.Context, name, dir string) (*comparison, error) {
	f, err := os.Open(filepath.Join(dir, archiveFile))
	if err != nil {
		return nil, fmt.Errorf("read backup: %w", err)
	}
	defer f.Close()
	saved := natsarchive.NewReader(s2.NewReader(f))
	head, err := readHead(saved)
	if err != nil {
		return nil, fmt.Errorf("read backup: %s: %w", name, err)
	}
	s, err := q.openSnapshot(ctx, name)
	if err != nil {
		return nil, err
	}
	defer s.close()
	have, err := readHead(s.archive)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	c := &comparison{ComparedStream: ComparedStream{Name: name, FirstSeq: s.State.FirstSeq, LastSeq: s.State.LastSeq}, due: map[string]bool{}}
	if err := json.Unmarshal(s.Config, &c.config); err != nil {
		return nil, fmt.Errorf("settings of %s: %w", name, err)
	}
	if err := c.consumers(head[1:], have[1:]); err != nil {
		return nil, err
	}
	return c, c.messages(messagesOf(saved), messagesOf(s.archive))
}

// messagesOf returns a function that reads the next message, nil after the last one.
func messagesOf(in *natsarchive.Reader) func() (*archived, error) {
	return func() (*archived, error) {
		e, err := readEntry(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if err != nil || e.header.Sequence == 0 {
			return nil, nil
		}
		return &e, nil
	}
}

func (c *comparison) messages(saved, here func() (*archived, error)) error {
	have, err := here()
	for err == nil {
		var want *archived
		if want, err = saved(); err != nil || want == nil {
			break
		}
		c.InBackup++
		for err == nil && have != nil && have.header.Sequence < want.header.Sequence {
			c.extra(have)
			have, err = here()
		}
		if err == nil && have != nil && have.header.Sequence == want.header.Sequence {
			c.pair(want, have)
			have, err = here()
			continue
		}
		c.absent(want)
	}
	for err == nil && have != nil {
		c.extra(have)
		have, err = here()
	}
	if err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	if n := len(c.due); n > 0 {
		c.find(0, fmt.Sprintf("%d retries became due, and do not wait at the end", n))
	}
	return nil
}

func (c *comparison) pair(want, have *archived) {
	if *want.header != *have.header || !bytes.Equal(want.content, have.content) {
		c.find(want.header.Sequence, problemDiffers)
		return
	}
	c.Same++
}

// absent judges a message that is not here. The server moves a retry that is due to the end, and drops what is too old or has
// no room. A backup of a gateway that works may have a little more than a stream keeps, for that is read on while it is made.
func (c *comparison) absent(want *archived) {
	h, err := want.headers()
	switch {
	case err == nil && h.Get(headerSchedule) != "":
		c.Due++
		c.due[retryKey(h)] = true
	case c.config.MaxAge > 0 && time.Since(time.Unix(0, want.header.Timestamp)) > c.config.MaxAge,
		c.config.Discard == jetstream.DiscardOld && c.config.MaxBytes > 0 && want.header.Sequence < c.FirstSeq,
		c.config.MaxMsgsPerSubject > 0:
		c.Expired++
	default:
		c.find(want.header.Sequence, problemAbsent)
	}
}

// extra judges a message that only the store has: a retry that became due.
func (c *comparison) extra(have *archived) {
	if h, err := have.headers(); err == nil && strings.HasPrefix(have.header.Name, redoSubject("")) && c.due[retryKey(h)] {
		delete(c.due, retryKey(h))
		return
	}
	c.find(have.header.Sequence, problemExtra)
}

// retryKey tells the retries of a stream apart.
func retryKey(h nats.Header) string {
	return strings.Join([]string{h.Get(headerID), h.Get(headerRunID), h.Get(headerFunction), h.Get(headerAttempt)}, " ")
}

func (e *archived) headers() (nats.Header, error) {
	m, err := (&plainMessage{Header: e.content[:e.header.HeaderSize]}).message()
	return m.Header, err
}

func (c *comparison) find(seq uint64, problem string) {
	if n := len(c.findings); n > 0 && seq > 0 {
		if last := &c.findings[n-1]; last.Problem == problem && last.Last == seq-1 {
			last.Last = seq
			return
		}
	}
	c.findings = append(c.findings, Finding{Stream: c.Name, First: seq, Last: seq, Problem: problem})
}

// stand is where a consumer stands.
type stand struct {
	Delivered struct {
		Stream uint64 `json:"stream_seq"`
	} `json:"delivered"`
	AckFloor struct {
		Stream uint64 `json:"stream_seq"`
	} `json:"ack_floor"`
	Pending map[uint64]json.RawMessage `json:"pending"`
}

// consumers compares where they stand. The servers of a cluster do not tell which messages above the floor are pending:
// there a consumer with pending messages stands at its floor, and gives out again what is above it.
func (c *comparison) consumers(saved, here []archived) error {
	have := map[string]stand{}
	for _, e := range here {
		p, err := readStand(e)
		if err != nil {
			return err
		}
		have[e.header.Name] = p
	}
	for _, e := range saved {
		want, err := readStand(e)
		if err != nil {
			return err
		}
		p, there := have[e.header.Name]
		floor := p.AckFloor.Stream == want.AckFloor.Stream || p.AckFloor.Stream > want.AckFloor.Stream && p.AckFloor.Stream < c.FirstSeq
		open := p.Delivered.Stream == p.AckFloor.Stream || p.Delivered.Stream <= want.Delivered.Stream && len(p.Pending) >= len(want.Pending)
		if !there || !floor || !open {
			c.find(0, strings.TrimPrefix(e.header.Name, "consumers/")+": "+problemConsumer)
			continue
		}
		c.Consumers++
	}
	return nil
}

func readStand(e archived) (p stand, err error) {
	var state struct {
		State *stand `json:"state"`
	}
	state.State = &p
	if err := json.Unmarshal(e.content, &state); err != nil {
		return p, fmt.Errorf("%s: %w", e.header.Name, err)
	}
	return p, nil
}
