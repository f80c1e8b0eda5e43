package queue

import (
	"context"
	"fmt"
)

// Usage is how full the store and its disk are.
type Usage struct {
	Streams []StreamUsage `json:"streams"` // those that refuse what is new when they are full
	Free    int64         `json:"free"`    // bytes of the disk; at an outside server what the account may still store, -1 without a limit
	Reserve int64         `json:"reserve"` // bytes of the disk that are kept for what was accepted before; 0 at an outside server
}

// lowRoom is how little an account may still store when it is time to say so, in bytes.
const lowRoom = 2 * reserveMost

// StreamUsage is how full a stream is.
type StreamUsage struct {
	Stream string `json:"stream"`
	Bytes  uint64 `json:"bytes"`
	Limit  uint64 `json:"limit"` // bytes
}

// Usage measures how full the store and its disk are.
func (q *Queue) Usage(ctx context.Context) (Usage, error) {
	if !q.gateway() {
		return ask[Usage](ctx, q, "usage", nil)
	}
	u, err := q.free(ctx)
	if err != nil {
		return Usage{}, err
	}
	if u.Streams, err = q.filled(ctx); err != nil {
		return Usage{}, err
	}
	return u, nil
}

// filled measures the streams that refuse what is new when they are full.
func (q *Queue) filled(ctx context.Context) (all []StreamUsage, err error) {
	for _, name := range []string{streamEvents, streamBodies} {
		s, err := q.js.Stream(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", name, err)
		}
		info := s.CachedInfo()
		all = append(all, StreamUsage{name, info.State.Bytes, uint64(max(0, info.Config.MaxBytes))}) //nolint:gosec // not negative
	}
	return all, nil
}

// free measures what is not used.
func (q *Queue) free(ctx context.Context) (Usage, error) {
	if q.outside == nil {
		disk, err := look(q.server.StoreDir())
		return Usage{Free: disk.free, Reserve: disk.reserve()}, err
	}
	r, err := q.quota(ctx)
	if err != nil {
		return Usage{}, err
	}
	return Usage{Free: r.mostOr(r.used-1) - r.used}, nil
}

// Warnings says what refuses new events, or will do so soon. There are none as long as trimming the history helps.
func (u Usage) Warnings() (all []string) {
	for _, s := range u.Streams {
		if s.Bytes > s.Limit/100*trimAbove {
			all = append(all, fmt.Sprintf("%s holds %s of %s: when it is full, new events get 503 store_full",
				s.Stream, formatSize(int64(s.Bytes)), formatSize(int64(s.Limit)))) //nolint:gosec // sizes on a disk
		}
	}
	switch {
	case u.Free < 0: // there is no limit
	case u.Reserve == 0:
		if u.Free < lowRoom {
			all = append(all, fmt.Sprintf("the account at the NATS server may store %s more: when it is full, new events and calls get 503 store_full", formatSize(u.Free)))
		}
	case u.Free <= u.Reserve:
		all = append(all, fmt.Sprintf("the disk has %s free, the last %s are kept for what was accepted before: new events and calls get 503 store_full",
			formatSize(u.Free), formatSize(u.Reserve)))
	case u.Free < 2*u.Reserve:
		all = append(all, fmt.Sprintf("the disk has %s free: with %s and less, new events and calls get 503 store_full",
			formatSize(u.Free), formatSize(u.Reserve)))
	}
	return all
}
