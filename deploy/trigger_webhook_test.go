package deploy_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

func TestWebhook_EveryKeyIsRead(t *testing.T) {
	m, err := deploy.Parse("f.yaml", []byte(`
functions: {F: }
triggers:
  - webhook: signs
    secret-file: [key, key]
    hmac: {header: X-Sig, algorithm: sha512, encoding: base64, prefix: "v1=", template: "{header:X-Id}.{timestamp:X-Time}.{body}", tolerance: 90s}
    id: X-Id
    event: /type
    events: [lamp.lit]
    function: F
  - webhook: sends
    path: /elsewhere
    secret-file: key
    auth: basic
    user: ida
    routes: [{function: F}]
  - {webhook: key, secret-file: key, auth: api-key, header: X-Api-Key, function: F}
  - {webhook: open, insecure: true, id: /id, function: F}
`), keyDir(t))
	if err != nil {
		t.Fatal(err)
	}
	key := trigger.Secret("swordfish")
	want := []trigger.Config{
		{Secrets: []trigger.Secret{key, key}, IDFrom: "X-Id", EventFrom: "/type", HMAC: trigger.HMAC{Header: "X-Sig", Algorithm: "sha512", Encoding: "base64",
			Prefix: "v1=", Template: "{header:X-Id}.{timestamp:X-Time}.{body}", Tolerance: 90 * time.Second}},
		{Secrets: []trigger.Secret{key}, Auth: trigger.AuthBasic, User: "ida"},
		{Secrets: []trigger.Secret{key}, Auth: trigger.AuthAPIKey, Header: "X-Api-Key"},
		{Insecure: true, IDFrom: "/id"},
	}
	for i, path := range []string{"/webhook/signs", "/elsewhere", "/webhook/key", "/webhook/open"} {
		want[i].Kind = trigger.Webhook
		got := m.Triggers[i]
		if !reflect.DeepEqual(got.Config, want[i]) || got.Path != path || len(got.Routes) != 1 {
			t.Errorf("got %+v on %s, want %+v on %s", got.Config, got.Path, want[i], path)
		}
		if _, err := trigger.New(got.Config, nil); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestWebhook_FaultsSayWhatToDo(t *testing.T) {
	for entry, want := range map[string]string{
		`function: F`: `nothing verifies the webhook trigger: add secret-file: <file>, or insecure: true (everybody may call)`,
		`function: F, insecure: true, secret-file: key`:                                                     `insecure: true and secret-file exclude each other`,
		`function: F, insecure: true, hmac: {header: X}`:                                                    `insecure: true and hmac exclude each other`,
		`function: F, secret-file: key, hmac: {header: X}, auth: bearer`:                                    `hmac excludes auth, user and header`,
		`function: F, secret-file: key, hmac: `:                                                             `hmac has no header: name the one that has the signature, such as header: X-Signature`,
		`function: F, secret-file: key, hmac: {}`:                                                           `hmac has no header`,
		`function: F, secret-file: key, hmac: X-Sig`:                                                        `hmac must be a mapping`,
		`function: F, secret-file: key, hmac: {headr: X}`:                                                   `unknown key "headr" in hmac: did you mean "header"?`,
		`function: F, secret-file: key, hmac: {header: "X Sig"}`:                                            `header "X Sig" is not the name of a header`,
		`function: F, secret-file: key, hmac: {header: X, algorithm: md5}`:                                  `algorithm "md5" is unknown`,
		`function: F, secret-file: key, hmac: {header: X, algorithm: SHA256}`:                               `algorithm "SHA256" is unknown: did you mean "sha256"?`,
		`function: F, secret-file: key, hmac: {header: X, encoding: base32}`:                                `encoding "base32" is unknown: did you mean "base64"?`,
		`function: F, secret-file: key, hmac: {header: X, prefix: ""}`:                                      `prefix is empty`,
		`function: F, secret-file: key, hmac: {header: X, template: {body}}`:                                `template must be a text, not a mapping`,
		`function: F, secret-file: key, hmac: {header: X, template: "{body}."}`:                             `template "{body}." does not end with {body}`,
		`function: F, secret-file: key, hmac: {header: X, template: "{time}.{body}"}`:                       `template "{time}.{body}" has the unknown placeholder {time}`,
		`function: F, secret-file: key, hmac: {header: X, template: "{header:x}.{body}"}`:                   `template has the header X, which has the signature itself`,
		`function: F, secret-file: key, hmac: {header: X, tolerance: 5m}`:                                   `tolerance needs a time that is signed`,
		`function: F, secret-file: key, hmac: {header: X, tolerance: 5}`:                                    `tolerance "5" has no unit`,
		`function: F, secret-file: key, hmac: {header: X, template: "{timestamp:T}.{body}", tolerance: 2h}`: `tolerance is 2h: the limit is 1h0m0s`,
		`function: F, secret-file: key, hmac: {header: X}, id: X-Id`:                                        `the signature covers neither the header X-Id nor a time`,
		`function: F, secret-file: key, id: "a b"`:                                                          `id "a b" is neither the name of a header, such as X-Request-Id, nor a JSON pointer into the body, such as /data/id`,
		`function: F, secret-file: key, event: /a~b`:                                                        `event "/a~b" is not a JSON pointer`,
		`function: F, secret-file: key, id: [a]`:                                                            `id must be a text, not a list`,
		`function: F, secret-file: key, event: Authorization`:                                               `the header Authorization holds a secret or a signature`,
		`function: F, secret-file: key, events: [a]`:                                                        `events needs event: where a request has the name of its event`,
		`secret-file: key, routes: [{function: F, events: [a]}]`:                                            `events needs event`,
		`function: F, secret-file: key, timestamp: X`:                                                       `unknown key "timestamp" in the webhook trigger`,
	} {
		t.Run(entry, func(t *testing.T) {
			faults := faultsOf(t, "functions: {F: }\ntriggers:\n- {webhook: w, "+entry+"}\n")
			if len(faults) != 1 || faults[0].Line != 3 || !strings.Contains(faults[0].Message, want) {
				t.Errorf("got %v\nwant %s", faults, want)
			}
		})
	}
}

func TestWebhook_AFaultStandsAtItsKey(t *testing.T) {
	faults := faultsOf(t, `functions: {F: }
triggers:
  - webhook: w
    secret-file: key
    hmac: {header: X-Sig}
    id: X-Id
    function: F
`)
	wantFaults(t, faults, "6:5: the signature covers neither the header X-Id nor a time")
}

func TestForges_HaveTheKeysOfGitHub(t *testing.T) {
	for _, kind := range []string{trigger.Gitea, trigger.Forgejo, trigger.Bitbucket} {
		text := fmt.Sprintf("functions: {F: }\ntriggers: [{%s: a, secret-file: key, events: ['repo:push'], function: F}]", kind)
		m, err := deploy.Parse("f.yaml", []byte(text), keyDir(t))
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if got := m.Triggers[0]; got.Path != "/"+kind+"/a" || got.Source() != kind+"-a" || got.Routes[0].Filter.Events[0] != "repo:push" {
			t.Errorf("got %+v", got)
		}
		faults := faultsOf(t, fmt.Sprintf("functions: {F: }\ntriggers: [{%s: a, function: F, hmac: {header: X}, insecure: true}]", kind))
		wantFaults(t, faults, fmt.Sprintf(`2:%d: unknown key "hmac" in the %s trigger`, len(kind)+31, kind))
	}
}

func TestCompare_NamesTheKeysOfAWebhookThatChanged(t *testing.T) {
	parse := func(keys string) *deploy.Manifest {
		m, err := deploy.Parse("f.yaml", []byte("functions: {F: }\ntriggers: [{webhook: w, secret-file: key, function: F"+keys+"}]"), keyDir(t))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for keys, want := range map[string]string{
		"": "[]", ", id: /id": "[id]", ", event: X-Event": "[event]", ", hmac: {header: X}": "[hmac]", ", auth: basic, user: u": "[auth user]",
		", auth: api-key, header: X": "[auth header]",
	} {
		differences := deploy.Compare(parse(""), parse(keys))
		if want == "[]" && len(differences) == 0 {
			continue
		}
		if len(differences) != 1 || fmt.Sprint(differences[0].Keys) != want {
			t.Errorf("%s: got %+v, want the keys %s", keys, differences, want)
		}
	}
}
