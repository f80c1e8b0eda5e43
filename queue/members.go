package queue

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
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
	Version string `json:"version,omitempty"` // of its program; "" while it does not answer, as one that starts
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
	Current bool   `json:"current"` // it has all that there was a second before, by its own word
	Lag     uint64 `json:"lag"`     // changes that it does not have, those of consumers too; 0 when it does not say
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
	copyLimit  = time.Second            // until a copy has what there was when it was asked for: under load some of it is on its way
	copyChecks = 100 * time.Millisecond // how often it is looked at meanwhile
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

// ClusterState looks at the cluster. What does not answer within two seconds is what is wrong with it, and no error.
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
	reached := q.reached()
	words, streams := q.copies(ctx, reached)
	for _, name := range q.lease.gateways {
		s.Gateways = append(s.Gateways, GatewayState{name, slices.Contains(reached, name), words[name].Version})
	}
	s.Streams = streams
	s.Problems = append(s.Problems, s.problems()...)
	return s, ctx.Err()
}

// copies asks gateways what they have, and says of every stream who keeps it, and what they lack of what there was when this
// was called. Those that lack something are asked again, for a moment.
func (q *Queue) copies(ctx context.Context, gateways []string) (map[string]gatewayWord, []StreamCopies) {
	words := q.words(ctx, gateways)
	goal, end := agreed(words), time.Now().Add(copyLimit)
	for {
		streams := q.compare(words, goal)
		late := behind(streams, words)
		if len(late) == 0 || time.Now().After(end) || ctx.Err() != nil {
			return words, streams
		}
		q.pauseFor(ctx, copyChecks)
		maps.Copy(words, q.words(ctx, late))
	}
}

// behind are the gateways that answer and lack something.
func behind(streams []StreamCopies, words map[string]gatewayWord) (late []string) {
	for _, s := range streams {
		for _, c := range s.Copies {
			if _, answers := words[c.Gateway]; answers && !c.Current && !slices.Contains(late, c.Gateway) {
				late = append(late, c.Gateway)
			}
		}
	}
	return late
}

func streamNames() []string {
	return []string{streamEvents, streamCalls, streamRetry, streamDead, streamLog, streamAdvisory, streamBodies, streamConfig}
}

// compare says of every stream what each gateway has of it.
func (q *Queue) compare(words map[string]gatewayWord, goal map[part]uint64) (all []StreamCopies) {
	lags := map[string]map[string]uint64{}
	for name, w := range words {
		lags[name] = w.lags(goal)
	}
	together := q.Together()
	for _, name := range streamNames() {
		s := StreamCopies{Stream: name, Copies: []StreamCopy{}}
		if leader, others := leaderOf(name, words); leader != "" && together { // who is cut off may not know yet that it leads no more
			s.Leader = leader
			for _, gateway := range append(others, leader) {
				s.Copies = append(s.Copies, q.copyOf(name, gateway, lags))
			}
		}
		slices.SortFunc(s.Copies, func(a, b StreamCopy) int { return cmp.Compare(a.Gateway, b.Gateway) })
		all = append(all, s)
	}
	return all
}

// leaderOf returns who leads a stream, and who else keeps it; "" while nobody says so.
func leaderOf(stream string, words map[string]gatewayWord) (leader string, others []string) {
	for name, w := range words {
		for _, l := range w.Leads {
			if l.Stream == stream {
				return name, slices.Clone(l.Others)
			}
		}
	}
	return "", nil
}

// copyOf is what a gateway has. Who lacks some of the list of all streams lacks something of each.
func (q *Queue) copyOf(stream, gateway string, lags map[string]map[string]uint64) (c StreamCopy) {
	if slices.Contains(q.lease.gateways, gateway) {
		c.Gateway = gateway
	}
	if of, answers := lags[gateway]; answers {
		c.Lag = of[stream] + of[""]
		c.Current = c.Lag == 0
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
			away[g.Name] = true
			all = append(all, fmt.Sprintf("the gateway %s does not answer: it starts, or stands still", g.Name))
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
