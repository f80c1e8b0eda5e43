package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/console"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// trialGateway serves triggers of every kind, with real functions behind them.
type trialGateway struct {
	gatewayUnderTest
	t         *testing.T
	signable  []string // sources whose requests can be signed here
	otherwise []string // those that only the sender can sign
}

// trialEntries are triggers that can be signed for, besides the sampleSenders.
var trialEntries = []struct{ entry, secret string }{
	{"alexa: " + trigger.SampleSkillID + ", name: NAME, verify: id-only", ""},
	{"alexa: " + trigger.SampleSkillID + ", name: NAME, test-secret-file: SECRET", payloadSecret},
	{fmt.Sprintf("sns: NAME, topics: [%q], test-secret-file: SECRET", trigger.SampleTopic), payloadSecret},
	{fmt.Sprintf("sns: NAME, topics: [%q], raw-delivery: true, user: sns, secret-file: SECRET", trigger.SampleTopic), payloadSecret},
	{"slack: NAME, insecure: true", ""},
}

func newTrialGateway(t *testing.T, args ...string) *trialGateway {
	t.Helper()
	dir := t.TempDir()
	hello, _ := startFunction(t, "hello")
	echo, _ := startFunction(t, "echo")
	g := &trialGateway{t: t}
	var manifest strings.Builder
	fmt.Fprintf(&manifest, "functions:\n  HelloIntent: {addresses: [%q]}\n  LaunchRequest: {addresses: [%q]}\n  Echo: {addresses: [%q]}\ntriggers:\n", hello, hello, echo)
	add := func(entry, secret string, to *[]string) {
		name := fmt.Sprintf("t%d", len(g.signable)+len(g.otherwise))
		kind, _, _ := strings.Cut(entry, ":")
		line := strings.NewReplacer("NAME", name, "SECRET", write(t, dir, name+".secret", secret+"\n")).Replace(entry)
		if kind == trigger.Alexa {
			line += ", path: /" + name
		} else {
			line += ", function: Echo"
		}
		fmt.Fprintf(&manifest, "- {%s}\n", line)
		*to = append(*to, kind+"-"+name)
	}
	for _, s := range sampleSenders {
		if s.secret == "" { // of Amazon
			add(s.entry, "", &g.otherwise)
		} else {
			add(s.entry, s.secret, &g.signable)
		}
	}
	for _, e := range trialEntries {
		add(e.entry, e.secret, &g.signable)
	}
	public := make([]byte, ed25519.PublicKeySize)
	add("standard-webhooks: NAME, secret-file: SECRET", "whpk_"+base64.StdEncoding.EncodeToString(public), &g.otherwise)
	g.gatewayUnderTest = serve(t, dir, write(t, dir, "functions.yaml", manifest.String()), args...)
	return g
}

func (g *trialGateway) ready(source string) (r console.Ready) {
	g.t.Helper()
	a := g.api(g.t, "GET", "/api/v1/triggers/"+source+"/samples", "")
	if err := json.Unmarshal(a.body, &r); err != nil || a.StatusCode != 200 {
		g.t.Fatalf("%s: got %d %s", source, a.StatusCode, a.body)
	}
	return r
}

func (g *trialGateway) try(source, query, body string) (tested console.Tested) {
	g.t.Helper()
	a := g.api(g.t, "POST", "/api/v1/triggers/"+source+"/test"+query, body)
	if err := json.Unmarshal(a.body, &tested); err != nil || a.StatusCode != 200 {
		g.t.Fatalf("%s: got %d %s", source, a.StatusCode, a.body)
	}
	return tested
}

// ended waits until an event has succeeded.
func (g *trialGateway) ended(source, id string) {
	g.t.Helper()
	token := "Bearer " + tokenIn(g.t, filepath.Join(g.data, tokenFile))
	within(g.t, "the event of "+source+" has succeeded", func() bool { // asked without the description, which takes long to read
		r, err := http.NewRequestWithContext(g.t.Context(), http.MethodGet, g.admin+"/api/v1/events/"+id, nil)
		if err != nil {
			g.t.Fatal(err)
		}
		r.Header.Set("Authorization", token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			g.t.Fatal(err)
		}
		defer resp.Body.Close()
		var record struct{ State, Source string }
		return json.NewDecoder(resp.Body).Decode(&record) == nil && record.State == "ok" && record.Source == source
	})
}

