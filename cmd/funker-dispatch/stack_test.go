package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

const stacks = root + "/deploy"

// stack is what the tests read of stack files.
type stack struct {
	Services map[string]struct {
		Image       string
		Command     []string
		User        string
		ReadOnly    bool     `yaml:"read_only"`
		CapDrop     []string `yaml:"cap_drop"`
		Environment map[string]string
		Labels      map[string]string
		Networks    any // a list, or a mapping
		Volumes     []struct {
			Type, Source, Target string
			ReadOnly             bool `yaml:"read_only"`
		}
		Configs []struct{ Source, Target string }
		Deploy  struct {
			Resources struct{ Limits map[string]any }
		}
	}
	Networks map[string]any
	Volumes  map[string]any
	Configs  map[string]struct{ File string }
}

func readYAML(t *testing.T, file string) map[string]any {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := yaml.Unmarshal(data, &m); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return m
}

// merge puts over on top of under. It replaces lists, which Docker merges.
func merge(under, over map[string]any) {
	for key, value := range over {
		inner, ok := value.(map[string]any)
		old, both := under[key].(map[string]any)
		if ok && both {
			merge(old, inner)
		} else {
			under[key] = value
		}
	}
}

// standsAlone is the stack of several gateways, which does not go on top of stack.yml.
const standsAlone = "stack-ha.yml"

// readStacks returns stack.yml and, each on top of it, the files that go with it, by the name of the file.
func readStacks(t *testing.T) map[string]stack {
	t.Helper()
	found := map[string]stack{}
	for _, file := range glob(t, stacks+"/stack*.yml") {
		all := readYAML(t, file)
		if filepath.Base(file) != standsAlone {
			under := readYAML(t, stacks+"/stack.yml")
			merge(under, all)
			all = under
		}
		text, err := yaml.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		var s stack
		if err := yaml.Unmarshal(text, &s); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		found[filepath.Base(file)] = s
	}
	if len(found) < 4 {
		t.Fatalf("got %d stack files, want stack.yml, two that go with it, and that of a cluster", len(found))
	}
	return found
}

// names are the elements of a list, or the keys of a mapping.
func names(t *testing.T, v any) (found []string) {
	t.Helper()
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			found = append(found, e.(string))
		}
	case map[string]any:
		for k := range v {
			found = append(found, k)
		}
	default:
		t.Errorf("%v is neither a list nor a mapping", v)
	}
	return found
}

func TestStacks_DefineWhatTheyUse(t *testing.T) {
	for file, s := range readStacks(t) {
		s.definesWhatItUses(t, file)
	}
}

func (s stack) definesWhatItUses(t *testing.T, file string) {
	t.Helper()
	for name, service := range s.Services {
		if service.Image == "" {
			t.Errorf("%s: %s has no image", file, name)
		}
		for _, n := range names(t, service.Networks) {
			if _, ok := s.Networks[n]; !ok {
				t.Errorf("%s: %s: there is no network %s", file, name, n)
			}
		}
		for _, v := range service.Volumes {
			if _, ok := s.Volumes[v.Source]; v.Type == "volume" && !ok {
				t.Errorf("%s: %s: there is no volume %s", file, name, v.Source)
			}
		}
		for _, c := range service.Configs {
			if _, err := os.Stat(filepath.Join(stacks, s.Configs[c.Source].File)); err != nil || s.Configs[c.Source].File == "" {
				t.Errorf("%s: %s: config %s: %v", file, name, c.Source, err)
			}
		}
	}
}

func TestStacks_GiveNoPrivilegesButTheSocket(t *testing.T) {
	for _, file := range glob(t, stacks+"/stack*.yml") {
		for name, service := range readYAML(t, file)["services"].(map[string]any) {
			for _, key := range []string{"privileged", "cap_add", "devices", "pid", "ipc", "network_mode", "security_opt", "userns_mode"} {
				if _, ok := service.(map[string]any)[key]; ok {
					t.Errorf("%s: %s has %s", file, name, key)
				}
			}
		}
	}
	for file, s := range readStacks(t) {
		for name, service := range s.Services {
			if !service.ReadOnly || !slices.Equal(service.CapDrop, []string{"ALL"}) || service.User == "" || service.Deploy.Resources.Limits["memory"] == nil {
				t.Errorf("%s: %s wants read_only, cap_drop: [ALL], a user and a limit of memory", file, name)
			}
			if !strings.Contains("gateway worker filter", service.Labels["funker.role"]) || service.Labels["funker.role"] == "" {
				t.Errorf("%s: %s has role %q, so that a worker may take it for a function", file, name, service.Labels["funker.role"])
			}
			for _, v := range service.Volumes {
				if v.Type == "bind" && v.Source != "/var/run/docker.sock" {
					t.Errorf("%s: %s mounts %s", file, name, v.Source)
				}
			}
		}
	}
}

func TestStacks_TheSocketProxyKeepsTheSocketFromUs(t *testing.T) {
	for name, service := range readStacks(t)["stack-socket-proxy.yml"].Services {
		ours := strings.Contains(service.Image, "FUNKER_IMAGE")
		if root := strings.HasPrefix(service.User, "0"); root == ours {
			t.Errorf("%s runs as %s", name, service.User)
		}
		for _, v := range service.Volumes {
			if ours && v.Type == "bind" {
				t.Errorf("%s mounts %s", name, v.Source)
			}
		}
	}
}

func TestStacks_CommandsFlagsAndVariablesExist(t *testing.T) {
	for file, s := range readStacks(t) {
		s.startsWhatThereIs(t, file)
	}
}

// startsWhatThereIs checks the command lines and variables of our own services.
func (s stack) startsWhatThereIs(t *testing.T, file string) {
	t.Helper()
	for name, service := range s.Services {
		if !strings.Contains(service.Image, "FUNKER_IMAGE") {
			continue
		}
		if fault := check(service.Command); fault != "" {
			t.Errorf("%s: %s: %v: %s", file, name, service.Command, fault)
		}
		cmd, _, err := command(new(bool)).Find(service.Command)
		if err != nil {
			t.Fatal(err)
		}
		for v := range service.Environment {
			flag := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(v, "FUNKER_"), "_", "-"))
			if cmd.Flags().Lookup(flag) == nil {
				t.Errorf("%s: %s: %s belongs to no flag of %s", file, name, v, cmd.Name())
			}
		}
	}
}
