package ingress

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// voice is an Alexa request of a type, with an intent when that is not "".
func voice(kind, intent string) string {
	if intent != "" {
		intent = fmt.Sprintf(`,"intent":{"name":%q}`, intent)
	}
	return fmt.Sprintf(`{"version":"1.0","context":{"System":{"application":{"applicationId":%q}}},"request":{"type":%q,"requestId":"r-%d"%s}}`,
		trigger.SampleSkillID, kind, time.Now().UnixNano(), intent)
}

const spoken = `{"version":"1.0","response":{"outputSpeech":{"type":"PlainText","text":"` + sorry + `"},"shouldEndSession":true}}`

func TestAlexa_HearsTheReplyOfTheFunctionUnchanged(t *testing.T) {
	g := start(t)
	for body, function := range map[string]string{
		string(trigger.Sample(trigger.Alexa)):                      "HelloIntent",
		voice("IntentRequest", "MappedIntent"):                     "HelloIntent",
		voice("IntentRequest", "AMAZON.HelpIntent"):                "AMAZON.HelpIntent",
		voice("LaunchRequest", ""):                                 "LaunchRequest",
		voice("CanFulfillIntentRequest", "HelloIntent"):            "HelloIntent",
		strings.TrimSpace(voice("IntentRequest", "ünï")) + "\n\n ": "ünï",
	} {
		a := g.alexa(body)
		a.want(t, 200, voiced(function))
		a.header(t, "Content-Type", "application/json;charset=UTF-8")
		a.header(t, "Funker-Error", "")
		e := g.event()
		a.header(t, "Funker-Event-Id", e.ID)
		if string(e.Body) != body || e.Source != "alexa" || time.Until(e.Deadline) > 6*time.Second {
			t.Errorf("the function got %s from %s until %s", e.Body, e.Source, e.Deadline)
		}
	}
}

func TestAlexa_FallsBackToTheFunctionOfTheTrigger(t *testing.T) {
	g := start(t)
	m := manifest()
	m.Triggers[0].Function = "Fetch"
	g.catalog.Set(m)
	g.alexa(voice("IntentRequest", "Strange")).want(t, 200, voiced("Fetch"))
}

func TestAlexa_HearsAnApologyWhenTheFunctionFails(t *testing.T) {
	g := start(t)
	for intent, code := range map[string]string{
		"BrokenIntent": queue.CodeFunctionFailed, "SlowIntent": queue.CodeTimeout, "NobodyIntent": queue.CodeNoWorker,
		"StrangeIntent": "unknown_function",
	} {
		a := g.alexa(voice("IntentRequest", intent))
		a.want(t, 200, spoken)
		a.header(t, "Funker-Error", code)
		a.header(t, "Content-Type", "application/json;charset=UTF-8")
	}
	m := manifest()
	m.Triggers[0].Apology = ""
	g.catalog.Set(m)
	if a := g.alexa(voice("LaunchRequest.Strange", "")); !strings.Contains(a.body, deploy.DefaultApology) {
		t.Errorf("got %s", a.body)
	}
}

func TestAlexa_IsNotSpokenToWhereItTakesNoSpeech(t *testing.T) {
	g := start(t)
	for kind, code := range map[string]string{
		"AudioPlayer.PlaybackStopped": queue.CodeFunctionFailed, "AudioPlayer.PlaybackStarted": "unknown_function",
	} {
		a := g.alexa(voice(kind, ""))
		a.want(t, 200, `{"version":"1.0","response":{}}`)
		a.header(t, "Funker-Error", code)
	}
}

