package queue

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/nats-io/nats.go/jetstream"
)

// quota is what an account may store, in bytes that are kept so often as ours.
type quota struct {
	used int64
	most int64 // -1: there is no limit
	one  int64 // of one stream; 0: there is no limit
	each bool  // each stream must have a limit
}

// tierOf returns the part of the account that counts streams with so many replicas, and how often it counts them.
func tierOf(info *jetstream.AccountInfo, replicas int) (jetstream.Tier, int64) {
	if t, ok := info.Tiers[fmt.Sprintf("R%d", replicas)]; ok {
		return t, 1
	}
	return info.Tier, int64(max(1, replicas))
}

func (o *outside) quota(info *jetstream.AccountInfo) quota {
	t, times := tierOf(info, o.replicas)
	r := quota{used: int64(t.Store) / times, most: t.Limits.MaxStore, one: max(0, t.Limits.StoreMaxStreamBytes), each: t.Limits.MaxBytesRequired} //nolint:gosec // a size of disks
	if r.most > 0 {
		r.most /= times
	}
	return r
}

func (r quota) mostOr(n int64) int64 {
	if r.most < 0 {
		return n
	}
	return r.most
}

// fixedRoom is what streams take that do not depend on the room for events, and the least of large bodies.
const fixedRoom = configMaxBytes + 2*MaxBody + advisoryMaxBytes

// share is what of it events may take: the other streams need the rest.
func (r quota) share() int64 {
	if r.each {
		return (r.most - fixedRoom) / 60 * 10 // see limitStream
	}
	return (r.most - fixedRoom) / 22 * 10
}

// maxEvents returns how much events may take: what is wanted, or what leaves room for the other streams, at most eventsMost.
func (r quota) maxEvents(wanted int64) (int64, error) {
	most := int64(math.MaxInt64)
	if r.most >= 0 {
		most = r.share()
	}
	if r.one > 0 {
		most = min(most, r.one)
		if r.each {
			most = min(most, r.one/3)
		}
	}
	switch {
	case r.one > 0 && r.one < 2*MaxBody:
		return 0, fmt.Errorf("%w: a stream of the account may take %s, and %s is needed: raise the limit", ErrOutside, formatSize(r.one), formatSize(2*MaxBody))
	case most < MinEvents:
		return 0, fmt.Errorf("%w: the account may store %s in each replica, and %s is needed: raise the limit (disk storage of JetStream)",
			ErrOutside, formatSize(r.most), formatSize(fixedRoom+6*MinEvents))
	case wanted == 0:
		return min(most, eventsMost), nil
	case wanted > most:
		return 0, fmt.Errorf("--max-events %s does not fit the limits of the account: choose %s or less, or raise them", formatSize(wanted), formatSize(most))
	}
	return wanted, nil
}

// checkLimits looks at what an account may have besides bytes.
func checkLimits(info *jetstream.AccountInfo, replicas int) (err error) {
	t, _ := tierOf(info, replicas)
	l, ours := t.Limits, len(streamConfigs(Options{}))
	if l.MaxStreams > 0 && l.MaxStreams < ours {
		err = errors.Join(err, fmt.Errorf("the account may have %d streams, and %d are needed", l.MaxStreams, ours))
	}
	if l.MaxConsumers > 0 && l.MaxConsumers < leastReaders {
		err = errors.Join(err, fmt.Errorf("the account may have %d consumers of a stream, and %d and one for each function are needed", l.MaxConsumers, leastReaders))
	}
	if l.MaxAckPending > 0 && l.MaxAckPending < maxPending {
		err = errors.Join(err, fmt.Errorf("the account lets a consumer have %d messages without acknowledgement, and %d are needed", l.MaxAckPending, maxPending))
	}
	return err
}

// quota asks the server for what the account stores and may store.
func (q *Queue) quota(ctx context.Context) (quota, error) {
	info, err := q.js.AccountInfo(ctx)
	if err != nil {
		return quota{}, failed(err, "ask for the limits of the account")
	}
	return q.outside.quota(info), nil
}

const (
	codeStandalone   = 10074 // more than one replica, and no cluster
	codeNoPeers      = 10005
	codeMaxStreams   = 10027
	codeMaxConsumers = 10026
	codeOverlap      = 10065
	codeAccountFull  = 10002
	codeServerFull   = 10047
	codeStreamBytes  = 10122
)

func apiCode(err error) jetstream.ErrorCode {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return api.ErrorCode
	}
	return 0
}

// advice says what to do about a stream or consumer that a server refuses, "" when it is not known.
func advice(err error) string {
	switch apiCode(err) {
	case codeStandalone, codeNoPeers:
		return " (are there as many servers with room as --nats-replicas, with the --nats-placement-tag and in the --nats-placement-cluster?)"
	case codeMaxStreams, codeMaxConsumers:
		return " (raise the limit of the account)"
	case codeOverlap:
		return " (another stream of this account takes these subjects: take another account, or change that stream)"
	case codeAccountFull, codeServerFull, codeStreamBytes:
		return " (choose less with --max-events, or raise the limits of the account and of the server's JetStream)"
	}
	return ""
}

// fitsOutside is fits for an outside server.
func (q *Queue) fitsOutside(ctx context.Context, size int) error {
	r, err := q.quota(ctx)
	if err == nil && r.most >= 0 && r.used+int64(size) > r.most {
		err = errStoreFull
	}
	return err
}

// watchRetries notes whether FUNKER_RETRY, where it has a limit, takes what may still come of all that was accepted.
func (h *housekeeper) watchRetries(ctx context.Context) {
	state, err := h.q.state(ctx, streamRetry)
	if err != nil {
		return // and nothing can be accepted
	}
	if crowded := state.Bytes > h.q.outside.retries; h.crowded.Swap(crowded) != crowded {
		h.q.log.Warn("retries that wait fill their stream: events are accepted while there is room", "accepted", !crowded, "size", formatSize(int64(state.Bytes))) //nolint:gosec // a size of a disk
	}
}

// admits returns ErrFull while nothing new is accepted.
func (h *housekeeper) admits() error {
	if h.crowded.Load() {
		return fmt.Errorf("%w: so much waits for another attempt that the room for it, which the account limits, is needed for what was accepted before", ErrFull)
	}
	return nil
}
