package queue

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// FillReport says what was restored, and what the backup says was wrong when it was made.
type FillReport struct {
	Streams  []ComparedStream `json:"streams"`
	Findings []Finding        `json:"findings"`
}

// Fill restores a backup into a cluster whose gateways are all held and have nothing. It compares every message with the
// backup, once every gateway has its copy. Until it has returned without an error no gateway serves the store. Killed or
// broken off at any time, it is called again with the same backup: streams that are as in the backup stay, and all others
// are restored anew. What is dropped and what moves is as Restore says.
func (q *Queue) Fill(ctx context.Context, backup string, progress Progress) (r FillReport, err error) {
	r = FillReport{Streams: []ComparedStream{}, Findings: []Finding{}}
	m, err := readManifest(backup)
	if err != nil {
		return r, err
	}
	id, err := sumFile(filepath.Join(backup, manifestFile))
	if err != nil {
		return r, fmt.Errorf("read backup: %w", err)
	}
	if m.Final == "" {
		q.log.Warn("this is no last backup: the gateway that it is of must not serve the same events, see backup --final")
	}
	if err := q.complete(ctx); err != nil {
		return r, err
	}
	if err := q.beginFill(ctx, m, id, backup); err != nil {
		return r, err
	}
	r.Findings = append(r.Findings, m.Findings...)
	for _, s := range m.Streams {
		if err := q.fillStream(ctx, s, filepath.Join(backup, s.Name), progress, &r); err != nil {
			return r, fmt.Errorf("restore %s: %w", s.Name, err)
		}
	}
	if err := q.syncHeld(ctx, true); err != nil {
		return r, err
	}
	return r, q.clearNotice(ctx)
}

// beginFill leaves a notice, so that no gateway serves the store meanwhile. It refuses a store that has something else
// than a part of this backup.
func (q *Queue) beginFill(ctx context.Context, m manifest, id, backup string) error {
	n, err := q.notice(ctx)
	switch {
	case err != nil:
		return err
	case n != nil && n.kind == noticeMoved:
		return q.refuseNotice(ctx)
	case n != nil && n.id != id:
		return errors.New("the restore of another backup was begun here and is not complete: go on with that one, or begin with new data folders")
	case n != nil:
		return nil
	}
	streams, err := q.streams(ctx)
	if err != nil {
		return err
	}
	for _, s := range streams {
		name := s.CachedInfo().Config.Name
		if c, err := q.compareStream(ctx, name, filepath.Join(backup, name)); len(streams) == len(m.Streams) && err == nil && len(c.findings) == 0 {
			continue // an earlier call was killed when all was done
		}
		return fmt.Errorf("the gateways are not empty, they have %s: start them on new data folders, with --hold from the first time on", name)
	}
	err = q.again(ctx, "notice", func() error { return q.setNotice(ctx, noticeFilling, id) })
	if err != nil {
		return err
	}
	return q.refuseServed(ctx)
}

// fillStream makes a stream as it is in the backup, unless it is so already. It begins anew when a gateway or a connection
// fails meanwhile.
func (q *Queue) fillStream(ctx context.Context, s backedStream, dir string, progress Progress, r *FillReport) error {
	var c *comparison
	err := q.again(ctx, "stream "+s.Name, func() (err error) {
		if c, err = q.kept(ctx, s.Name, dir); err != nil || c != nil {
			return err
		}
		if err := q.restoreStream(ctx, s, dir, progress); err != nil {
			return errors.Join(err, q.dropStream(ctx, s.Name)) // the server keeps the name of one that failed
		}
		c, err = q.compareCopies(ctx, s.Name, dir, copyPatience)
		return err
	})
	if err != nil {
		return err
	}
	r.Streams = append(r.Streams, c.ComparedStream)
	return nil
}

// How long it is tried, and how often at least: a try may take long.
const (
	fillPatience = time.Minute
	fillPause    = 500 * time.Millisecond
	fillTries    = 3
)

