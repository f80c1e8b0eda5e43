package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// HeartbeatTime is how often a worker says how it is.
const HeartbeatTime = time.Second

// beatLife is how long a worker that is silent is taken to be there.
const beatLife = 4 * HeartbeatTime

// maxAdopted bounds the functions that get consumers because workers have found them.
const maxAdopted = 1000

// Heartbeat is what a worker says of itself.
type Heartbeat struct {
	Worker    string         `json:"worker"` // unique; a worker that starts again is another one
	Node      string         `json:"node"`
	Trouble   string         `json:"trouble,omitempty"` // why it does not know the tasks of its node, or what is wrong with its clock
	Functions []FunctionLoad `json:"functions"`
	Sent      time.Time      `json:"sent"`  // by its own clock; filled in by Beat
	Heard     time.Time      `json:"heard"` // by the gateway
}

// FunctionLoad is what a worker has of one function.
type FunctionLoad struct {
	Function  string `json:"function"`
	Lifecycle string `json:"lifecycle"` // as it was set or learnt
	Tasks     int    `json:"tasks"`     // that it follows; 0 when it looks them up
	Slots     int    `json:"slots"`     // connections that they take at a time
	Idle      int    `json:"idle"`      // connections that they could take now
}

func heartbeatSubject(node string) string { return "funker.worker." + node }

// Beat tells the gateway how a worker is. What it says is lost while there is no connection.
func (q *Queue) Beat(h Heartbeat) error {
	if !q.nc.IsConnected() {
		return nil
	}
	h.Sent = time.Now().UTC()
	data, err := json.Marshal(h)
	if err == nil {
		err = q.nc.Publish(heartbeatSubject(tokenOr(h.Node)), data)
	}
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("heartbeat: %w", err)
	}
	return nil
}

// Workers returns what the workers have said within the last seconds, by node. Only the process with the embedded server
// knows it.
func (q *Queue) Workers() []Heartbeat { return q.beats.all() }

// Served reports whether a worker has said within the last seconds that it has the function.
func (q *Queue) Served(function string) bool {
	return slices.ContainsFunc(q.beats.all(), func(h Heartbeat) bool {
		return slices.ContainsFunc(h.Functions, func(l FunctionLoad) bool { return l.Function == function })
	})
}

// beats are the last heartbeats, by worker.
type beats struct {
	mu      sync.Mutex
	last    map[string]Heartbeat
	clocks  map[string]*clock // of the workers in last
	adopted int
}

// hear keeps what the workers say.
func (q *Queue) hear() error {
	q.beats.last, q.beats.clocks = map[string]Heartbeat{}, map[string]*clock{}
	_, err := q.nc.Subscribe(heartbeatSubject("*"), func(m *nats.Msg) {
		var h Heartbeat
		if err := json.Unmarshal(m.Data, &h); err != nil {
			q.log.Warn("heartbeat not understood", "subject", m.Subject, "error", err)
			return
		}
		h.Heard = time.Now()
		if wrong, changed := q.beats.keep(h); changed {
			q.logClock(h.Node, wrong)
		}
		q.adopt(h)
	})
	if err != nil {
		return fmt.Errorf("subscribe to heartbeats: %w", err)
	}
	return nil
}

// keep also returns what is wrong with the clock of the worker, and whether that has begun or ended just now.
func (b *beats) keep(h Heartbeat) (wrong string, changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, old := range b.last {
		if time.Since(old.Heard) > beatLife {
			delete(b.last, id)
			delete(b.clocks, id)
		}
	}
	c := b.clocks[h.Worker]
	if c == nil {
		c = &clock{}
		b.clocks[h.Worker] = c
	}
	if !h.Sent.IsZero() { // an older worker does not say it
		c.note(h.Sent, h.Heard)
	}
	wrong = c.trouble()
	changed, c.wrong = (wrong != "") != c.wrong, wrong != ""
	h.Trouble = cmp.Or(h.Trouble, wrong)
	b.last[h.Worker] = h
	return wrong, changed
}

func (q *Queue) logClock(node, wrong string) {
	if wrong == "" {
		q.log.Info("clock of a worker is right again", "node", node)
		return
	}
	q.log.Warn("clock of a worker is wrong", "node", node, "problem", wrong)
}

func (b *beats) all() []Heartbeat {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []Heartbeat
	for _, h := range b.last {
		if time.Since(h.Heard) <= beatLife {
			all = append(all, h)
		}
	}
	slices.SortFunc(all, func(a, b Heartbeat) int { return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Worker, b.Worker)) })
	return all
}

// adopt makes the consumers of functions that a worker has found and no manifest names. It may not make them itself.
func (q *Queue) adopt(h Heartbeat) {
	for _, l := range h.Functions {
		if _, known := q.policies.Load(l.Function); known || q.beats.adopted >= maxAdopted {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), publishLimit)
		err := q.AddFunction(ctx, l.Function, Retry{})
		cancel()
		if err != nil {
			q.log.Warn("function of a worker not taken on: trying again", "function", l.Function, "node", h.Node, "error", err)
			continue
		}
		q.beats.adopted++
		q.log.Info("function found by a worker", "function", l.Function, "node", h.Node)
	}
}
