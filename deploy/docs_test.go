package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// manualPage returns docs/manifest.md, and a folder with the secret files
// that its examples name.
func manualPage(t *testing.T) (page, dir string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "docs", "manifest.md"))
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`secrets/([\w-]+)`).FindAllStringSubmatch(string(data), -1) {
		// Good for every kind: Standard Webhooks wants 24 to 64 bytes in base64.
		writeFile(t, filepath.Join(dir, "secrets", m[1]), "whsec_"+strings.Repeat("swordfis", 4)+"swordfishys=")
	}
	return string(data), dir
}

func TestEveryExampleOfTheManualParsesWithoutWarnings(t *testing.T) {
	page, dir := manualPage(t)
	blocks := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(page, -1)
	if len(blocks) < 4 {
		t.Fatalf("got %d yaml blocks in docs/manifest.md, want at least 4", len(blocks))
	}
	for _, block := range blocks {
		m, err := deploy.Parse("docs/manifest.md", []byte(block[1]), dir)
		if err != nil {
			t.Errorf("%v in\n%s", err, block[1])
			continue
		}
		checkPromises(t, m)
		for _, warning := range m.Warnings {
			if !strings.Contains(warning, "stays closed") {
				t.Errorf("warning %s in\n%s", warning, block[1])
			}
		}
	}
}

func TestTheManualHasEveryKey(t *testing.T) {
	page, dir := manualPage(t)
	texts := []string{
		"{zzzzzz: }",
		"functions: {F: {zzzzzz: }}",
		"functions: {F: {retry: {zzzzzz: }}}",
		"functions: {F: {resources: {zzzzzz: }}}",
		"functions: {F: }\ntriggers: [{webhook: a, function: F, secret-file: secrets/webhook, hmac: {header: X, zzzzzz: }}]",
		"services: [{type: alexa, service: F, zzzzzz: }]",
	}
	for _, kind := range trigger.Kinds() {
		texts = append(texts, "functions: {F: }\ntriggers: [{"+kind+": a, function: F, insecure: true, zzzzzz: }]")
	}
	for _, text := range texts {
		faults := faultsIn(t, text, dir)
		_, known, ok := strings.Cut(faults[0].Message, "use one of ")
		if !ok || len(faults) != 1 {
			t.Fatalf("%s: got %v, want one fault that lists the keys", text, faults)
		}
		for key := range strings.SplitSeq(known, ", ") {
			if !strings.Contains(page, "\n| `"+key+"` |") {
				t.Errorf("docs/manifest.md has no row for the key %s (%s)", key, text)
			}
		}
	}
}
