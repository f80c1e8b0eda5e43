package deploy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/swarm"
)

// Labels of a service that a gateway makes. Those of its containers are in tasks.go.
const (
	labelManaged     = "funker.managed"  // service: id of the gateway
	labelFingerprint = "funker.spec"     // service: of the Spec that it was made of
	labelReplicas    = "funker.replicas" // service: "min..max"
)

// service writes a Spec in Docker's words. Tasks come back at once and as often as they end, as one-shot tasks need it.
func (s *Spec) service(gateway, name, networkID string, replicas int) swarm.ServiceSpec {
	labels := map[string]string{labelManaged: gateway, labelFingerprint: s.fingerprint(), labelReplicas: s.Replicas.label()}
	maps.Copy(labels, s.Labels)
	return swarm.ServiceSpec{
		Annotations: swarm.Annotations{Name: name, Labels: labels},
		TaskTemplate: swarm.TaskSpec{
			ContainerSpec: s.container(name),
			Resources:     s.Limits.requirements(),
			RestartPolicy: &swarm.RestartPolicy{Condition: swarm.RestartPolicyConditionAny, Delay: new(time.Duration)},
			Placement:     &swarm.Placement{Constraints: s.Constraints},
			Networks:      []swarm.NetworkAttachmentConfig{{Target: networkID}},
		},
		Mode:           swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: new(uint64(max(0, replicas)))}},
		UpdateConfig:   s.rollout(),
		RollbackConfig: s.rollout(),
		EndpointSpec:   &swarm.EndpointSpec{Mode: swarm.ResolutionModeDNSRR},
	}
}

// rollout replaces one task after the other, and starts the new one first: an image that does not start leaves the old
// tasks in place, and what waits in the queue goes to the new task while the old one ends its calls. A server task that
// fails soon stops the update. With other tasks that would be wrong: Swarm takes a one-shot task that has done its call
// for one that failed. Nor does a failure roll back, for the next look at the manifest would roll forward again.
func (s *Spec) rollout() *swarm.UpdateConfig {
	failure := swarm.UpdateFailureActionContinue
	if s.Lifecycle == LifecycleServer {
		failure = swarm.UpdateFailureActionPause
	}
	return &swarm.UpdateConfig{Parallelism: 1, FailureAction: failure, Order: swarm.UpdateOrderStartFirst}
}

func (s *Spec) container(name string) *swarm.ContainerSpec {
	c := &swarm.ContainerSpec{
		Image:           s.Image,
		Args:            s.Command,
		StopGracePeriod: &s.Grace,
		// A check of the image could take the only call of a one-shot task, and until it succeeds Swarm tells nobody the
		// name of the task.
		Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
		Labels: map[string]string{
			labelFunction:    name,
			labelLifecycle:   string(s.Lifecycle),
			labelConcurrency: strconv.Itoa(s.Concurrency),
		},
	}
	for _, key := range slices.Sorted(maps.Keys(s.Env)) {
		c.Env = append(c.Env, key+"="+s.Env[key])
	}
	for _, r := range s.Secrets {
		file := &swarm.SecretReferenceFileTarget{Name: r.Name, UID: "0", GID: "0", Mode: 0o444}
		c.Secrets = append(c.Secrets, &swarm.SecretReference{File: file, SecretID: r.ID, SecretName: r.Name})
	}
	for _, r := range s.Configs {
		file := &swarm.ConfigReferenceFileTarget{Name: "/" + r.Name, UID: "0", GID: "0", Mode: 0o444}
		c.Configs = append(c.Configs, &swarm.ConfigReference{File: file, ConfigID: r.ID, ConfigName: r.Name})
	}
	return c
}

func (l Resources) requirements() *swarm.ResourceRequirements {
	if l == (Resources{}) {
		return nil
	}
	return &swarm.ResourceRequirements{Limits: &swarm.Limit{NanoCPUs: l.NanoCPUs, MemoryBytes: l.Memory}}
}