func TestTrial_EverySampleOfEveryKindGoesThroughThePublicListener(t *testing.T) {
	for name, secure := range map[string]bool{"HTTP": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			var args []string
			if secure {
				cert, key := newAuthority(t).valid().save(t, t.TempDir())
				args = []string{"--tls-cert", cert, "--tls-key", key}
			}
			g := newTrialGateway(t, args...)
			kinds := map[string]bool{}
			for _, source := range g.signable {
				ready := g.ready(source)
				if ready.Unsigned != "" {
					t.Errorf("%s: %s", source, ready.Unsigned)
				}
				for _, body := range ready.Bodies {
					kinds[ready.Kind] = true
					for range 2 { // the second is none of the repeats
						g.checkTrial(source, ready.Kind, body, secure)
					}
				}
			}
			if want := trigger.Kinds(); len(kinds) != len(want) {
				t.Errorf("tried %v of %v", kinds, want)
			}
			if a := g.api(t, "GET", "/api/v1/triggers", ""); strings.Contains(string(a.body), `"refused":{"`) {
				t.Errorf("something was refused: %s", a.body)
			}
		})
	}
}

func (g *trialGateway) checkTrial(source, kind string, body console.ReadyToSend, secure bool) {
	g.t.Helper()
	got := g.try(source, "", body.Body)
	if strings.HasPrefix(got.URL, "https://") != secure || got.Status != 200 && got.Status != 202 || got.Headers["Funker-Error"] != "" || len(got.Sent) == 0 {
		g.t.Errorf("%s, %s: got %+v", source, body.Title, got)
	}
	if strings.Contains(body.Title, "ping") || strings.Contains(body.Title, "challenge") {
		if len(got.Events) != 0 {
			g.t.Errorf("%s, %s: an event came of it: %+v", source, body.Title, got)
		}
		return
	}
	if len(got.Events) != 1 || strings.Contains(got.Answer, "duplicate") {
		g.t.Fatalf("%s, %s: got %+v", source, body.Title, got)
	}
	if kind == trigger.Alexa && !strings.Contains(got.Answer, "Hello from your own swarm.") {
		g.t.Errorf("%s: Alexa says %s", source, got.Answer)
	}
	g.ended(source, got.Events[0])
}

func TestTrial_WhatOnlyTheSenderSignsCallsTheFunctionAlone(t *testing.T) {
	g := newTrialGateway(t)
	for _, source := range g.otherwise {
		ready := g.ready(source)
		if !strings.Contains(ready.Unsigned, "only") || len(ready.Functions) == 0 {
			t.Errorf("%s: %+v", source, ready)
		}
		path := "/api/v1/triggers/" + source + "/test"
		for _, body := range ready.Bodies {
			if p := g.apiRefused(t, "POST", path, body.Body, 409, "cannot_sign"); !strings.Contains(ready.Unsigned, p.Detail) {
				t.Errorf("%s: got %q, want %q", source, p.Detail, ready.Unsigned)
			}
			got := g.try(source, "?function=Echo", body.Body)
			if got.Function != "Echo" || got.URL != "" || got.Status != 0 || got.Failed != "" || len(got.Events) != 1 {
				t.Errorf("%s: got %+v", source, got)
			}
			if ready.Kind == trigger.SNS && (strings.Contains(got.Answer, "SigningCertURL") || !json.Valid([]byte(got.Answer))) {
				t.Errorf("%s: the function did not get what SNS brings it: %s", source, got.Answer)
			}
			if ready.Kind != trigger.SNS && compacted(t, got.Answer) != compacted(t, got.Body) {
				t.Errorf("%s: the function got %s of %s", source, got.Answer, got.Body)
			}
		}
		g.apiRefused(t, "POST", path+"?function=Nobody", ready.Bodies[0].Body, 404, "unknown_function")
	}
	if a := g.api(t, "GET", "/api/v1/events?source=test&kind=call", ""); !strings.Contains(string(a.body), `"function":"Echo"`) {
		t.Errorf("the calls are not recorded: %s", a.body)
	}
	for _, source := range g.otherwise {
		if a := g.api(t, "GET", "/api/v1/triggers/"+source, ""); !strings.Contains(string(a.body), `"accepted":0`) || !strings.Contains(string(a.body), `"refused":{}`) {
			t.Errorf("it counts for the sender: %s", a.body)
		}
	}
}

