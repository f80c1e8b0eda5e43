//go:build swarm

package deploy_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

func TestSwarm_AFunctionIsCreatedUpdatedAndRemoved(t *testing.T) {
	b := newBed(t)
	secret, err := b.docker.SecretCreate(t.Context(), swarm.SecretSpec{Annotations: swarm.Annotations{Name: "api-key"}, Data: []byte("x")})
	ok(t, err)
	_, err = b.docker.ConfigCreate(t.Context(), swarm.ConfigSpec{Annotations: swarm.Annotations{Name: "settings"}, Data: []byte("x")})
	ok(t, err)
	f := b.function("Hello")
	f.Configs = []string{"settings"}
	f.Labels = map[string]string{"team": "blue"}
	f.Resources = deploy.Resources{NanoCPUs: 5e8, Memory: 64 << 20}
	f.Env = map[string]string{"GREETING": "hello", "EMPTY": ""}
	f.Secrets = []string{"api-key"}
	f.Constraints = []string{"node.role==manager"}
	f.Replicas = deploy.Replicas{Min: 2, Max: 2}
	g := b.gateway("one", f)
	ok(t, g.Reconcile(t.Context()))
	state := g.until("Hello", "two tasks run", settled)
	if state.Running != 2 || state.Wanted != 2 || state.Image != b.image || len(state.Tasks) != 2 {
		t.Errorf("got %+v, want two running tasks of %s", state, b.image)
	}
	s := b.service("Hello")
	checkSpec(t, s.Spec, secret.ID)

	ok(t, g.Reconcile(t.Context()))
	if again := b.service("Hello"); again.Version != s.Version {
		t.Errorf("a second run changed the service from version %d to %d", s.Version.Index, again.Version.Index)
	}

	changed := *f
	changed.Env = map[string]string{"GREETING": "good evening"}
	g.deploy(&changed)
	if g.state("Hello").Settled {
		t.Error("it is settled before a task of the new settings ran")
	}
	state = g.until("Hello", "two new tasks run", settled)
	if state.Running != 2 || state.Outdated != 0 {
		t.Errorf("got %+v, want two tasks of the new settings", state)
	}
	if env := b.service("Hello").Spec.TaskTemplate.ContainerSpec.Env; len(env) != 1 || env[0] != "GREETING=good evening" {
		t.Errorf("got environment %q, want the new greeting alone", env)
	}

	g.deploy()
	if b.service("Hello") != nil {
		t.Error("a function that left the manifest still has its service")
	}
}

func checkSpec(t *testing.T, s swarm.ServiceSpec, secretID string) {
	t.Helper()
	c := s.TaskTemplate.ContainerSpec
	if len(c.Secrets) != 1 || c.Secrets[0].SecretID != secretID || c.Secrets[0].File.Name != "api-key" {
		t.Errorf("got secrets %+v, want api-key", c.Secrets)
	}
	if len(c.Configs) != 1 || c.Configs[0].ConfigName != "settings" || c.Configs[0].File.Name != "/settings" {
		t.Errorf("got configs %+v, want settings", c.Configs)
	}
	if l := s.TaskTemplate.Resources.Limits; s.Labels["team"] != "blue" || l.NanoCPUs != 5e8 || l.MemoryBytes != 64<<20 {
		t.Errorf("got labels %v and limits %+v", s.Labels, l)
	}
	if c.Labels["funker.function"] != "Hello" || c.Labels["funker.lifecycle"] != "auto" || c.Labels["funker.concurrency"] != "1" {
		t.Errorf("got container labels %v", c.Labels)
	}
	if *c.StopGracePeriod <= time.Second {
		t.Errorf("a task is killed %v after its stop signal, want more than its timeout of 1s", *c.StopGracePeriod)
	}
	if r := s.TaskTemplate.RestartPolicy; r.Condition != "any" || r.Delay == nil || *r.Delay != 0 {
		t.Errorf("got restart policy %+v, want any at once", r)
	}
	if s.EndpointSpec.Mode != swarm.ResolutionModeDNSRR || s.Labels["funker.managed"] != "one" {
		t.Errorf("got endpoint mode %s and labels %v", s.EndpointSpec.Mode, s.Labels)
	}
}

