package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// metric names of ours in a scrape or in a document.
var metric = regexp.MustCompile(`\bfunker_[a-z_]+`)

func TestMetrics_AreServedWithTheTokenAndDocumented(t *testing.T) {
	dir := t.TempDir()
	cert, key := newAuthority(t).valid().save(t, t.TempDir())
	function, _ := startFunction(t, "echo")
	g := serve(t, dir, write(t, dir, "functions.yaml", fmt.Sprintf("functions: {Waits: {addresses: [\"127.0.0.1:1\"]}, Echo: {addresses: [%q]}}", function)),
		"--tls-cert", cert, "--tls-key", key)
	get := func(token string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.admin+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if status, _ := get("wrong"); status != http.StatusUnauthorized {
		t.Errorf("without the token: %d", status)
	}
	token, err := os.ReadFile(filepath.Join(g.data, tokenFile))
	if err != nil {
		t.Fatal(err)
	}
	mustCLI(t, "invoke", "Echo", "-d", "1", "--nats-url", g.nats, "--data", g.data)
	var scrape string
	within(t, "the index is built, and the metrics are complete", func() bool {
		_, scrape = get(strings.TrimSpace(string(token)))
		return strings.Contains(scrape, "\nfunker_conservation_drift 0\n") && strings.Contains(scrape, "\nfunker_attempt_duration_seconds_count{")
	})
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	served := regexp.MustCompile(`(?m)^# TYPE (funker_[a-z_]+) `).FindAllStringSubmatch(scrape, -1)
	var names []string
	for _, m := range served {
		names = append(names, m[1])
		if !strings.Contains(string(page), "`"+m[1]+"`") {
			t.Errorf("docs/operations.md does not explain %s", m[1])
		}
	}
	for _, name := range metric.FindAllString(string(page), -1) {
		if !slices.Contains(names, name) {
			t.Errorf("docs/operations.md names %s, which is not served", name)
		}
	}
}
