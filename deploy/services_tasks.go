package deploy

import (
	"cmp"
	"context"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
)

// task is a task of a service, now or of late.
type task struct {
	service string // its ID
	node    string // host name; "" when it has no node yet
	lost    bool   // its node does not answer
	current bool   // it is made as the service is now
	wanted  bool   // it runs or shall run
	state   string // Docker's word, such as "preparing"
	err     string // Docker's reason, such as "No such image: hello:1.0"
	exit    int    // exit code, when it ended
	at      time.Time
}

// tasks lists the tasks of services.
func (e *Engine) tasks(ctx context.Context, services []Service) ([]task, error) {
	if len(services) == 0 {
		return nil, nil // without a service to ask for, Docker lists the tasks of all
	}
	which, templates := filters.NewArgs(), make(map[string]string)
	for _, s := range services {
		which.Add("service", s.ID)
		templates[s.ID] = s.template
	}
	list, err := e.docker.TaskList(ctx, swarm.TaskListOptions{Filters: which})
	if err != nil {
		return nil, explain(err)
	}
	nodes, err := e.nodes(ctx)
	if err != nil {
		return nil, err
	}
	found := make([]task, len(list))
	for i, t := range list {
		found[i] = readTask(t, nodes[t.NodeID])
		found[i].current = templateOf(t.Spec) == templates[t.ServiceID]
	}
	return found, nil
}

func (e *Engine) nodes(ctx context.Context) (map[string]swarm.Node, error) {
	list, err := e.docker.NodeList(ctx, swarm.NodeListOptions{})
	if err != nil {
		return nil, explain(err)
	}
	nodes := make(map[string]swarm.Node, len(list))
	for _, n := range list {
		nodes[n.ID] = n
	}
	return nodes, nil
}

// templateOf tells apart what tasks are made of. Docker names the runtime in a service, and leaves it out in its tasks.
func templateOf(t swarm.TaskSpec) string {
	t.Runtime = ""
	return digestOf(t)
}

func readTask(t swarm.Task, node swarm.Node) task {
	found := task{
		service: t.ServiceID,
		node:    cmp.Or(node.Description.Hostname, t.NodeID),
		lost:    t.NodeID != "" && node.Status.State != swarm.NodeStateReady,
		wanted:  t.DesiredState == swarm.TaskStateRunning || t.DesiredState == swarm.TaskStateReady,
		state:   string(t.Status.State),
		err:     t.Status.Err,
		at:      t.Status.Timestamp,
	}
	if c := t.Status.ContainerStatus; c != nil {
		found.exit = c.ExitCode
	}
	return found
}
