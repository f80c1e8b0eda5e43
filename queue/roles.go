package queue

import (
	"context"
	"encoding/json"
	"fmt"
)

// Roles say which gateways of a cluster do what only one of them can do at a time.
type Roles struct {
	Events string `json:"events"` // leads the stream of events: it confirms what any gateway accepts; "" while nobody does
	Keeper string `json:"keeper"` // holds the lease: it looks after the streams and services; "" while nobody does
	Behind int    `json:"behind"` // copies of streams that lack something at the moment, or whose gateway is away
}

// Roles asks the cluster, with any gateway's connection or an admin's. Of a gateway that stands alone all is empty.
// The keeper is who wrote its name last: one that died is named until its lease has run out.
func (q *Queue) Roles(ctx context.Context) (r Roles, err error) {
	for _, name := range []string{streamEvents, streamCalls, streamRetry, streamDead, streamLog, streamConfig} {
		s, err := q.js.Stream(ctx, name)
		if err != nil {
			return Roles{}, fmt.Errorf("ask for the roles: %w", err)
		}
		group := s.CachedInfo().Cluster
		if group == nil || group.Name == "" {
			return Roles{}, nil
		}
		if name == streamEvents {
			r.Events = group.Leader
		}
		for _, copied := range group.Replicas {
			if !copied.Current || copied.Offline {
				r.Behind++
			}
		}
	}
	request, err := json.Marshal(map[string]string{"last_by_subj": configSubject(leaderKey)})
	if err != nil {
		return Roles{}, fmt.Errorf("ask for the roles: %w", err)
	}
	m, err := q.getFromLeader(ctx, streamConfig, request)
	if err != nil {
		return Roles{}, fmt.Errorf("ask for the roles: %w", err)
	}
	r.Keeper = string(m.Data)
	return r, nil
}