func TestAlexa_StoresWhatCannotBeAnswered(t *testing.T) {
	g := start(t)
	body := voice("SessionEndedRequest", "")
	for range 2 { // the second is a repeat
		a := g.alexa(body)
		a.want(t, 200, `{"version":"1.0","response":{}}`)
		a.header(t, "Funker-Error", "")
		if a.Header.Get("Funker-Event-Id") == "" {
			t.Error("no event id")
		}
	}
	if e := g.event(); e.Function != "ended" || string(e.Body) != body || !e.Deadline.IsZero() {
		t.Errorf("the function got %+v", e)
	}
	a := g.alexa(voice("AlexaSkillEvent.SkillDisabled", ""))
	a.want(t, 200, `{"version":"1.0","response":{}}`)
	a.header(t, "Funker-Event-Id", "")
	records, err := g.queue.List(t.Context(), queue.Filter{Kind: "event", Since: g.begin})
	if err != nil || len(records) != 1 {
		t.Errorf("stored: %v, %v", records, err)
	}
}

func TestAlexa_IsAnswered400ForEverythingThatIsNotVerified(t *testing.T) {
	g := start(t, func(o *Options) { o.MaxBody = 100_000 })
	sample := string(trigger.Sample(trigger.Alexa))
	g.alexa(strings.ReplaceAll(sample, trigger.SampleSkillID, "amzn1.ask.skill.other")).refused(t, 400, "wrong_skill")
	g.alexa(`{"hello":"world"}`).refused(t, 400, "malformed")
	g.alexa(strings.Replace(sample, "{", `{"session":{},`, 1)).refused(t, 400, "malformed")
	g.alexa(`not JSON`).refused(t, 400, "not_json")
	g.alexa(``).refused(t, 400, "empty_body")
	g.alexa(strings.Repeat("[", 10_000)).refused(t, 400, "nested_too_deep")
	g.alexa("{\"a\":\"\xff\"}").refused(t, 400, "not_utf8")
	g.alexa(strings.Repeat(" ", 100_001)).refused(t, 400, "body_too_large")
	g.do("POST", "/alexa", http.Header{"Content-Type": {"text/xml"}}, strings.NewReader(sample)).refused(t, 400, "unsupported_content_type")
	g.idle()
}

func TestGitHub_PushIsStoredAndRunOnce(t *testing.T) {
	g := start(t)
	body := string(trigger.SampleFor(manifest().Triggers[1].Config, time.Now()))
	delivery := queue.NewID()
	a := g.push(body, "X-GitHub-Delivery", delivery, "X-Github-Hook-Id", "7")
	e := g.event()
	a.want(t, 202, fmt.Sprintf(`{"id":%q,"status":"queued"}`+"\n", e.ID))
	a.header(t, "Location", "/api/v1/events/"+e.ID)
	a.header(t, "Funker-Event-Id", e.ID)
	if string(e.Body) != body || e.Source != "github-acme" || e.Function != "Fetch" || e.ContentType != "application/json" {
		t.Errorf("the function got %s from %s as %s", e.Body, e.Source, e.ContentType)
	}
	if e.Header["X-Github-Event"] != "push" || e.Header["X-Github-Delivery"] != delivery || e.Header["X-Hub-Signature-256"] != "" {
		t.Errorf("headers: %v", e.Header)
	}
	again := g.push(body, "X-GitHub-Delivery", delivery)
	again.want(t, 202, fmt.Sprintf(`{"id":%q,"status":"queued","duplicate":true}`+"\n", e.ID))
	again.header(t, "Location", "/api/v1/events/"+e.ID)
	again.header(t, "Funker-Event-Id", e.ID)
	g.idle()
}

