package queue

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// looseTime is how long a body stays that has no description and that no event names: its event may be on the way.
const looseTime = time.Hour

// object is a stored body.
type object struct {
	name  string
	size  uint64 // in bytes, rounded up to whole chunks
	seq   uint64 // of its event, 0 while that is not known
	event *jetstream.RawStreamMsg
	fresh bool // without description, but not for long
}

// sweeper is what one sweep leaves to the next.
type sweeper struct {
	mu    sync.Mutex
	since map[string]time.Time // since when bodies have no description; this clock does not jump, as that of messages may
	asked time.Time            // when a sweep for a publish ended
	freed bool                 // whether it made room
}

// sweepBodies deletes bodies whose event is gone and that no retry, replay or dead letter names. When bodies take too
// much room, as goal says, those of events that have succeeded go too, together with the events and the oldest first.
func (q *Queue) sweepBodies(ctx context.Context) error {
	q.sweeper.mu.Lock()
	defer q.sweeper.mu.Unlock()
	_, err := q.sweep(ctx, looseTime, 0)
	return err
}

// roomFor sweeps at once for a body that the server refused. It reports whether another try is worthwhile.
func (q *Queue) roomFor(ctx context.Context, size int) bool {
	w := &q.sweeper
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.asked) < trimPause {
		return w.freed // as for the body before, which waited for the same sweep
	}
	freed, err := q.sweep(ctx, looseTime, uint64(size+size/maxChunk*overhead+overhead)) //nolint:gosec // below twice MaxBody
	if err != nil {
		q.log.Warn("bodies cannot be swept", "error", err)
	}
	w.asked, w.freed = time.Now(), freed > 0
	return w.freed
}

// sweep returns how many bytes it freed. need is the size of a body that was refused.
func (q *Queue) sweep(ctx context.Context, patience time.Duration, need uint64) (freed uint64, err error) {
	s, err := q.js.Stream(ctx, streamBodies)
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", streamBodies, err)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter("$O."+bucket+".>"))
	if err != nil {
		return 0, fmt.Errorf("list bodies: %w", err)
	}
	objects, err := q.objects(ctx, s, info.State.Subjects)
	if err != nil {
		return 0, err
	}
	q.sweeper.mark(objects, patience)
	if err := q.findEvents(ctx, objects); err != nil {
		return 0, err
	}
	used, ended := split(objects)
	bytes := info.State.Bytes
	short := q.house != nil && q.house.history.short.Load()
	most := goal(bytes, uint64(info.Config.MaxBytes), need, short) //nolint:gosec // createStreams sets it
	if len(ended) == 0 && bytes <= most {
		return 0, nil
	}
	named, err := q.namedLater(ctx)
	if err != nil {
		return 0, err
	}
	unnamed := func(objects []*object) []*object {
		return slices.DeleteFunc(objects, func(o *object) bool { return named[o.name] })
	}
	for _, o := range unnamed(ended) {
		n, err := q.dropObject(ctx, o)
		if freed += n; err != nil {
			return freed, err
		}
	}
	if bytes -= min(bytes, freed); bytes > most {
		n, err := q.makeRoom(ctx, unnamed(used), bytes-most)
		return freed + n, err
	}
	return freed, nil
}

// objects lists the bodies by the subjects in the store.
func (q *Queue) objects(ctx context.Context, s jetstream.Stream, subjects map[string]uint64) ([]*object, error) {
	byName := make(map[string]*object, len(subjects)/2)
	for subject, count := range subjects {
		name, described := nameOf(subject)
		o := byName[name]
		if o == nil {
			o = &object{name: name}
			byName[name] = o
		}
		if !described {
			o.size = count * maxChunk
			continue
		}
		m, err := s.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read description of body %s: %w", name, err)
		}
		o.describe(m.Data)
	}
	objects := make([]*object, 0, len(byName))
	for _, o := range byName {
		objects = append(objects, o)
	}
	return objects, nil
}

// nameOf returns the object that a subject of the store belongs to.
func nameOf(subject string) (name string, described bool) {
	encoded, described := strings.CutPrefix(subject, metaSubject(""))
	if !described {
		return strings.TrimPrefix(subject, chunkSubject("")), false
	}
	text, err := base64.URLEncoding.DecodeString(encoded)
	return string(text), err == nil
}

