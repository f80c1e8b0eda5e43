package queue

import (
	"maps"
	"slices"

	"github.com/nats-io/nats-server/v2/server"
)

// Together reports whether this gateway reaches most gateways of its cluster, itself among them: without them it can store
// nothing. One that stands alone always does; one at an outside server has to reach that.
func (q *Queue) Together() bool {
	if q.lease == nil || q.lease.gateways == nil {
		return q.Connected()
	}
	return len(q.reached()) > len(q.lease.gateways)/2
}

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
