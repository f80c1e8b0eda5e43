package trigger_test

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// A sample is what its trigger takes, new each time in what tells requests apart, and a repeat when it is sent again.
func TestSampleFor_IsNewEachTimeAndAccepted(t *testing.T) {
	now := time.Date(2031, 5, 6, 9, 8, 9, 0, time.FixedZone("", 7200))
	var all []trigger.Config
	for _, cfg := range everyKind() {
		all = append(all, cfg, trigger.Config{Kind: cfg.Kind, Insecure: true, IDFrom: cfg.IDFrom, EventFrom: cfg.EventFrom})
	}
	raw := trigger.Config{Kind: trigger.SNS, Topics: []string{topic}, RawDelivery: true, User: "sns", Secrets: []trigger.Secret{[]byte(secret)}}
	for _, cfg := range append(all, raw, gitLabConfig, signedWith(trigger.HMAC{Header: "X-Sig", Template: "{header:X-Id}.{timestamp:X-Time}.{body}"})) {
		verify := newVerifier(t, cfg)
		identities, bodies := map[string]bool{}, map[string]bool{}
		for range 2 {
			body := trigger.SampleFor(cfg, now)
			header, err := trigger.Sign(cfg, body, now)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				got, err := verify(t.Context(), trigger.Request{Header: header, Body: body, Time: now})
				if err != nil || got.Answer == trigger.AnswerControl {
					t.Errorf("%s: got %+v, %v", cfg.Kind, got, err)
				}
				identities[got.Identity], bodies[string(body)] = true, true
			}
			if text := string(body); strings.Contains(text, "2026-11-02T08:30:00Z") || strings.Contains(text, "1793608") || !strings.Contains(text, "2031-05-06T07:08:09Z") && !strings.Contains(text, strconv.FormatInt(now.Unix(), 10)) {
				t.Errorf("%s: the sample is not of now: %s", cfg.Kind, body)
			}
		}
		if len(identities) != 2 || identities[""] || len(bodies) != 2 {
			t.Errorf("%s: two samples have the identities %v", cfg.Kind, identities)
		}
	}
}

func TestKind_TellsSamplesOfAlexaAndGitHub(t *testing.T) {
	for _, kind := range []string{trigger.Alexa, trigger.GitHub} {
		if got := trigger.Kind(trigger.Sample(kind)); got != kind {
			t.Errorf("the sample of %s is taken for one of %q", kind, got)
		}
	}
	for _, kind := range []string{trigger.StandardWebhooks, trigger.Stripe, trigger.Slack, trigger.SNS, trigger.CloudEvents, trigger.MinIO} {
		if got := trigger.Kind(trigger.Sample(kind)); got != "" {
			t.Errorf("the sample of %s is taken for one of %q", kind, got)
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
