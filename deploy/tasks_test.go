package deploy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/network"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

// engine is the part of a Docker Engine that tells of containers, on a socket.
type engine struct {
	t       *testing.T
	socket  string
	version string

	mu         sync.Mutex
	containers []container.Summary
	noNetwork  bool
	streams    []chan events.Message
	server     *http.Server
	serving    sync.WaitGroup
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	e := &engine{t: t, socket: filepath.Join(t.TempDir(), "docker.sock"), version: "1.41"}
	e.start()
	t.Cleanup(e.stop)
	return e
}

func (e *engine) start() {
	e.t.Helper()
	l, err := new(net.ListenConfig).Listen(e.t.Context(), "unix", e.socket)
	if err != nil {
		e.t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Api-Version", e.version) })
	mux.HandleFunc("GET /{version}/events", e.events)
	mux.HandleFunc("GET /{version}/containers/json", func(w http.ResponseWriter, _ *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.answer(w, e.containers)
	})
	mux.HandleFunc("GET /{version}/networks/{name}", func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.noNetwork {
			w.WriteHeader(http.StatusNotFound)
		}
		e.answer(w, map[string]string{"message": "network " + r.PathValue("name") + " not found"})
	})
	server := &http.Server{Handler: mux}
	e.server = server
	e.serving.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			e.t.Error(err)
		}
	})
}

func (e *engine) stop() {
	e.server.Close()
	e.mu.Lock()
	for _, s := range e.streams {
		close(s)
	}
	e.streams = nil
	e.mu.Unlock()
	e.serving.Wait()
}

func (e *engine) answer(w http.ResponseWriter, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		e.t.Log(err) // the client has gone
	}
}

