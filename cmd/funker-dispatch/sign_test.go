package main

import (
	"strings"
	"testing"
)

func TestSign_NeedsNoSecretOfAnotherTrigger(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "here", "s3cret-of-the-tests")
	manifest := write(t, dir, "functions.yaml", `functions: {F: {addresses: ["127.0.0.1:1"]}}
triggers:
- {secret-file: elsewhere, stripe: shop, function: F}
- {secret-file: here, github: acme, function: F}
- {test-secret-file: here, alexa: amzn1.ask.skill.one, name: home, path: /home, function: F}
- {test-secret-file: elsewhere, alexa: amzn1.ask.skill.two, function: F}
`)
	for _, name := range []string{"github", "acme", "github-acme", "home"} {
		if got := mustCLI(t, "sign", name, "--manifest", manifest); !strings.Contains(got, "sha256=") {
			t.Errorf("sign %s: got %s", name, got)
		}
	}
	code, _, stderr := cli(t, "sign", "stripe", "--manifest", manifest)
	if code != exitFailed || !strings.Contains(stderr, `:3:17: secret-file "`) || !strings.Contains(stderr, "does not exist") || strings.Contains(stderr, ":6:") {
		t.Errorf("sign stripe: got %d %s", code, stderr)
	}
	if code, _, stderr := cli(t, "sign", "slack", "--manifest", manifest); code != exitUsage || !strings.Contains(stderr, `no trigger "slack" in the manifest; it has: stripe-shop, github-acme, alexa-home, alexa`) {
		t.Errorf("sign slack: got %d %s", code, stderr)
	}
}
