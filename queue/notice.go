package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// streamNotice is a stream without messages, in a store that no gateway may serve: its description says why. It is in the
// store and not beside it, so that all gateways of a cluster have it at once.
const streamNotice = "FUNKER_NOTICE"

// ErrNotServed means that a store may not be served: its events were moved, or have not all arrived.
var ErrNotServed = errors.New("this store is not to be served")

// noticeKind is why a store has a notice.
type noticeKind string

const (
	noticeMoved   noticeKind = "moved"   // its last backup was begun
	noticeFilling noticeKind = "filling" // a restore was begun and is not complete
)

const (
	noticeKindKey = "funker-notice"
	noticeIDKey   = "funker-notice-id"
)

// notice is the one of a store. A moved one has an id of its own, which its last backup has too; a filling one that of its
// backup, the sum of the manifest.
type notice struct {
	kind noticeKind
	id   string
	made time.Time
}

// notice returns nil when there is none.
func (q *Queue) notice(ctx context.Context) (*notice, error) {
	ctx, cancel := context.WithTimeout(ctx, leadersPatience)
	defer cancel()
	var s jetstream.Stream
	err := q.persist(ctx, func(ctx context.Context) (err error) { s, err = q.js.Stream(ctx, streamNotice); return err })
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for a notice: %w", err)
	}
	info := s.CachedInfo()
	return &notice{noticeKind(info.Config.Metadata[noticeKindKey]), info.Config.Metadata[noticeIDKey], info.Created}, nil
}

func (q *Queue) setNotice(ctx context.Context, kind noticeKind, id string) error {
	cfg := jetstream.StreamConfig{
		Name: streamNotice, Description: "this store is not to be served: its events are elsewhere",
		Subjects: []string{"funker.notice"}, MaxMsgs: 1, Metadata: map[string]string{noticeKindKey: string(kind), noticeIDKey: id},
	}
	if kind == noticeFilling {
		cfg.Description = "this store is not to be served: a restore has not been completed"
	}
	if q.clustered() {
		cfg = inCluster(cfg)
	}
	ask, cancel := context.WithTimeout(ctx, leadersPatience)
	defer cancel()
	err := q.persist(ask, func(ctx context.Context) error { _, err := q.js.CreateStream(ctx, cfg); return err })
	if err != nil {
		return fmt.Errorf("leave notice: %w", err)
	}
	return q.syncHeld(ctx, false)
}

func (q *Queue) clearNotice(ctx context.Context) error {
	ask, cancel := context.WithTimeout(ctx, leadersPatience)
	defer cancel()
	err := q.persist(ask, func(ctx context.Context) error { return q.js.DeleteStream(ctx, streamNotice) })
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("remove notice: %w", err)
	}
	return q.syncHeld(ctx, false)
}

// refuseNotice returns ErrNotServed for a store that may not be served.
func (q *Queue) refuseNotice(ctx context.Context) error {
	m, err := q.notice(ctx)
	switch {
	case err != nil || m == nil:
		return err
	case m.kind == noticeFilling:
		return fmt.Errorf(`%w: a restore was begun at %s and is not complete. Start the gateways with --hold, and run the same "funker-dispatch restore" again`,
			ErrNotServed, m.made.UTC().Format(time.RFC3339))
	}
	return fmt.Errorf(`%w: its last backup (--final) was begun at %s, and its events belong to the gateway that was restored from it. If they do not, run "funker-dispatch backup --reopen --offline --data FOLDER"; for a cluster start all with --hold, and leave --offline out`,
		ErrNotServed, m.made.UTC().Format(time.RFC3339))
}

// Reopen lets a store be served again whose last backup was made. The one that was restored from that must not be.
func (q *Queue) Reopen(ctx context.Context) error {
	if err := q.exclusive(ctx); err != nil {
		return err
	}
	m, err := q.notice(ctx)
	switch {
	case err != nil:
		return err
	case m == nil:
		return errors.New("no last backup of this store was made: there is nothing to reopen")
	case m.kind == noticeFilling:
		return errors.New("a restore into this store is not complete: run it again, or begin with new data folders")
	}
	return q.clearNotice(ctx)
}
