package deploy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"
	"pgregory.net/rapid"
)

// deployedAs is the service that Docker shows after a Change was carried out.
func deployedAs(gateway string, c Change, replicas int) Service {
	spec := c.spec.service(gateway, c.Name, "network-id", replicas)
	return readService(swarm.Service{ID: "id of " + c.Name, Spec: spec}, map[string]string{"network-id": "funker"})
}

func image(name string) *Function {
	f := NewFunction(name)
	f.Image = "registry.example.org/hello:1.0"
	return f
}

func texts(changes []Change) string {
	lines := make([]string, len(changes))
	for i, c := range changes {
		lines[i] = c.String()
	}
	return strings.Join(lines, "\n")
}

func wantText(t *testing.T, changes []Change, want string) {
	t.Helper()
	if got := texts(changes); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAPlanNamesWhatIsSetAndNotTheValuesOfTheEnvironment(t *testing.T) {
	f := image("Hello")
	f.Replicas = Replicas{0, 8}
	f.Env = map[string]string{"TOKEN": "sesame"}
	f.Secrets = []string{"api-key"}
	f.Constraints = []string{"node.labels.arch==arm"}
	f.Labels = map[string]string{"team": "blue"}
	f.Resources = Resources{NanoCPUs: 5e8, Memory: 64 << 20}
	found := Found{Secrets: map[string]string{"api-key": "s1"}}
	wantText(t, Plan("one", "funker", []*Function{f, NewFunction("OnlyCalled")}, found), `create Hello
  image: registry.example.org/hello:1.0
  replicas: 0..8
  secrets: api-key
  constraints: node.labels.arch==arm
  cpus: 0.5
  memory: 67108864 bytes
  label team: blue
  env TOKEN: (set)`)
}

func TestAPlanSaysWhatAnUpdateChanges(t *testing.T) {
	old := image("Hello")
	old.Env = map[string]string{"TOKEN": "sesame", "COLOUR": "red"}
	service := deployedAs("one", Plan("one", "funker", []*Function{old}, Found{})[0], 1)
	f := image("Hello")
	f.Image = "registry.example.org/hello:1.1"
	f.Timeout = time.Minute
	f.Env = map[string]string{"TOKEN": "open", "SIZE": "1"}
	f.Replicas = Replicas{2, 3}
	wantText(t, Plan("one", "funker", []*Function{f}, Found{Services: []Service{service}}), `update Hello
  image: registry.example.org/hello:1.0 → registry.example.org/hello:1.1
  replicas: 1 → 2..3
  stop grace period: 35s → 1m5s
  env SIZE: none → (set)
  env TOKEN: (set) → (changed)
  env COLOUR: (set) → none
  tasks: 1 → 2`)
}

func TestAPlanRemovesWhatIsOursAndNoLongerWantedFirst(t *testing.T) {
	services := []Service{{Name: "World", Gateway: "one"}, {Name: "Theirs"}, {Name: "Hello", Gateway: "one"}, {Name: "Other", Gateway: "two"}}
	called := NewFunction("World") // it has no image any more
	wantText(t, Plan("one", "funker", []*Function{image("hello"), called}, Found{Services: services}), `remove Hello
remove World
create hello
  image: registry.example.org/hello:1.0`)
}

func TestAPlanRefusesWhatCannotBeDeployed(t *testing.T) {
	secret, badImage := image("Secret"), image("Image")
	secret.Secrets = []string{"api-key"}
	badImage.Image = "Hello:1.0"
	services := []Service{{Name: "theirs"}, {Name: "Other", Gateway: "two"}}
	functions := []*Function{image("AMAZON.Help"), image("a"), image("A"), image("Theirs"), image("Other"), secret, badImage}
	reasons := []string{"cannot be the name of a service", "", "names a and A are the same", "the service theirs was not made by a gateway", "belongs to the gateway two", "docker secret create api-key", "no reference that Docker takes"}
	changes := Plan("one", "funker", functions, Found{Services: services})
	if len(changes) != len(functions) {
		t.Fatalf("got %d changes for %d functions:\n%s", len(changes), len(functions), texts(changes))
	}
	for i, c := range changes {
		if refused := c.Step == StepRefuse; refused != (reasons[i] != "") || !strings.Contains(c.Reason, reasons[i]) {
			t.Errorf("%s: got %q, want a reason with %q", c.Name, c, reasons[i])
		}
	}
}

func TestATagIsPinnedWhenItIsFirstUsedAndWhenTheRegistryIsAsked(t *testing.T) {
	const one, two = "sha256:1111111111111111111111111111111111111111111111111111111111111111", "sha256:2222222222222222222222222222222222222222222222222222222222222222"
	f := image("Hello")
	asked := Found{Digests: map[string]string{f.Image: one}}
	change := Plan("one", "funker", []*Function{f}, asked)[0]
	if want := f.Image + "@" + one; change.spec.Image != want {
		t.Errorf("got image %s, want %s", change.spec.Image, want)
	}
	service := deployedAs("one", change, 1)
	wantText(t, Plan("one", "funker", []*Function{f}, Found{Services: []Service{service}}), "")
	moved := Found{Services: []Service{service}, Digests: map[string]string{f.Image: two}}
	wantText(t, Plan("one", "funker", []*Function{f}, moved), `update Hello
  image: registry.example.org/hello:1.0@sha256:111111111111 → registry.example.org/hello:1.0@sha256:222222222222`)
}

func TestASecretThatWasMadeAgainIsAnUpdate(t *testing.T) {
	f := image("Hello")
	f.Secrets = []string{"api-key"}
	before := Plan("one", "funker", []*Function{f}, Found{Secrets: map[string]string{"api-key": "s1"}})
	service := deployedAs("one", before[0], 1)
	after := Found{Services: []Service{service}, Secrets: map[string]string{"api-key": "s2"}}
	wantText(t, Plan("one", "funker", []*Function{f}, after), "update Hello\n  secrets: api-key → (changed)")
}

// drawFunction draws a function that can be deployed.
func drawFunction(t *rapid.T, name string) *Function {
	f := NewFunction(name)
	f.Image = rapid.SampledFrom([]string{"hello", "example.org/a/b:1", "example.org:5000/c@sha256:" + strings.Repeat("ab", 32), "sha256:" + strings.Repeat("0c", 32)}).Draw(t, "image")
	f.Lifecycle = rapid.SampledFrom([]Lifecycle{LifecycleAuto, LifecycleOneShot, LifecycleServer}).Draw(t, "lifecycle")
	f.Concurrency = rapid.IntRange(1, 5).Draw(t, "concurrency")
	f.Timeout = time.Duration(rapid.IntRange(1, 5).Draw(t, "timeout"))
	f.Env = rapid.MapOfN(rapid.StringMatching(`[A-Z]`), rapid.StringN(0, 3, -1), 0, 3).Draw(t, "env")
	f.Replicas.Min = rapid.IntRange(0, 4).Draw(t, "min")
	f.Replicas.Max = f.Replicas.Min + rapid.IntRange(1, 4).Draw(t, "max")
	f.Secrets = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"x", "y", "z"}), 0, 3, rapid.ID).Draw(t, "secrets")
	f.Configs = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"x", "y"}), 0, 2, rapid.ID).Draw(t, "configs")
	f.Labels = rapid.MapOfN(rapid.StringMatching(`[a-z]`), rapid.StringN(0, 3, -1), 0, 2).Draw(t, "labels")
	f.Resources = Resources{NanoCPUs: rapid.Int64Range(0, 2).Draw(t, "cpus"), Memory: rapid.Int64Range(0, 2).Draw(t, "memory")}
	f.Constraints = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a==b", "c!=d"}), 0, 2, rapid.ID).Draw(t, "constraints")
	return f
}

