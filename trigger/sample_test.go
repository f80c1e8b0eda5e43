package trigger_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

func TestSample_IsAcceptedByTheTriggerItIsFor(t *testing.T) {
	alexa := trigger.Config{Kind: trigger.Alexa, SkillIDs: []string{trigger.SampleSkillID}, IDOnly: true}
	for _, cfg := range []trigger.Config{alexa, gitHubConfig} {
		body := trigger.Sample(cfg.Kind)
		got, err := newVerifier(t, cfg)(trigger.Request{Header: sign(t, cfg, body), Body: body, Time: received})
		if err != nil || got.DeliveryID == "" {
			t.Errorf("%s: got %+v, %v", cfg.Kind, got, err)
		}
		if kind := trigger.Kind(body); kind != cfg.Kind {
			t.Errorf("got kind %q, want %q", kind, cfg.Kind)
		}
	}
}

func TestSample_IsWhatItSaysItIs(t *testing.T) {
	var call struct {
		Request struct{ Intent struct{ Name string } }
	}
	if err := json.Unmarshal(trigger.Sample(trigger.Alexa), &call); err != nil || call.Request.Intent.Name != "HelloIntent" {
		t.Errorf("got %+v, %v", call, err)
	}
	var push struct {
		Commits []struct{ ID, Message string }
	}
	if err := json.Unmarshal(trigger.Sample(trigger.GitHub), &push); err != nil || len(push.Commits) != 2 {
		t.Errorf("got %+v, %v", push, err)
	}
	if got := trigger.Sample("x"); got != nil {
		t.Errorf("got %s for a kind that does not exist", got)
	}
	if got := trigger.SampleFor(trigger.Config{Kind: "x"}, received); got != nil {
		t.Errorf("got %s for a kind that does not exist", got)
	}
}

func TestSample_BelongsToTheCaller(t *testing.T) {
	clear(trigger.Sample(trigger.Alexa))
	if body := trigger.Sample(trigger.Alexa); !json.Valid(body) {
		t.Errorf("another caller changed the sample: %.20q", body)
	}
}

func TestSampleFor_IsNewEachTimeAndForThatSkill(t *testing.T) {
	for _, cfg := range []trigger.Config{alexaConfig, gitHubConfig, {Kind: trigger.Alexa, Insecure: true}} {
		verify := newVerifier(t, cfg)
		now := time.Date(2031, 5, 6, 9, 8, 9, 0, time.FixedZone("", 7200))
		first, second := trigger.SampleFor(cfg, now), trigger.SampleFor(cfg, now)
		if bytes.Equal(first, second) {
			t.Errorf("%s: two samples are equal", cfg.Kind)
		}
		if !bytes.Contains(first, []byte("2031-05-06T07:08:09Z")) {
			t.Errorf("%s: the time is not in the sample", cfg.Kind)
		}
		for _, body := range [][]byte{first, second} {
			if _, err := verify(trigger.Request{Header: sign(t, cfg, body), Body: body, Time: now}); err != nil {
				t.Errorf("%s: %v", cfg.Kind, err)
			}
		}
	}
}

func TestSign_SendsTheHeadersOfTheSender(t *testing.T) {
	guid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	header := sign(t, gitHubConfig, trigger.Sample(trigger.GitHub))
	if got := header.Get("X-GitHub-Delivery"); !guid.MatchString(got) {
		t.Errorf("got the delivery id %q, want a GUID", got)
	}
	if got := header.Get("X-GitHub-Event"); got != "push" {
		t.Errorf("got the event %q, want push", got)
	}
	if again := sign(t, gitHubConfig, trigger.Sample(trigger.GitHub)); again.Get("X-GitHub-Delivery") == header.Get("X-GitHub-Delivery") {
		t.Error("two deliveries have the same id")
	}
	if got := sign(t, gitHubConfig, []byte(`{"zen":"","hook_id":1}`)).Get("X-GitHub-Event"); got != "ping" {
		t.Errorf("got the event %q, want ping", got)
	}
	if got := sign(t, gitHubConfig, []byte(`{"action":"opened"}`)).Values("X-GitHub-Event"); got != nil {
		t.Errorf("got the event %q, want none as it cannot be known", got)
	}
	header = sign(t, alexaConfig, trigger.Sample(trigger.Alexa))
	if got := header.Get("Content-Type"); !strings.HasPrefix(got, "application/json") {
		t.Errorf("got the content type %q", got)
	}
}

func TestSign_WithoutASecretSignsNothing(t *testing.T) {
	header := sign(t, trigger.Config{Kind: trigger.GitHub, Insecure: true}, trigger.Sample(trigger.GitHub))
	if got := header.Values("X-Hub-Signature-256"); got != nil {
		t.Errorf("got the signature %q, want none", got)
	}
}
