package ingress

import (
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

// startWith opens a gateway with one more trigger, on /hook, that runs Fetch.
func startWith(t *testing.T, cfg trigger.Config, change ...func(*Options)) *gateway {
	t.Helper()
	g := start(t, change...)
	m := manifest()
	m.Triggers = append(m.Triggers, &deploy.Trigger{Config: cfg, Name: "crew", Path: "/hook", Routes: []deploy.Route{{Function: "Fetch"}}})
	g.catalog.Set(m)
	return g
}

// sendAs sends a body, signed by its sender unless header says otherwise.
func (g *gateway) sendAs(cfg trigger.Config, body string, header ...string) answer {
	g.t.Helper()
	h, err := trigger.Sign(cfg, []byte(body), time.Now())
	if err != nil {
		g.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return g.do("POST", "/hook", h, strings.NewReader(body))
}

func signedBy(kind string) trigger.Config {
	return trigger.Config{Kind: kind, Secrets: []trigger.Secret{[]byte(secret)}}
}

func TestForges_EventsAreStoredAndRunOnce(t *testing.T) {
	signed := signedBy(trigger.Webhook)
	signed.HMAC = trigger.HMAC{Header: "X-Sig", Template: "{timestamp:X-Time}.{body}"}
	signed.IDFrom, signed.EventFrom = "/id", "/type"
	bearer := signedBy(trigger.Webhook)
	bearer.IDFrom, bearer.EventFrom = "X-Request-Id", "X-Event"
	for name, c := range map[string]struct {
		cfg       trigger.Config
		signature string // the header that has it
		event     string
	}{
		"gitea":           {signedBy(trigger.Gitea), "X-Gitea-Signature", "push"},
		"forgejo":         {signedBy(trigger.Forgejo), "X-Forgejo-Signature", "push"},
		"bitbucket":       {signedBy(trigger.Bitbucket), "X-Hub-Signature", "repo:push"},
		"webhook, signed": {signed, "X-Sig", "lamp.lit"},
		"webhook, bearer": {bearer, "Authorization", "sample"},
	} {
		t.Run(name, func(t *testing.T) {
			g := startWith(t, c.cfg, func(o *Options) { o.MaxBody = 100_000 })
			body := string(trigger.SampleFor(c.cfg, time.Now()))
			id := queue.NewID()
			a := g.sendAs(c.cfg, body, "X-Request-Id", id)
			e := g.event()
			a.want(t, 202, fmt.Sprintf(`{"id":%q,"status":"queued"}`+"\n", e.ID))
			if string(e.Body) != body || e.Source != c.cfg.Kind+"-crew" || e.Name != c.event || e.Header[c.signature] != "" {
				t.Errorf("the function got %s %q from %s with %v", e.Body, e.Name, e.Source, e.Header)
			}
			g.sendAs(c.cfg, body, "X-Request-Id", id).want(t, 202, fmt.Sprintf(`{"id":%q,"status":"queued","duplicate":true}`+"\n", e.ID))

			g.sendAs(c.cfg, body, c.signature, "").refused(t, 401, "unsigned")
			message := g.sendAs(c.cfg, body, c.signature, "Bearer "+strings.Repeat("0", 64)).refused(t, 401, "forged")
			if strings.Contains(message, secret) || strings.Contains(message, strings.Repeat("0", 8)) {
				t.Errorf("message: %s", message)
			}
			g.sendAs(c.cfg, "[not JSON").refused(t, 400, "not_json")
			g.sendAs(c.cfg, `{"a":"`+strings.Repeat("x", 100_000)+`"}`).refused(t, 413, "body_too_large")
			g.do("GET", "/hook?payload=%7B%7D", nil, nil).refused(t, 405, "method_not_allowed")
			g.idle()
		})
	}
}

func TestGitea_FormIsKeptAsItCame(t *testing.T) {
	cfg := signedBy(trigger.Gitea)
	g := startWith(t, cfg)
	body := trigger.SampleFor(cfg, time.Now())
	h, err := trigger.Sign(cfg, body, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	h.Set("Content-Type", "application/x-www-form-urlencoded")
	form := "payload=" + url.QueryEscape(string(body))
	if a := g.do("POST", "/hook", h, strings.NewReader(form)); a.StatusCode != 202 {
		t.Fatalf("got %d %s", a.StatusCode, a.body)
	}
	e := g.event()
	payload, err := trigger.Payload(e.Form, e.ContentType, e.Body)
	if err != nil || string(e.Body) != form || string(payload) != string(body) {
		t.Errorf("the function got %.40s, %v", payload, err)
	}
}

func TestBitbucket_TestOfTheConnectionRunsNothing(t *testing.T) {
	g := startWith(t, signedBy(trigger.Bitbucket))
	h := http.Header{"X-Event-Key": {"diagnostics:ping"}, "Content-Type": {"application/json"}}
	g.do("POST", "/hook", h, strings.NewReader(`{"test":true}`)).want(t, 200, `{"status":"connected"}`+"\n")
	records, err := g.queue.List(t.Context(), queue.Filter{Since: g.begin})
	if err != nil || len(records) != 0 {
		t.Errorf("stored: %v, %v", records, err)
	}
}

func TestWebhook_IsToldThatItsClockIsWrongOrItsBodyIsAForm(t *testing.T) {
	cfg := signedBy(trigger.Webhook)
	cfg.HMAC = trigger.HMAC{Header: "X-Sig", Template: "{timestamp:X-Time}.{body}"}
	g := startWith(t, cfg)
	for _, age := range []time.Duration{-6 * time.Minute, 6 * time.Minute} {
		h, err := trigger.Sign(cfg, []byte("{}"), time.Now().Add(age))
		if err != nil {
			t.Fatal(err)
		}
		g.do("POST", "/hook", h, strings.NewReader("{}")).refused(t, 401, "stale")
	}
	g.sendAs(cfg, "{}", "Content-Type", "application/x-www-form-urlencoded").refused(t, 415, "unsupported_content_type")
	g.idle()
}
