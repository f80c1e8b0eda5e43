package deploy_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// credentialFaults are faults of settings that belong together, and the keys where they stand.
var credentialFaults = []struct{ settings, key, want string }{
	{"auth: digest", "auth", `auth "digest" is unknown: use one of bearer, basic, api-key`},
	{"auth: basic", "auth", "auth: basic needs user: the name that the sender sends with its password"},
	{`auth: basic, user: "a:b"`, `user`, `user "a:b" has a colon or control characters`},
	{"user: ida", "user", "user is for auth: basic only: remove it, or add that"},
	{"auth: bearer, user: ida", "user", "user is for auth: basic only"},
	{"auth: api-key, header: X-Key, user: ida", "user", "user is for auth: basic only"},
	{"auth: bearer, header: X-Key", "header", "header is for auth: api-key only: remove it, or add that"},
	{"auth: basic, user: ida, header: X-Key", "header", "header is for auth: api-key only"},
	{"auth: api-key, header: X Key", "header", `header "X Key" is not the name of a header`},
}

func TestCredentials_HaveTheSameFaultsInEveryKind(t *testing.T) {
	dir := keyDir(t)
	for _, kind := range []string{trigger.EventBridge, trigger.Webhook} {
		for _, c := range credentialFaults {
			wantFault(t, "functions: {F: }\ntriggers: [{"+kind+": a, function: F, secret-file: "+filepath.Join(dir, "key")+", "+c.settings+"}]", c.key, c.want)
		}
		for _, key := range []string{"auth: bearer", "user: ida", "header: X-Key"} {
			name, _, _ := strings.Cut(key, ":")
			wantFault(t, "functions: {F: }\ntriggers: [{"+kind+": a, function: F, insecure: true, "+key+"}]", name, "insecure: true and "+name+" exclude each other: remove one")
		}
	}
	wantFault(t, "functions: {F: }\ntriggers: [{webhook: a, function: F, secret-file: "+dir+"/key, auth: api-key}]", "auth", "auth: api-key needs header")
	wantFault(t, "functions: {F: }\ntriggers: [{webhook: a, function: F, secret-file: "+dir+"/key, header: X-Key}]", "header", "header is for auth: api-key only")
	for _, key := range []string{"user: ida", "secret-file: " + filepath.Join(dir, "key")} {
		name, _, _ := strings.Cut(key, ":")
		wantFault(t, "functions: {F: }\ntriggers: [{sns: a, function: F, insecure: true, raw-delivery: true, "+key+"}]", name, "insecure: true and "+name+" exclude each other: remove one")
	}
}

func TestCredentials_AreOnlyForSendersThatSignNothing(t *testing.T) {
	for _, kind := range trigger.Kinds() {
		if kind == trigger.EventBridge || kind == trigger.Webhook {
			continue
		}
		wantFault(t, "functions: {F: }\ntriggers: [{"+kind+": a, function: F, insecure: true, auth: bearer}]", "auth", `unknown key "auth" in the `+kind+" trigger")
	}
}

// wantFault expects one fault, at a key of the last line or the value behind it: when
// the text is read with its secrets, and where they cannot be read.
func wantFault(t *testing.T, text, key, want string) {
	t.Helper()
	_, parsed := deploy.Parse("f.yaml", []byte(text), "")
	_, checked := deploy.Check("f.yaml", []byte(text))
	for _, err := range []error{parsed, checked} {
		var faults deploy.Faults
		if !errors.As(err, &faults) || len(faults) != 1 || !strings.Contains(faults[0].Message, want) {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
			continue
		}
		line := text[strings.LastIndex(text, "\n")+1:]
		if rest := line[faults[0].Column-1:]; !strings.HasPrefix(rest, key) && !strings.HasSuffix(line[:faults[0].Column-1], key+": ") {
			t.Errorf("%s: the fault stands at %q, want it at %s", text, rest, key)
		}
	}
}
