package ingress

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// signedKey is a secret that every kind takes.
var signedKey = trigger.Secret("whsec_" + base64.StdEncoding.EncodeToString([]byte("the lamp is lit, the horn is not")))

// signedConfigs are triggers whose senders sign the time with the body.
func signedConfigs() []trigger.Config {
	keys := []trigger.Secret{signedKey}
	return []trigger.Config{
		{Kind: trigger.StandardWebhooks, Secrets: keys}, {Kind: trigger.GitLab, SigningSecrets: keys},
		{Kind: trigger.Stripe, Secrets: keys}, {Kind: trigger.Slack, Secrets: keys},
	}
}

// startSigned opens a gateway with a trigger of each kind, on /<kind>, all of which run Fetch.
func startSigned(t *testing.T, change ...func(*Options)) *gateway {
	t.Helper()
	g := start(t, change...)
	m := manifest()
	for _, cfg := range signedConfigs() {
		m.Triggers = append(m.Triggers, &deploy.Trigger{Config: cfg, Name: "a", Path: "/" + cfg.Kind, Routes: []deploy.Route{{Function: "Fetch"}}})
	}
	g.catalog.Set(m)
	return g
}

// signed sends a body that was signed at a time.
func (g *gateway) signed(cfg trigger.Config, body string, at time.Time, header ...string) answer {
	g.t.Helper()
	h, err := trigger.Sign(cfg, []byte(body), at)
	if err != nil {
		g.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return g.do("POST", "/"+cfg.Kind, h, strings.NewReader(body))
}

func signedSample(cfg trigger.Config) string { return string(trigger.SampleFor(cfg, time.Now())) }

func TestSigned_AnEventIsStoredAndRunOnce(t *testing.T) {
	g := startSigned(t)
	for _, cfg := range signedConfigs() {
		status := 202
		if cfg.Kind == trigger.Slack {
			status = 200
		}
		id := []string{"webhook-id", "id-" + queue.NewID(), "Idempotency-Key", "x"}
		if cfg.Kind == trigger.StandardWebhooks || cfg.Kind == trigger.GitLab {
			id = nil // it is signed
		}
		body := signedSample(cfg)
		h, err := trigger.Sign(cfg, []byte(body), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		first := g.do("POST", "/"+cfg.Kind, h, strings.NewReader(body))
		e := g.event()
		first.want(t, status, fmt.Sprintf(`{"id":%q,"status":"queued"}`+"\n", e.ID))
		if string(e.Body) != body || e.Source != cfg.Kind+"-a" || e.Function != "Fetch" || e.Name == "" {
			t.Errorf("%s: the function got %+v", cfg.Kind, e)
		}
		for name, value := range e.Header {
			if strings.Contains(strings.ToLower(name), "signature") || strings.Contains(name, "Token") {
				t.Errorf("%s: stored %s: %s", cfg.Kind, name, value)
			}
		}
		for i := 0; i < len(id); i += 2 {
			h.Set(id[i], id[i+1])
		}
		g.do("POST", "/"+cfg.Kind, h, strings.NewReader(body)).want(t, status, fmt.Sprintf(`{"id":%q,"status":"queued","duplicate":true}`+"\n", e.ID))
		g.idle()
	}
}

func TestSigned_ForgedStaleAndUnsignedRequestsAreRefused(t *testing.T) {
	g := startSigned(t)
	for _, cfg := range signedConfigs() {
		body, now := signedSample(cfg), time.Now()
		another := cfg
		key := trigger.Secret("whsec_" + base64.StdEncoding.EncodeToString([]byte("the lamp is lit, the horn is hot")))
		if another.Secrets = []trigger.Secret{key}; cfg.Kind == trigger.GitLab {
			another.Secrets, another.SigningSecrets = nil, []trigger.Secret{key}
		}
		none := trigger.Config{Kind: cfg.Kind, Insecure: true}
		for _, a := range []struct {
			answer
			code string
		}{
			{g.signed(another, body, now), "forged"}, {g.signed(none, body, now), "unsigned"},
			{g.signed(cfg, body, now.Add(-time.Hour)), "stale"}, {g.signed(cfg, body, now.Add(time.Hour)), "stale"},
		} {
			message := a.refused(t, 401, a.code)
			a.header(t, "X-Slack-No-Retry", "")
			if strings.Contains(message, string(signedKey)[6:20]) {
				t.Errorf("%s: message %s", cfg.Kind, message)
			}
		}
	}
	g.idle()
}

func TestSigned_WhatNoFunctionCanReadIsRefusedBeforeItIsStored(t *testing.T) {
	g := startSigned(t, func(o *Options) { o.MaxBody = 100_000 })
	for _, cfg := range signedConfigs() {
		final := ""
		if cfg.Kind == trigger.Slack {
			final = "1"
		}
		now := time.Now()
		for _, a := range []struct {
			answer
			status int
			code   string
		}{
			{g.signed(cfg, `{"type":`, now, "Content-Type", "application/json"), 400, "not_json"},
			{g.signed(cfg, `{}`, now, "Content-Type", "text/xml"), 415, "unsupported_content_type"},
			{g.signed(cfg, strings.Repeat(" ", 100_001), now), 413, "body_too_large"},
		} {
			a.refused(t, a.status, a.code)
			a.header(t, "X-Slack-No-Retry", final)
		}
	}
	g.idle()
}

func TestSlack_GetsItsChallengeBack(t *testing.T) {
	g := startSigned(t)
	cfg, body := signedConfigs()[3], `{"token":"x","challenge":"3eZbrw1a \"<B>","type":"url_verification"}`
	a := g.signed(cfg, body, time.Now())
	a.want(t, 200, `{"challenge":"3eZbrw1a \"<B>"}`)
	a.header(t, "Content-Type", "application/json")
	g.signed(trigger.Config{Kind: cfg.Kind, Insecure: true}, body, time.Now()).refused(t, 401, "unsigned")
	records, err := g.queue.List(t.Context(), queue.Filter{Since: g.begin})
	if err != nil || len(records) != 0 {
		t.Errorf("stored: %v, %v", records, err)
	}
}

func TestSlack_ShowsNothingInReplyToACommandOrAPressedButton(t *testing.T) {
	g := startSigned(t)
	button := "payload=" + url.QueryEscape(`{"type":"block_actions","trigger_id":"2"}`)
	for body, want := range map[string]struct{ name, payload string }{
		"command=%2Flamp&text=on+%26+off&trigger_id=1": {"/lamp", `{"command":"/lamp","text":"on & off","trigger_id":"1"}`},
		button: {"block_actions", `{"type":"block_actions","trigger_id":"2"}`},
	} {
		body += "&nonce=" + queue.NewID()
		if strings.HasPrefix(body, "command") {
			want.payload = strings.Replace(want.payload, "}", fmt.Sprintf(`,"nonce":%q}`, body[len(body)-26:]), 1)
		}
		a := g.signed(signedConfigs()[3], body, time.Now(), "X-Slack-Retry-Num", "1", "X-Slack-Retry-Reason", "http_timeout")
		e := g.event()
		a.want(t, 200, "")
		a.header(t, "Funker-Event-Id", e.ID)
		if e.Name != want.name || e.Header["X-Slack-Retry-Num"] != "1" || e.Header["X-Slack-Retry-Reason"] != "http_timeout" {
			t.Errorf("got the event %+v", e)
		}
		payload, err := trigger.Payload(e.Form, e.ContentType, e.Body)
		if err != nil || string(payload) != want.payload || string(e.Body) != body {
			t.Errorf("got %s, %v of %s", payload, err, e.Body)
		}
	}
}

func TestSlack_IsToldToComeBackWhenTheGatewayIsBusy(t *testing.T) {
	f := failureOf(codeBusy, "", 0)
	if f.final() || failureOf(codeFull, "", 0).final() || failureOf(codeBodyIncomplete, "", 0).final() {
		t.Error("what passes by is taken for final")
	}
	if !failureOf(codeBodyTooLarge, "", 0).final() {
		t.Error("a body that is too large is not taken for final")
	}
}

func TestGitLab_TheTokenAloneIsEnoughWhereThereIsNoSigningToken(t *testing.T) {
	g := startSigned(t)
	m := manifest()
	cfg := trigger.Config{Kind: trigger.GitLab, Secrets: []trigger.Secret{[]byte(secret)}}
	m.Triggers = append(m.Triggers, &deploy.Trigger{Config: cfg, Name: "old", Path: "/gitlab", Routes: []deploy.Route{
		{Function: "Fetch", Filter: deploy.Filter{Events: []string{"Push Hook"}}},
	}})
	g.catalog.Set(m)
	a := g.signed(cfg, signedSample(cfg), time.Now())
	e := g.event()
	a.want(t, 202, fmt.Sprintf(`{"id":%q,"status":"queued"}`+"\n", e.ID))
	if e.Header[http.CanonicalHeaderKey("X-Gitlab-Event")] != "Push Hook" || len(e.Header["X-Gitlab-Token"]) > 0 {
		t.Errorf("headers: %v", e.Header)
	}
	g.signed(cfg, signedSample(cfg), time.Now(), "X-Gitlab-Event", "Note Hook").want(t, 202, `{"status":"ignored"}`+"\n")
	g.signed(cfg, signedSample(cfg), time.Now(), "X-Gitlab-Token", "another").refused(t, 401, "forged")
}