func TestGitHub_RepeatOfADeadEventRunsItAgain(t *testing.T) {
	g := start(t)
	m := manifest()
	m.Triggers[1].Routes[0].Function = "Nobody"
	g.catalog.Set(m)
	work(t, "Nobody", 1, func(e *queue.Event) queue.Result {
		if e.ReplayOf == "" {
			return queue.Result{Outcome: queue.OutcomeFailed, Code: queue.CodeFunctionFailed, Message: "it broke", Final: true}
		}
		return introduce(e)
	})
	body, delivery := string(trigger.SampleFor(m.Triggers[1].Config, time.Now())), queue.NewID()
	id := g.push(body, "X-GitHub-Delivery", delivery).Header.Get("Funker-Event-Id")
	within(t, "the event is dead", func() bool {
		r, err := g.queue.Get(t.Context(), id)
		return err == nil && r.State == queue.StateDead
	})
	again := g.push(body, "X-GitHub-Delivery", delivery)
	again.want(t, 202, fmt.Sprintf(`{"id":%q,"status":"queued","replay":true}`+"\n", id))
	again.header(t, "Location", "/api/v1/events/"+id)
	again.header(t, "Funker-Event-Id", id)
	if e := g.event(); e.ID != id || e.ReplayOf == "" || string(e.Body) != body {
		t.Errorf("the function got %+v", e)
	}
}

func TestGitHub_EachRouteGetsItsOwnEvent(t *testing.T) {
	g := start(t)
	m := manifest()
	m.Triggers[1].Routes = []deploy.Route{
		{Function: "Fetch"}, {Function: "HelloIntent", Filter: deploy.Filter{Events: []string{"push"}}},
		{Function: "LaunchRequest", Filter: deploy.Filter{Events: []string{"release"}}},
	}
	g.catalog.Set(m)
	body := string(trigger.SampleFor(m.Triggers[1].Config, time.Now()))
	a := g.push(body)
	events := map[string]string{}
	for range 2 {
		e := g.event()
		events[e.Function] = e.ID
	}
	if len(events) != 2 || events["Fetch"] == "" || events["HelloIntent"] == "" || events["Fetch"] == events["HelloIntent"] {
		t.Fatalf("got the events %v, want one each for Fetch and HelloIntent", events)
	}
	a.want(t, 202, fmt.Sprintf(`{"status":"queued","events":[{"id":%q,"function":"Fetch"},{"id":%q,"function":"HelloIntent"}],"count":2}`+"\n",
		events["Fetch"], events["HelloIntent"]))
	g.push(body).want(t, 202, fmt.Sprintf(`{"status":"queued","events":[{"id":%q,"function":"Fetch","duplicate":true},{"id":%q,"function":"HelloIntent","duplicate":true}],"count":2}`+"\n",
		events["Fetch"], events["HelloIntent"]))
	g.idle()
}

func TestGitHub_FormIsKeptAsItCame(t *testing.T) {
	g := start(t)
	form := "payload=" + url.QueryEscape(`{"ref":"`+fresh()+`","commits":[]}`)
	if a := g.push(form, "Content-Type", "application/x-www-form-urlencoded", "X-GitHub-Event", "push"); a.StatusCode != 202 {
		t.Fatalf("got %d %s", a.StatusCode, a.body)
	}
	if e := g.event(); string(e.Body) != form || e.ContentType != "application/x-www-form-urlencoded" {
		t.Errorf("the function got %s as %s", e.Body, e.ContentType)
	}
}

func TestGitHub_PingAndUnwantedEventsRunNothing(t *testing.T) {
	g := start(t)
	g.push(`{"zen":"x","hook_id":1}`, "X-GitHub-Event", "ping").want(t, 200, `{"status":"connected"}`+"\n")
	g.push(`{"action":"opened"}`, "X-GitHub-Event", "issues").want(t, 202, `{"status":"ignored"}`+"\n")
	records, err := g.queue.List(t.Context(), queue.Filter{Since: g.begin})
	if err != nil || len(records) != 0 {
		t.Errorf("stored: %v, %v", records, err)
	}
}

