package queue

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Whether a copy is complete only its own server knows. The one that leads remembers of the others what they had before they
// were lost, and calls a copy current that has just begun on an empty disk. It matters also for what a gateway may lose next:
// a server that has nothing of a stream or a consumer yet is no voter there, and with another one gone none leads it.

// holding is how far a server has come with a stream, with a consumer of it, or with the list of all of them. Each is a log
// of changes on which most of its servers agree.
type holding struct {
	Stream   string `json:"stream"`   // "" for the list
	Consumer string `json:"consumer"` // "" for the stream itself
	Has      uint64 `json:"has"`      // changes that it has made, from the first one
	Agreed   uint64 `json:"agreed"`   // changes that it knows to be agreed on
}

// led is a stream that a server leads.
type led struct {
	Stream string   `json:"stream"`
	Others []string `json:"others"` // servers that keep it too
}

// gatewayWord is what a gateway says of itself.
type gatewayWord struct {
	Version  string    `json:"version"` // of its program
	Leads    []led     `json:"leads"`
	Holdings []holding `json:"holdings"`
}

// askGateways is for what is asked of all gateways, side by side.
const askGateways = 2 * time.Second

// metaGroup is the log of the server in which the list of streams and consumers is.
const metaGroup = "_meta_"

// serveGateway has other gateways know which program this one runs, and what it has.
func (q *Queue) serveGateway(c *Cluster) error {
	return q.Serve(gatewayEndpoint(c.Node), askGateways, func(context.Context, string) (any, error) {
		w, err := q.server.word(c.Node)
		w.Version = c.Version
		return w, err
	})
}

func gatewayEndpoint(node string) string { return "gateway-" + node }

// word is what the server of a gateway has.
func (s *embedded) word(node string) (w gatewayWord, err error) {
	all, err := s.JszAccount(&server.JSzOptions{Account: server.DEFAULT_GLOBAL_ACCOUNT, Streams: true, Consumer: true, RaftGroups: true})
	if err != nil {
		return w, fmt.Errorf("look at what this server has: %w", err)
	}
	logs := s.logs(server.DEFAULT_GLOBAL_ACCOUNT, "")
	w.note(s.logs("", metaGroup), metaGroup, "", "")
	for _, d := range all.Streams {
		w.note(logs, d.RaftGroup, d.Name, "")
		if d.Cluster != nil && d.Cluster.Leader == node {
			w.Leads = append(w.Leads, led{d.Name, peerNames(d.Cluster)})
		}
		for _, c := range d.ConsumerRaftGroups {
			w.note(logs, c.RaftGroup, d.Name, c.Name)
		}
	}
	return w, nil
}

// logs are those of an account, "" for the server's own, by the names of their groups. There are none while it shuts down.
func (s *embedded) logs(account, group string) map[string]server.RaftzGroup {
	found := map[string]server.RaftzGroup{}
	if all := s.Raftz(&server.RaftzOptions{AccountFilter: account, GroupFilter: group}); all != nil {
		for _, groups := range *all { // of the one account
			maps.Copy(found, groups)
		}
	}
	return found
}

// note adds a log, unless it has but one server: that is nobody's copy.
func (w *gatewayWord) note(logs map[string]server.RaftzGroup, group, stream, consumer string) {
	if l, ok := logs[group]; ok && l.Size > 1 {
		w.Holdings = append(w.Holdings, holding{stream, consumer, l.Applied, l.Committed})
	}
}

func peerNames(c *server.ClusterInfo) (names []string) {
	for _, p := range c.Replicas {
		names = append(names, p.Name)
	}
	return names
}

// words asks gateways, by their names. Who does not answer is not there.
func (q *Queue) words(ctx context.Context, gateways []string) map[string]gatewayWord {
	ctx, cancel := context.WithTimeout(ctx, askGateways)
	defer cancel()
	var mu sync.Mutex
	words := map[string]gatewayWord{}
	var asked sync.WaitGroup
	for _, name := range gateways {
		asked.Go(func() {
			w, err := askUntil[gatewayWord](ctx, q, gatewayEndpoint(name), nil)
			if err != nil {
				return // one that stands still, or waits for the others
			}
			mu.Lock()
			defer mu.Unlock()
			words[name] = w
		})
	}
	asked.Wait()
	return words
}

// part names a log.
type part struct{ stream, consumer string }

// agreed is how far each log had come, as the one knows that knows most.
func agreed(words map[string]gatewayWord) map[part]uint64 {
	all := map[part]uint64{}
	for _, w := range words {
		for _, h := range w.Holdings {
			p := part{h.Stream, h.Consumer}
			all[p] = max(all[p], h.Agreed)
		}
	}
	return all
}

// lags returns how many changes of each stream and its consumers a gateway does not have. Those of the list are at "".
func (w gatewayWord) lags(goal map[part]uint64) map[string]uint64 {
	has := map[part]uint64{}
	for _, h := range w.Holdings {
		has[part{h.Stream, h.Consumer}] = h.Has
	}
	lags := map[string]uint64{}
	for p, most := range goal {
		if have := has[p]; have < max(1, most) { // with none it is no voter
			lags[p.stream] += max(1, most) - have
		}
	}
	return lags
}
