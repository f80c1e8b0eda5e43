package deploy_test

import (
	"errors"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

// FuzzParse holds that no text makes the parser panic, that what is refused
// says where, and that what is accepted keeps the promises of Manifest.
func FuzzParse(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := deploy.Parse("fuzz.yaml", data, dir)
		if err == nil {
			checkPromises(t, m)
			return
		}
		var faults deploy.Faults
		if !errors.As(err, &faults) || len(faults) == 0 || m != nil {
			t.Fatalf("got manifest %v and error %T, want no manifest and faults", m, err)
		}
		checkPlaces(t, faults)
	})
}

func checkPlaces(t *testing.T, faults deploy.Faults) {
	t.Helper()
	for i, fault := range faults {
		if fault.Line < 1 || fault.Column < 1 || fault.Message == "" {
			t.Errorf("fault %q has no place or no message", fault)
		}
		if i > 0 && faults[i-1].Line > fault.Line {
			t.Errorf("fault %q is not sorted by line", fault)
		}
	}
}

func checkPromises(t *testing.T, m *deploy.Manifest) {
	t.Helper()
	for _, f := range m.Functions {
		found, ok := m.Function(f.Name)
		if !ok || found != f || f.Slots() < 1 || f.Timeout <= 0 || f.Retry.Attempts < 1 {
			t.Errorf("function %+v breaks the promises of a manifest", f)
		}
	}
	for _, trigger := range m.Triggers {
		byAmazon := !trigger.Insecure && !trigger.IDOnly && (len(trigger.SkillIDs) > 0 || len(trigger.Topics) > 0)
		if found, ok := m.Trigger(trigger.Path); !ok || found != trigger {
			t.Errorf("trigger %+v is not found by its path", trigger)
		}
		checks := 0
		bySecret := len(trigger.Secrets)+len(trigger.SigningSecrets) > 0 && !trigger.RawDelivery
		for _, check := range []bool{trigger.Insecure, trigger.IDOnly, byAmazon, bySecret} {
			if check {
				checks++
			}
		}
		if checks != 1 {
			t.Errorf("trigger %+v has %d ways of being verified, want 1", trigger, checks)
		}
		for _, route := range trigger.Routes {
			if _, ok := m.Function(route.Function); !ok {
				t.Errorf("trigger %+v names a function that does not exist", trigger)
			}
		}
		for _, name := range trigger.Intents {
			if _, ok := m.Function(name); !ok {
				t.Errorf("trigger %+v names a function that does not exist", trigger)
			}
		}
	}
}

// seeds are manifests of all shapes, right and wrong.
var seeds = []string{
	"",
	"version: \"2\"\nfunctions:\n  Hello:\ntriggers:\n- alexa: id\n  verify: id-only\n",
	"functions:\n  Hello: {image: a:b, replicas: {min: 0, max: 8}, timeout: 6500ms}\n  ünï: ~\n",
	"functions: {f: {addresses: [h, '::1', '10.0.0.1:80'], lifecycle: one-shot}}\n",
	"functions:\n  f:\n    retry: {attempts: 8, initial: 1s, max: 10m, max-age: 24h}\n    env: {A: b, C: 1}\n",
	"functions:\n  f:\ntriggers:\n- github: acme\n  insecure: true\n  events: [push]\n  function: f\n",
	"triggers:\n- gitlab: x\n- gihtub: x\n- alexa:\n  insecure: true\n  intents: {a: b}\n  apology: |\n    sorry\n",
	"functions:\n\tf:\n",
	"a: &a [*a, *a]\nb: !!str x\n<<: {c: d}\n? e\n: f\n%YAML 1.2\n",
	"--- # one\na: 1\n--- # two\nb: 2\n...\n",
	"\ufefffunctions: {a: , b: {}, a: 1}\n",
	"{\"version\":\"1.0\",\"services\":[{\"type\":\"alexa\",\"service\":\"x\",\"image\":\"y\"},{\"type\":\"github\",\"service\":\"z\"}]}",
	"\xff\xfe", "a\x00b", "[[[[[[[[[[", "{{{{{{{{{{", "- - - - - -", "a: \"\\ud800\"", "'", "|", "a: >-\n  b\n", "\r\n\r\n: x", "a: {b}", "- a: b",
}