// fingerprint tells Specs apart by all that is sent to Docker, except for the image, whose digest may be found out later,
// and the number of tasks.
func (s *Spec) fingerprint() string {
	c := s.container("")
	c.Image = ""
	return digestOf([]any{c, s.Limits, s.rollout(), s.Constraints, s.Network, s.Replicas, s.Labels})
}

// digestOf tells values apart by their JSON form.
func digestOf(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain values always have one
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// readService reads Docker's words; networks has the names of networks by their ID.
func readService(s swarm.Service, networks map[string]string) Service {
	found := Service{
		ID:          s.ID,
		Name:        s.Spec.Name,
		Gateway:     s.Spec.Labels[labelManaged],
		Replicas:    readReplicated(s.Spec.Mode),
		Spec:        readSpec(s.Spec, networks),
		fingerprint: s.Spec.Labels[labelFingerprint],
		template:    templateOf(s.Spec.TaskTemplate),
		version:     s.Version.Index,
		force:       s.Spec.TaskTemplate.ForceUpdate,
	}
	if u := s.UpdateStatus; u != nil {
		found.update = readUpdate(*u)
	}
	return found
}

// readReplicated is the number of tasks that a service asks for, or -1 when it does not ask for a number.
func readReplicated(m swarm.ServiceMode) int {
	if m.Replicated == nil || m.Replicated.Replicas == nil {
		return -1
	}
	return int(min(*m.Replicated.Replicas, math.MaxInt32))
}

// updating is the update of a Service whose tasks are being replaced.
const updating = "updating"

func readUpdate(u swarm.UpdateStatus) string {
	switch u.State {
	case swarm.UpdateStateUpdating, swarm.UpdateStateRollbackStarted:
		return updating
	case swarm.UpdateStatePaused, swarm.UpdateStateRollbackPaused:
		return cmp.Or(u.Message, string(u.State))
	}
	return ""
}

func readSpec(s swarm.ServiceSpec, networks map[string]string) Spec {
	spec := Spec{Replicas: readReplicas(s.Labels[labelReplicas]), Labels: maps.Clone(s.Labels)}
	for _, own := range []string{labelManaged, labelFingerprint, labelReplicas} {
		delete(spec.Labels, own)
	}
	if p := s.TaskTemplate.Placement; p != nil {
		spec.Constraints = slices.Sorted(slices.Values(p.Constraints))
	}
	if r := s.TaskTemplate.Resources; r != nil && r.Limits != nil {
		spec.Limits = Resources{NanoCPUs: r.Limits.NanoCPUs, Memory: r.Limits.MemoryBytes}
	}
	var names []string
	for _, n := range s.TaskTemplate.Networks {
		names = append(names, cmp.Or(networks[n.Target], n.Target))
	}
	spec.Network = strings.Join(names, ", ")
	if c := s.TaskTemplate.ContainerSpec; c != nil {
		spec.readContainer(c)
	}
	return spec
}

func (s *Spec) readContainer(c *swarm.ContainerSpec) {
	s.Image, s.Command = c.Image, c.Args
	s.Lifecycle = Lifecycle(c.Labels[labelLifecycle])
	s.Concurrency, _ = strconv.Atoi(c.Labels[labelConcurrency]) // 0 is not what is wanted, so it will be replaced
	if c.StopGracePeriod != nil {
		s.Grace = *c.StopGracePeriod
	}
	s.Env = make(map[string]string)
	for _, e := range c.Env {
		key, value, _ := strings.Cut(e, "=")
		s.Env[key] = value
	}
	for _, r := range c.Secrets {
		s.Secrets = append(s.Secrets, Reference{r.SecretName, r.SecretID})
	}
	for _, r := range c.Configs {
		s.Configs = append(s.Configs, Reference{r.ConfigName, r.ConfigID})
	}
}

func (r Replicas) label() string { return strconv.Itoa(r.Min) + ".." + strconv.Itoa(r.Max) }

func readReplicas(s string) Replicas {
	low, high, _ := strings.Cut(s, "..")
	least, err1 := strconv.Atoi(low)
	most, err2 := strconv.Atoi(high)
	if err1 != nil || err2 != nil {
		return Replicas{-1, -1} // not ours, or somebody changed it
	}
	return Replicas{least, most}
}
