package queue

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server/avl"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// audit keeps the account of all streams while they are read.
type audit struct {
	VerifyReport
	unnamed map[string]int         // finding that does not know its event yet, by message
	gone    avl.SequenceSet        // events that were deleted, and of which nothing says yet what became of them
	claims  []claimant             // bodies that are stored apart
	bodies  map[string]*storedBody // by object
}

// claimant is a message that names a body which is stored apart.
type claimant struct {
	claim  *claim
	stream string
	seq    uint64
	event  string
}

type storedBody struct {
	size int
	sum  hash.Hash
}

func newAudit() *audit {
	return &audit{
		VerifyReport: VerifyReport{Streams: []VerifiedStream{}, Findings: []Finding{}},
		unnamed:      make(map[string]int), bodies: make(map[string]*storedBody),
	}
}

func (a *audit) find(f Finding) {
	if n := len(a.Findings); n > 0 && f.First > 0 {
		before := &a.Findings[n-1]
		if *before == (Finding{f.Stream, before.First, f.First - 1, f.Event, f.Problem}) {
			delete(a.unnamed, reference(f.Stream, before.First))
			before.Last = f.Last
			return
		}
	}
	if f.Event == "" && f.First == f.Last {
		a.unnamed[reference(f.Stream, f.First)] = len(a.Findings)
	}
	a.Findings = append(a.Findings, f)
}

// learn takes from a message what it says about the one that its run began with.
func (a *audit) learn(e *Event) {
	if i, ok := a.unnamed[e.Root]; ok {
		a.Findings[i].Event = e.ID
		delete(a.unnamed, e.Root)
	}
	if text, ok := strings.CutPrefix(e.Root, streamEvents+"/"); ok && !a.gone.IsEmpty() {
		if seq, err := strconv.ParseUint(text, 10, 64); err == nil {
			a.gone.Delete(seq)
		}
	}
}

// judgeGone reports events of which nothing is left.
func (a *audit) judgeGone() {
	a.gone.Range(func(seq uint64) bool {
		a.find(Finding{streamEvents, seq, seq, "", problemMissing})
		return true
	})
}

// judgeBodies compares the bodies that are stored apart with what the messages say which name them. still tells whether
// such a message is still there.
func (a *audit) judgeBodies(still func(claimant) (bool, error)) error {
	for _, c := range a.claims {
		problem := ""
		switch b := a.bodies[c.claim.object]; {
		case b == nil || b.size < c.claim.size:
			problem = "body " + c.claim.object + " is not there, or not all of it"
		case !bytes.Equal(b.sum.Sum(nil), c.claim.sum[:]):
			problem = "body " + c.claim.object + " does not match its hash"
		default:
			continue
		}
		ok, err := still(c)
		if err != nil {
			return err
		}
		if ok {
			a.find(Finding{c.stream, c.seq, c.seq, c.event, problem})
		}
	}
	return nil
}

// streamAudit is the account of one stream, which is read in order.
type streamAudit struct {
	*audit
	VerifiedStream
	gaps []gap  // what was not there to read
	time string // of the newest message, where the server tells it
}

// gap is a range of sequences, both ends included.
type gap struct {
	first, last uint64
	after       string // time of the message before
}

func (a *audit) begin(stream string, first uint64) *streamAudit {
	return &streamAudit{audit: a, VerifiedStream: VerifiedStream{Name: stream, FirstSeq: first, LastSeq: first - 1}}
}

func (s *streamAudit) end() { s.Streams = append(s.Streams, s.VerifiedStream) }

// add checks one message.
func (s *streamAudit) add(seq uint64, m *nats.Msg) {
	s.missed(seq - 1)
	s.LastSeq, s.time = seq, m.Header.Get(jetstream.TimeStampHeaer)
	s.Messages++
	if m.Header.Get(headerSum) == "" {
		s.Unhashed++
	}
	e, err := decode(m)
	if err != nil {
		s.find(Finding{s.Name, seq, seq, e.ID, strings.TrimPrefix(err.Error(), ErrCorrupt.Error()+": ")})
	}
	if e.claim != nil {
		s.claims = append(s.claims, claimant{e.claim, s.Name, seq, e.ID})
	}
	s.learn(e)
	if object, ok := strings.CutPrefix(m.Subject, chunkSubject("")); ok && s.Name == streamBodies {
		b := s.bodies[object]
		if b == nil {
			b = &storedBody{sum: sha256.New()}
			s.bodies[object] = b
		}
		b.size += len(m.Data)
		_, _ = b.sum.Write(m.Data) // a hash takes everything
	}
}

// missed notes what was expected up to a sequence and did not come.
func (s *streamAudit) missed(last uint64) {
	if last > s.LastSeq {
		s.gaps = append(s.gaps, gap{s.LastSeq + 1, last, s.time})
		s.LastSeq = last
	}
}

// judgeGaps asks the server which of the gaps are deletions. It asks after the reading, so what was purged meanwhile is
// known to be.
func (s *streamAudit) judgeGaps(ctx context.Context, q *Queue, stream jetstream.Stream) error {
	if len(s.gaps) == 0 {
		return nil
	}
	info, err := stream.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return fmt.Errorf("ask what was deleted: %w", err)
	}
	log, err := q.state(ctx, streamLog)
	if err != nil {
		return err
	}
	var lost []uint64
	if info.State.Lost != nil {
		lost = info.State.Lost.Msgs
	}
	for _, g := range s.gaps {
		logged := s.Name == streamEvents && g.since(log.FirstTime)
		for seq := max(g.first, info.State.FirstSeq); seq <= g.last; seq++ {
			_, isLost := slices.BinarySearch(lost, seq)
			_, isDeleted := slices.BinarySearch(info.State.Deleted, seq)
			switch {
			case isLost:
				s.find(Finding{s.Name, seq, seq, "", problemLost})
			case !isDeleted:
				s.find(Finding{s.Name, seq, seq, "", problemUnreadable})
			case logged:
				s.gone.Insert(seq)
			case s.Name == streamLog: // it loses its oldest messages only
				s.find(Finding{s.Name, seq, seq, "", problemMissing})
			}
		}
	}
	return nil
}

// since reports whether everything in the gap came after a point in time.
func (g gap) since(begin time.Time) bool {
	after, err := time.Parse(time.RFC3339Nano, g.after)
	return err == nil && !after.Before(begin)
}

// reference names a message: "FUNKER_EVENTS/42".
func reference(stream string, seq uint64) string { return stream + "/" + strconv.FormatUint(seq, 10) }
