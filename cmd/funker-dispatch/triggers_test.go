package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/ingress"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// adminGet asks the admin listener.
func (g gatewayUnderTest) adminGet(t *testing.T, path string) (int, []byte) {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(g.data, tokenFile))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.admin+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

// signedBy are the headers of GitHub as names and values in turn.
func signedBy(t *testing.T, secret, body string) (header []string) {
	t.Helper()
	signed, err := trigger.Sign(trigger.Config{Kind: trigger.GitHub, Secrets: []trigger.Secret{[]byte(secret)}}, []byte(body), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name := range signed {
		header = append(header, name, signed.Get(name))
	}
	return header
}

func TestTriggers_SayWhyASenderDoesNotGetThrough(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "secret", hookSecret)
	g := serve(t, dir, write(t, dir, "functions.yaml", `
functions: {Build: {addresses: ["127.0.0.1:1"]}}
triggers:
  - {github: acme, secret-file: secret, function: Build}
  - {github: open, insecure: true, events: [push], function: Build}
`), "--functions", "--no-worker")
	triggers := func(args ...string) string {
		return mustCLI(t, append([]string{"triggers", "--nats-url", g.nats, "--data", g.data}, args...)...)
	}
	line := func(columns string) {
		t.Helper()
		want := regexp.MustCompile("(?m)^" + strings.ReplaceAll(columns, " ", " +") + "$")
		var out string
		within(t, columns, func() bool { out = triggers(); return want.MatchString(out) })
	}
	line(`TRIGGER PATH VERIFIED BY LAST EVENT CONNECTED ACCEPTED IGNORED REFUSED`)
	line(`github-acme /github/acme secret - - 0 0 -`)
	line(`github-open /github/open INSECURE - - 0 0 -`)
	line(`http /functions/ INSECURE - - 0 0 -`)
	if out := triggers(); strings.Contains(out, "none") {
		t.Errorf("nothing came to other paths, but:\n%s", out)
	}

	ping, body := `{"zen":"x","hook_id":1}`, string(trigger.Sample(trigger.GitHub))
	if code, answer, _ := post(t, g.public+"/github/acme", ping, signedBy(t, hookSecret, ping)...); code != 200 {
		t.Fatalf("got %d %s", code, answer)
	}
	line(`github-acme /github/acme secret - \d+s ago 0 0 -`)
	_, _, header := post(t, g.public+"/github/acme", body, signedBy(t, hookSecret, body)...)
	for range 2 {
		post(t, g.public+"/github/acme", body, signedBy(t, "another", body)...)
	}
	post(t, g.public+"/github/acme", body)
	post(t, g.public+"/github/amce", body)
	line(`github-acme /github/acme secret \d+s ago \d+s ago 1 0 2 forged, 1 unsigned`)
	line(`none - - - - 0 0 1 not_found`)

	post(t, g.public+"/github/open", "{}", "X-GitHub-Event", "release")
	line(`github-open /github/open INSECURE - - 0 1 -`)
	if out := triggers("github-open"); !strings.Contains(out, "\nThe last event that no filter let through is called \"release\".\n") {
		t.Errorf("got %s", out)
	}

	out := triggers("github-acme", "--headers")
	for _, want := range []string{
		"The last event is " + header.Get("Funker-Event-Id"), " 401 forged  POST /github/acme from 127.0.0.1:", fmt.Sprintf("body application/json of %d bytes", len(body)),
		"\n  the signature does not fit the body: check the secret on both sides\n", "\n    X-Hub-Signature-256: (71 bytes)\n", "\n    User-Agent: GitHub-Hookshot/sample\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if strings.Index(out, "401 unsigned") > strings.Index(out, "401 forged") || strings.Contains(out, "sha256=") {
		t.Errorf("not the newest first, or a signature:\n%s", out)
	}
	if out := triggers("github-acme"); strings.Contains(out, "Hookshot") {
		t.Errorf("headers that nobody wants to see:\n%s", out)
	}
	if out := triggers("github-open"); !strings.Contains(out, "Nothing was refused") {
		t.Errorf("got %s", out)
	}

	var one, same ingress.SenderState
	if err := json.Unmarshal([]byte(triggers("github-acme", "-o", "json")), &one); err != nil {
		t.Fatal(err)
	}
	status, answer := g.adminGet(t, "/api/v1/triggers/github-acme")
	if err := json.Unmarshal(answer, &same); err != nil || status != 200 {
		t.Fatalf("got %d %s", status, answer)
	}
	for _, s := range []ingress.SenderState{one, same} {
		if s.Refused["forged"] != 2 || len(s.Samples) != 3 || s.Samples[0].Code != "unsigned" || s.Accepted != 1 {
			t.Errorf("got %+v", s)
		}
	}
	var all []ingress.SenderState
	if status, answer = g.adminGet(t, "/api/v1/triggers"); json.Unmarshal(answer, &all) != nil || status != 200 || len(all) != 4 {
		t.Errorf("got %d %s", status, answer)
	}
}

func TestTriggers_UnknownNamesAreErrors(t *testing.T) {
	dir := t.TempDir()
	g := serve(t, dir, write(t, dir, "functions.yaml", "functions: {Build: {addresses: [\"127.0.0.1:1\"]}}"), "--no-worker")
	code, _, stderr := cli(t, "triggers", "github-amce", "--nats-url", g.nats, "--data", g.data)
	if code != exitFailed || !strings.Contains(stderr, `there is no trigger "github-amce": take one of http, none`) {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if status, answer := g.adminGet(t, "/api/v1/triggers/github-amce"); status != 404 || !strings.Contains(string(answer), `"no_trigger"`) {
		t.Errorf("got %d %s", status, answer)
	}
	if code, _, stderr := cli(t, "triggers", "--headers"); code != exitUsage || !strings.Contains(stderr, "--headers goes with the name of a trigger") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