func TestSwarm_WhatSomebodyElseChangedIsPutRightAndTheirNumberOfTasksIsKept(t *testing.T) {
	b := newBed(t)
	f := b.function("Hello")
	f.Replicas = deploy.Replicas{Min: 0, Max: 3}
	g := b.gateway("one", f)
	ok(t, g.Reconcile(t.Context()))
	s := b.service("Hello")
	s.Spec.TaskTemplate.ContainerSpec.Env = []string{"BY=hand"}
	*s.Spec.Mode.Replicated.Replicas = 2
	_, err := b.docker.ServiceUpdate(t.Context(), s.ID, s.Version, s.Spec, swarm.ServiceUpdateOptions{})
	ok(t, err)
	ok(t, g.Reconcile(t.Context()))
	s = b.service("Hello")
	if n := *s.Spec.Mode.Replicated.Replicas; n != 2 || len(s.Spec.TaskTemplate.ContainerSpec.Env) != 0 {
		t.Errorf("got %d tasks and environment %q, want 2 and none", n, s.Spec.TaskTemplate.ContainerSpec.Env)
	}
	g.until("Hello", "two tasks run", settled)
}

func TestSwarm_AServiceOfSomebodyElseIsLeftAlone(t *testing.T) {
	b := newBed(t)
	theirs := b.foreign("Hello")
	other := b.gateway("two", b.function("Other"))
	ok(t, other.Reconcile(t.Context()))
	g := b.gateway("one", b.function("Hello"), b.function("Other"), b.function("Mine"))
	ok(t, g.Reconcile(t.Context()))
	for name, reason := range map[string]string{"Hello": "was not made by a gateway", "Other": "belongs to the gateway two"} {
		if s := g.state(name); !strings.Contains(s.Problem, reason) || s.Settled {
			t.Errorf("%s: got %+v, want the problem %q", name, s, reason)
		}
	}
	g.until("Mine", "the third function runs", settled)
	g.deploy()
	if s := b.service("Hello"); s == nil || s.Version != theirs.Version {
		t.Errorf("the service of somebody else was changed: %+v", s)
	}
	if b.service("Other") == nil || b.service("Mine") != nil {
		t.Error("want the service of the other gateway kept, and our own removed")
	}
	if n := g.log.count("function cannot be deployed"); n != 2 {
		t.Errorf("got %d lines for 2 refused functions", n)
	}
}

// foreign makes a service without our label.
func (b *bed) foreign(name string) *swarm.Service {
	b.Helper()
	spec := swarm.ServiceSpec{Annotations: swarm.Annotations{Name: name}}
	spec.TaskTemplate.ContainerSpec = &swarm.ContainerSpec{Image: b.image}
	_, err := b.docker.ServiceCreate(b.Context(), spec, swarm.ServiceCreateOptions{})
	ok(b, err)
	return b.service(name)
}

func TestSwarm_TheNetworkIsMadeOnceAndIsLarge(t *testing.T) {
	b := newBed(t)
	for _, n := range b.networks("funker") {
		ok(t, b.docker.NetworkRemove(t.Context(), n.ID))
	}
	var gateways [4]*gateway
	errs := make(chan error, len(gateways))
	for i := range gateways {
		gateways[i] = b.gateway("one", b.function("Hello"), b.function("World"))
		go func() { errs <- gateways[i].Reconcile(context.WithoutCancel(t.Context())) }()
	}
	for range gateways {
		ok(t, <-errs)
	}
	n := b.networks("funker")
	if len(n) != 1 || !n[0].Attachable || n[0].Driver != "overlay" || !strings.HasSuffix(n[0].IPAM.Config[0].Subnet, "/16") {
		t.Fatalf("got networks %+v, want one attachable overlay with a /16", n)
	}
	for _, name := range []string{"Hello", "World"} {
		gateways[0].until(name, "it runs", settled)
		if s := b.service(name); s.Spec.TaskTemplate.Networks[0].Target != n[0].ID {
			t.Errorf("%s is on network %s, want %s", name, s.Spec.TaskTemplate.Networks[0].Target, n[0].ID)
		}
	}
}

