package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/versions"
)

var (
	// ErrOldEngine means that an engine does not speak MinAPI.
	ErrOldEngine = errors.New("this Docker Engine is too old")
	// ErrNoNetwork means that this node has no network of the name at which functions listen. A worker node has an
	// overlay network only while a container of it is attached.
	ErrNoNetwork = errors.New("this node has no such network")
)

const (
	engineLimit  = 5 * time.Second // for one answer
	shortPause   = 50 * time.Millisecond
	longPause    = time.Second // between two tries to reach an engine, at most
	lookBehind   = time.Second // an engine may send the header of its events before it takes note of them
	eventsBehind = time.Minute // what an engine still knows of the time before
)

// WatchTasks tells update the function tasks of this node: all of them at once, and again within milliseconds of each
// change. While they are not known it tells why, once per reason and try: ErrNoEngine, ErrEngineDenied, ErrOldEngine,
// ErrNoNetwork. A task is a running container on the named network, which is no part of this system (label
// funker.role) and has a name: that of its label funker.function, or of its swarm service. WatchTasks returns when ctx
// ends. It needs GET /_ping, /events, /containers/json and /networks/{name} of the engine, and nothing else.
func (e *Engine) WatchTasks(ctx context.Context, network string, update func(tasks []Task, err error)) {
	w := &taskWatch{engine: e, network: network, update: update, seen: time.Now()}
	for pause := shortPause; ; pause = min(2*pause, longPause) {
		err := w.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if w.listed {
			pause = shortPause
		}
		w.told, w.listed = false, false
		update(nil, explain(err))
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// taskWatch is what is known of the containers of an engine.
type taskWatch struct {
	engine  *Engine
	network string
	update  func([]Task, error)

	tasks   []Task
	started map[string]time.Time // when a container was first seen, or started again
	leaving map[string]bool      // told to stop
	dead    map[string]bool      // ended, whatever a list says that is older
	listed  bool                 // in this session
	told    bool                 // the tasks, and nothing else since
	seen    time.Time            // up to when events are known
}

// session follows the events of an engine until they end.
func (w *taskWatch) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := w.engine.checkAPI(ctx); err != nil {
		return err
	}
	// First the events, then the list: what changes between the two is not missed.
	news, ended := w.engine.docker.Events(ctx, w.wanted())
	w.leaving, w.dead = map[string]bool{}, map[string]bool{}
	if err := w.list(ctx); err != nil {
		return err
	}
	for {
		select {
		case m := <-news:
			if err := w.note(ctx, m); err != nil {
				return err
			}
		case err := <-ended:
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return fmt.Errorf("%w: its events have ended", ErrNoEngine)
			}
			return err
		}
	}
}

func (e *Engine) checkAPI(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, engineLimit)
	defer cancel()
	ping, err := e.docker.Ping(ctx)
	if err != nil {
		return err
	}
	if versions.LessThan(ping.APIVersion, MinAPI) {
		return fmt.Errorf("%w: it speaks API %q, and %s is needed: update to Docker 20.10 or later", ErrOldEngine, ping.APIVersion, MinAPI)
	}
	return nil
}

// wanted asks for the events since the last ones that are known, as far as an engine remembers them.
func (w *taskWatch) wanted() events.ListOptions {
	since := w.seen.Add(-lookBehind)
	if earliest := time.Now().Add(-eventsBehind); since.Before(earliest) {
		since = earliest
	}
	return events.ListOptions{
		Since: fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond()),
		Filters: filters.NewArgs(
			filters.Arg("type", string(events.ContainerEventType)), filters.Arg("type", string(events.NetworkEventType)),
			filters.Arg("event", string(events.ActionStart)), filters.Arg("event", string(events.ActionKill)),
			filters.Arg("event", string(events.ActionDie)), filters.Arg("event", string(events.ActionConnect)),
			filters.Arg("event", string(events.ActionDisconnect)), filters.Arg("event", string(events.ActionCreate)),
		),
	}
}

// note takes an event in.
func (w *taskWatch) note(ctx context.Context, m events.Message) error {
	id, at := m.Actor.ID, time.Unix(0, m.TimeNano)
	if at.After(w.seen) {
		w.seen = at
	}
	switch {
	case m.Type == events.NetworkEventType:
		if m.Actor.Attributes["name"] == w.network {
			return w.list(ctx)
		}
	case m.Action == events.ActionStart:
		w.start(id, at)
		return w.list(ctx)
	case m.Action == events.ActionDie:
		w.dead[id] = true
		delete(w.leaving, id)
		delete(w.started, id)
		w.tell(slices.DeleteFunc(slices.Clone(w.tasks), func(t Task) bool { return t.ID == id }))
	case m.Action == events.ActionKill && stops(m.Actor.Attributes["signal"]):
		w.leaving[id] = true
		w.tell(slices.Clone(w.tasks))
	}
	return nil
}

func (w *taskWatch) start(id string, at time.Time) {
	delete(w.dead, id)
	delete(w.leaving, id)
	if w.started == nil {
		w.started = map[string]time.Time{}
	}
	w.started[id] = at
}

// stops reports whether a signal is one by which a container is stopped: SIGTERM, SIGKILL, and those that images name
// instead.
func stops(signal string) bool {
	n, err := strconv.Atoi(signal)
	return err == nil && slices.Contains([]int{2, 3, 9, 15, 37}, n)
}

// list asks for all tasks.
func (w *taskWatch) list(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, engineLimit)
	defer cancel()
	found, err := w.engine.docker.ContainerList(ctx, container.ListOptions{Filters: filters.NewArgs(filters.Arg("network", w.network))})
	if err != nil {
		return err
	}
	w.listed = true
	if len(found) == 0 && w.lacksNetwork(ctx) {
		w.tasks, w.told = nil, false
		w.update(nil, fmt.Errorf("%w: %s: make it with docker network create -d overlay --attachable %s", ErrNoNetwork, w.network, w.network))
		return nil
	}
	listed := make(map[string]bool, len(found))
	var tasks []Task
	for _, c := range found {
		listed[c.ID] = true
		if w.dead[c.ID] {
			continue
		}
		if t, ok := taskOf(c, w.network); ok {
			if _, known := w.started[c.ID]; !known {
				w.start(c.ID, time.Now())
			}
			t.Started = w.started[c.ID]
			tasks = append(tasks, t)
		}
	}
	forget(w.dead, listed)
	forget(w.started, listed)
	w.tell(tasks)
	return nil
}

// forget drops what is known of containers that an engine lists no more.
func forget[V any](known map[string]V, listed map[string]bool) {
	for id := range known {
		if !listed[id] {
			delete(known, id)
		}
	}
}

// lacksNetwork does not know it of an engine behind a filter that refuses to say so.
func (w *taskWatch) lacksNetwork(ctx context.Context) bool {
	_, err := w.engine.docker.NetworkInspect(ctx, w.network, network.InspectOptions{})
	return cerrdefs.IsNotFound(err)
}

// tell tells the tasks when they have changed.
func (w *taskWatch) tell(tasks []Task) {
	for i := range tasks {
		tasks[i].Leaving = w.leaving[tasks[i].ID]
	}
	if w.told && slices.Equal(tasks, w.tasks) {
		return
	}
	w.tasks, w.told = tasks, true
	w.update(slices.Clone(tasks), nil)
}
