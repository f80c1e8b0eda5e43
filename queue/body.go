package queue

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A body that does not fit the message of its event is stored apart, as an object of a JetStream object store, and the
// message names it ("claim check"). In the order of time:
//
//   - the chunks of the body: the object's name is new, so that no second try adds to what a first one left;
//   - a sync to disk: on disk there is never an event without its body;
//   - the event, and its sync;
//   - the object's description, which says where its event is. Only people and sweepBodies read it.
//
// Whatever comes of the event carries its headers, never the body. The stock CLI reads the bodies too:
// `nats object ls funker-bodies`.

const (
	bucket    = "funker-bodies"
	maxChunk  = 1 << 20          // also how long a call may wait behind a body on the same connection
	bodyLimit = 30 * time.Second // to store a body and to sync it
)

// chunkSize is less than maxChunk where the server takes no larger messages.
func (q *Queue) chunkSize() int { return min(maxChunk, q.MaxMessage()) }

func chunkSubject(object string) string { return "$O." + bucket + ".C." + object }
func metaSubject(name string) string    { return "$O." + bucket + ".M." + name }

// metaOf is where the object store keeps the description of an object.
func metaOf(object string) string {
	return metaSubject(base64.URLEncoding.EncodeToString([]byte(object)))
}

// claim says where a body is stored, and what it has to be.
type claim struct {
	object string
	size   int
	sum    [sha256.Size]byte
}

func (c *claim) write(h nats.Header) {
	h[headerObject] = []string{c.object}
	h[headerSize] = []string{strconv.Itoa(c.size)}
	h[headerSum] = []string{hex.EncodeToString(c.sum[:])}
}

// readClaim returns nil for a message that holds its body.
func readClaim(h nats.Header) (*claim, error) {
	c := &claim{object: h.Get(headerObject)}
	if c.object == "" {
		return nil, nil
	}
	if !isToken(c.object) {
		return nil, fmt.Errorf("%w: header %s is not a name", ErrCorrupt, headerObject)
	}
	var err error
	if c.size, err = strconv.Atoi(h.Get(headerSize)); err != nil || c.size < 0 || c.size > MaxBody {
		return nil, fmt.Errorf("%w: header %s is not the size of a body", ErrCorrupt, headerSize)
	}
	sum, err := hex.DecodeString(h.Get(headerSum))
	if err != nil || len(sum) != len(c.sum) {
		return nil, fmt.Errorf("%w: header %s is not a hash", ErrCorrupt, headerSum)
	}
	copy(c.sum[:], sum)
	return c, nil
}

// storeBody stores the body of an event durably when it does not fit a message. One that is stored already stays.
// Errors: ErrFull, with nothing kept, and ErrUnavailable, with a rest that is swept.
func (q *Queue) storeBody(ctx context.Context, e *Event) error {
	if len(e.Body) <= q.MaxMessage() || e.claim != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, bodyLimit)
	defer cancel()
	err := q.storeObject(ctx, e)
	if errors.Is(err, ErrFull) && q.roomFor(ctx, len(e.Body)) {
		err = q.storeObject(ctx, e)
	}
	return err
}

func (q *Queue) storeObject(ctx context.Context, e *Event) error {
	e.claim = &claim{object: NewID(), size: len(e.Body), sum: sha256.Sum256(e.Body)}
	n := 0
	for chunk := range slices.Chunk(e.Body, q.chunkSize()) {
		n++
		m := &nats.Msg{Subject: chunkSubject(e.claim.object), Data: chunk, Header: nats.Header{headerMsgID: {e.claim.object + "." + strconv.Itoa(n)}}}
		_, err := q.sendToLeader(ctx, len(chunk), func(ctx context.Context) (*jetstream.PubAck, error) { return q.js.PublishMsg(ctx, m) })
		if err != nil {
			q.dropBody(ctx, e)
			return failed(err, "store body")
		}
	}
	if err := q.flush(ctx, streamBodies); err != nil {
		q.dropBody(ctx, e)
		return err
	}
	return nil
}

