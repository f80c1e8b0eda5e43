package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	manifestAndCommands = regexp.MustCompile("(?s)```yaml\n(.*?)```.*?funker-dispatch sign")
	signCommandLine     = regexp.MustCompile(`(?m)^funker-dispatch (sign .*)$`)
)

// A page of a sender has manifests, and after each of them commands that make the
// sender's requests. The functions of the pages are not there: events wait for them.
func TestDocs_WhatSignSendsToTheManifestOfItsPageIsAccepted(t *testing.T) {
	for _, page := range []string{"gitea.md", "bitbucket.md", "webhook.md"} {
		text := documents(t)[filepath.Join("docs", page)]
		for i, at := range manifestAndCommands.FindAllStringSubmatchIndex(text, -1) {
			t.Run(fmt.Sprint(page, i), func(t *testing.T) {
				dir := t.TempDir()
				write(t, dir, "secret", "a secret")
				manifest := write(t, dir, "functions.yaml", secretFile.ReplaceAllString(text[at[2]:at[3]], "secret-file: secret"))
				g := serve(t, dir, manifest)
				commands, _, _ := strings.Cut(text[at[3]:], "\n```yaml\n")
				for _, line := range signCommandLine.FindAllStringSubmatch(commands, -1) {
					args := append(strings.Fields(strings.ReplaceAll(line[1], "'", "")), "--manifest", manifest, g.public)
					out := mustCLI(t, args...)
					if sent := strings.HasPrefix(out, "202 Accepted\n"); sent != strings.Contains(line[1], "--send") || strings.Contains(out, "ignored") {
						t.Errorf("%s: got %s", line[1], out)
					}
				}
			})
		}
	}
}
