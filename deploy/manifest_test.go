package deploy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// mustParse parses a manifest whose secret file is "key".
func mustParse(t *testing.T, text string) *deploy.Manifest {
	t.Helper()
	m, err := deploy.Parse("functions.yaml", []byte(text), keyDir(t))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// keyDir returns a folder with a secret file "key".
func keyDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "key"), "swordfish\n")
	return dir
}

func writeFile(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const everySetting = `
version: "2"
functions:
  HelloIntent:
    image: registry.example.org/hello:1.0
    replicas: {min: 0, max: 8}
    paused: true
    lifecycle: server
    concurrency: 4
    timeout: 6500ms
    retry: {attempts: 3, initial: 2s, max: 5m, max-age: 12h}
    env: {GREETING: hello, PORT: 8080, DEBUG: true, EMPTY: ""}
    secrets: [api-key]
    configs: [greetings]
    command: [serve, serve]
    constraints: [node.labels.arch==arm]
    labels: {team: kitchen}
    resources: {cpus: 0.5, memory: 128MiB}
    input: [session, request]
    payload: cloudevents
  CommitFetch:
    addresses: [127.0.0.1, "10.0.0.7:7000", "::1", "[::2]:80", fetch.internal]
    lifecycle: one-shot
  AMAZON.HelpIntent:
triggers:
  - alexa: amzn1.ask.skill.one
    name: home
    path: /alexa/home
    verify: id-only
    function: HelloIntent
    intents: {AMAZON.StopIntent: HelloIntent}
    apology: Not now.
    timeout: 5s
  - github: acme
    path: /hooks/acme
    secret-file: key
    events: [push, pull_request]
    function: CommitFetch
`

func TestEverySettingOfAManifestIsRead(t *testing.T) {
	got := mustParse(t, everySetting)
	want := &deploy.Manifest{
		Functions: []*deploy.Function{
			{
				Name: "HelloIntent", Image: "registry.example.org/hello:1.0", Paused: true,
				Lifecycle: deploy.LifecycleServer, Concurrency: 4, Timeout: 6500 * time.Millisecond,
				Replicas: deploy.Replicas{Min: 0, Max: 8},
				Retry:    deploy.Retry{Attempts: 3, Initial: 2 * time.Second, Max: 5 * time.Minute, MaxAge: 12 * time.Hour},
				Env:      map[string]string{"GREETING": "hello", "PORT": "8080", "DEBUG": "true", "EMPTY": ""},
				Secrets:  []string{"api-key"},
				Configs:  []string{"greetings"},
				Command:  []string{"serve", "serve"}, Constraints: []string{"node.labels.arch==arm"},
				Labels:    map[string]string{"team": "kitchen"},
				Resources: deploy.Resources{NanoCPUs: 500_000_000, Memory: 128 << 20},
				Input:     []string{"session", "request"},
				Payload:   deploy.PayloadCloudEvents,
			},
			deploy.NewFunction("CommitFetch"),
			deploy.NewFunction("AMAZON.HelpIntent"),
		},
		Triggers: []*deploy.Trigger{
			{
				Config: trigger.Config{Kind: "alexa", SkillIDs: []string{"amzn1.ask.skill.one"}, IDOnly: true},
				Name:   "home", Path: "/alexa/home", Function: "HelloIntent",
				Intents: map[string]string{"AMAZON.StopIntent": "HelloIntent"}, Apology: "Not now.", Timeout: 5 * time.Second,
			},
			{
				Config: trigger.Config{Kind: "github", Secrets: []trigger.Secret{[]byte("swordfish")}}, Name: "acme", Path: "/hooks/acme",
				Routes: []deploy.Route{{Function: "CommitFetch", Filter: deploy.Filter{Events: []string{"push", "pull_request"}}}},
			},
		},
	}
	want.Functions[1].Lifecycle = deploy.LifecycleOneShot
	want.Functions[1].Addresses = []string{"127.0.0.1:9999", "10.0.0.7:7000", "[::1]:9999", "[::2]:80", "fetch.internal:9999"}
	equal(t, got, want)
}

// equal compares manifests, and shows them readably where they differ.
func equal(t *testing.T, got, want *deploy.Manifest) {
	t.Helper()
	if different := differs(got, want); different != "" {
		t.Error(different)
	}
}

// differs shows two manifests, "" when they are equal.
func differs(got, want *deploy.Manifest) string {
	got = withoutFiles(got)
	if reflect.DeepEqual(got, want) {
		return ""
	}
	g, _ := json.MarshalIndent(got, "", " ")
	w, _ := json.MarshalIndent(want, "", " ")
	return fmt.Sprintf("got %s\nwant %s", g, w)
}

func TestAFunctionWithoutSettingsHasAllDefaults(t *testing.T) {
	m := mustParse(t, "functions:\n  Bare:\n  Empty: {}\n")
	for i, name := range []string{"Bare", "Empty"} {
		want := &deploy.Function{
			Name: name, Lifecycle: deploy.LifecycleAuto, Concurrency: 1, Timeout: 30 * time.Second, Payload: deploy.PayloadPlain,
			Replicas: deploy.Replicas{Min: 1, Max: 1},
			Retry:    deploy.Retry{Attempts: 8, Initial: time.Second, Max: 10 * time.Minute, MaxAge: 24 * time.Hour},
		}
		if got := m.Functions[i]; !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestATriggerWithoutSettingsHasAllDefaults(t *testing.T) {
	m := mustParse(t, `
functions: {Fetch: }
triggers:
- {alexa: [id-one, id-two], verify: id-only}
- {github: acme.org, function: Fetch, insecure: true}
`)
	equal(t, m, &deploy.Manifest{
		Functions: []*deploy.Function{deploy.NewFunction("Fetch")},
		Triggers: []*deploy.Trigger{
			{
				Config: trigger.Config{Kind: "alexa", SkillIDs: []string{"id-one", "id-two"}, IDOnly: true}, Path: "/alexa",
				Apology: deploy.DefaultApology, Timeout: 6500 * time.Millisecond,
			},
			{
				Config: trigger.Config{Kind: "github", Insecure: true}, Name: "acme.org", Path: "/github/acme.org",
				Routes: []deploy.Route{{Function: "Fetch"}},
			},
		},
	})
}

func TestReplicasAndRetryFillInTheSideThatIsNotGiven(t *testing.T) {
	m := mustParse(t, `
functions:
  Three: {image: a, replicas: {min: 3}}
  Five: {image: a, replicas: {max: 5}}
  None: {image: a, replicas: {min: 0}}
  Slow: {retry: {initial: 1h}}
`)
	for i, want := range []deploy.Replicas{{Min: 3, Max: 3}, {Min: 1, Max: 5}, {Min: 0, Max: 1}} {
		if got := m.Functions[i].Replicas; got != want {
			t.Errorf("%s: got %+v, want %+v", m.Functions[i].Name, got, want)
		}
	}
	if got := m.Functions[3].Retry.Max; got != time.Hour {
		t.Errorf("longest wait: got %v, want the first wait of 1h", got)
	}
}

func TestAManifestMayBeWrittenAsJSON(t *testing.T) {
	got := mustParse(t, "{\n\t\"version\": \"2\",\n\t\"functions\": {\"\\u00fcn\\u00ef \\ud83d\\ude00\": {\"timeout\": \"3s\"}},\n\t\"triggers\": []\n}\n")
	want := deploy.NewFunction("ünï 😀")
	want.Timeout = 3 * time.Second
	equal(t, got, &deploy.Manifest{Functions: []*deploy.Function{want}})
}

func TestAManifestMayHaveAByteOrderMarkAndWindowsLineEnds(t *testing.T) {
	got := mustParse(t, "\ufeff---\r\nversion: 2\r\nfunctions:\r\n  A:\r\n    timeout: 3s\r\n")
	want := deploy.NewFunction("A")
	want.Timeout = 3 * time.Second
	equal(t, got, &deploy.Manifest{Functions: []*deploy.Function{want}})
}

func TestATextMaySpanSeveralLines(t *testing.T) {
	m := mustParse(t, "triggers:\n- alexa: id\n  verify: id-only\n  apology: | # spoken\n    Sorry: not now.\n    Bye.\n")
	if got, want := m.Triggers[0].Apology, "Sorry: not now.\nBye.\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFunctionNamesMayBeAnyTextThatFitsOnceEscaped(t *testing.T) {
	names := []string{"AMAZON.HelpIntent", "ünï", "a*b>c", "with blank", "404", "true", strings.Repeat("x", 63), strings.Repeat("ü", 10)}
	var text strings.Builder
	text.WriteString("functions:\n")
	for _, name := range names {
		text.WriteString("  " + name + ":\n")
	}
	m := mustParse(t, text.String())
	for _, name := range names {
		if f, ok := m.Function(name); !ok || f.Name != name {
			t.Errorf("function %q is not found", name)
		}
	}
}

func TestFunctionsAndTriggersAreFoundByNameAndPath(t *testing.T) {
	m := mustParse(t, everySetting)
	if f, ok := m.Function("CommitFetch"); !ok || f.Name != "CommitFetch" {
		t.Errorf("got %+v, %v, want CommitFetch", f, ok)
	}
	if f, ok := m.Function("commitfetch"); ok || f != nil {
		t.Errorf("got %+v, %v, want nothing for another spelling", f, ok)
	}
	if trigger, ok := m.Trigger("/hooks/acme"); !ok || trigger.Source() != "github-acme" {
		t.Errorf("got %+v, %v, want github-acme", trigger, ok)
	}
	if trigger, ok := m.Trigger("/hooks"); ok || trigger != nil {
		t.Errorf("got %+v, %v, want nothing for part of a path", trigger, ok)
	}
}

func TestTheSourceOfATriggerIsItsKindAndName(t *testing.T) {
	for want, c := range map[string]struct{ kind, name string }{
		"alexa":       {"alexa", ""},
		"alexa-home":  {"alexa", "home"},
		"github-acme": {"github", "acme"},
	} {
		hook := deploy.Trigger{Config: trigger.Config{Kind: c.kind}, Name: c.name}
		if got := hook.Source(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSlotsAreConcurrencyTimesAddresses(t *testing.T) {
	for _, c := range []struct {
		f    deploy.Function
		want int
	}{
		{deploy.Function{}, 1},
		{deploy.Function{Concurrency: 4}, 4},
		{deploy.Function{Concurrency: 4, Addresses: []string{"a:1", "b:1", "c:1"}}, 12},
	} {
		if got := c.f.Slots(); got != c.want {
			t.Errorf("%+v: got %d slots, want %d", c.f, got, c.want)
		}
	}
}

func TestSettingsWithoutEffectAreWarnedAbout(t *testing.T) {
	m := mustParse(t, "functions:\n  A:\n    addresses: [h]\n    env: {TOKEN: swordfish}\n")
	want := []string{"functions.yaml:4:5: env has no effect on a function without image, which is only called"}
	if !reflect.DeepEqual(m.Warnings, want) {
		t.Errorf("got %q, want %q", m.Warnings, want)
	}
}

func TestLoadReadsAFileAndTheSecretsBesideIt(t *testing.T) {
	dir := keyDir(t)
	file := filepath.Join(dir, "functions.yaml")
	writeFile(t, file, everySetting)
	m, err := deploy.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(m.Triggers[1].Secrets[0]); got != "swordfish" {
		t.Errorf("secret: got %q, want swordfish without the line end", got)
	}
}

func TestLoadSaysWhichFileItCannotRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "none.yaml")
	_, err := deploy.Load(file)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v, want not found: %s", err, file)
	}
}
