package deploy_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

const missingSecret = "functions: {F: }\ntriggers: [{github: acme, secret-file: /no/such/file, function: F}]\n"

func TestCheck_LeavesTheSecretFilesToTheGateway(t *testing.T) {
	m, err := deploy.Check("f.yaml", []byte(missingSecret))
	if err != nil || len(m.Triggers) != 1 || m.Triggers[0].Secrets != nil {
		t.Errorf("got %+v, %v; want a trigger without its secret", m, err)
	}
	if _, err := deploy.ParseApplied("f.yaml", []byte(missingSecret), deploy.ServicesOptions{}); err == nil {
		t.Error("the gateway takes a secret file that does not exist")
	}
}

func TestCheck_FindsWhatParseFinds(t *testing.T) {
	_, err := deploy.Check("f.yaml", []byte("functions: {F: {adresses: [a]}}\ntriggers: [{github: acme, secret-file: key}]\n"))
	var faults deploy.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("got %v, want faults", err)
	}
	wantFaults(t, faults, `1:17: unknown key "adresses"`, `2:13: has no function`, `2:40: is relative: the gateway reads it, so write the whole path`)
}

func TestParseApplied_ReadsSecretFilesByTheirWholePath(t *testing.T) {
	file := filepath.Join(keyDir(t), "key")
	m, err := deploy.ParseApplied("f.yaml", []byte(strings.Replace(missingSecret, "/no/such/file", file, 1)), deploy.ServicesOptions{})
	if err != nil || string(m.Triggers[0].Secrets[0]) != "swordfish" {
		t.Errorf("got %+v, %v", m, err)
	}
}

func TestParseApplied_TakesAServicesJSON(t *testing.T) {
	m, err := deploy.ParseApplied("services.json", []byte(`{"version": "1.0", "services": [{"type": "alexa", "service": "Hello"}]}`), deploy.ServicesOptions{SkillID: "id"})
	if err != nil || len(m.Triggers) != 1 || !m.Triggers[0].IDOnly {
		t.Errorf("got %+v, %v", m, err)
	}
}

func TestSalvage_ClosesOnlyWhatCannotBeUsed(t *testing.T) {
	text := `functions:
  Hello: {timeout: 5s, from-a-newer-version: 1}
  " bad":
triggers:
  - {github: acme, secret-file: /no/such/file, function: Hello}
  - {github: open, insecure: true, function: Hello}
  - {github: newer, insecure: true, function: Hello, newer: 1}
  - {github: bad, insecure: true, function: " bad"}
  - {github: twice, path: /github/open, insecure: true, function: Hello}
  - {newer: kind}
`
	m, faults := deploy.Salvage("f.yaml", []byte(text), deploy.ServicesOptions{})
	if len(faults) != 6 || !m.Partial {
		t.Errorf("got partial %t and %d faults, want 6:\n%v", m.Partial, len(faults), faults)
	}
	if f, ok := m.Function("Hello"); !ok || f.Timeout.Seconds() != 5 || len(m.Functions) != 1 {
		t.Errorf("got %+v, want Hello alone, with its timeout", m.Functions)
	}
	closed := map[string]bool{}
	for _, trigger := range m.Triggers {
		closed[trigger.Path] = trigger.Closed != ""
	}
	want := map[string]bool{"/github/acme": true, "/github/open": false, "/github/newer": true, "/github/bad": true}
	if !reflect.DeepEqual(closed, want) {
		t.Errorf("got closed %v, want %v", closed, want)
	}
}

func TestSalvage_OfAGoodManifestIsTheManifest(t *testing.T) {
	text := []byte("functions: {F: {image: a:b}}\ntriggers: [{alexa: id, verify: id-only}]\n")
	m, faults := deploy.Salvage("f.yaml", text, deploy.ServicesOptions{})
	want, err := deploy.ParseApplied("f.yaml", text, deploy.ServicesOptions{})
	if err != nil || faults != nil {
		t.Fatal(err, faults)
	}
	equal(t, m, want)
}

