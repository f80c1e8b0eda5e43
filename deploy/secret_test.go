package deploy_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

func TestASecretNeverPrintsItself(t *testing.T) {
	const plain = "swordfish"
	secret := trigger.Secret(plain)
	hook := deploy.Trigger{Config: trigger.Config{Kind: "github", Secrets: []trigger.Secret{secret}}}
	traces := []string{plain, fmt.Sprintf("%x", plain), fmt.Sprintf("%X", plain), "115 119 111 114 100", "c3dvcmRmaXNo"}

	unseen(t, "String", secret.String(), traces)
	unseen(t, "GoString", secret.GoString(), traces)
	for _, verb := range []string{"%s", "%v", "%+v", "%#v", "%q", "%x", "%X", "%d", "%o", "%b", "%t", "% x"} {
		for _, value := range []any{secret, &secret, hook, &hook, []trigger.Secret{secret}} {
			unseen(t, verb, fmt.Sprintf(verb, value), traces)
		}
	}
	for _, value := range []any{secret, hook} {
		asJSON, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		unseen(t, "JSON", string(asJSON), traces)
		asYAML, err := yaml.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		unseen(t, "YAML", string(asYAML), traces)
	}
	asXML, err := xml.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	unseen(t, "XML", string(asXML), traces)
}

func TestASecretIsHiddenInTheLog(t *testing.T) {
	for _, handler := range []func(*bytes.Buffer) slog.Handler{
		func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		slog.New(handler(&b)).Info("loaded", "secret", trigger.Secret("swordfish"), "trigger", deploy.Trigger{Config: trigger.Config{Secrets: []trigger.Secret{[]byte("swordfish")}}})
		unseen(t, "log", b.String(), []string{"swordfish", "c3dvcmRmaXNo"})
		if !strings.Contains(b.String(), "[secret]") {
			t.Errorf("got %s, want [secret] in it", b.String())
		}
	}
}

func unseen(t *testing.T, how, got string, traces []string) {
	t.Helper()
	for _, trace := range traces {
		if strings.Contains(got, trace) {
			t.Errorf("%s shows the secret: %s", how, got)
		}
	}
}
