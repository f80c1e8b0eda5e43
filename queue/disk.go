package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"github.com/nats-io/nats-server/v2/server"
)

// The server gives a stream up at the first write that the disk refuses: nothing is stored in it any more and nobody is
// answered, until the process starts again. So what the store takes ends before the disk does. The last part of the disk
// is a reserve: below it no event and no call is accepted, and what was accepted goes on, down to half of it. There the
// server itself refuses what would grow the store, whoever writes it, with an answer that everybody understands.

const (
	reserveMost  = 64 << 20 // bytes
	reserveShare = 10       // the reserve is a tenth of a disk smaller than ten times reserveMost
)

// space is what there is on the file system of the data folder, in bytes.
type space struct {
	total int64
	free  int64 // for this user
	used  int64 // by the streams
}

func (s space) reserve() int64 { return min(reserveMost, s.total/reserveShare) }

// refuses reports whether the reserve has begun. It ends a little later, so that the log does not say so all the time.
func (s space) refuses(before bool) bool {
	if before {
		return s.free <= s.reserve()/4*5
	}
	return s.free <= s.reserve()
}

// short reports whether so little is free that history should make room.
func (s space) short() bool { return s.free < 2*s.reserve() }

// store is how much all streams may take.
func (s space) store() int64 { return max(0, s.free+s.used-s.reserve()) }

const (
	eventsMost  = 4 << 30
	eventsLeast = 1 << 20 // when even this does not fit, the reserve refuses it

	// MinEvents is how much room for events makes sense, in bytes: the largest message is half of it.
	MinEvents = 2 * maxPayload
)

// maxEvents returns how much events may take: what is wanted, or half of the disk, at most eventsMost.
func (s space) maxEvents(wanted int64) (int64, error) {
	if wanted == 0 {
		return max(eventsLeast, min(eventsMost, (s.free+s.used)/2)), nil
	}
	if most := s.store(); wanted > most {
		return 0, fmt.Errorf("--max-events %s does not fit on the disk of the data folder: it has %s free, and the store uses %s; choose %s or less, or make room",
			formatSize(wanted), formatSize(s.free), formatSize(s.used), formatSize(most))
	}
	return wanted, nil
}

// formatSize writes bytes as people do. It rounds down.
func formatSize(n int64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	unit, scale := 0, int64(1)
	for unit+1 < len(units) && n/scale >= 1024 {
		unit++
		scale *= 1024
	}
	if tenths := n / max(1, scale/1024) % 1024 * 10 / 1024; unit > 0 && tenths > 0 {
		return fmt.Sprintf("%d.%d %s", n/scale, tenths, units[unit])
	}
	return fmt.Sprintf("%d %s", n/scale, units[unit])
}

// look measures the file system, without what the streams use.
func look(dir string) (space, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return space{}, fmt.Errorf("look at the disk of the data folder: %w", err)
	}
	block := int64(st.Bsize)
	return space{total: int64(st.Blocks) * block, free: int64(st.Bavail) * block}, nil
}

// spaceOf is look, and what the streams use.
func spaceOf(dir string) (space, error) {
	s, err := look(dir)
	if err != nil {
		return space{}, err
	}
	err = filepath.WalkDir(filepath.Join(dir, streamsDir), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				s.used += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) { // the server has removed it meanwhile
			return nil
		}
		return err
	})
	if err != nil {
		return space{}, fmt.Errorf("look at the data folder: %w", err)
	}
	return s, nil
}

// disk keeps the store from filling the disk.
type disk struct {
	dir     string
	log     *slog.Logger
	account *server.Account
	coming  atomic.Int64 // bytes that were admitted and are being stored
	refused bool         // whether the log says so
	others  *disks       // of a cluster, whose account it is: how much that may store is no matter of this disk; nil without one
}

// watch looks how much is free, and says how much the server may store until it looks again.
func (d *disk) watch() (space, error) {
	s, err := look(d.dir)
	if err != nil {
		return s, err
	}
	if refuse := s.refuses(d.refused); refuse != d.refused {
		d.refused = refuse
		at := []any{"free", formatSize(s.free), "reserve", formatSize(s.reserve()), "folder", d.dir}
		if refuse {
			d.log.Error("the disk is full: no event is accepted until there is room", at...)
		} else {
			d.log.Info("the disk has room again: events are accepted", at...)
		}
	}
	if d.others != nil {
		return s, nil
	}
	return s, d.limit(s.free - s.reserve()/2)
}

// limit lets the server store so many bytes more.
func (d *disk) limit(more int64) error {
	most := server.JetStreamAccountLimits{
		MaxMemory: -1, MaxStreams: -1, MaxConsumers: -1, MaxAckPending: -1, MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1,
		MaxStore: max(0, int64(d.account.JetStreamUsage().Store)+more),
	}
	if err := d.account.UpdateJetStreamLimits(map[string]server.JetStreamAccountLimits{"": most}); err != nil {
		return fmt.Errorf("limit the store: %w", err)
	}
	return nil
}

// overhead is what a message takes besides its body, about, in bytes.
const overhead = 1 << 10

// admit returns ErrFull when so many bytes would be stored in the reserve of the disk. Otherwise done has to be called
// once they are stored.
func (q *Queue) admit(size int64) (done func(), err error) {
	if q.house == nil {
		return func() {}, nil
	}
	if q.house.disk == nil {
		return func() {}, q.house.admits()
	}
	d := q.house.disk
	if d.others != nil {
		if err := d.others.majority(); err != nil {
			return nil, err
		}
	}
	s, err := look(d.dir)
	if err != nil {
		return nil, err
	}
	if coming := d.coming.Add(size); coming > s.free-s.reserve() {
		d.coming.Add(-size)
		return nil, fmt.Errorf("%w: the disk has %s free, and %s are kept for what was accepted before", ErrFull, formatSize(s.free), formatSize(s.reserve()))
	}
	return func() { d.coming.Add(-size) }, nil
}
