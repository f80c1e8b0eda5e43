package deploy

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Step is what a Change does.
type Step string

// What becomes of a service.
const (
	StepCreate Step = "create"
	StepUpdate Step = "update"
	StepRemove Step = "remove"
	StepRefuse Step = "refuse" // the function cannot be deployed; a service that it has stays as it is
)

// Change is one step that makes a swarm match a manifest. Its String is for people.
type Change struct {
	Step Step   `json:"step"`
	Name string `json:"name"` // of the function and of its service

	Settings []SettingChange `json:"settings,omitempty"` // StepUpdate: what changes; StepCreate: what is not the default
	Reason   string          `json:"reason,omitempty"`   // StepRefuse: why, and what to do

	spec  Spec    // StepCreate, StepUpdate
	found Service // StepUpdate, StepRemove
}

// SettingChange is a setting of a service that changes. Values of the environment are not shown.
type SettingChange struct {
	Setting string `json:"setting"`
	Old     string `json:"old"`
	New     string `json:"new"`
}

// Found is what a swarm holds of what functions need.
type Found struct {
	Services []Service
	Secrets  map[string]string // name to ID
	Configs  map[string]string // name to ID
	Digests  map[string]string // "name:tag" to the digest that its registry has now, where it was asked
}

// Service is a service as it was found in the swarm.
type Service struct {
	ID       string
	Name     string
	Gateway  string // the gateway that made it; "" for a service of somebody else
	Replicas int    // wanted now; -1 for a service that has no number of them
	Spec     Spec

	fingerprint string // of the Spec that it was made of
	template    string // of what its tasks are made of now
	version     uint64
	force       uint64 // how often somebody restarted its tasks by "docker service update --force"
	update      string // why an update stands still, or "updating"
}

// Spec is what a function asks of its service.
type Spec struct {
	Image       string // "name:tag", with "@digest" where it is known; or the ID of an image
	Command     []string
	Env         map[string]string
	Secrets     []Reference
	Configs     []Reference
	Constraints []string
	Labels      map[string]string // of the service, besides those of the gateway
	Limits      Resources
	Lifecycle   Lifecycle
	Concurrency int
	Grace       time.Duration // from the stop signal to the end of a task
	Replicas    Replicas
	Network     string // its name
}

// Reference is a secret or config of the swarm.
type Reference struct{ Name, ID string }

// drainTime is how much longer a task lives after its stop signal than its running call may take.
const drainTime = 5 * time.Second

// Plan returns what makes the swarm match the functions: removals first, then the functions in their order. It looks only
// at functions with an image, and touches only services of this gateway. A service that matches gives no Change.
func Plan(gateway, network string, functions []*Function, found Found) []Change {
	p := planner{gateway: gateway, network: network, found: found, taken: make(map[string]string)}
	changes := p.removals(functions)
	for _, f := range deployed(functions) {
		if c, ok := p.change(f); ok {
			changes = append(changes, c)
		}
	}
	return changes
}

// deployed returns the functions that have services of their own.
func deployed(functions []*Function) []*Function {
	return slices.DeleteFunc(slices.Clone(functions), func(f *Function) bool { return f.Image == "" })
}

type planner struct {
	gateway, network string
	found            Found
	taken            map[string]string // functions so far, by their name in lower case
}

func (p *planner) removals(functions []*Function) []Change {
	wanted := make(map[string]bool)
	for _, f := range deployed(functions) {
		wanted[f.Name] = true
	}
	var changes []Change
	for _, s := range p.found.Services {
		if s.Gateway == p.gateway && !wanted[s.Name] {
			changes = append(changes, Change{Step: StepRemove, Name: s.Name, found: s})
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return cmp.Compare(a.Name, b.Name) })
	return changes
}

