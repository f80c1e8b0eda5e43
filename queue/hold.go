package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// A gateway of a cluster that is held keeps its store open for backup and restore, and for nothing else: it takes no
// events, and workers cannot connect. What the store holds changes only in that retries become due.

// subjectHeld is answered by every gateway that is held, with a hold.
const (
	subjectHeld = "funker.held"
	wantSync    = "sync" // in a request: the store shall be on disk first
)

// hold is what a held gateway says of itself.
type hold struct {
	Node   string           `json:"node"`
	Peers  []string         `json:"peers"`           // all gateways of its cluster
	Copies map[string]shape `json:"copies"`          // what this one has of each stream
	Error  string           `json:"error,omitempty"` // the store could not be read or synced
}

// shape is by how much two copies of a stream can differ.
type shape struct {
	Messages, Bytes, First, Last uint64
}

// Hold opens the store of a gateway of a cluster for FinalBackup, Fill and Reopen only, by others that Dial as admin. Open
// refuses a store with a notice, Hold does not.
func Hold(ctx context.Context, o Options) (*Queue, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if o.Cluster == nil {
		return nil, errors.New("only a gateway of a cluster can be held")
	}
	o.held, o.WorkersWithoutKey = true, false
	q, _, err := openStore(ctx, o)
	if err != nil {
		return nil, err
	}
	if err = q.sayHeld(hold{Node: o.Cluster.Node, Peers: slices.Sorted(maps.Keys(o.Cluster.Peers))}); err == nil {
		err = q.join(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, q.Close())
	}
	return q, nil
}

// sayHeld answers others.
func (q *Queue) sayHeld(h hold) error {
	store := newSyncer(q.server.StoreDir())
	_, err := q.nc.Subscribe(subjectHeld, func(m *nats.Msg) {
		now := q.nowHeld(h)
		if string(m.Data) == wantSync && now.Error == "" {
			if err := store.all(); err != nil {
				now.Error = err.Error()
			}
		}
		data, err := json.Marshal(now)
		if err == nil {
			err = m.Respond(data)
		}
		if err != nil {
			q.log.Error("answer that this gateway is held", "error", err)
		}
	})
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return q.listening()
}

// nowHeld adds to what a gateway says of itself what may change.
func (q *Queue) nowHeld(h hold) hold {
	account, err := q.server.JszAccount(&server.JSzOptions{Account: server.DEFAULT_GLOBAL_ACCOUNT, Streams: true})
	if err != nil {
		h.Error = err.Error()
		return h
	}
	h.Copies = map[string]shape{}
	for _, s := range account.Streams {
		h.Copies[s.Name] = shape{s.State.Msgs, s.State.Bytes, s.State.FirstSeq, s.State.LastSeq}
	}
	return h
}

const (
	holdPatience = 30 * time.Second // how long the gateways of a cluster may take to sync their stores
	holdQuick    = 5 * time.Second  // and to answer when there is nothing to sync
	holdAgain    = time.Second      // a gateway that has just started may not have heard the first question
)

// holds asks all gateways that are held. It returns when all of the cluster have answered, or the others do not.
func (q *Queue) holds(ctx context.Context, want string, patience time.Duration) (map[string]hold, error) {
	sub, err := q.nc.SubscribeSync(q.nc.NewInbox())
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is closed
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	all := map[string]hold{}
	for ctx.Err() == nil {
		if err := q.nc.PublishRequest(subjectHeld, sub.Subject, []byte(want)); err != nil {
			return nil, fmt.Errorf("ask the gateways: %w", err)
		}
		complete, err := hearHolds(ctx, sub, all)
		if err != nil || complete {
			return all, err
		}
	}
	return all, nil
}

// hearHolds takes answers for a while, and reports whether it has those of all gateways.
func hearHolds(ctx context.Context, sub *nats.Subscription, all map[string]hold) (complete bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, holdAgain)
	defer cancel()
	for {
		m, err := sub.NextMsgWithContext(ctx)
		switch {
		case errors.Is(err, nats.ErrNoResponders):
			<-ctx.Done()
			return false, nil
		case errors.Is(err, context.DeadlineExceeded):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("ask the gateways: %w", err)
		}
		var h hold
		if err := json.Unmarshal(m.Data, &h); err != nil {
			return false, fmt.Errorf("answer of a gateway: %w", err)
		}
		if all[h.Node] = h; len(all) >= len(h.Peers) {
			return true, nil
		}
	}
}

// missing are the gateways of the cluster that have not answered.
func missing(all map[string]hold) (names []string) {
	for _, h := range all {
		for _, peer := range h.Peers {
			if _, there := all[peer]; !there {
				names = append(names, peer)
			}
		}
		break
	}
	return names
}

var errNotHeld = errors.New("no gateway that answers here is held: stop it, and start all of the cluster with --hold; for one that stands alone, stop it and use --offline")

// exclusive returns an error unless nobody serves the store and it can be changed: most gateways of the cluster are held.
// The store of this process is its own.
func (q *Queue) exclusive(ctx context.Context) error {
	return q.awaitHeld(ctx, func(all map[string]hold) error {
		if len(all) == 0 {
			return errNotHeld
		}
		ask, cancel := context.WithTimeout(ctx, tryLimit)
		defer cancel()
		if _, err := q.js.AccountInfo(ask); err != nil {
			return fmt.Errorf("most gateways of the cluster have to be there, start them with --hold and run this again (no answer from: %s): %w", strings.Join(missing(all), ", "), err)
		}
		return nil
	})
}

// complete is exclusive, and wants every gateway.
func (q *Queue) complete(ctx context.Context) error {
	err := q.awaitHeld(ctx, func(all map[string]hold) error {
		if names := missing(all); len(names) > 0 {
			return fmt.Errorf("all gateways of the cluster have to be there, start them with --hold and run this again (no answer from: %s)", strings.Join(names, ", "))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return q.exclusive(ctx)
}

// awaitHeld gives gateways that have just started the time to find each other.
func (q *Queue) awaitHeld(ctx context.Context, enough func(map[string]hold) error) error {
	if q.server != nil {
		return nil
	}
	for begun := time.Now(); ; q.pauseFor(ctx, joinEvery) {
		all, err := q.holds(ctx, "", holdQuick)
		if err == nil {
			err = enough(all)
		}
		if err == nil {
			return q.refuseServed(ctx)
		}
		if ctx.Err() != nil || time.Since(begun) > holdQuick {
			return err
		}
	}
}

// refuseServed returns an error when a gateway serves the store.
func (q *Queue) refuseServed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, holdQuick)
	defer cancel()
	_, err := q.nc.RequestWithContext(ctx, "$SRV.PING.funker", nil)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("a gateway that is not held does not answer: stop it, and start all with --hold")
	case err != nil:
		return fmt.Errorf("look for gateways that are not held: %w", err)
	}
	return errors.New("a gateway serves this store: stop it, and start all with --hold")
}

// syncHeld returns when the store is on disk as it is now, at every gateway that is there. With all, none may be missing.
func (q *Queue) syncHeld(ctx context.Context, all bool) error {
	if q.server != nil {
		return q.flushAll()
	}
	there, err := q.holds(ctx, wantSync, holdPatience)
	if err != nil {
		return err
	}
	if len(there) == 0 {
		return errNotHeld
	}
	if names := missing(there); all && len(names) > 0 {
		return fmt.Errorf("not all gateways say that it is on their disks, run this again (no answer from: %s)", strings.Join(names, ", "))
	}
	for _, h := range there {
		if h.Error != "" {
			return fmt.Errorf("gateway %s: %s", h.Node, h.Error)
		}
	}
	return nil
}
