package deploy

import (
	"context"
	"errors"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
)

// replicas tells how many tasks the swarm is asked for now, of each service of a gateway.
func (e *Engine) replicas(ctx context.Context, gateway string) (map[string]int, error) {
	owned := filters.NewArgs(filters.Arg("label", labelManaged+"="+gateway))
	services, err := e.docker.ServiceList(ctx, swarm.ServiceListOptions{Filters: owned})
	if err != nil {
		return nil, e.explainManager(ctx, err)
	}
	replicas := make(map[string]int, len(services))
	for _, s := range services {
		if n := readReplicated(s.Spec.Mode); n >= 0 {
			replicas[s.Spec.Name] = n
		}
	}
	return replicas, nil
}

// errNotOurs means that a gateway has no service of a name that it could scale.
var errNotOurs = errors.New("this gateway has no such service to scale")

// setReplicas asks the swarm for another number of tasks, unless somebody else has asked for another one meanwhile. It
// returns the number that is asked for afterwards.
func (e *Engine) setReplicas(ctx context.Context, gateway, name string, from, to int) (int, error) {
	for {
		s, _, err := e.docker.ServiceInspectWithRaw(ctx, name, swarm.ServiceInspectOptions{})
		if cerrdefs.IsNotFound(err) {
			return 0, errNotOurs
		}
		if err != nil {
			return 0, e.explainManager(ctx, err)
		}
		now := readReplicated(s.Spec.Mode)
		if s.Spec.Name != name || s.Spec.Labels[labelManaged] != gateway || now < 0 {
			return 0, errNotOurs
		}
		if now != from {
			return now, nil
		}
		s.Spec.Mode.Replicated.Replicas = new(uint64(max(0, to)))
		if err := e.replace(ctx, s.ID, s.Version, s.Spec); !errors.Is(err, errStale) {
			return to, err
		}
	}
}
