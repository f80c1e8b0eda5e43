package ingress

import (
	"net/http"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

func TestTriggers_ComeAndGoWithTheManifest(t *testing.T) {
	g := start(t)
	push := func() answer {
		header := http.Header{"X-Github-Event": {"push"}, "Content-Type": {"application/json"}}
		return g.do("POST", "/github/late", header, strings.NewReader("{}"))
	}
	push().refused(t, 404, "not_found")
	m := manifest()
	m.Triggers = append(m.Triggers, &deploy.Trigger{Config: trigger.Config{Kind: trigger.GitHub, Insecure: true}, Name: "late", Path: "/github/late", Routes: []deploy.Route{{Function: "Fetch"}}})
	g.catalog.Set(m)
	if a := push(); a.StatusCode != 202 {
		t.Errorf("got %d %s, want 202", a.StatusCode, a.body)
	}
	g.catalog.Set(manifest())
	push().refused(t, 404, "not_found")
}

// A sender that gets 404 takes its address for wrong, and one that gets 503 comes back.
func TestTriggers_ThatAreClosedSendTheirSendersAwayForAWhile(t *testing.T) {
	g := start(t)
	m := manifest()
	for _, t := range m.Triggers {
		*t = deploy.Trigger{Config: trigger.Config{Kind: t.Kind}, Name: t.Name, Path: t.Path, Closed: "the secret is missing"}
	}
	g.catalog.Set(m)
	for _, a := range []answer{
		g.push(string(trigger.Sample(trigger.GitHub))), g.alexa(string(trigger.Sample(trigger.Alexa))),
		g.do("POST", "/", nil, strings.NewReader(string(trigger.Sample(trigger.Alexa)))),
	} {
		if message := a.refused(t, 503, "unavailable"); strings.Contains(message, "secret") {
			t.Errorf("a sender is told: %s", message)
		}
		a.header(t, "Retry-After", "5")
	}
	if err := Check(m); err != nil {
		t.Errorf("a closed trigger is no fault, got %v", err)
	}
	g.idle()
}

func TestCheck_NamesEveryTriggerThatCannotBeServed(t *testing.T) {
	m := manifest()
	for _, t := range m.Triggers {
		t.Secrets, t.SkillIDs, t.IDOnly = nil, nil, false
	}
	err := Check(m)
	if err == nil || !strings.Contains(err.Error(), "/alexa") || !strings.Contains(err.Error(), "/github/acme") {
		t.Errorf("got %v, want both", err)
	}
	if err := Check(manifest()); err != nil {
		t.Error(err)
	}
}