func (p *planner) change(f *Function) (Change, bool) {
	found, exists := p.service(f.Name)
	spec, err := p.spec(f, found)
	if err == nil {
		err = p.free(f.Name, found, exists)
	}
	switch {
	case err != nil:
		return Change{Step: StepRefuse, Name: f.Name, Reason: err.Error()}, true
	case !exists:
		return Change{Step: StepCreate, Name: f.Name, spec: spec, Settings: differences(p.plain(), spec)}, true
	}
	diff := differences(found.Spec, spec)
	switch {
	case found.Replicas >= 0 && spec.Replicas.clamp(found.Replicas) != found.Replicas:
		diff = append(diff, SettingChange{"tasks", strconv.Itoa(found.Replicas), strconv.Itoa(spec.Replicas.clamp(found.Replicas))})
	case len(diff) == 0 && found.fingerprint != spec.fingerprint():
		diff = []SettingChange{{"settings that are not in the manifest", "of another version of the gateway", "of this one"}}
	}
	return Change{Step: StepUpdate, Name: f.Name, spec: spec, found: found, Settings: diff}, len(diff) > 0
}

// service finds the service that has or blocks a name: Swarm takes names in upper and lower case for the same.
func (p *planner) service(name string) (Service, bool) {
	for _, s := range p.found.Services {
		if s.Name == name {
			return s, true
		}
	}
	for _, s := range p.found.Services {
		if strings.EqualFold(s.Name, name) && s.Gateway != p.gateway { // ours is removed first
			return s, true
		}
	}
	return Service{}, false
}

var serviceName = regexp.MustCompile(`^[A-Za-z0-9]([-_]*[A-Za-z0-9]+)*$`)

// free says what is in the way of a service with this name.
func (p *planner) free(name string, found Service, exists bool) error {
	other, twice := p.taken[strings.ToLower(name)]
	p.taken[strings.ToLower(name)] = name
	switch {
	case len(name) > 63 || !serviceName.MatchString(name):
		return fmt.Errorf("%q cannot be the name of a service: use up to 63 letters, digits and - _ between them, or give the function addresses instead of an image", name)
	case twice:
		return fmt.Errorf("the names %s and %s are the same to Swarm: rename one of them", other, name)
	case exists && found.Gateway == "":
		return fmt.Errorf("the service %s was not made by a gateway, so it is left alone: remove it (docker service rm %s), rename the function, or leave out its image to call the service as it is", found.Name, found.Name)
	case exists && found.Gateway != p.gateway:
		return fmt.Errorf("the service %s belongs to the gateway %s: rename the function, or leave out its image to call the service as it is", found.Name, found.Gateway)
	}
	return nil
}

// plain is the Spec of a function without settings.
func (p *planner) plain() Spec {
	f := NewFunction("")
	return Spec{Lifecycle: f.Lifecycle, Concurrency: f.Concurrency, Grace: f.Timeout + drainTime, Replicas: f.Replicas, Network: p.network}
}

// spec turns a function into what it asks of its service; found is the service that it has, if any.
func (p *planner) spec(f *Function, found Service) (Spec, error) {
	image, err := p.image(f.Image, found.Spec.Image)
	if err != nil {
		return Spec{}, err
	}
	secrets, err := references("secret", f.Secrets, p.found.Secrets)
	if err != nil {
		return Spec{}, err
	}
	configs, err := references("config", f.Configs, p.found.Configs)
	if err != nil {
		return Spec{}, err
	}
	return Spec{
		Image:       image,
		Command:     f.Command,
		Env:         f.Env,
		Secrets:     secrets,
		Configs:     configs,
		Labels:      f.Labels,
		Limits:      f.Resources,
		Constraints: slices.Sorted(slices.Values(f.Constraints)),
		Lifecycle:   f.Lifecycle,
		Concurrency: f.Concurrency,
		Grace:       f.Timeout + drainTime,
		Replicas:    f.Replicas,
		Network:     p.network,
	}, nil
}

// image gives an image the digest that its registry has, or else the one that the tasks run already, so that a tag which
// has moved changes nothing until somebody asks the registry.
func (p *planner) image(written, found string) (string, error) {
	image, err := fullImage(written)
	if err != nil {
		return "", err
	}
	if digest := p.found.Digests[image]; digest != "" {
		return image + "@" + digest, nil
	}
	if unpinned(found) == image {
		return found, nil
	}
	return image, nil
}

