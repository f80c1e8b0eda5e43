package deploy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

const (
	hookKey    = "whsec_c29tZSBsYW1wcyBhcmUgbGl0IGF0IG5pZ2h0LCBpbmRlZWQ=" // 35 bytes
	gitLabKey  = "whsec_c29tZSBsYW1wcyBhcmUgbGl0IGF0IG5pZ2h0ISE="         // 29 bytes: too short for GitLab
	gitLabGood = "whsec_bGFtcHMgYXJlIGxpdCBhdCBuaWdodCBvbiB0aGUgcXU="     // 32 bytes
)

// hookDir is a folder with secret files of all forms.
func hookDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"key": "swordfish", "whsec": hookKey + "\n", "gitlab": gitLabGood + "\r\n", "short": "whsec_c3dvcmRmaXNo",
		"bad": "whsec_swordfish!", "29": gitLabKey, "private": "whsk_c3dvcmRmaXNo",
	} {
		writeFile(t, filepath.Join(dir, name), text)
	}
	return dir
}

func TestTheTriggersOfSignedWebhooksAreRead(t *testing.T) {
	m, err := deploy.Parse("f.yaml", []byte(`
functions: {F: }
triggers:
- {standard-webhooks: a, secret-file: [whsec, gitlab], dedupe: /data/id, function: F, events: [lamp.lit]}
- {gitlab: a, secret-file: key, signing-secret-file: gitlab, function: F, events: [Push Hook]}
- {gitlab: b, signing-secret-file: [gitlab], function: F}
- {stripe: a, secret-file: key, function: F}
- {slack: a, secret-file: key, function: F, events: [/lamp, app_mention]}
`), hookDir(t))
	if err != nil {
		t.Fatal(err)
	}
	good, plain := trigger.Secret(gitLabGood), trigger.Secret("swordfish")
	route := func(events ...string) []deploy.Route {
		return []deploy.Route{{Function: "F", Filter: deploy.Filter{Events: events}}}
	}
	equal(t, m, &deploy.Manifest{
		Functions: []*deploy.Function{deploy.NewFunction("F")},
		Triggers: []*deploy.Trigger{
			{
				Config: trigger.Config{Kind: "standard-webhooks", Secrets: []trigger.Secret{[]byte(hookKey), good}, Dedupe: "/data/id"},
				Name:   "a", Path: "/standard-webhooks/a", Routes: route("lamp.lit"),
			},
			{
				Config: trigger.Config{Kind: "gitlab", Secrets: []trigger.Secret{plain}, SigningSecrets: []trigger.Secret{good}},
				Name:   "a", Path: "/gitlab/a", Routes: route("Push Hook"),
			},
			{Config: trigger.Config{Kind: "gitlab", SigningSecrets: []trigger.Secret{good}}, Name: "b", Path: "/gitlab/b", Routes: route()},
			{Config: trigger.Config{Kind: "stripe", Secrets: []trigger.Secret{plain}}, Name: "a", Path: "/stripe/a", Routes: route()},
			{
				Config: trigger.Config{Kind: "slack", Secrets: []trigger.Secret{plain}},
				Name:   "a", Path: "/slack/a", Routes: route("/lamp", "app_mention"),
			},
		},
	})
}

