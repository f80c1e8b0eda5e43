package queue

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// What a cluster accepts is stored by most of its gateways, and what it accepted before has to go on there. A gateway whose
// disk is full is out before long, and the others do without it. When the disks of so many are full that no majority is left,
// no gateway accepts anything: each tells the others.

// diskLife is how long the word of a gateway holds that is silent. It says it once a second.
const diskLife = 5 * time.Second

func diskSubject(node string) string { return "funker.disk." + node }

const (
	diskFull = "full"
	diskRoom = "room"
)

// disks are those of the gateways of a cluster that are full.
type disks struct {
	gateways int // in all
	mu       sync.Mutex
	full     map[string]time.Time // node -> when it said so last
}

// hearDisks keeps what the gateways say of their disks.
func (q *Queue) hearDisks(gateways int) (*disks, error) {
	d := &disks{gateways: gateways, full: map[string]time.Time{}}
	_, err := q.nc.Subscribe(diskSubject("*"), func(m *nats.Msg) {
		d.note(strings.TrimPrefix(m.Subject, diskSubject("")), string(m.Data) == diskFull)
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe to the disks of the others: %w", err)
	}
	return d, nil
}

func (d *disks) note(node string, full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if full {
		d.full[node] = time.Now()
	} else {
		delete(d.full, node)
	}
}

// majority returns ErrFull when the disks of so many gateways are full that the rest is no majority.
func (d *disks) majority() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var full []string
	for node, at := range d.full {
		if time.Since(at) < diskLife {
			full = append(full, node)
		}
	}
	if d.gateways-len(full) > d.gateways/2 {
		return nil
	}
	return fmt.Errorf("%w: so are the disks of %d of %d gateways; what is kept free there is for what was accepted before", ErrFull, len(full), d.gateways)
}

// tellDisk tells the others whether the disk of this gateway is full.
func (q *Queue) tellDisk(node string, full bool) error {
	word := diskRoom
	if full {
		word = diskFull
	}
	if err := q.nc.Publish(diskSubject(node), []byte(word)); err != nil {
		return fmt.Errorf("tell the others of the disk: %w", err)
	}
	return nil
}