// unpinned is an image without its digest.
func unpinned(image string) string {
	name, _, _ := strings.Cut(image, "@")
	return name
}

func references(kind string, names []string, known map[string]string) ([]Reference, error) {
	var list []Reference
	for _, name := range slices.Sorted(slices.Values(names)) {
		id, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("the swarm has no %s %s: create it (docker %s create %s FILE)", kind, name, kind, name)
		}
		list = append(list, Reference{name, id})
	}
	return list, nil
}

// clamp brings a number of tasks into the range.
func (r Replicas) clamp(n int) int { return min(max(n, r.Min), r.Max) }

// setting is one value of a Spec, and what people see of it.
type setting struct{ name, value, shown string }

func (s *Spec) settings() []setting {
	list := []setting{
		{"image", s.Image, shortImage(s.Image)},
		shown("command", strings.Join(s.Command, " ")),
		shown("replicas", s.Replicas.String()),
		shown("lifecycle", string(s.Lifecycle)),
		shown("concurrency", strconv.Itoa(s.Concurrency)),
		shown("stop grace period", s.Grace.String()),
		referred("secrets", s.Secrets),
		referred("configs", s.Configs),
		shown("constraints", strings.Join(s.Constraints, ", ")),
		shown("cpus", s.Limits.cpus()),
		shown("memory", s.Limits.memory()),
		shown("network", s.Network),
	}
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		list = append(list, setting{"label " + name, "=" + s.Labels[name], s.Labels[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		list = append(list, setting{"env " + name, "=" + s.Env[name], "(set)"})
	}
	return list
}

func shown(name, value string) setting { return setting{name, value, value} }

func referred(name string, list []Reference) setting {
	s := setting{name: name, value: fmt.Sprint(list)}
	for i, r := range list {
		if i > 0 {
			s.shown += ", "
		}
		s.shown += r.Name
	}
	return s
}

func (l Resources) cpus() string {
	if l.NanoCPUs == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(l.NanoCPUs)/1e9, 'g', -1, 64)
}

func (l Resources) memory() string {
	if l.Memory == 0 {
		return ""
	}
	return strconv.FormatInt(l.Memory, 10) + " bytes"
}

// String is "2" or "0..8".
func (r Replicas) String() string {
	if r.Min == r.Max {
		return strconv.Itoa(r.Min)
	}
	return fmt.Sprintf("%d..%d", r.Min, r.Max)
}

// differences lists the settings that are not the same, in the order of settings.
func differences(old, wanted Spec) []SettingChange {
	before := make(map[string]setting)
	for _, s := range old.settings() {
		before[s.name] = s
	}
	var list []SettingChange
	for _, s := range wanted.settings() {
		if b := before[s.name]; b.value != s.value {
			list = append(list, difference(s.name, b.shown, s.shown))
		}
		delete(before, s.name)
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		list = append(list, difference(name, before[name].shown, ""))
	}
	return list
}

func difference(name, old, wanted string) SettingChange {
	if old == wanted { // they differ in what is not shown
		wanted = "(changed)"
	}
	return SettingChange{name, cmp.Or(old, "none"), cmp.Or(wanted, "none")}
}

// settings are the names of what differs.
func (c Change) settings() []string {
	var names []string
	for _, d := range c.Settings {
		names = append(names, d.Setting)
	}
	return names
}

// String is one line, and one for each setting that an update changes.
func (c Change) String() string {
	switch c.Step {
	case StepRefuse:
		return fmt.Sprintf("cannot deploy %s: %s", c.Name, c.Reason)
	case StepRemove:
		return "remove " + c.Name
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s", c.Step, c.Name)
	for _, d := range c.Settings {
		if c.Step == StepCreate {
			fmt.Fprintf(&text, "\n  %s: %s", d.Setting, d.New)
		} else {
			fmt.Fprintf(&text, "\n  %s: %s → %s", d.Setting, d.Old, d.New)
		}
	}
	return text.String()
}