// again calls f until it succeeds, for as long as gateways of a cluster may take to find each other again.
func (q *Queue) again(ctx context.Context, what string, f func() error) error {
	for begun, n := time.Now(), 1; ; n++ {
		err := f()
		if err == nil || !q.clustered() || ctx.Err() != nil || n >= fillTries && time.Since(begun) > fillPatience {
			return err
		}
		q.pauseFor(ctx, fillPause)
		q.log.Warn("trying again", "at", what, "error", err)
	}
}

// kept returns a comparison when the stream is there already as it should be. Else there is no stream when it returns.
func (q *Queue) kept(ctx context.Context, name, dir string) (*comparison, error) {
	ask, cancel := context.WithTimeout(ctx, leadersPatience)
	defer cancel()
	err := q.persist(ask, func(ctx context.Context) error { _, err := q.js.Stream(ctx, name); return err })
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err == nil {
		var c *comparison
		if c, err = q.compareCopies(ctx, name, dir, filledPatience); err == nil {
			return c, nil
		}
	}
	q.log.Warn("restoring anew what an earlier restore has left", "stream", name, "reason", err)
	return nil, q.dropStream(ctx, name)
}

func (q *Queue) dropStream(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, leadersPatience)
	defer cancel()
	err := q.persist(ctx, func(ctx context.Context) error { return q.js.DeleteStream(ctx, name) })
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("begin anew: %w", err)
	}
	return nil
}

// compareCopies returns an error unless the stream is as in the backup, at every gateway that keeps it. One gateway gets
// what is restored, and the others copy it from that one: when its place is taken before they have, the stream is empty.
func (q *Queue) compareCopies(ctx context.Context, name, dir string, patience time.Duration) (*comparison, error) {
	if err := q.awaitCopies(ctx, name, patience); err != nil {
		return nil, err
	}
	for begun := time.Now(); ; q.pauseFor(ctx, joinEvery) {
		c, err := q.compareStream(ctx, name, dir)
		if err == nil && len(c.findings) > 0 {
			f := c.findings[0]
			err = fmt.Errorf("%d differences from the backup, the first at sequence %d to %d: %s", len(c.findings), f.First, f.Last, f.Problem)
		}
		if err == nil {
			return c, nil
		}
		if !q.clustered() || time.Since(begun) > comparePatience || ctx.Err() != nil {
			return nil, err
		}
	}
}

const (
	comparePatience = 10 * time.Second // how long consumers may take to elect their leaders
	copyPatience    = time.Minute      // how long copies may make no progress
	filledPatience  = 20 * time.Second // likewise, for what a command that was killed has left
)

// awaitCopies returns when every gateway that keeps a stream has the same of it.
func (q *Queue) awaitCopies(ctx context.Context, name string, patience time.Duration) error {
	if !q.clustered() {
		return nil
	}
	last, changed := "", time.Now()
	for {
		equal, now, err := q.sameCopies(ctx, name)
		if err == nil && equal {
			return nil
		}
		if now != last {
			last, changed = now, time.Now()
		}
		q.pauseFor(ctx, joinEvery)
		if time.Since(changed) > patience || ctx.Err() != nil {
			return errors.Join(fmt.Errorf("the gateways do not all get their copies: %s", now), err, ctx.Err())
		}
	}
}

// sameCopies tells what each gateway has of a stream, and whether that is the same.
func (q *Queue) sameCopies(ctx context.Context, name string) (equal bool, now string, err error) {
	all, err := q.holds(ctx, "", holdQuick)
	if err != nil {
		return false, "", err
	}
	ask, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	stream, err := q.js.Stream(ask, name)
	if err != nil {
		return false, "", err
	}
	info := stream.CachedInfo()
	if info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) < replicas-1 {
		return false, "", nil
	}
	want := all[info.Cluster.Leader].Copies[name]
	equal, now = true, fmt.Sprintf("%s has %d messages", info.Cluster.Leader, want.Messages)
	for _, r := range info.Cluster.Replicas {
		have, there := all[r.Name].Copies[name]
		equal = equal && there && r.Current && have == want
		now += fmt.Sprintf(", %s %d", r.Name, have.Messages)
	}
	return equal, now, nil
}
