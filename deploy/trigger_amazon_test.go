package deploy_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

const topic = "arn:aws:sns:eu-central-1:123456789012:alarms"

// amazon parses a manifest with one trigger; the secret file "key" exists.
func amazon(t *testing.T, keys string) *deploy.Trigger {
	t.Helper()
	m, err := deploy.Parse("f.yaml", []byte("functions: {F: }\ntriggers:\n- {"+keys+"}\n"), keyDir(t))
	if err != nil {
		t.Fatalf("%s: %v", keys, err)
	}
	return m.Triggers[0]
}

func TestAlexaIsVerifiedByAmazonsCertificateUnlessTheManifestSaysOtherwise(t *testing.T) {
	for keys, want := range map[string]trigger.Config{
		`alexa: id`:                              {Kind: "alexa", SkillIDs: []string{"id"}},
		`alexa: [a, b], insecure: false`:         {Kind: "alexa", SkillIDs: []string{"a", "b"}},
		`alexa: id, verify: id-only`:             {Kind: "alexa", SkillIDs: []string{"id"}, IDOnly: true},
		`alexa: , insecure: true`:                {Kind: "alexa", Insecure: true},
		`alexa: id, test-secret-file: key`:       {Kind: "alexa", SkillIDs: []string{"id"}, TestSecrets: []trigger.Secret{[]byte("swordfish")}},
		`alexa: id, test-secret-file: [key]`:     {Kind: "alexa", SkillIDs: []string{"id"}, TestSecrets: []trigger.Secret{[]byte("swordfish")}},
		`alexa: id, verify: id-only, name: home`: {Kind: "alexa", SkillIDs: []string{"id"}, IDOnly: true},
	} {
		if got := amazon(t, keys).Config; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", keys, got, want)
		}
	}
}

func TestSNSHasItsKeys(t *testing.T) {
	got := amazon(t, "sns: s3, topics: [\""+topic+"\"], require-sha256: true, payload: message, split: true, test-secret-file: key, function: F")
	want := trigger.Config{Kind: "sns", Topics: []string{topic}, RequireSHA256: true, Payload: "message", Split: true, TestSecrets: []trigger.Secret{[]byte("swordfish")}}
	if !reflect.DeepEqual(got.Config, want) || got.Path != "/sns/s3" || got.Source() != "sns-s3" {
		t.Errorf("got %+v", got)
	}
	got = amazon(t, "sns: s3, topics: [\""+topic+"\", \""+topic+"2.fifo\"], raw-delivery: true, user: sns, secret-file: key, function: F")
	want = trigger.Config{Kind: "sns", Topics: []string{topic, topic + "2.fifo"}, RawDelivery: true, User: "sns", Secrets: []trigger.Secret{[]byte("swordfish")}}
	if !reflect.DeepEqual(got.Config, want) {
		t.Errorf("got %+v", got.Config)
	}
	got = amazon(t, "sns: local, insecure: true, topics: [\"arn:aws:sns:us-east-1:000000000000:x\"], function: F, raw-delivery: true")
	if !got.Insecure || !got.RawDelivery {
		t.Errorf("got %+v", got.Config)
	}
}

func TestFaultsOfTriggersThatAmazonCalls(t *testing.T) {
	for keys, want := range map[string]string{
		`alexa: id, verify: id-only, test-secret-file: key`:                                    `test-secret-file has no effect with verify: id-only`,
		`alexa: id, insecure: true, test-secret-file: key`:                                     `test-secret-file has no effect with insecure: true`,
		`alexa: id, test-secret-file: missing`:                                                 `does not exist`,
		`alexa: `:                                                                              `the alexa trigger has no skill id`,
		`sns: a, function: F`:                                                                  `nothing verifies the sns trigger: add topics: [<ARN>], or insecure: true`,
		`sns: a, function: F, topics: []`:                                                      `nothing verifies the sns trigger`,
		`sns: a, topics: ["` + topic + `"]`:                                                    `the sns trigger has no function`,
		`sns: a, function: F, topics: [alarms]`:                                                `topics: "alarms" is not the ARN of a topic`,
		`sns: a, function: F, topics: [` + topic + `]`:                                         `must be a text, not a mapping: put one with a colon in quotes`,
		`sns: a, function: F, topics: alarms`:                                                  `topics must be a list`,
		`sns: a, function: F, insecure: true, payload: x`:                                      `payload "x" is unknown`,
		`sns: a, function: F, insecure: true, split: maybe`:                                    `split`,
		`sns: a, function: F, insecure: true, user: x`:                                         `user is for raw-delivery: true`,
		`sns: a, function: F, topics: ["` + topic + `"], secret-file: key`:                     `secret-file is for raw-delivery: true`,
		`sns: a, function: F, topics: ["` + topic + `"], raw-delivery: true, user: x`:          `it needs user and secret-file: add secret-file`,
		`sns: a, function: F, topics: ["` + topic + `"], raw-delivery: true, secret-file: key`: `it needs user and secret-file: add user`,
		`sns: a, function: F, topics: ["` + topic + `"], raw-delivery: true, user: x, secret-file: key, payload: raw`: `remove payload`,
		`sns: a, function: F, insecure: true, test-secret-file: key`:                                                  `test-secret-file has no effect with insecure: true`,
		`github: a, function: F, insecure: true, topics: [x]`:                                                         `unknown key "topics"`,
	} {
		faults := faultsOf(t, "functions: {F: }\ntriggers:\n- {"+keys+"}\n")
		if len(faults) != 1 || !strings.Contains(faults[0].Message, want) {
			t.Errorf("%s: got %v, want %q", keys, faults, want)
		}
	}
}

func TestCompareTellsOfTheKeysOfSNS(t *testing.T) {
	first := "functions: {F: }\ntriggers: [{sns: a, function: F, topics: [\"%s\"]%s}]"
	parse := func(text string) *deploy.Manifest {
		m, err := deploy.Parse("f.yaml", []byte(text), keyDir(t))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	last := parse(fmt.Sprintf(first, topic, ""))
	next := parse(fmt.Sprintf(first, topic+"2", ", require-sha256: true, split: true, payload: raw, test-secret-file: key"))
	got := deploy.Compare(last, next)
	want := []string{"payload", "require-sha256", "split", "test-secret-file", "topics"}
	if len(got) != 1 || !reflect.DeepEqual(got[0].Keys, want) {
		t.Errorf("got %+v, want %v", got, want)
	}
}
