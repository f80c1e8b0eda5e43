package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func TestDocs_ACertificateOfOnesOwnWorks(t *testing.T) {
	need(t, "openssl")
	need(t, "curl")
	dir, manifest := tlsFolder(t)
	steps := strings.Split(blocks(documents(t)["docs/tls.md"], "sh")[0], "\n")
	if len(steps) != 3 || !strings.HasPrefix(steps[1], "funker-dispatch serve ") {
		t.Fatalf("the first steps are others: %q", steps)
	}
	shell := func(line string) string {
		cmd := exec.CommandContext(t.Context(), "sh", "-ec", line)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
		return string(out)
	}
	shell(steps[0])
	in := strings.NewReplacer("tls.crt", filepath.Join(dir, "tls.crt"), "tls.key", filepath.Join(dir, "tls.key"))
	g := serve(t, dir, manifest, append(strings.Fields(in.Replace(steps[1]))[2:], "--no-worker")...)
	port := g.public[strings.LastIndex(g.public, ":"):]
	if got := shell(strings.Replace(steps[2], ":3000", port, 1)); !strings.Contains(got, `{"status":"ok"}`) {
		t.Errorf("got %s", got)
	}
}

// stackOf is a stack file of a page on top of ours.
func stackOf(t *testing.T, text string) stack {
	t.Helper()
	var over map[string]any
	if err := yaml.Unmarshal([]byte(text), &over); err != nil {
		t.Fatal(err)
	}
	all := readYAML(t, stacks+"/stack.yml")
	merge(all, over)
	merged, err := yaml.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	var s stack
	if err := yaml.Unmarshal(merged, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDocs_StackFilesWithTLSGoWithOurs(t *testing.T) {
	const page = "docs/tls.md"
	text := documents(t)[page]
	tested := 0
	for _, block := range blocks(text, "yaml") {
		if !strings.Contains(block, "services:") {
			continue
		}
		tested++
		s := stackOf(t, block)
		s.definesWhatItUses(t, page)
		s.startsWhatThereIs(t, page)
		gateway := s.Services["gateway"]
		for flag, value := range map[string]string{"trusted-proxies": gateway.Environment["FUNKER_TRUSTED_PROXIES"], "tls-domain": gateway.Environment["FUNKER_TLS_DOMAIN"]} {
			if err := serveCommand().Flags().Set(flag, value); err != nil {
				t.Errorf("--%s: %v\n%s", flag, err, block)
			}
		}
		// The range is that of the network which the proxy is on.
		if proxies := gateway.Environment["FUNKER_TRUSTED_PROXIES"]; proxies != "" &&
			!strings.Contains(block, "subnet: "+proxies) && !strings.Contains(text, "with the range "+proxies) {
			t.Errorf("%s is the range of no network:\n%s", proxies, block)
		}
	}
	if tested < 3 {
		t.Errorf("only %d stack files were found", tested)
	}
}
