//go:build swarm

package deploy_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

// bed is a real swarm of one node: that of DOCKER_HOST, whose address is DOCKERD_ADDR.
type bed struct {
	*testing.T
	docker *client.Client
	engine *deploy.Engine
	image  string // ID of an image with testdata/task
}

func newBed(t *testing.T) *bed {
	t.Helper()
	if os.Getenv("DOCKER_HOST") == "" {
		t.Fatal("set DOCKER_HOST to an engine for tests, and DOCKERD_ADDR to its address")
	}
	docker, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	ok(t, err)
	engine, err := deploy.OpenEngine("")
	ok(t, err)
	t.Cleanup(func() { docker.Close(); engine.Close() })
	b := &bed{T: t, docker: docker, engine: engine}
	b.join()
	b.image = taskImage(t, docker)
	t.Cleanup(b.clear)
	return b
}

func (b *bed) join() {
	info, err := b.docker.Info(b.Context())
	ok(b, err)
	if info.Swarm.ControlAvailable {
		return
	}
	_, err = b.docker.SwarmInit(b.Context(), swarm.InitRequest{ListenAddr: "0.0.0.0:2377", AdvertiseAddr: os.Getenv("DOCKERD_ADDR")})
	ok(b, err)
}

// clear removes all services and waits until their containers are gone, so that the next test starts with an idle node.
func (b *bed) clear() {
	ctx := context.Background()
	services, err := b.docker.ServiceList(ctx, swarm.ServiceListOptions{})
	if err != nil {
		return // a test that left the swarm
	}
	for _, s := range services {
		ok(b, b.docker.ServiceRemove(ctx, s.ID))
	}
	b.within(time.Minute, "all tasks are gone", func() bool {
		tasks, err := b.docker.TaskList(ctx, swarm.TaskListOptions{})
		return err == nil && len(tasks) == 0
	})
}

var built = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "task")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "task")
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", program, "./testdata/task")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return out, err
	}
	return os.ReadFile(program)
})

// taskImage imports an image that holds nothing but the program of testdata/task, and returns its ID.
func taskImage(t *testing.T, docker *client.Client) string {
	t.Helper()
	program, err := built()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, program)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	ok(t, w.WriteHeader(&tar.Header{Name: "task", Mode: 0o755, Size: int64(len(program))}))
	_, err = w.Write(program)
	ok(t, err)
	ok(t, w.Close())
	answer, err := docker.ImageImport(t.Context(), image.ImportSource{Source: &layer, SourceName: "-"}, "task",
		image.ImportOptions{Changes: []string{`CMD ["/task"]`}})
	ok(t, err)
	defer answer.Close()
	var last struct{ Status string }
	for decoder := json.NewDecoder(answer); ; {
		if err := decoder.Decode(&last); err == io.EOF {
			return last.Status
		}
		ok(t, err)
	}
}

// function returns a function of the test's image.
func (b *bed) function(name string) *deploy.Function {
	f := deploy.NewFunction(name)
	f.Image = b.image
	f.Timeout = time.Second
	return f
}

// gateway is a gateway's part that deploys.
type gateway struct {
	*deploy.Reconciler
	*bed
	catalog *deploy.Catalog
	log     *logged
}

func (b *bed) gateway(id string, functions ...*deploy.Function) *gateway {
	b.Helper()
	catalog := deploy.NewCatalog(&deploy.Manifest{Functions: functions})
	log := &logged{}
	r, err := deploy.NewReconciler(b.engine, catalog, deploy.ReconcileOptions{Gateway: id, Log: slog.New(slog.NewTextHandler(log, nil))})
	ok(b, err)
	return &gateway{r, b, catalog, log}
}

// deploy puts functions in force.
func (g *gateway) deploy(functions ...*deploy.Function) {
	g.Helper()
	g.catalog.Set(&deploy.Manifest{Functions: functions})
	ok(g, g.Reconcile(g.Context()))
}

// until waits for a state of a function and returns it.
func (g *gateway) until(name, what string, is func(deploy.State) bool) deploy.State {
	g.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		last := g.state(name)
		if is(last) {
			return last
		}
		if time.Now().After(deadline) {
			g.Fatalf("not within 30 s: %s: %s; the state is %+v", name, what, last)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (g *gateway) state(name string) deploy.State {
	g.Helper()
	states, err := g.States(g.Context())
	ok(g, err)
	at := slices.IndexFunc(states, func(s deploy.State) bool { return s.Function == name })
	if at < 0 {
		g.Fatalf("no state of %s in %+v", name, states)
	}
	return states[at]
}

func settled(s deploy.State) bool { return s.Settled }

// registry starts one that has one image, in a container that shares the network of the engine. It returns what ends it.
func (b *bed) registry(address, note string) (stop func()) {
	b.Helper()
	config := &container.Config{Image: b.image, Env: []string{"REGISTRY=" + address, "NOTE=" + note}}
	c, err := b.docker.ContainerCreate(b.Context(), config, &container.HostConfig{NetworkMode: "host"}, nil, nil, "")
	ok(b, err)
	ok(b, b.docker.ContainerStart(b.Context(), c.ID, container.StartOptions{}))
	b.within(10*time.Second, "the registry answers", func() bool {
		_, err := b.docker.DistributionInspect(b.Context(), address+"/hello:1.0", "")
		return err == nil
	})
	return func() {
		ok(b, b.docker.ContainerRemove(context.Background(), c.ID, container.RemoveOptions{Force: true}))
	}
}

// service inspects a service; it is nil when there is none.
func (b *bed) service(name string) *swarm.Service {
	b.Helper()
	services, err := b.docker.ServiceList(b.Context(), swarm.ServiceListOptions{Filters: filters.NewArgs(filters.Arg("name", name))})
	ok(b, err)
	for _, s := range services {
		if s.Spec.Name == name {
			return &s
		}
	}
	return nil
}

func (b *bed) networks(name string) []network.Summary {
	b.Helper()
	all, err := b.docker.NetworkList(b.Context(), network.ListOptions{})
	ok(b, err)
	return slices.DeleteFunc(all, func(n network.Summary) bool { return n.Name != name })
}

func (b *bed) within(limit time.Duration, what string, is func() bool) {
	b.Helper()
	deadline := time.Now().Add(limit)
	for !is() {
		if time.Now().After(deadline) {
			b.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// logged is what was logged so far.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
