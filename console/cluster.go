package console

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// cluster serves GET /api/v1/cluster.
func (s *Server) cluster(w http.ResponseWriter, r *http.Request) {
	state, err := s.queue.ClusterState(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, state)
}

// clusterText is the line about the cluster on the overview, "" for a gateway that stands alone.
func clusterText(c queue.ClusterState) string {
	if c.Node == "" {
		return ""
	}
	var reached []string
	for _, g := range c.Gateways {
		switch {
		case !g.Reached:
		case g.Name == c.Node:
			reached = append(reached, g.Name+" (this one)")
		default:
			reached = append(reached, g.Name)
		}
	}
	text := fmt.Sprintf("%d of %d gateways are there: %s.", len(reached), len(c.Gateways), strings.Join(reached, ", "))
	if c.Leader != "" {
		text += " " + c.Leader + " looks after the streams and services."
	}
	current := 0
	for _, s := range c.Streams {
		if s.Leader != "" && s.Current() == len(s.Copies) {
			current++
		}
	}
	return fmt.Sprintf("%s All copies of %d of %d streams are current.", text, current, len(c.Streams))
}