func (e *engine) events(w http.ResponseWriter, r *http.Request) {
	stream := make(chan events.Message, 100)
	e.mu.Lock()
	e.streams = append(e.streams, stream)
	e.mu.Unlock()
	if err := http.NewResponseController(w).Flush(); err != nil {
		e.t.Log(err)
	}
	for {
		select {
		case m, ok := <-stream:
			if !ok {
				return
			}
			e.answer(w, m)
			if err := http.NewResponseController(w).Flush(); err != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

func (e *engine) send(action events.Action, id string, attributes map[string]string) {
	m := events.Message{Type: events.ContainerEventType, Action: action, Actor: events.Actor{ID: id, Attributes: attributes}, TimeNano: time.Now().UnixNano()}
	for _, s := range e.streams {
		s <- m
	}
}

// run starts a container on a network.
func (e *engine) run(id, networkName, address string, labels map[string]string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.containers = append(e.containers, container.Summary{
		ID: id, ImageID: "sha256:1", Labels: labels, State: container.StateRunning,
		NetworkSettings: &container.NetworkSettingsSummary{Networks: map[string]*network.EndpointSettings{networkName: {IPAddress: address}}},
	})
	e.send(events.ActionStart, id, labels)
}

func (e *engine) kill(id, signal string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.send(events.ActionKill, id, map[string]string{"signal": signal})
}

func (e *engine) die(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.containers = slices.DeleteFunc(e.containers, func(c container.Summary) bool { return c.ID == id })
	e.send(events.ActionDie, id, nil)
}

// told is what a watch has told last.
type told struct {
	tasks []deploy.Task
	err   error
}

// watch follows the tasks of an engine until the test ends.
func watch(t *testing.T, host string) <-chan told {
	t.Helper()
	e, err := deploy.OpenEngine(host)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	updates := make(chan told, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.WatchTasks(ctx, "funker", func(tasks []deploy.Task, err error) { updates <- told{tasks, err} })
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return updates
}

// until waits for an update.
func until(t *testing.T, updates <-chan told, what string, condition func(told) bool) told {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case u := <-updates:
			if condition(u) {
				return u
			}
		case <-deadline:
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func named(names ...string) func(told) bool {
	return func(u told) bool {
		var got []string
		for _, task := range u.tasks {
			got = append(got, task.Function)
		}
		slices.Sort(got)
		return u.err == nil && slices.Equal(got, names)
	}
}

func failed(want error) func(told) bool { return func(u told) bool { return errors.Is(u.err, want) } }

const serviceLabel = "com.docker.swarm.service.name"

func TestTasksAreTheNamedContainersOnTheNetwork(t *testing.T) {
	e := newEngine(t)
	e.run("1", "funker", "10.0.1.2", map[string]string{serviceLabel: "Hello"})
	e.run("2", "funker", "10.0.1.3", map[string]string{serviceLabel: "stack_x", "funker.function": "Build", "funker.concurrency": "4", "funker.lifecycle": "server"})
	e.run("3", "funker", "10.0.1.4", map[string]string{serviceLabel: "gateway", "funker.role": "gateway"})
	e.run("4", "funker", "10.0.1.5", nil)
	e.run("5", "other", "10.0.2.2", map[string]string{serviceLabel: "Other"})
	e.run("6", "funker", "", map[string]string{serviceLabel: "Early"})
	e.run("7", "funker", "10.0.1.6", map[string]string{serviceLabel: "Odd", "funker.concurrency": "many"})
	u := until(t, watch(t, "unix://"+e.socket), "the tasks are known", named("Build", "Hello", "Odd"))
	for i := range u.tasks {
		if u.tasks[i].Started.IsZero() {
			t.Errorf("%s has no start", u.tasks[i].Function)
		}
		u.tasks[i].Started = time.Time{}
	}
	want := []deploy.Task{
		{Function: "Hello", ID: "1", Address: "10.0.1.2:9999", Image: "sha256:1"},
		{Function: "Build", ID: "2", Address: "10.0.1.3:9999", Image: "sha256:1", Concurrency: 4, Lifecycle: deploy.LifecycleServer},
		{Function: "Odd", ID: "7", Address: "10.0.1.6:9999", Image: "sha256:1", Fault: `label funker.concurrency is "many": write a number from 1 to 1000`},
	}
	if !slices.Equal(u.tasks, want) {
		t.Errorf("got %+v\nwant %+v", u.tasks, want)
	}
}

func TestTasksComeLeaveAndDieAtOnce(t *testing.T) {
	e := newEngine(t)
	updates := watch(t, "unix://"+e.socket)
	until(t, updates, "nothing runs", named())
	begin := time.Now()
	e.run("1", "funker", "10.0.1.2", map[string]string{serviceLabel: "Hello"})
	first := until(t, updates, "it runs", named("Hello")).tasks[0]
	e.kill("1", "1") // SIGHUP
	e.kill("1", "15")
	until(t, updates, "it leaves", func(u told) bool { return named("Hello")(u) && u.tasks[0].Leaving })
	e.die("1")
	until(t, updates, "it is gone", named())
	e.run("1", "funker", "10.0.1.2", map[string]string{serviceLabel: "Hello"})
	second := until(t, updates, "it runs again", named("Hello")).tasks[0]
	if !second.Started.After(first.Started) || second.Leaving {
		t.Errorf("got %+v after %+v, want another life", second, first)
	}
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("took %s", d)
	}
}

func TestTasksAreUnknownWhileTheEngineIsGone(t *testing.T) {
	e := newEngine(t)
	e.run("1", "funker", "10.0.1.2", map[string]string{serviceLabel: "Hello"})
	updates := watch(t, "unix://"+e.socket)
	first := until(t, updates, "it runs", named("Hello")).tasks[0]
	e.stop()
	u := until(t, updates, "the engine is gone", failed(deploy.ErrNoEngine))
	if len(u.tasks) > 0 {
		t.Errorf("got tasks of an engine that is gone: %+v", u.tasks)
	}
	e.start()
	if again := until(t, updates, "the engine is back", named("Hello")).tasks[0]; again != first {
		t.Errorf("got %+v, want the same life as before, %+v", again, first)
	}
	e.run("2", "funker", "10.0.1.3", map[string]string{serviceLabel: "Build"})
	until(t, updates, "events arrive again", named("Build", "Hello"))
}

func TestEachReasonWhyTasksAreUnknownIsClear(t *testing.T) {
	old, empty := newEngine(t), newEngine(t)
	old.version = "1.40"
	empty.noNetwork = true
	for name, c := range map[string]struct {
		host string
		want error
		text string
	}{
		"socket missing":  {"unix://" + filepath.Join(t.TempDir(), "docker.sock"), deploy.ErrNoEngine, "docker.sock"},
		"engine too old":  {"unix://" + old.socket, deploy.ErrOldEngine, `it speaks API "1.40", and 1.41 is needed: update to Docker 20.10 or later`},
		"network missing": {"unix://" + empty.socket, deploy.ErrNoNetwork, "docker network create -d overlay --attachable funker"},
	} {
		t.Run(name, func(t *testing.T) {
			u := until(t, watch(t, c.host), name, failed(c.want))
			if !strings.Contains(u.err.Error(), c.text) {
				t.Errorf("got %q, want %q in it", u.err, c.text)
			}
		})
	}
}

func TestTasksAreFoundWhenTheNetworkIsMadeLater(t *testing.T) {
	e := newEngine(t)
	e.noNetwork = true
	updates := watch(t, "unix://"+e.socket)
	until(t, updates, "no network", failed(deploy.ErrNoNetwork))
	e.mu.Lock()
	e.noNetwork = false
	e.mu.Unlock()
	e.run("1", "funker", "10.0.1.2", map[string]string{serviceLabel: "Hello"})
	until(t, updates, "it runs", named("Hello"))
}

func TestABurstOfStartsIsToldWhole(t *testing.T) {
	e := newEngine(t)
	updates := watch(t, "unix://"+e.socket)
	var names []string
	for i := range 50 {
		name := fmt.Sprintf("F%02d", i)
		names = append(names, name)
		e.run(name, "funker", fmt.Sprintf("10.0.1.%d", i+2), map[string]string{serviceLabel: name})
	}
	until(t, updates, "all run", named(names...))
}