func compacted(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTrial_RefusesWhatNoSenderSends(t *testing.T) {
	g := newTrialGateway(t)
	source := g.signable[slices.IndexFunc(g.signable, func(s string) bool { return strings.HasPrefix(s, "github-") })]
	path := "/api/v1/triggers/" + source + "/test"
	if p := g.apiRefused(t, "POST", path, "{\n  \"ref\": nope\n}", 400, "bad_body"); !strings.Contains(p.Detail, "line 2, column 11") {
		t.Errorf("got %q", p.Detail)
	}
	if p := g.apiRefused(t, "POST", path, "", 400, "bad_body"); !strings.Contains(p.Detail, "empty") {
		t.Errorf("got %q", p.Detail)
	}
	g.apiRefused(t, "POST", path, `"`+strings.Repeat("x", 256<<10)+`"`, 413, "too_large")
	g.apiRefused(t, "POST", path+"?nonsense=1", "{}", 400, "bad_query")
	g.apiRefused(t, "POST", "/api/v1/triggers/github-nobody/test", "{}", 404, "no_trigger")
	g.apiRefused(t, "GET", "/api/v1/triggers/http/setup", "", 404, "no_trigger")
	if got := g.try(source, "?event=release", `{"action":"published"}`); got.Status != 202 || !slices.Contains(got.Sent, "X-Hub-Signature-256") {
		t.Errorf("got %+v", got)
	}
	if got := g.try(source, "?event=release", `{"action":"published"}`); !strings.Contains(got.Answer, `"duplicate":true`) {
		t.Errorf("the same body again: got %+v", got)
	}
	read := tokenIn(t, filepath.Join(g.data, readTokenFile))
	if got := askAs(t, "POST", g.admin+path, read); got != 403 {
		t.Errorf("with the read-only token: got %d", got)
	}
	if log := g.log.String(); !strings.Contains(log, "source="+source+" answer=202 events=1") || strings.Contains(log, "published") {
		t.Errorf("the log has:\n%s", log)
	}
}

func TestTrial_SetUpSaysWhatToEnterAndNeverASecret(t *testing.T) {
	g := newTrialGateway(t)
	for _, source := range slices.Concat(g.signable, g.otherwise) {
		var setup struct {
			URL     string
			Guessed bool `json:"url_guessed"`
			Steps   []string
			Values  []struct{ Name, Value string }
			Secrets []struct{ Key, File string }
			Docs    string
		}
		a := g.api(t, "GET", "/api/v1/triggers/"+source+"/setup", "")
		if err := json.Unmarshal(a.body, &setup); err != nil {
			t.Fatal(err)
		}
		if u, err := url.Parse(setup.URL); err != nil || !setup.Guessed || "http://"+u.Host != g.public || len(setup.Steps) == 0 || len(setup.Values) == 0 {
			t.Errorf("%s: got %s", source, a.body)
		}
		if text := documents(t)[filepath.FromSlash(setup.Docs)]; text == "" {
			t.Errorf("%s: there is no page %s", source, setup.Docs)
		}
		body := string(a.body)
		if strings.Contains(body, payloadSecret) || strings.Contains(body, signingKey) || strings.Contains(body, trigger.SampleSkillID) {
			t.Errorf("%s: it tells a secret: %s", source, body)
		}
		if len(setup.Secrets) == 0 && !strings.Contains(body, "insecure") && !strings.HasPrefix(source, "alexa") && !strings.HasPrefix(source, "sns") {
			t.Errorf("%s: where is the secret? %s", source, body)
		}
	}
}