// describe takes over what nameBody wrote. Anything else is as good as nothing.
func (o *object) describe(data []byte) {
	var info jetstream.ObjectInfo
	if json.Unmarshal(data, &info) != nil {
		return
	}
	text, ours := strings.CutPrefix(info.Metadata[messageKey], streamEvents+"/")
	if seq, err := strconv.ParseUint(text, 10, 64); ours && err == nil {
		o.seq = seq
	}
}

// mark finds out which objects without a description are fresh.
func (w *sweeper) mark(objects []*object, patience time.Duration) {
	before := w.since
	w.since = make(map[string]time.Time)
	for _, o := range objects {
		if o.seq > 0 {
			continue
		}
		since, known := before[o.name]
		if !known {
			since = time.Now()
		}
		w.since[o.name] = since
		o.fresh = time.Since(since) < patience
	}
}

// findEvents looks for the event of every object: at the place that the description says, or, for what an accident
// has left without one, everywhere.
func (q *Queue) findEvents(ctx context.Context, objects []*object) error {
	lost := map[string]*object{}
	for _, o := range objects {
		switch {
		case o.fresh:
		case o.seq == 0:
			lost[o.name] = o
		default:
			m, err := q.message(ctx, streamEvents, o.seq)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			if err == nil && m.Header.Get(headerObject) == o.name {
				o.event = m
			}
		}
	}
	if len(lost) == 0 {
		return nil
	}
	return q.readNames(ctx, streamEvents, func(m *nats.Msg, meta *jetstream.MsgMetadata) {
		o := lost[m.Header.Get(headerObject)]
		if o == nil {
			return
		}
		o.event = &jetstream.RawStreamMsg{Header: m.Header, Sequence: meta.Sequence.Stream, Time: meta.Timestamp}
		if e, err := decode(m); err == nil {
			q.nameBody(e, meta.Sequence.Stream)
		}
	})
}

// split tells the objects that are in use from those whose event is gone.
func split(objects []*object) (used, ended []*object) {
	for _, o := range objects {
		if o.fresh || o.event != nil {
			used = append(used, o)
		} else {
			ended = append(ended, o)
		}
	}
	return used, ended
}

// namedLater returns the bodies that retries, replays and dead letters name.
func (q *Queue) namedLater(ctx context.Context) (map[string]bool, error) {
	named := map[string]bool{}
	for _, stream := range []string{streamRetry, streamDead} {
		err := q.readNames(ctx, stream, func(m *nats.Msg, _ *jetstream.MsgMetadata) { named[m.Header.Get(headerObject)] = true })
		if err != nil {
			return nil, err
		}
	}
	return named, nil
}

// readNames gives all messages of a stream that name a body to f.
func (q *Queue) readNames(ctx context.Context, stream string, f func(*nats.Msg, *jetstream.MsgMetadata)) error {
	return q.read(ctx, stream, jetstream.OrderedConsumerConfig{HeadersOnly: true}, func(m *nats.Msg, meta *jetstream.MsgMetadata) bool {
		if m.Header.Get(headerObject) != "" {
			f(m, meta)
		}
		return true
	})
}

// dropObject returns how many bytes it freed.
func (q *Queue) dropObject(ctx context.Context, o *object) (uint64, error) {
	if err := q.deleteObject(ctx, o.name); err != nil {
		return 0, err
	}
	q.log.Debug("body deleted", "object", o.name)
	return o.size, nil
}

// makeRoom deletes bodies together with their events, as far as nothing can become of them any more, until it has freed
// so many bytes.
func (q *Queue) makeRoom(ctx context.Context, objects []*object, excess uint64) (freed uint64, err error) {
	slices.SortFunc(objects, func(a, b *object) int { return cmp.Compare(a.seq, b.seq) })
	s, err := q.js.Stream(ctx, streamEvents)
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", streamEvents, err)
	}
	for _, o := range objects {
		if freed >= excess {
			break
		}
		if o.seq == 0 {
			continue
		}
		state, err := q.stateOf(ctx, streamEvents, o.seq)
		if err != nil {
			return freed, err
		}
		if state != StateOK && state != StateDropped {
			continue
		}
		if err := s.DeleteMsg(ctx, o.seq); err != nil {
			return freed, fmt.Errorf("delete %s/%d: %w", streamEvents, o.seq, err)
		}
		n, err := q.dropObject(ctx, o)
		if freed += n; err != nil {
			return freed, err
		}
	}
	if freed > 0 {
		q.log.Info("large bodies trimmed", "freed", formatSize(int64(freed))) //nolint:gosec // a file system holds less than 8 EiB
	}
	return freed, nil
}