func TestSwarm_TwoThatUpdateAtOnceEndWithTheSameService(t *testing.T) {
	b := newBed(t)
	f := b.function("Hello")
	f.Replicas = deploy.Replicas{Min: 0, Max: 3}
	one, two := b.gateway("one", f), b.gateway("one", f)
	ok(t, one.Reconcile(t.Context()))
	for round := range 10 {
		changed := *f
		changed.Env = map[string]string{"ROUND": string(rune('a' + round))}
		errs := make(chan error, 2)
		for _, g := range []*gateway{one, two} {
			g.catalog.Set(&deploy.Manifest{Functions: []*deploy.Function{&changed}})
			go func() { errs <- g.Reconcile(context.WithoutCancel(t.Context())) }()
		}
		ok(t, <-errs)
		ok(t, <-errs)
		if env := b.service("Hello").Spec.TaskTemplate.ContainerSpec.Env; len(env) != 1 || env[0] != "ROUND="+changed.Env["ROUND"] {
			t.Fatalf("round %d: got %q", round, env)
		}
	}
}

func TestSwarm_TheStateSaysWhyNothingRuns(t *testing.T) {
	b := newBed(t)
	const missing = "sha256:0000000000000000000000000000000000000000000000000000000000000001"
	image, constraint, exit := b.function("Image"), b.function("Constraint"), b.function("Exit")
	image.Image = missing
	constraint.Constraints = []string{"node.labels.arch==arm"}
	exit.Env = map[string]string{"EXIT": "7"}
	secret, name := b.function("Secret"), b.function("AMAZON.HelpIntent")
	secret.Secrets = []string{"nobody-made-this"}
	g := b.gateway("one", image, constraint, exit, secret, name)
	ok(t, g.Reconcile(t.Context()))
	for function, reason := range map[string]string{
		"Image":             "No such image",
		"Constraint":        "no suitable node (scheduling constraints not satisfied on 1 node): its constraints are node.labels.arch==arm",
		"Exit":              "exit code 7",
		"Secret":            "docker secret create nobody-made-this",
		"AMAZON.HelpIntent": "cannot be the name of a service",
	} {
		s := g.until(function, reason, func(s deploy.State) bool { return strings.Contains(s.Problem, reason) })
		t.Logf("%s: %s", function, s.Problem)
	}
	if f := g.until("Exit", "a failure", func(s deploy.State) bool { return s.Failed != nil }).Failed; f.ExitCode != 7 {
		t.Errorf("got %+v, want exit code 7", f)
	}
}

func TestSwarm_AnImageThatIsMissingLeavesTheOldTasks(t *testing.T) {
	b := newBed(t)
	f := b.function("Hello")
	g := b.gateway("one", f)
	ok(t, g.Reconcile(t.Context()))
	g.until("Hello", "it runs", settled)
	bad := *f
	bad.Image = "sha256:0000000000000000000000000000000000000000000000000000000000000001"
	g.deploy(&bad)
	s := g.until("Hello", "No such image", func(s deploy.State) bool { return strings.Contains(s.Problem, "No such image") })
	if s.Outdated != 1 || s.Settled {
		t.Errorf("got %+v, want the old task to run on", s)
	}
	g.deploy(f)
	g.until("Hello", "it runs again", settled)
}

func TestSwarm_AServerThatCrashesStopsTheUpdate(t *testing.T) {
	b := newBed(t)
	f := b.function("Hello")
	f.Lifecycle = deploy.LifecycleServer
	f.Replicas = deploy.Replicas{Min: 3, Max: 3}
	g := b.gateway("one", f)
	ok(t, g.Reconcile(t.Context()))
	g.until("Hello", "three tasks run", settled)
	bad := *f
	bad.Env = map[string]string{"EXIT": "7"}
	g.deploy(&bad)
	s := g.until("Hello", "the update stands still", func(s deploy.State) bool { return strings.Contains(s.Problem, "update paused") })
	t.Log(s.Problem)
	// A new task is started before an old one is stopped: when the new one dies before the swarm saw it run, all three stay.
	if s.Outdated < 2 {
		t.Errorf("got %+v, want two or three old tasks to run on", s)
	}
	g.deploy(f)
	g.until("Hello", "three tasks run again", settled)
}

