package queue

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Lane counts the messages of a function in one stream.
type Lane struct {
	Waiting uint64 `json:"waiting"` // nobody has pulled them yet
	Running int    `json:"running"` // given to a worker and not settled
}

// FunctionStats counts the work of one function.
type FunctionStats struct {
	Function string `json:"function"`
	Calls    Lane   `json:"calls"`
	Replays  Lane   `json:"replays"`
	Events   Lane   `json:"events"`
}

// Stats returns the work of every function that has consumers, in the order of their names.
func (q *Queue) Stats(ctx context.Context) ([]FunctionStats, error) {
	byName := map[string]*FunctionStats{}
	for l := range lanes {
		s, err := q.js.Stream(ctx, l.stream())
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", l.stream(), err)
		}
		list := s.ListConsumers(ctx)
		for info := range list.Info() {
			token, ok := strings.CutPrefix(info.Name, consumerName(""))
			if !ok {
				continue
			}
			name := untoken(token)
			if byName[name] == nil {
				byName[name] = &FunctionStats{Function: name}
			}
			*byName[name].lane(l) = Lane{Waiting: info.NumPending, Running: info.NumAckPending}
		}
		if err := list.Err(); err != nil {
			return nil, fmt.Errorf("list consumers of %s: %w", l.stream(), err)
		}
	}
	stats := make([]FunctionStats, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		stats = append(stats, *byName[name])
	}
	return stats, nil
}

func (s *FunctionStats) lane(l lane) *Lane {
	return [lanes]*Lane{&s.Calls, &s.Replays, &s.Events}[l]
}