var everySecret = map[string]string{"x": "1", "y": "2", "z": "3"}

func TestAPlanThatWasCarriedOutLeavesNothingToDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, after := drawFunction(t, "F"), drawFunction(t, "F")
		found := Found{Secrets: everySecret, Configs: everySecret}
		create := Plan("one", "funker", []*Function{before}, found)[0]
		replicas := rapid.IntRange(0, 9).Draw(t, "replicas")
		found.Services = []Service{deployedAs("one", create, create.spec.Replicas.clamp(replicas))}
		if again := Plan("one", "funker", []*Function{before}, found); len(again) != 0 {
			t.Fatalf("after create: %s", texts(again))
		}
		for _, update := range Plan("one", "funker", []*Function{after}, found) {
			wanted := update.spec.Replicas.clamp(update.found.Replicas)
			if now := update.found.Replicas; now >= after.Replicas.Min && now <= after.Replicas.Max && wanted != now {
				t.Fatalf("the update changes %d tasks to %d", now, wanted)
			}
			found.Services[0] = deployedAs("one", update, wanted)
		}
		if again := Plan("one", "funker", []*Function{after}, found); len(again) != 0 {
			t.Fatalf("after update: %s", texts(again))
		}
	})
}

func TestTheNetworkGetsARangeThatNothingUses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var used []netip.Prefix
		for range rapid.IntRange(0, 300).Draw(t, "networks") {
			bits := rapid.IntRange(9, 32).Draw(t, "bits")
			address := netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(0, 255).Draw(t, "second")), 1, 1})
			used = append(used, netip.PrefixFrom(address, bits).Masked())
		}
		free, err := freeRange(used)
		if err != nil {
			t.Fatal(err)
		}
		if free.Bits() != 16 || !free.Addr().IsPrivate() || slices.ContainsFunc(used, free.Overlaps) {
			t.Fatalf("%v is no free private /16 beside %v", free, used)
		}
	})
}

func TestAFullSwarmHasNoRange(t *testing.T) {
	var used []netip.Prefix
	for _, p := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.7.7/32"} {
		used = append(used, netip.MustParsePrefix(p))
	}
	free, err := freeRange(used)
	if err == nil || !strings.Contains(err.Error(), "docker network create") {
		t.Errorf("got %v, %v, want an error that says what to do", free, err)
	}
}

func TestAnImageIsWrittenAsDockerKeepsIt(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("ab", 32)
	for written, want := range map[string]string{
		"hello":                        "hello:latest",
		"docker.io/library/hello":      "hello:latest",
		"example.org:5000/hello":       "example.org:5000/hello:latest",
		"hello" + digest:               "hello" + digest,
		"hello:1" + digest:             "hello:1" + digest,
		strings.TrimLeft(digest, "@"):  strings.TrimLeft(digest, "@"),
		"registry.example.org/hello:1": "registry.example.org/hello:1",
	} {
		got, err := fullImage(written)
		if err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", written, got, err, want)
		}
		if onlyTag := !strings.Contains(written, "sha256:"); tagged(got) != onlyTag {
			t.Errorf("%s: its registry is asked: %v, want %v", written, tagged(got), onlyTag)
		}
	}
}