func TestFaultsInTriggersOfSignedWebhooksSayWhatToDo(t *testing.T) {
	dir := hookDir(t)
	for entry, want := range map[string]string{
		`standard-webhooks: a`:                                              `nothing verifies the standard-webhooks trigger: add secret-file: <file>`,
		`standard-webhooks: a, secret-file: key`:                            `secret 1 of 1 begins with neither whsec_ nor whpk_: copy it whole from the sender`,
		`standard-webhooks: a, secret-file: [whsec, short]`:                 `secret 2 of 2 has a key of 9 bytes, it must have 24 to 64`,
		`standard-webhooks: a, secret-file: bad`:                            `secret 1 of 1 is not base64 after its prefix: copy it again`,
		`standard-webhooks: a, secret-file: private`:                        `secret 1 of 1 is the sender's private key: use the public one`,
		`standard-webhooks: a, secret-file: whsec, dedupe: data.id`:         `dedupe "data.id" is none of id, body and a JSON pointer: write for example /data/id`,
		`standard-webhooks: a, secret-file: whsec, dedupe: /a~b`:            `dedupe "/a~b" is not a JSON pointer: write ~0 for ~, and ~1 for a /`,
		`standard-webhooks: a, secret-file: whsec, dedupe: ""`:              `dedupe is empty`,
		`standard-webhooks: a, secret-file: whsec, dedupe: [id]`:            `dedupe must be a text`,
		`standard-webhooks: a, signing-secret-file: gitlab, insecure: true`: `unknown key "signing-secret-file"`,
		`gitlab: a`: `nothing verifies the gitlab trigger: add signing-secret-file: <file> or secret-file: <file>, or insecure: true`,
		`gitlab: a, insecure: true, secret-file: key`:                          `insecure: true and secret-file exclude each other`,
		`gitlab: a, insecure: true, signing-secret-file: gitlab`:               `insecure: true and signing-secret-file exclude each other`,
		`gitlab: a, insecure: true, secret-file: key, signing-secret-file: 29`: `insecure: true and secret-file exclude each other`,
		`gitlab: a, signing-secret-file: 29`:                                   `signing secret 1 of 1 is not whsec_ and the base64 of 32 bytes: copy the signing token from the webhook at GitLab`,
		`gitlab: a, signing-secret-file: key`:                                  `signing secret 1 of 1 is not whsec_`,
		`gitlab: a, signing-secret-file: none`:                                 `/none" does not exist: create it or correct the path`,
		`gitlab: a, secret-file: key, dedupe: id`:                              `unknown key "dedupe"`,
		`stripe: a`: `nothing verifies the stripe trigger`,
		`slack: a`:  `nothing verifies the slack trigger`,
	} {
		t.Run(entry, func(t *testing.T) {
			faults := faultsIn(t, "functions: {F: }\ntriggers:\n- {"+entry+", function: F}\n", dir)
			if len(faults) != 1 || faults[0].Line != 3 || !strings.Contains(faults[0].Message, want) {
				t.Errorf("got %v\nwant %s", faults, want)
			}
			for _, hidden := range []string{"swordfish", "c3dvcmRmaXNo", "c29tZSBs"} {
				if strings.Contains(faults.Error(), hidden) {
					t.Errorf("the fault shows the key: %v", faults)
				}
			}
		})
	}
}

func TestCheck_LeavesKeysToTheGateway(t *testing.T) {
	text := "functions: {F: }\ntriggers:\n- {gitlab: a, signing-secret-file: /no/such/file, function: F}\n"
	if _, err := deploy.Check("f.yaml", []byte(text)); err != nil {
		t.Error(err)
	}
}

func TestSalvage_ClosesATriggerWhoseKeyIsNoKey(t *testing.T) {
	dir := hookDir(t)
	text := "functions: {F: }\ntriggers:\n- {standard-webhooks: a, secret-file: " + filepath.Join(dir, "bad") + ", function: F}\n"
	m, faults := deploy.Salvage("f.yaml", []byte(text), deploy.ServicesOptions{})
	if len(faults) != 1 || len(m.Triggers) != 1 || m.Triggers[0].Closed == "" {
		t.Errorf("got %+v, %v, want one closed trigger", m, faults)
	}
}

func TestCompare_SeesTheKeysOfSignedWebhooks(t *testing.T) {
	dir := hookDir(t)
	parse := func(text string) *deploy.Manifest {
		m, err := deploy.Parse("f.yaml", []byte("functions: {F: }\ntriggers:\n"+text), dir)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	last := parse("- {gitlab: a, signing-secret-file: gitlab, function: F}\n- {standard-webhooks: a, secret-file: whsec, function: F}\n")
	if err := os.WriteFile(filepath.Join(dir, "gitlab"), []byte("whsec_bGFtcHMgYXJlIGxpdCBhdCBuaWdodCBvbiB0aGUgcVU="), 0o600); err != nil {
		t.Fatal(err)
	}
	next := parse("- {gitlab: a, signing-secret-file: gitlab, function: F}\n- {standard-webhooks: a, secret-file: whsec, dedupe: body, function: F}\n")
	got := deploy.Compare(last, next)
	if len(got) != 2 || strings.Join(got[0].Keys, " ") != "signing-secret-file" || strings.Join(got[1].Keys, " ") != "dedupe" {
		t.Errorf("got %+v", got)
	}
}