// dropBody deletes a body that no message names, as well as it can: sweepBodies has the rest.
func (q *Queue) dropBody(ctx context.Context, e *Event) {
	if e.claim == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishLimit)
	defer cancel()
	if err := q.deleteObject(ctx, e.claim.object); err != nil {
		q.logOf(e).Warn("body stays until it is swept", "object", e.claim.object, "error", err)
	}
	e.claim = nil
}

func (q *Queue) deleteObject(ctx context.Context, object string) error {
	s, err := q.js.Stream(ctx, streamBodies)
	if err != nil {
		return fmt.Errorf("open %s: %w", streamBodies, err)
	}
	for _, subject := range []string{chunkSubject(object), metaOf(object)} {
		if err := s.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return fmt.Errorf("delete body %s: %w", object, err)
		}
	}
	return nil
}

// messageKey is the metadata of an object that names the message of its event: "FUNKER_EVENTS/42".
const messageKey = "message"

// nameBody writes the description of an object. It does not wait: sweepBodies does without it, only slower.
func (q *Queue) nameBody(e *Event, seq uint64) {
	if e.claim == nil {
		return
	}
	data, err := json.Marshal(jetstream.ObjectInfo{
		ObjectMeta: jetstream.ObjectMeta{
			Name: e.claim.object, Description: "body of event " + e.ID,
			Metadata: map[string]string{"event": e.ID, messageKey: streamEvents + "/" + strconv.FormatUint(seq, 10)},
			Opts:     &jetstream.ObjectMetaOptions{ChunkSize: uint32(q.chunkSize())}, //nolint:gosec // at most maxChunk
		},
		Bucket: bucket, NUID: e.claim.object, Size: uint64(e.claim.size), Chunks: uint32((e.claim.size + q.chunkSize() - 1) / q.chunkSize()), //nolint:gosec // both are below MaxBody
		Digest: "SHA-256=" + base64.URLEncoding.EncodeToString(e.claim.sum[:]),
	})
	if err == nil {
		err = q.nc.PublishMsg(&nats.Msg{Subject: metaOf(e.claim.object), Header: nats.Header{jetstream.MsgRollup: {jetstream.MsgRollupSubject}}, Data: data})
	}
	if err != nil {
		q.logOf(e).Warn("body not described", "object", e.claim.object, "error", err)
	}
}

// body returns the body that belongs to the headers and the data of a message: the data, or the object that the
// headers name. It returns ErrCorrupt for an object that is missing or is not what was stored.
func (q *Queue) body(ctx context.Context, h nats.Header, data []byte) ([]byte, error) {
	c, err := readClaim(h)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return data, checkSum(h.Get(headerSum), data)
	}
	body := make([]byte, 0, c.size)
	for next := uint64(1); len(body) < c.size; {
		var chunk []byte
		if chunk, next, err = q.chunk(ctx, c.object, next); err != nil {
			return nil, err
		}
		if len(body)+len(chunk) > c.size {
			return nil, fmt.Errorf("%w: body %s is longer than %d bytes", ErrCorrupt, c.object, c.size)
		}
		body = append(body, chunk...)
	}
	if sha256.Sum256(body) != c.sum {
		return nil, fmt.Errorf("%w: body %s does not match its hash", ErrCorrupt, c.object)
	}
	return body, nil
}

// chunk returns the first chunk of an object at or after a sequence, and the sequence from which to look for the next
// one. It asks as a worker may.
func (q *Queue) chunk(ctx context.Context, object string, from uint64) (data []byte, next uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, publishLimit)
	defer cancel()
	request := fmt.Appendf(nil, `{"seq":%d,"next_by_subj":%q}`, from, chunkSubject(object))
	m, err := q.get(ctx, streamBodies, request)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: read body %s: %w", ErrUnavailable, object, err)
	}
	switch status := m.Header.Get("Status"); status {
	case "":
	case "404":
		return nil, 0, fmt.Errorf("%w: body %s is not there, or not all of it", ErrCorrupt, object)
	default:
		return nil, 0, fmt.Errorf("%w: read body %s: status %s %s", ErrUnavailable, object, status, m.Header.Get("Description"))
	}
	seq, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: read body %s: the answer has no sequence", ErrUnavailable, object)
	}
	return m.Data, seq + 1, nil
}
