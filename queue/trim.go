package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The streams keep what is done, so that it can be looked at and replayed. A stream that is nearly full loses the oldest
// of it, and nothing else: what waits or runs is never purged.

const (
	trimAbove = 80 // percent of a stream's limit
	trimTo    = 70

	trimPause = time.Second / 4  // before the next trim for a publish when the last one made no room
	idlePause = 30 * time.Second // before the next try to trim a stream of which nothing could be purged
	warnPause = time.Hour        // between two warnings
)

// history is what is done.
type history struct {
	q      *Queue
	events uint64      // bytes that FUNKER_EVENTS may take
	store  uint64      // bytes that all streams may take
	short  atomic.Bool // little is left of the disk

	mu     sync.Mutex
	asked  time.Time            // when a trim ended that was for a publish, or made room
	freed  bool                 // whether it made room
	idle   map[string]time.Time // stream -> when nothing could be purged
	warned time.Time
}

// archive is a stream that keeps history.
type archive struct {
	stream string
	most   uint64                    // bytes
	filter func(token string) string // the subjects of a function that hold history
	all    bool                      // whether the stream has no other subjects
}

func (h *history) archives() []archive {
	events := func(token string) string { return eventSubject("*", token) }
	return []archive{
		{streamEvents, h.events, events, true},
		{streamRetry, h.events / 4, redoSubject, false}, // schedules wait
	}
}

// goal is how many bytes a stream shall hold that holds so many now. need is the size of a message that was refused.
func goal(now, most, need uint64, short bool) uint64 {
	g := now
	if now > most/100*trimAbove || need > 0 {
		g = min(g, most/100*trimTo, most-min(need, most))
	}
	if short {
		g = min(g, now-now/8)
	}
	return g
}

// trim is done from time to time.
func (h *housekeeper) trim(ctx context.Context) {
	h.history.mu.Lock()
	defer h.history.mu.Unlock()
	freed, err := h.history.trim(ctx, 0, h.history.short.Load())
	if freed > 0 {
		h.history.asked, h.history.freed = time.Now(), true
	}
	h.complain(ctx, err)
	h.complain(ctx, h.history.warnOfDead(ctx))
}

// makeRoom trims at once for what the server refused at a time. It reports whether another try is worthwhile.
func (h *history) makeRoom(ctx context.Context, refused time.Time, size int, refusal error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.asked.After(refused): // while this one waited for the lock
		return h.freed
	case !h.freed && refused.Sub(h.asked) < trimPause:
		return false
	}
	h.idle = nil
	freed, err := h.trim(ctx, uint64(size+overhead), storeFull(refusal))
	if err != nil {
		h.q.log.Warn("history cannot be trimmed", "error", err)
	}
	h.asked, h.freed = time.Now(), freed > 0
	return h.freed
}

// trim purges what is done from the streams that are too full. It returns how many bytes that freed.
func (h *history) trim(ctx context.Context, need uint64, short bool) (freed uint64, err error) {
	for _, s := range h.archives() {
		state, err := h.q.state(ctx, s.stream)
		if err != nil {
			return freed, err
		}
		goal := goal(state.Bytes, s.most, need, short)
		if need = 0; state.Bytes <= goal || time.Since(h.idle[s.stream]) < idlePause { // only events are ever refused for their stream
			continue
		}
		n, err := h.q.cut(ctx, s, goal)
		if freed += n; err != nil {
			return freed, fmt.Errorf("trim %s: %w", s.stream, err)
		}
		if n == 0 {
			if h.idle == nil {
				h.idle = make(map[string]time.Time)
			}
			h.idle[s.stream] = time.Now()
			continue
		}
		h.q.log.Info("history trimmed", "stream", s.stream, "freed", formatSize(int64(n)), "of", formatSize(int64(s.most)))
	}
	return freed, nil
}

// warnOfDead says when dead letters, which nothing trims, take much of the store.
func (h *history) warnOfDead(ctx context.Context) error {
	state, err := h.q.state(ctx, streamDead)
	if err != nil || state.Bytes <= h.store/4 || time.Since(h.warned) < warnPause {
		return err
	}
	h.warned = time.Now()
	h.q.log.Warn("dead letters take more than a quarter of the store: replay or drop them", "size", formatSize(int64(state.Bytes)),
		"count", state.Msgs, "store", formatSize(int64(h.store)))
	return nil
}

// borders are the first messages that are not settled, by the function's token. What is before them is done.
type borders struct {
	of  map[string]uint64
	end uint64 // for functions that have none
}

// lowest is where the history ends that all functions have in common.
func (b borders) lowest() uint64 {
	low := b.end
	for _, at := range b.of {
		low = min(low, at)
	}
	return low
}