func TestSwarm_ATagIsPinnedAndRolledOutWhenSomebodyAsks(t *testing.T) {
	b := newBed(t)
	const registry = "127.0.0.1:5055" // without TLS, as Docker allows it on the loopback
	f := b.function("Hello")
	f.Image = registry + "/hello:1.0"
	f.Replicas = deploy.Replicas{Min: 0, Max: 1} // there is nothing in the image to run
	g := b.gateway("one", f)
	stop := b.registry(registry, "one")
	ok(t, g.Reconcile(t.Context()))
	first := b.service("Hello").Spec.TaskTemplate.ContainerSpec.Image
	if !strings.HasPrefix(first, f.Image+"@sha256:") {
		t.Fatalf("got image %s, want a digest of %s", first, f.Image)
	}
	stop()
	defer b.registry(registry, "two")()
	ok(t, g.Reconcile(t.Context()))
	if same := b.service("Hello").Spec.TaskTemplate.ContainerSpec.Image; same != first {
		t.Errorf("got image %s, want %s until somebody asks", same, first)
	}
	g.Refresh()
	ok(t, g.Reconcile(t.Context()))
	second := b.service("Hello").Spec.TaskTemplate.ContainerSpec.Image
	if second == first || !strings.HasPrefix(second, f.Image+"@sha256:") {
		t.Errorf("got image %s, want the new digest of %s", second, f.Image)
	}
}

func TestSwarm_AnImageWhoseRegistryDoesNotAnswerIsUsedAsItIs(t *testing.T) {
	b := newBed(t)
	f := b.function("Hello")
	f.Image = "127.0.0.1:5056/hello:1.0"
	f.Replicas = deploy.Replicas{Min: 0, Max: 1}
	g := b.gateway("one", f)
	ok(t, g.Reconcile(t.Context()))
	if image := b.service("Hello").Spec.TaskTemplate.ContainerSpec.Image; image != f.Image {
		t.Errorf("got image %s, want %s", image, f.Image)
	}
	if n := g.log.count("image is used without a digest"); n != 1 {
		t.Errorf("got %d warnings, want 1", n)
	}
}

func TestSwarm_AnEngineThatWasGoneIsUsedAgain(t *testing.T) {
	b := newBed(t)
	p := newProxy(t)
	engine, err := deploy.OpenEngine(p.host())
	ok(t, err)
	t.Cleanup(func() { engine.Close() })
	b.engine = engine
	g := b.gateway("one", b.function("Hello"))
	g.background(g.Run)
	b.within(10*time.Second, "the service is made", func() bool { return b.service("Hello") != nil })

	p.stop()
	g.catalog.Set(&deploy.Manifest{Functions: []*deploy.Function{b.function("World")}})
	b.within(10*time.Second, "the trouble is logged", func() bool { return g.log.count("services are not up to date") == 1 })
	if _, err := g.States(t.Context()); !errors.Is(err, deploy.ErrNoEngine) {
		t.Errorf("got %v, want %v", err, deploy.ErrNoEngine)
	}
	p.start()
	b.within(10*time.Second, "it has tried again, and the swarm follows the new manifest", func() bool { return b.service("Hello") == nil && b.service("World") != nil })
	b.within(10*time.Second, "the end of the trouble is logged", func() bool { return g.log.count("services are up to date again") == 1 })
	if n := g.log.count("services are not up to date"); n != 1 {
		t.Errorf("one trouble gave %d lines", n)
	}
}

func TestSwarm_AReaderSeesTasksAndCanMakeNoOtherCall(t *testing.T) {
	newBed(t)
	engine, err := deploy.OpenReader("")
	ok(t, err)
	t.Cleanup(func() { engine.Close() })
	seen := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	engine.WatchTasks(ctx, "funker", func(_ []deploy.Task, err error) {
		seen <- err
		stop()
	})
	if err := <-seen; err != nil {
		t.Errorf("tasks: %v", err)
	}
	if _, err := engine.Exec(t.Context(), "any", []string{"true"}); !errors.Is(err, deploy.ErrReader) {
		t.Errorf("exec: got %v, want %v", err, deploy.ErrReader)
	}
}

func TestSwarm_ANodeThatIsNoManagerIsSaidToBeNone(t *testing.T) {
	b := newBed(t)
	g := b.gateway("one", b.function("Hello"))
	ok(t, b.docker.SwarmLeave(t.Context(), true))
	if err := g.Reconcile(t.Context()); !errors.Is(err, deploy.ErrNotManager) {
		t.Errorf("got %v, want %v", err, deploy.ErrNotManager)
	}
	if _, err := g.Plan(t.Context(), g.catalog.Manifest()); !errors.Is(err, deploy.ErrNotManager) {
		t.Errorf("got %v, want %v", err, deploy.ErrNotManager)
	}
}
