package deploy

import (
	"context"
	"errors"
	"fmt"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
)

// errStale means that somebody else changed a service meanwhile: look again.
var errStale = errors.New("the service was changed by somebody else meanwhile")

// survey looks at all that functions need of the swarm.
func (e *Engine) survey(ctx context.Context) (Found, error) {
	if err := e.checkAPI(ctx); err != nil {
		return Found{}, explain(err)
	}
	services, err := e.services(ctx)
	if err != nil {
		return Found{}, err
	}
	found := Found{Services: services, Secrets: make(map[string]string), Configs: make(map[string]string)}
	secrets, err := e.docker.SecretList(ctx, swarm.SecretListOptions{})
	if err != nil {
		return Found{}, explain(err)
	}
	for _, s := range secrets {
		found.Secrets[s.Spec.Name] = s.ID
	}
	configs, err := e.docker.ConfigList(ctx, swarm.ConfigListOptions{})
	if err != nil {
		return Found{}, explain(err)
	}
	for _, c := range configs {
		found.Configs[c.Spec.Name] = c.ID
	}
	return found, nil
}

func (e *Engine) services(ctx context.Context) ([]Service, error) {
	services, err := e.docker.ServiceList(ctx, swarm.ServiceListOptions{})
	if err != nil {
		return nil, e.explainManager(ctx, err)
	}
	networks, err := e.docker.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(filters.Arg("scope", "swarm"))})
	if err != nil {
		return nil, explain(err)
	}
	names := make(map[string]string)
	for _, n := range networks {
		names[n.ID] = n.Name
	}
	found := make([]Service, len(services))
	for i, s := range services {
		found[i] = readService(s, names)
	}
	return found, nil
}

// explainManager tells a node that is no manager from a manager whose swarm has no leader: Docker says 503 to both.
func (e *Engine) explainManager(ctx context.Context, err error) error {
	if !cerrdefs.IsUnavailable(err) {
		return explain(err)
	}
	if info, infoErr := e.docker.Info(ctx); infoErr == nil && info.Swarm.ControlAvailable {
		return fmt.Errorf("the swarm has no leader: %w", err)
	}
	return explain(err)
}

func (e *Engine) createService(ctx context.Context, gateway, name, networkID string, s Spec) error {
	_, err := e.docker.ServiceCreate(ctx, s.service(gateway, name, networkID, s.Replicas.Min), swarm.ServiceCreateOptions{})
	if cerrdefs.IsConflict(err) {
		return fmt.Errorf("%w: %w", errStale, err)
	}
	return explain(err)
}

// updateService leaves the number of tasks as it was found, within the range that is wanted. It fails with errStale when
// the service is no longer as it was found.
func (e *Engine) updateService(ctx context.Context, gateway, networkID string, found Service, s Spec) error {
	wanted := s.service(gateway, found.Name, networkID, s.Replicas.clamp(found.Replicas))
	wanted.TaskTemplate.ForceUpdate = found.force
	return e.replace(ctx, found.ID, swarm.Version{Index: found.version}, wanted)
}

// replace updates a service that still has the version. Docker has no code of its own for one that has not.
func (e *Engine) replace(ctx context.Context, id string, version swarm.Version, wanted swarm.ServiceSpec) error {
	_, err := e.docker.ServiceUpdate(ctx, id, version, wanted, swarm.ServiceUpdateOptions{})
	if err == nil {
		return nil
	}
	now, _, lookErr := e.docker.ServiceInspectWithRaw(ctx, id, swarm.ServiceInspectOptions{})
	if cerrdefs.IsNotFound(lookErr) || lookErr == nil && now.Version != version {
		return fmt.Errorf("%w: %w", errStale, err)
	}
	return explain(err)
}

// removeService removes a service that is still this gateway's.
func (e *Engine) removeService(ctx context.Context, gateway string, found Service) error {
	now, _, err := e.docker.ServiceInspectWithRaw(ctx, found.ID, swarm.ServiceInspectOptions{})
	switch {
	case cerrdefs.IsNotFound(err):
		return nil
	case err != nil:
		return explain(err)
	case now.Spec.Labels[labelManaged] != gateway:
		return errStale
	}
	if err := e.docker.ServiceRemove(ctx, found.ID); err != nil && !cerrdefs.IsNotFound(err) {
		return explain(err)
	}
	return nil
}
