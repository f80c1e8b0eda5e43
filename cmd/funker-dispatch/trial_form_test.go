package main

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// formClient is a browser without JavaScript.
type formClient struct {
	*trialGateway
	http.Client
}

func (g *trialGateway) signedIn(file string) *formClient {
	g.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		g.t.Fatal(err)
	}
	c := &formClient{g, http.Client{Jar: jar}}
	if status, text := c.post("/login", url.Values{"token": {tokenIn(g.t, filepath.Join(g.data, file))}}); status != 200 {
		g.t.Fatalf("sign in: got %d %s", status, text)
	}
	return c
}

// fetch returns what a person reads in the source of a page.
func (c *formClient) fetch(method, path string, form url.Values, header ...string) (status int, text string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.admin+path, strings.NewReader(form.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, html.UnescapeString(string(body))
}

func (c *formClient) get(path string) (int, string) { return c.fetch(http.MethodGet, path, nil) }
func (c *formClient) post(path string, form url.Values) (int, string) {
	return c.fetch(http.MethodPost, path, form)
}

func TestTestPage_WorksWithoutScript(t *testing.T) {
	g := newTrialGateway(t)
	c := g.signedIn(tokenFile)
	source := g.named(trigger.GitHub)
	if status, page := c.get("/test?trigger=" + source + "&sample=1"); status != 200 || !strings.Contains(page, `"zen"`) || !strings.Contains(page, "X-GitHub-Event") {
		t.Errorf("got %d %s", status, page)
	}
	body := "{\r\n\"action\": \"published\"\r\n}"
	status, page := c.post("/test", url.Values{"trigger": {source}, "event": {"release"}, "body": {body}})
	for _, want := range []string{"Answer: 202 Accepted", "attempt 1", `<span data-ended>`, `href="/events/`, "\n{\n\"action\": \"published\"\n}</textarea>"} {
		if status != 200 || !strings.Contains(page, want) {
			t.Errorf("it does not say %q: %d %s", want, status, page)
		}
	}
	status, page = c.post("/test", url.Values{"trigger": {source}, "body": {`{"ref": }`}})
	if status != 400 || !strings.Contains(page, "Nothing was sent:") || !strings.Contains(page, "\n{\"ref\": }</textarea>") {
		t.Errorf("a wrong body: got %d %s", status, page)
	}
	large := `{"pad":"` + strings.Repeat("é", 128<<10) + `"}`
	status, page = c.post("/test", url.Values{"trigger": {source}, "body": {large}})
	if status != 413 || !strings.Contains(page, "256 KiB at most") || !strings.Contains(page, large) {
		t.Errorf("a large body: got %d, a page of %d bytes", status, len(page))
	}
	if status, page = c.post("/test", url.Values{"trigger": {source}, "body": {strings.Repeat("é", 512<<10)}}); status != 413 || !strings.Contains(page, "256 KiB at most") {
		t.Errorf("a huge form: got %d %.300s", status, page)
	}
	if status, page = c.get("/test?trigger=nobody"); status != 404 || !strings.Contains(page, "there is no such trigger") {
		t.Errorf("no such trigger: got %d %s", status, page)
	}
	if status, page = c.post("/test", url.Values{"trigger": {g.otherwise[0]}, "body": {"{}"}}); status != 409 && status != 400 || !strings.Contains(page, "Nothing was sent:") {
		t.Errorf("what nobody can sign: got %d %s", status, page)
	}
	if status, page = c.fetch(http.MethodPost, "/test", url.Values{"trigger": {source}, "body": {"{}"}}, "Sec-Fetch-Site", "cross-site"); status != 403 || !strings.Contains(page, "another site") {
		t.Errorf("from another site: got %d %s", status, page)
	}
	if log := g.log.String(); !strings.Contains(log, `action="POST /test" status=200 source=`+source+` answer=202 events=1`) || strings.Contains(log, "published") {
		t.Errorf("the log has:\n%s", log)
	}
}

func TestTestPage_IsForTheAdminRole(t *testing.T) {
	g := newTrialGateway(t)
	c := g.signedIn(readTokenFile)
	source := g.named(trigger.GitHub)
	for _, page := range []string{"/test", "/test?trigger=" + source} {
		if status, text := c.get(page); status != 403 || !strings.Contains(text, "read-only access") {
			t.Errorf("GET %s: got %d %s", page, status, text)
		}
	}
	if status, text := c.post("/test", url.Values{"trigger": {source}, "body": {`{"zen":"a"}`}}); status != 403 || !strings.Contains(text, "read-only access") {
		t.Errorf("got %d %s", status, text)
	}
	if status, text := c.get("/triggers/" + source); status != 200 || strings.Contains(text, `href="/test`) || !strings.Contains(text, "Set it up at the sender") {
		t.Errorf("the page of the trigger: got %d %s", status, text)
	}
	if log := g.log.String(); !strings.Contains(log, `action="POST /test" status=403`) {
		t.Errorf("the log has:\n%s", log)
	}
}

func TestTestPage_WithoutTriggersSaysSo(t *testing.T) {
	dir := t.TempDir()
	g := &trialGateway{t: t, gatewayUnderTest: serve(t, dir, write(t, dir, "functions.yaml", "functions: {F: }\n"), "--no-worker")}
	c := g.signedIn(tokenFile)
	if status, text := c.get("/test"); status != 200 || !strings.Contains(text, "There is no trigger in the manifest yet") {
		t.Errorf("got %d %s", status, text)
	}
	if _, text := c.get("/"); strings.Contains(text, "Nothing has come from a sender yet") {
		t.Errorf("the overview has %s", text)
	}
}
