package queue

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// ClusterState is how the gateways of a cluster are, and the copies that they keep, as one of them sees it.
type ClusterState struct {
	Node     string         `json:"node"`     // who says this; "" for a gateway that is in no cluster: then there is nothing else
	Leader   string         `json:"leader"`   // who looks after the streams and services; "" while nobody is known to
	Gateways []GatewayState `json:"gateways"` // by name
	Streams  []StreamCopies `json:"streams"`
	Problems []string       `json:"problems"` // what is not as it should be, for people, the gravest first
}

// GatewayState is a gateway of a cluster.
type GatewayState struct {
	Name    string `json:"name"`
	Reached bool   `json:"reached"`           // its server is connected with that of Node
	Version string `json:"version,omitempty"` // of its program; "" while it does not say, as one that waits
}

// StreamCopies is where a stream is kept.
type StreamCopies struct {
	Stream string       `json:"stream"`
	Leader string       `json:"leader"` // the gateway that stores what is new; "" while there is none, and nothing can be stored
	Copies []StreamCopy `json:"copies"` // by gateway, that of the leader too; none without a leader
}

// StreamCopy is what one gateway keeps of a stream.
type StreamCopy struct {
	Gateway string `json:"gateway"` // "" for one that has not been seen since the others started
	Current bool   `json:"current"` // it has everything, but for what is being stored
	Lag     uint64 `json:"lag"`     // changes that it does not have; not known of a gateway that is away
}

// Current is how many copies have everything.
func (s StreamCopies) Current() (n int) {
	for _, c := range s.Copies {
		if c.Current {
			n++
		}
	}
	return n
}

const (
	askGateways  = 4 * time.Second // for what is asked of gateways and streams, side by side
	copyOnItsWay = 256             // changes behind which a copy is current: under load each is on its way to some
	copySilent   = 5 * time.Second // since a gateway said anything of its copy
)

// Together reports whether this gateway reaches most gateways of its cluster, itself among them: without them it can store
// nothing. One that stands alone always does; one at an outside server has to reach that.
func (q *Queue) Together() bool {
	if !q.inCluster() {
		return q.Connected()
	}
	return len(q.reached()) > len(q.lease.gateways)/2
}

// inCluster reports whether this gateway is one of several whose servers are a cluster.
func (q *Queue) inCluster() bool { return q.lease != nil && q.lease.gateways != nil }

// reached are the gateways whose servers are connected with this one, itself among them, in the order of their names.
func (q *Queue) reached() []string {
	names := map[string]bool{q.lease.node: true}
	if routes, err := q.server.Routez(&server.RoutezOptions{}); err == nil { // it has no other than that options are bad
		for _, r := range routes.Routes {
			if slices.Contains(q.lease.gateways, r.RemoteName) {
				names[r.RemoteName] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// ClusterState looks at the cluster. What does not answer within four seconds is what is wrong with it, and no error.
func (q *Queue) ClusterState(ctx context.Context) (ClusterState, error) {
	if q.index == nil {
		return ask[ClusterState](ctx, q, "cluster", nil)
	}
	s := ClusterState{Gateways: []GatewayState{}, Streams: []StreamCopies{}, Problems: []string{}}
	if !q.inCluster() {
		return s, nil
	}
	s.Node = q.lease.node
	if q.Together() {
		s.Leader = q.Leader()
	}
	var asked sync.WaitGroup
	asked.Go(func() { s.Gateways = q.gateways(ctx) })
	asked.Go(func() { s.Streams = q.copies(ctx) })
	asked.Wait()
	s.Problems = append(s.Problems, s.problems()...)
	return s, ctx.Err()
}

// serveGateway has other gateways know which program this one runs.
func (q *Queue) serveGateway(c *Cluster) error {
	return q.Serve(gatewayEndpoint(c.Node), askGateways, func(context.Context, string) (any, error) { return c.Version, nil })
}

func gatewayEndpoint(node string) string { return "gateway-" + node }

func (q *Queue) gateways(ctx context.Context) []GatewayState {
	ctx, cancel := context.WithTimeout(ctx, askGateways)
	defer cancel()
	reached, all := q.reached(), make([]GatewayState, len(q.lease.gateways))
	var asked sync.WaitGroup
	for i, name := range q.lease.gateways {
		all[i] = GatewayState{Name: name, Reached: slices.Contains(reached, name)}
		if all[i].Reached {
			asked.Go(func() {
				all[i].Version, _ = askUntil[string](ctx, q, gatewayEndpoint(name), nil) // one that waits does not say
			})
		}
	}
	asked.Wait()
	return all
}

// copies asks the leader of each stream, side by side.
func (q *Queue) copies(ctx context.Context) []StreamCopies {
	ctx, cancel := context.WithTimeout(ctx, askGateways)
	defer cancel()
	names := streamNames()
	all := make([]StreamCopies, len(names))
	var asked sync.WaitGroup
	for i, name := range names {
		asked.Go(func() { all[i] = q.copiesOf(ctx, name) })
	}
	asked.Wait()
	return all
}

func streamNames() []string {
	return []string{streamEvents, streamCalls, streamRetry, streamDead, streamLog, streamAdvisory, streamBodies, streamConfig}
}

func (q *Queue) copiesOf(ctx context.Context, name string) StreamCopies {
	c := StreamCopies{Stream: name, Copies: []StreamCopy{}}
	s, err := q.js.Stream(ctx, name)
	if err != nil || s.CachedInfo().Cluster == nil {
		return c
	}
	info := s.CachedInfo().Cluster
	if c.Leader = info.Leader; c.Leader == "" {
		return c
	}
	c.Copies = append(c.Copies, StreamCopy{Gateway: c.Leader, Current: true})
	for _, p := range info.Replicas {
		c.Copies = append(c.Copies, q.copyOf(p))
	}
	slices.SortFunc(c.Copies, func(a, b StreamCopy) int { return cmp.Compare(a.Gateway, b.Gateway) })
	return c
}

func (q *Queue) copyOf(p *jetstream.PeerInfo) StreamCopy {
	c := StreamCopy{Current: !p.Offline && !p.Pending && p.Active < copySilent && p.Lag <= copyOnItsWay, Lag: p.Lag}
	if slices.Contains(q.lease.gateways, p.Name) {
		c.Gateway = p.Name
	}
	return c
}

// problems are for people. A gateway that is away is said once, and not with each of its copies.
func (s *ClusterState) problems() (all []string) {
	var leaderless []string
	for _, c := range s.Streams {
		if c.Leader == "" {
			leaderless = append(leaderless, c.Stream)
		}
	}
	if len(leaderless) > 0 {
		all = append(all, fmt.Sprintf("%s: no gateway leads, and nothing can be stored", strings.Join(leaderless, ", ")))
	}
	away := map[string]bool{"": true}
	for _, g := range s.Gateways {
		switch {
		case !g.Reached:
			away[g.Name] = true
			all = append(all, fmt.Sprintf("the gateway %s is not reached from %s: its copies fall behind", g.Name, s.Node))
		case g.Version == "":
			all = append(all, fmt.Sprintf("the gateway %s does not serve yet", g.Name))
		}
	}
	for _, c := range s.Streams {
		all = append(all, c.problems(away)...)
	}
	if s.Leader == "" {
		all = append(all, "no gateway looks after the streams and services")
	}
	return all
}

func (s StreamCopies) problems(away map[string]bool) (all []string) {
	for _, c := range s.Copies {
		if !c.Current && !away[c.Gateway] {
			all = append(all, fmt.Sprintf("%s: the copy of %s is %d changes behind", s.Stream, c.Gateway, c.Lag))
		}
	}
	return all
}
