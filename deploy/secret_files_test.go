package deploy_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

func TestSecretFiles_AreKnownByTheirKeysAndPaths(t *testing.T) {
	dir := hookDir(t)
	m, err := deploy.Parse("f.yaml", []byte(`
functions: {F: }
triggers:
- {gitlab: a, secret-file: key, signing-secret-file: [gitlab], function: F}
- {slack: open, insecure: true, function: F}
- {alexa: amzn1.ask.skill.one, test-secret-file: `+filepath.Join(dir, "key")+`, function: F}
`), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := [][]deploy.SecretFile{
		{{Key: "secret-file", File: filepath.Join(dir, "key")}, {Key: "signing-secret-file", File: filepath.Join(dir, "gitlab")}},
		nil,
		{{Key: "test-secret-file", File: filepath.Join(dir, "key")}},
	}
	for i, trigger := range m.Triggers {
		if !slices.Equal(trigger.SecretFiles, want[i]) {
			t.Errorf("%s: got %v, want %v", trigger.Source(), trigger.SecretFiles, want[i])
		}
	}
}

// withoutFiles leaves out where the secrets are: that differs from one folder of a test to the next.
func withoutFiles(m *deploy.Manifest) *deploy.Manifest {
	c := *m
	c.Triggers = slices.Clone(m.Triggers)
	for i, t := range c.Triggers {
		one := *t
		one.SecretFiles = nil
		c.Triggers[i] = &one
	}
	return &c
}