// cut purges what is done, oldest first, until the stream holds goal bytes or nothing is left to purge. First it
// purges up to the border that all functions have in common, then function by function, so that one which is stuck does
// not keep the others' history. Messages differ in size: it goes in steps of half of what the rest seems to need.
func (q *Queue) cut(ctx context.Context, s archive, goal uint64) (freed uint64, err error) {
	stream, err := q.js.Stream(ctx, s.stream)
	if err != nil {
		return 0, err
	}
	state := stream.CachedInfo().State
	b, err := q.borders(ctx, stream, s)
	if err != nil {
		return 0, err
	}
	q.readBeforeCut(ctx)
	common := state.FirstSeq
	if s.all {
		common = b.lowest()
	}
	begin, growth := state.Bytes, uint64(1)
	for at := state.FirstSeq; state.Bytes > goal && at < b.end; {
		step := growth * (1 + uint64(float64(b.end-at)*float64(state.Bytes-goal)/float64(state.Bytes)/2))
		next := min(at+step, b.end)
		if at < common {
			next = min(next, common)
		}
		if err := b.purge(ctx, stream, s, at, next, next <= common); err != nil {
			return begin - state.Bytes, err
		}
		info, err := stream.Info(ctx)
		if err != nil {
			return begin - state.Bytes, err
		}
		if growth = 1; info.State.Bytes == state.Bytes {
			growth = 2 * step
		}
		at, state = next, info.State
	}
	return begin - min(begin, state.Bytes), nil
}

// readBeforeCut lets the index read what is going to be purged, so that it can answer repeats of it. Room matters more:
// an index that is being built, or takes longer than a second, is not waited for.
func (q *Queue) readBeforeCut(ctx context.Context) {
	if !q.index.built.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := q.index.fresh(ctx); err != nil {
		q.log.Warn("history makes room before the index has read it", "error", err)
	}
}

// purge deletes what is done from one sequence to another, exclusive.
func (b borders) purge(ctx context.Context, stream jetstream.Stream, s archive, from, to uint64, all bool) error {
	if all {
		return stream.Purge(ctx, jetstream.WithPurgeSequence(to))
	}
	for _, token := range slices.Sorted(maps.Keys(b.of)) {
		if b.of[token] <= from {
			continue
		}
		err := stream.Purge(ctx, jetstream.WithPurgeSubject(s.filter(token)), jetstream.WithPurgeSequence(min(to, b.of[token])))
		if err != nil {
			return err
		}
	}
	return nil
}

// borders reads them. A message that comes meanwhile is behind the end, and one that is settled meanwhile stays.
func (q *Queue) borders(ctx context.Context, stream jetstream.Stream, s archive) (borders, error) {
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(s.filter("*")))
	if err != nil {
		return borders{}, err
	}
	b := borders{of: map[string]uint64{}, end: info.State.LastSeq + 1}
	floors := map[string]uint64{}
	for subject := range info.State.Subjects { // all of a function that has no consumer yet waits
		floors[subject[strings.LastIndexByte(subject, '.')+1:]] = 0
	}
	consumers, err := consumersOf(ctx, stream)
	if err != nil {
		return borders{}, err
	}
	for token, c := range consumers {
		floors[token] = c.AckFloor.Stream
		if c.NumAckPending == 0 {
			floors[token] = c.Delivered.Stream
		}
	}
	for token, floor := range floors {
		b.of[token] = b.end
		first, err := firstFrom(ctx, stream, floor+1, s.filter(token))
		if err != nil {
			return borders{}, err
		}
		if first != nil {
			b.of[token] = min(b.end, first.Sequence)
		}
	}
	return b, q.spareCrashed(ctx, s.stream, b)
}

// firstFrom returns the first message on a subject from a sequence on, or nil when there is none.
func firstFrom(ctx context.Context, stream jetstream.Stream, seq uint64, subject string) (*jetstream.RawStreamMsg, error) {
	m, err := stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	return m, err
}

// consumersOf lists the consumers of functions by the function's token, those of functions that no manifest names any
// more too.
func consumersOf(ctx context.Context, stream jetstream.Stream) (map[string]*jetstream.ConsumerInfo, error) {
	consumers := map[string]*jetstream.ConsumerInfo{}
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		if token, ok := strings.CutPrefix(info.Name, consumerName("")); ok {
			consumers[token] = info
		}
	}
	return consumers, list.Err()
}

// advisoryTime is how long the server takes at most to store an advisory: usually less than a millisecond.
const advisoryTime = 50 * time.Millisecond

// spareCrashed keeps the messages that the server will not give out any more, because workers died with them, until
// they are dead letters.
func (q *Queue) spareCrashed(ctx context.Context, stream string, b borders) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(advisoryTime):
	}
	advisories, err := q.js.Stream(ctx, streamAdvisory)
	if err != nil {
		return err
	}
	c, err := advisories.Consumer(ctx, crashedConsumer)
	if err != nil {
		return err
	}
	for seq := c.CachedInfo().AckFloor.Stream + 1; ; {
		m, err := firstFrom(ctx, advisories, seq, deliveriesAdvisory(stream))
		if err != nil || m == nil {
			return err
		}
		seq = m.Sequence + 1
		var a advisory
		if json.Unmarshal(m.Data, &a) == nil {
			token := strings.TrimPrefix(a.Consumer, consumerName(""))
			b.of[token] = min(b.of[token], a.StreamSeq)
		}
	}
}
