package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/console"
	"github.com/funker-dispatch/funker-dispatch/console/apitest"
	"github.com/funker-dispatch/funker-dispatch/deploy"
)

// apiAnswer is an answer of the admin API, wholly read.
type apiAnswer struct {
	*http.Response
	body []byte
}

func (a apiAnswer) problem(t *testing.T) (p console.Problem) {
	t.Helper()
	if err := json.Unmarshal(a.body, &p); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
	return p
}

// api sends a request with the admin token, and headers: names and values in turn.
func (g gatewayUnderTest) api(t *testing.T, method, path, body string, header ...string) apiAnswer {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(g.data, tokenFile))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, g.admin+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := description(t).Fault(resp.Request, resp.StatusCode, resp.Header, read); err != nil {
		t.Errorf("%s %s: the answer is not as it is described: %v", method, path, err)
	}
	return apiAnswer{resp, read}
}

// description is that of the API.
func description(t testing.TB) *apitest.Description {
	t.Helper()
	return apitest.Read(t, console.OpenAPI())
}

// apiRefused wants a problem.
func (g gatewayUnderTest) apiRefused(t *testing.T, method, path, body string, status int, code string, header ...string) console.Problem {
	t.Helper()
	a := g.api(t, method, path, body, header...)
	p := a.problem(t)
	if a.StatusCode != status || p.Status != status || p.Code != code || p.Detail == "" || a.Header.Get("Content-Type") != console.ProblemType {
		t.Errorf("%s %s: got %d %s, want %d %s", method, path, a.StatusCode, a.body, status, code)
	}
	return p
}

const manifestPath = "/api/v1/manifest"

func TestAPI_PutsAManifestInForceInPlaceOfTheOneThatItIsMadeFrom(t *testing.T) {
	s := serveStored(t)
	s.apiRefused(t, "GET", manifestPath, "", 404, "no_manifest")
	s.apiRefused(t, "PUT", manifestPath, oneTrigger, 428, "precondition_required")
	s.apiRefused(t, "PUT", manifestPath, oneTrigger, 412, "stale", "If-Match", "*")
	put := func(text, query string, header ...string) (a console.Applied, tag string) {
		t.Helper()
		got := s.api(t, "PUT", manifestPath+query, text, header...)
		if err := json.Unmarshal(got.body, &a); err != nil || got.StatusCode != 200 {
			t.Fatalf("got %d %s", got.StatusCode, got.body)
		}
		return a, got.Header.Get("Etag")
	}
	if a, _ := put(oneTrigger, "?dry_run=true", "If-None-Match", "*"); !a.DryRun || len(a.Changes) != 2 || s.push("/github/one") != 404 {
		t.Errorf("dry run: %+v", a)
	}
	a, first := put(oneTrigger, "", "If-None-Match", "*")
	if len(a.Changes) != 2 || a.Changes[0].Action != deploy.ActionAdded || first != fmt.Sprintf("%q", fmt.Sprint(a.Revision)) || s.push("/github/one") != 202 {
		t.Errorf("the first one: %+v, ETag %s", a, first)
	}
	s.apiRefused(t, "PUT", manifestPath, twoTriggers, 412, "stale", "If-None-Match", "*")
	s.apiRefused(t, "PUT", manifestPath, twoTriggers, 412, "stale", "If-Match", `"999"`)
	got := s.api(t, "GET", manifestPath, "")
	if got.Header.Get("Etag") != first || string(got.body) != oneTrigger || got.Header.Get("Content-Type") != "application/yaml" {
		t.Errorf("got %s %q", got.Header, got.body)
	}
	if got := s.api(t, "GET", manifestPath, "", "If-None-Match", first); got.StatusCode != 304 {
		t.Errorf("the same again: got %d", got.StatusCode)
	}
	_, second := put(twoTriggers, "", "If-Match", `"7000", `+first)
	if second == first || s.push("/github/two") != 202 {
		t.Errorf("the second one has the ETag %s", second)
	}
	s.apiRefused(t, "PUT", manifestPath, oneTrigger, 412, "stale", "If-Match", first)
	if same, tag := put(twoTriggers, "", "If-Match", second); len(same.Changes) != 0 || tag != second {
		t.Errorf("the same again: %+v, ETag %s", same, tag)
	}
	s.mustApply(oneTrigger, "changed function Echo timeout removed function Other added trigger github-one removed trigger github-two")
	s.apiRefused(t, "PUT", manifestPath, twoTriggers, 412, "stale", "If-Match", second)
}

func TestAPI_RefusesAManifestWithItsFaults(t *testing.T) {
	s := serveStored(t)
	for _, query := range []string{"", "?dry_run=1"} {
		p := s.apiRefused(t, "PUT", manifestPath+query, "functions: {Echo: {timeout: 5}}\ntriggers:\n- {github: one, function: Ecco}\n", 422, "bad_manifest", "If-None-Match", "*")
		if len(p.Faults) < 2 || p.Faults[0].Line != 1 || p.Faults[0].Column == 0 || p.Faults[1].Line != 3 || p.Faults[1].Message == "" {
			t.Errorf("got %+v", p.Faults)
		}
	}
	s.apiRefused(t, "PUT", manifestPath, string(bytes.Repeat([]byte("#"), deploy.MaxSize+1)), 413, "too_large", "If-None-Match", "*")
	s.apiRefused(t, "PUT", manifestPath+"?dry_run=perhaps", oneTrigger, 400, "bad_query", "If-None-Match", "*")
	s.apiRefused(t, "GET", manifestPath, "", 404, "no_manifest")
}

func TestAPI_SaysWhyAManifestInAFileStays(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "functions.yaml", oneTrigger)
	g := serve(t, dir, file, "--no-worker")
	for _, method := range []string{"GET", "PUT"} {
		if p := g.apiRefused(t, method, manifestPath, oneTrigger, 409, "manifest_file", "If-Match", "*"); !strings.Contains(p.Detail, file) {
			t.Errorf("got %+v", p)
		}
	}
}

func TestAPI_ListsFunctionsAndTriggersAsTheCommandsDo(t *testing.T) {
	w := newWorkshop(t, "Saw")
	w.send("Saw", `{"n":1}`)
	w.ranOften("Saw", 1)
	for path, args := range map[string][]string{"/api/v1/functions": {"functions", "-o", "json"}, "/api/v1/triggers": {"triggers", "-o", "json"}} {
		var api, command bytes.Buffer
		if err := json.Compact(&api, w.api(t, "GET", path, "").body); err != nil {
			t.Fatal(err)
		}
		if err := json.Compact(&command, []byte(w.cli(args...))); err != nil {
			t.Fatal(err)
		}
		if strings.TrimSpace(api.String()) != command.String() {
			t.Errorf("%s: got %s\nthe command prints %s", path, api.String(), command.String())
		}
	}
}
