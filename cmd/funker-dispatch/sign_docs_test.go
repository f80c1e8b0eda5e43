package main

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// The pages of senders that a reader can follow without the sender: what makes a key, and what sends.
var (
	makesKey = regexp.MustCompile(`(?m)^(echo "whsec_|openssl rand).*> \S+$`)
	signs    = regexp.MustCompile(`(?m)^funker-dispatch (sign .*)$`)
)

func TestDocs_WhatIsSignedAsThePagesSayIsAccepted(t *testing.T) {
	need(t, "openssl")
	for _, page := range []string{"gitlab", "slack", "stripe", "standard-webhooks"} {
		t.Run(page, func(t *testing.T) {
			text, dir := documents(t)["docs/"+page+".md"], t.TempDir()
			manifest := write(t, dir, "functions.yaml", blocks(text, "yaml")[0])
			cmd := exec.Command("sh", "-ec", strings.Join(makesKey.FindAllString(text, -1), "\n"))
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			g := serve(t, dir, manifest)
			lines := signs.FindAllStringSubmatch(text, -1)
			if len(lines) < 3 {
				t.Fatalf("there are only %d commands", len(lines))
			}
			for _, line := range lines {
				got := mustCLI(t, append(words(line[1]), "--manifest", manifest, g.public)...)
				sent := strings.HasPrefix(got, "200 OK\n") || strings.HasPrefix(got, "202 Accepted\n")
				if strings.Contains(line[1], "--send") != sent || !sent && !strings.HasPrefix(got, "curl ") {
					t.Errorf("%s: got %s", line[1], got)
				}
			}
		})
	}
}
