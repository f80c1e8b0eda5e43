package deploy_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

const services = `{
	"version": "1.0",
	"services": [
		{"type": "alexa", "provider": "amazon", "service": "HelloIntent", "image": "registry.example.org/hello:1.0"},
		{"type": "alexa", "service" : "ByeIntent"},
		{"type": "github", "provider": "github", "service": "CommitFetch"}
	]
}
`

func TestAServicesFileBecomesFunctionsAndOneTriggerOfEachType(t *testing.T) {
	got, err := deploy.ParseServices("services.json", []byte(services), deploy.ServicesOptions{
		SkillID: "amzn1.ask.skill.one", GitHubSecret: trigger.Secret("swordfish"),
	})
	if err != nil {
		t.Fatal(err)
	}
	hello := deploy.NewFunction("HelloIntent")
	hello.Image = "registry.example.org/hello:1.0"
	equal(t, got, &deploy.Manifest{
		Functions: []*deploy.Function{hello, deploy.NewFunction("ByeIntent"), deploy.NewFunction("CommitFetch")},
		Triggers: []*deploy.Trigger{
			{
				Config: trigger.Config{Kind: "alexa", SkillIDs: []string{"amzn1.ask.skill.one"}, IDOnly: true}, Path: "/alexa",
				Apology: deploy.DefaultApology, Timeout: deploy.DefaultAlexaTimeout,
			},
			{
				Config: trigger.Config{Kind: "github", Secrets: []trigger.Secret{[]byte("swordfish")}}, Path: "/github",
				Routes: []deploy.Route{{Function: "CommitFetch", Filter: deploy.Filter{Events: []string{"push"}}}},
			},
		},
	})
	if got := got.Triggers[1].Source(); got != "github" {
		t.Errorf("source: got %q, want github", got)
	}
}

func TestTriggersOfAServicesFileThatNothingVerifiesStayClosedWithAWarning(t *testing.T) {
	m, err := deploy.Parse("services.json", []byte(services), ".")
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Functions) != 3 || len(m.Triggers) != 0 {
		t.Errorf("got %d functions and %d triggers, want 3 and none", len(m.Functions), len(m.Triggers))
	}
	want := "services.json:4:3: /alexa stays closed: no skill id is given that could verify its requests\n" +
		"services.json:6:3: /github stays closed: no secret is given that could verify its requests"
	if got := strings.Join(m.Warnings, "\n"); got != want {
		t.Errorf("got warnings\n%s\nwant\n%s", got, want)
	}
}

func TestInsecureOpensOnlyTheTriggersThatNothingVerifies(t *testing.T) {
	m, err := deploy.ParseServices("services.json", []byte(services), deploy.ServicesOptions{SkillID: "one", Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	checkPromises(t, m)
	if alexa := m.Triggers[0]; alexa.Insecure || !alexa.IDOnly {
		t.Errorf("alexa: got %+v, want it verified by the skill id", alexa)
	}
	if github := m.Triggers[1]; !github.Insecure {
		t.Errorf("github: got %+v, want it insecure", github)
	}
}

func TestAServicesFileIsKnownByItsVersionOrItsServices(t *testing.T) {
	file := filepath.Join(t.TempDir(), "manifest")
	for _, text := range []string{services, strings.Replace(services, `"version": "1.0",`, "", 1)} {
		writeFile(t, file, text)
		m, err := deploy.LoadWith(file, deploy.ServicesOptions{SkillID: "one"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := m.Function("ByeIntent"); !ok || len(m.Triggers) != 1 || m.Triggers[0].Kind != "alexa" {
			t.Errorf("got %+v, want three functions and the alexa trigger", m)
		}
	}
}

func TestAllFaultsOfAServicesFileAreReportedAtOnceWithTheirPlaces(t *testing.T) {
	text := `{
  "version": "1.0",
  "services": [
    {"type": "alexa", "service": "A"},
    {"type": "alexia", "service": "B"},
    {"type": "alexa", "service": "A"},
    {"type": "alexa"},
    {"service": "C", "Image": "x"},
    {"type": "github", "service": "D"},
    {"type": "github", "service": "E"},
    {"type": "alexa", "service": 5, "image": null},
    "F"
  ],
  "function": {}
}`
	wantFaults(t, faultsOf(t, text),
		`5:14: type "alexia" is unknown: did you mean "alexa"?`,
		`6:34: service "A" is there twice, first in line 4: remove or rename one`,
		`7:5: the service needs a "type" and a "service"`,
		`8:22: unknown key "Image" in a service: did you mean "image"?`,
		`10:5: a push goes to one function, that of line 9: remove this service`,
		`11:46: image has no value`,
		`12:5: a service must be a mapping`,
		`14:3: unknown key "function" in services.json`,
	)
}

func TestParseServicesRefusesWhatIsNoServicesFile(t *testing.T) {
	for text, want := range map[string]string{
		"":                   "the manifest is empty",
		"[]":                 "services.json must be a mapping",
		`{"version": "1.0"}`: `services.json has no list of services: add "services": []`,
		`{"version": "2"}`:   `not a services.json: write "version": "1.0"`,
		`{"version": "1.1"}`: `version "1.1" is unknown`,
		`{"services": {}}`:   "services must be a list, such as",
		`{"services": []`:    "not valid YAML",
		everySetting:         "not a services.json",
	} {
		m, err := deploy.ParseServices("f.yaml", []byte(text), deploy.ServicesOptions{})
		var faults deploy.Faults
		if !errors.As(err, &faults) || m != nil || len(faults) != 1 || !strings.Contains(faults[0].Message, want) {
			t.Errorf("%.40q: got %v, want %s", text, err, want)
		}
	}
}

func TestTheServicesFileOfTheFirstFunkerDispatchLoads(t *testing.T) {
	dir := os.Getenv("FUNKER_TEST_SEED")
	if dir == "" {
		t.Log("FUNKER_TEST_SEED is not set: the tests above use files of our own")
		return
	}
	m, err := deploy.LoadWith(filepath.Join(dir, "services.json"), deploy.ServicesOptions{
		SkillID: "amzn1.ask.skill.one", GitHubSecret: trigger.Secret("swordfish"),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	checkPromises(t, m)
	if len(m.Functions) != 6 || len(m.Triggers) != 2 || len(m.Warnings) != 0 {
		t.Errorf("got %d functions, %d triggers, warnings %q, want 6, 2, none", len(m.Functions), len(m.Triggers), m.Warnings)
	}
	if f, ok := m.Function("HelloIntent"); !ok || f.Image == "" {
		t.Errorf("HelloIntent: got %+v, want it with its image", f)
	}
	if push, ok := m.Trigger("/github"); !ok || len(push.Routes) != 1 || push.Routes[0].Function != "CommitFetch" {
		t.Errorf("/github: got %+v, want it to run CommitFetch", push)
	}
}