func FuzzSalvage(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, faults := deploy.Salvage("fuzz.yaml", data, deploy.ServicesOptions{})
		if m.Partial != (len(faults) > 0) {
			t.Errorf("partial %t with faults %v", m.Partial, faults)
		}
		open := m.Triggers[:0:0]
		for _, trigger := range m.Triggers {
			if found, _ := m.Trigger(trigger.Path); found != trigger {
				t.Errorf("trigger %+v is not found by its path", trigger)
			}
			if trigger.Closed == "" {
				open = append(open, trigger)
			}
		}
		m.Triggers = open
		checkPromises(t, m)
	})
}

func TestCompare_NamesWhatIsAddedChangedAndRemoved(t *testing.T) {
	last := mustParse(t, `functions: {Same: {image: a}, Other: {image: a, env: {A: secret}}, Gone: }
triggers:
  - {github: same, secret-file: key, function: Same}
  - {github: gone, secret-file: key, function: Same}
  - {alexa: one, verify: id-only}
`)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	next, err := deploy.Parse("f.yaml", []byte(`functions: {New: , Same: {image: a}, Other: {image: b, env: {A: other}, input: []}}
triggers:
  - {github: same, secret-file: key, function: Same}
  - {alexa: two, verify: id-only}
`), dir)
	if err != nil {
		t.Fatal(err)
	}
	got := deploy.Compare(last, next)
	want := []deploy.Difference{
		{Action: deploy.ActionAdded, Kind: "function", Name: "New"},
		{Action: deploy.ActionChanged, Kind: "function", Name: "Other", Keys: []string{"env", "image", "input"}},
		{Action: deploy.ActionRemoved, Kind: "function", Name: "Gone"},
		{Action: deploy.ActionChanged, Kind: "trigger", Name: "github-same", Keys: []string{"secret-file"}},
		{Action: deploy.ActionChanged, Kind: "trigger", Name: "alexa", Keys: []string{"alexa"}},
		{Action: deploy.ActionRemoved, Kind: "trigger", Name: "github-gone"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if none := deploy.Compare(next, next); len(none) > 0 {
		t.Errorf("a manifest differs from itself: %+v", none)
	}
}

// Each key of a function that the manifest may have is one whose change Compare sees.
func TestCompare_SeesEveryKeyOfAFunction(t *testing.T) {
	bare := deploy.NewFunction("HelloIntent")
	full := mustParse(t, everySetting).Functions[0]
	full.Addresses, full.Lifecycle = []string{"a:1"}, deploy.LifecycleOneShot
	got := deploy.Compare(&deploy.Manifest{Functions: []*deploy.Function{bare}}, &deploy.Manifest{Functions: []*deploy.Function{full}})
	if fields := reflect.TypeFor[deploy.Function]().NumField() - 1; len(got) != 1 || len(got[0].Keys) != fields {
		t.Errorf("got %+v, want all %d settings", got, fields)
	}
}

func TestForWorkers_HasNeitherEnvironmentNorTriggers(t *testing.T) {
	m := mustParse(t, everySetting)
	m.Functions[1].Input = []string{}
	data, err := m.ForWorkers()
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"GREETING", "api-key", "swordfish", "skill", "kitchen"} {
		if strings.Contains(string(data), secret) {
			t.Errorf("%s is in %s", secret, data)
		}
	}
	got, err := deploy.FromGateway(data)
	if err != nil {
		t.Fatal(err)
	}
	want := &deploy.Manifest{}
	for _, f := range m.Functions {
		known := *deploy.NewFunction(f.Name)
		known.Image, known.Addresses, known.Lifecycle, known.Concurrency = f.Image, f.Addresses, f.Lifecycle, f.Concurrency
		known.Paused = f.Paused
		known.Timeout, known.Input, known.Payload, known.Retry = f.Timeout, f.Input, f.Payload, f.Retry
		want.Functions = append(want.Functions, &known)
	}
	equal(t, got, want)
	if got.Functions[1].Input == nil || got.Functions[2].Input != nil {
		t.Error("no input and all input are the same to a worker")
	}
}

func TestFromGateway_PassesOverWhatItDoesNotKnow(t *testing.T) {
	m, err := deploy.FromGateway([]byte(`[{"name":"F","timeout":1000,"newer":true}]`))
	if err != nil || len(m.Functions) != 1 || m.Functions[0].Concurrency != 1 {
		t.Errorf("got %+v, %v", m, err)
	}
	for _, bad := range []string{"", "{}", `[{"name":""}]`} {
		if _, err := deploy.FromGateway([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
