package queue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// VerifyReport says what was read, and everything that is wrong with it.
type VerifyReport struct {
	Streams  []VerifiedStream `json:"streams"`
	Findings []Finding        `json:"findings"`
}

// VerifiedStream counts what was read of one stream.
type VerifiedStream struct {
	Name     string `json:"name"`
	Messages uint64 `json:"messages"`
	Unhashed uint64 `json:"unhashed"` // those of them that carry no hash of their body
	FirstSeq uint64 `json:"first_seq"`
	LastSeq  uint64 `json:"last_seq"`
	// Torn is the size of a write at the end which a crash interrupted. Nobody was told that its message is stored, and
	// the server removes it when it starts. Only VerifyFolder sees it.
	Torn int64 `json:"torn_bytes,omitempty"`
}

// Hashed reports whether the messages of the stream should carry hashes: lines of the log and chunks of large bodies do
// not.
func (s VerifiedStream) Hashed() bool {
	shelf := shelfOf(s.Name)
	return shelf != 0 && shelf != shelfLog
}

// Finding is a range of sequences of a stream with one thing wrong.
type Finding struct {
	Stream  string `json:"stream"`
	First   uint64 `json:"first_seq,omitempty"` // 0 when it is not about messages
	Last    uint64 `json:"last_seq,omitempty"`
	Event   string `json:"event,omitempty"` // its id, when the message or one that came of it still says so
	Problem string `json:"problem"`
}

// What is wrong with sequences that are not there to read.
const (
	problemUnreadable = "unreadable: the server passes over it"
	problemLost       = "lost: the server found the file damaged and cut off the rest of the block"
	problemMissing    = "missing: the server cut it off as damaged when it started, or a person deleted it; it has left no trace"
)

// Progress is told how far the reading of a stream is, in sequences. It may be nil.
type Progress func(stream string, done, total uint64)

// Verify reads every message of every stream, up to the newest one of now. It compares each body with its hash, also one
// that is stored apart, decodes the headers, and looks for sequences that are gone without having been deleted: the
// server's own count proves nothing, because it counts what it cannot read. What is published or purged meanwhile does
// no harm. Memory is bounded by the largest message.
func (q *Queue) Verify(ctx context.Context, progress Progress) (VerifyReport, error) {
	a := newAudit()
	streams, err := q.streams(ctx)
	if err != nil {
		return a.VerifyReport, err
	}
	for _, s := range bodiesLast(streams, func(s jetstream.Stream) string { return s.CachedInfo().Config.Name }) {
		if err := q.verifyStream(ctx, s, a, progress); err != nil {
			return a.VerifyReport, fmt.Errorf("verify %s: %w", s.CachedInfo().Config.Name, err)
		}
	}
	a.judgeGone()
	err = a.judgeBodies(func(c claimant) (bool, error) { return q.isThere(ctx, c.stream, c.seq) })
	return a.VerifyReport, err
}

// isThere reports whether a message can be read.
func (q *Queue) isThere(ctx context.Context, stream string, seq uint64) (bool, error) {
	m, err := q.stored(ctx, stream, seq)
	return m != nil && m.Sequence == seq, err
}

func (q *Queue) verifyStream(ctx context.Context, stream jetstream.Stream, a *audit, progress Progress) error {
	info, err := stream.Info(ctx)
	if err != nil {
		return err
	}
	last := info.State.LastSeq
	s := a.begin(info.Config.Name, max(1, info.State.FirstSeq))
	defer s.end()
	r, err := q.newScanner(info.Config)
	if err != nil {
		return err
	}
	defer r.close()
	visit := func(seq uint64, m *nats.Msg) {
		if seq <= last {
			s.add(seq, m)
		}
	}
	for next := s.FirstSeq; next <= last; {
		from := next
		next, err = r.read(ctx, from, visit)
		if err == nil && next == from { // any server of a cluster has answered, perhaps one that is behind
			next, err = r.readOne(ctx, from, visit)
		}
		if err == nil && next == from {
			next, err = q.resume(ctx, s.Name, from, last)
		}
		if err != nil {
			return fmt.Errorf("read on from sequence %d: %w", from, err)
		}
		if progress != nil {
			progress(s.Name, min(next, last+1)-s.FirstSeq, last+1-s.FirstSeq)
		}
	}
	s.missed(last)
	return s.judgeGaps(ctx, q, stream)
}

// moveOrder is the way of a message through the streams: what a message refers to is in its own stream or in one before.
var moveOrder = []string{streamEvents, streamCalls, streamRetry, streamAdvisory, streamDead, streamLog, streamConfig}

// streams lists what the server has: object stores, in which are bodies that events refer to, ours in moveOrder, those of
// others.
func (q *Queue) streams(ctx context.Context) ([]jetstream.Stream, error) {
	list := q.js.StreamNames(ctx)
	var names []string
	for name := range list.Name() {
		names = append(names, name)
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("list streams: %w", err)
	}
	names = sortStreams(names)
	streams := make([]jetstream.Stream, len(names))
	for i, name := range names {
		var err error
		if streams[i], err = q.openStream(ctx, name); err != nil {
			return nil, fmt.Errorf("open %s: %w", name, err)
		}
	}
	return streams, nil
}

// openStream waits for a leader of a stream, in a cluster that has just come together.
func (q *Queue) openStream(ctx context.Context, name string) (s jetstream.Stream, err error) {
	ctx, cancel := context.WithTimeout(ctx, leadersPatience)
	defer cancel()
	err = q.persist(ctx, func(ctx context.Context) error { s, err = q.js.Stream(ctx, name); return err })
	return s, err
}

// sortStreams also leaves out the notice, in which nothing is.
func sortStreams(names []string) []string {
	names = slices.DeleteFunc(names, func(name string) bool { return name == streamNotice })
	rank := func(name string) int {
		if strings.HasPrefix(name, "OBJ_") {
			return -1
		}
		if i := slices.Index(moveOrder, name); i >= 0 {
			return i
		}
		return len(moveOrder)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) })
	return names
}

// bodiesLast puts the object stores to the end: whoever reads an event first, and then its body, finds it.
func bodiesLast[S any](streams []S, name func(S) string) []S {
	n := slices.IndexFunc(streams, func(s S) bool { return !strings.HasPrefix(name(s), "OBJ_") })
	n = max(n, 0)
	return slices.Concat(streams[n:], streams[:n])
}