func TestGitHub_RefusesWhatIsNotSigned(t *testing.T) {
	g := start(t)
	body := string(trigger.Sample(trigger.GitHub))
	g.push(body, "X-Hub-Signature-256", "").refused(t, 401, "unsigned")
	message := g.push(body, "X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64)).refused(t, 401, "forged")
	if strings.Contains(message, "sha256=") || strings.Contains(message, secret) {
		t.Errorf("message: %s", message)
	}
	g.push("not JSON", "X-GitHub-Event", "push").refused(t, 400, "not_json")
	g.push("", "X-GitHub-Event", "push").refused(t, 400, "empty_body")
	g.push(`{"action":"opened"}`).refused(t, 400, "malformed")
	g.idle()
}

func TestRoot_TellsTheSenderByTheShapeOfTheBody(t *testing.T) {
	g := start(t)
	alexa, push := trigger.Sample(trigger.Alexa), trigger.SampleFor(manifest().Triggers[1].Config, time.Now())
	header, err := trigger.Sign(trigger.Config{Kind: trigger.GitHub, Secrets: []trigger.Secret{[]byte(secret)}}, push, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	g.do("POST", "/", nil, strings.NewReader(string(alexa))).want(t, 200, voiced("HelloIntent"))
	if a := g.do("POST", "/", header, strings.NewReader(string(push))); a.StatusCode != 202 {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
	g.do("POST", "/", nil, strings.NewReader(string(push))).refused(t, 401, "unsigned")
	g.do("POST", "/", nil, strings.NewReader(`{"hello":"world"}`)).refused(t, 400, "unknown_shape")
	g.do("POST", "/", nil, strings.NewReader(`{`)).refused(t, 400, "not_json")
	g.do("POST", "/", nil, nil).refused(t, 400, "empty_body")
}

func TestRoot_NamesThePathsWhenSeveralTriggersFit(t *testing.T) {
	g := start(t)
	m := manifest()
	m.Triggers = append(m.Triggers, &deploy.Trigger{Config: trigger.Config{Kind: trigger.Alexa, Insecure: true}, Name: "b", Path: "/alexa-b"})
	g.catalog.Set(m)
	sample := string(trigger.Sample(trigger.Alexa))
	message := g.do("POST", "/", nil, strings.NewReader(sample)).refused(t, 404, "no_trigger")
	if !strings.Contains(message, "/alexa, /alexa-b") {
		t.Errorf("message: %s", message)
	}
	m = manifest()
	m.Triggers = nil
	g.catalog.Set(m)
	g.do("POST", "/", nil, strings.NewReader(sample)).refused(t, 404, "no_trigger")
}

func TestPayloads_RecordedFromSendersAreAnswered(t *testing.T) {
	dir := os.Getenv("FUNKER_TEST_PAYLOADS")
	if dir == "" {
		t.Log("FUNKER_TEST_PAYLOADS is not set: no recorded payloads are tried")
		return
	}
	g := start(t)
	m := manifest()
	m.Triggers[0].SkillIDs, m.Triggers[0].IDOnly, m.Triggers[0].Insecure = nil, false, true
	m.Triggers[1].Routes[0].Filter.Events = nil
	g.catalog.Set(m)
	for _, file := range recorded(t, dir, "alexa", "*Request.json", "*.no-session.json") {
		if a := g.alexa(file); a.StatusCode != 200 {
			t.Errorf("got %d %s", a.StatusCode, a.body)
		}
	}
	for _, file := range recorded(t, dir, "github", "*.*.json") {
		if a := g.push(file, "X-GitHub-Event", "of_a_file", "X-GitHub-Delivery", fmt.Sprint(time.Now().UnixNano())); a.StatusCode != 202 {
			t.Errorf("got %d %s", a.StatusCode, a.body)
		}
		g.event()
	}
}

func recorded(t *testing.T, dir, sender string, patterns ...string) []string {
	t.Helper()
	var bodies []string
	for _, p := range patterns {
		files, err := filepath.Glob(filepath.Join(dir, sender, p))
		if err != nil || len(files) == 0 {
			t.Fatalf("no %s in %s/%s: %v", p, dir, sender, err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			bodies = append(bodies, string(b))
		}
	}
	return bodies
}
