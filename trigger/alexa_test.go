package trigger_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

const (
	goodContext = `"context":{"System":{"application":{"applicationId":"` + skill + `"},"user":{}}}`
	goodSession = `"session":{"new":true,"application":{"applicationId":"` + skill + `"}}`
	goodRequest = `"request":{"type":"IntentRequest","requestId":"r1","intent":{"name":"HelloIntent","slots":{"name":{"name":"name"}}}}`
)

// object puts members together.
func object(members ...string) []byte {
	return []byte("{" + strings.Join(members, ",") + "}")
}

func request(kind string) string {
	return fmt.Sprintf(`"request":{"type":%q,"requestId":"r1"}`, kind)
}

func TestAlexa_AcceptsEveryRequestType(t *testing.T) {
	cases := []struct {
		kind   string
		answer trigger.Answer
		speech bool
	}{
		{"LaunchRequest", trigger.AnswerReply, true},
		{"SessionResumedRequest", trigger.AnswerReply, true},
		{"Connections.Request", trigger.AnswerReply, true},
		{"Connections.Response", trigger.AnswerReply, true},
		{"Dialog.InputRequest", trigger.AnswerReply, true},
		{"Dialog.API.Invoked", trigger.AnswerReply, true},
		{"Display.ElementSelected", trigger.AnswerReply, true},
		{"Alexa.Presentation.APL.UserEvent", trigger.AnswerReply, true},
		{"GameEngine.InputHandlerEvent", trigger.AnswerReply, true},
		{"CustomInterfaceController.EventsReceived", trigger.AnswerReply, true},
		{"Something.Amazon.InventsLater", trigger.AnswerReply, true},
		{"AudioPlayer.PlaybackStarted", trigger.AnswerReply, false},
		{"AudioPlayer.PlaybackNearlyFinished", trigger.AnswerReply, false},
		{"PlaybackController.NextCommandIssued", trigger.AnswerReply, false},
		{"System.ExceptionEncountered", trigger.AnswerReply, false},
		{"AlexaHouseholdListEvent.ItemsCreated", trigger.AnswerReply, false},
		{"Reminders.ReminderCreated", trigger.AnswerReply, false},
		{"Messaging.MessageReceived", trigger.AnswerReply, false},
		{"Alexa.DataStore.PackageManager.UsagesInstalled", trigger.AnswerReply, false},
		{"SessionEndedRequest", trigger.AnswerStored, false},
		{"AlexaSkillEvent.SkillEnabled", trigger.AnswerStored, false},
		{"AlexaSkillEvent.SkillDisabled", trigger.AnswerStored, false},
	}
	verify := newVerifier(t, alexaConfig)
	for _, c := range cases {
		for name, members := range map[string][]string{
			"with session":         {goodContext, goodSession, request(c.kind)},
			"without session":      {goodContext, request(c.kind)},
			"session, no context":  {goodSession, request(c.kind)},
			"members turned round": {request(c.kind), goodSession, goodContext},
		} {
			got, err := verify(t.Context(), trigger.Request{Body: object(members...), Time: received})
			if err != nil {
				t.Errorf("%s %s: %v", c.kind, name, err)
				continue
			}
			if got.Name != c.kind || got.Answer != c.answer || got.Speech != c.speech || got.Identity != "r1" || got.Intent != "" || len(got.Header) != 0 {
				t.Errorf("%s %s: got %+v", c.kind, name, got)
			}
		}
	}
}

func TestAlexa_NamesTheIntent(t *testing.T) {
	verify := newVerifier(t, alexaConfig)
	for _, intent := range []string{"HelloIntent", "AMAZON.HelpIntent", "ünï", "a*b>c", strings.Repeat("ü", 200)} {
		for kind, speech := range map[string]bool{"IntentRequest": true, "CanFulfillIntentRequest": false} {
			body := object(goodContext, fmt.Sprintf(`"request":{"type":%q,"intent":{"name":%q}}`, kind, intent))
			got, err := verify(t.Context(), trigger.Request{Body: body})
			if err != nil {
				t.Fatalf("%s %s: %v", kind, intent, err)
			}
			want := trigger.Event{Name: kind, Intent: intent, Answer: trigger.AnswerReply, Speech: speech}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
	}
}

func TestAlexa_ReadsEscapedKeysAndValuesLikeAnyParser(t *testing.T) {
	body := object(`"c\u006fntext":{"System":{"application":{"applicationId":"amzn1\u002eask.skill\u002etest"}}}`,
		`"request":{"typ\u0065":"Intent\u0052equest","intent":{"name":"H\u00e9llo"}}`)
	got, err := newVerifier(t, alexaConfig)(t.Context(), trigger.Request{Body: body})
	if err != nil || got.Name != "IntentRequest" || got.Intent != "Héllo" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestAlexa_AcceptsEachConfiguredSkill(t *testing.T) {
	cfg := trigger.Config{Kind: trigger.Alexa, SkillIDs: []string{"first", skill, "last"}, IDOnly: true}
	if _, err := newVerifier(t, cfg)(t.Context(), trigger.Request{Body: object(goodContext, goodSession, goodRequest)}); err != nil {
		t.Error(err)
	}
}

func TestAlexa_RefusesTheWrongSkill(t *testing.T) {
	other := func(s string) string { return strings.ReplaceAll(s, skill, "amzn1.ask.skill.other") }
	second := func(s string) string { return strings.ReplaceAll(s, skill, "second") }
	cases := map[string][]byte{
		"in context and session":                  object(other(goodContext), other(goodSession), goodRequest),
		"in context":                              object(other(goodContext), goodSession, goodRequest),
		"in context, without session":             object(other(goodContext), goodRequest),
		"in session only":                         object(goodContext, other(goodSession), goodRequest),
		"in session, without context":             object(other(goodSession), goodRequest),
		"two configured skills, but not the same": object(goodContext, second(goodSession), goodRequest),
		"the id in other letters":                 object(strings.ReplaceAll(goodContext, skill, strings.ToUpper(skill)), goodRequest),
		"the id and a space":                      object(strings.ReplaceAll(goodContext, skill, skill+" "), goodRequest),
		"half of the id":                          object(strings.ReplaceAll(goodContext, skill, skill[:10]), goodRequest),
		"an empty id":                             object(strings.ReplaceAll(goodContext, skill, ""), goodRequest),
	}
	verify := newVerifier(t, trigger.Config{Kind: trigger.Alexa, SkillIDs: []string{skill, "second"}, IDOnly: true})
	for name, body := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := verify(t.Context(), trigger.Request{Body: body})
			wantRefusal(t, err, trigger.ReasonWrongSkill)
			if strings.Contains(err.Error(), "amzn1.ask") {
				t.Errorf("the refusal shows a skill id: %v", err)
			}
		})
	}
}

func TestAlexa_RefusesAnotherShape(t *testing.T) {
	const emptyContext, emptySession = `"context":{"System":{}}`, `"session":{"new":true}`
	cases := map[string][]byte{
		"array":                            []byte(`[]`),
		"number":                           []byte(`1`),
		"null":                             []byte(`null`),
		"string":                           []byte(`"IntentRequest"`),
		"empty object":                     []byte(`{}`),
		"neither context nor session":      object(goodRequest),
		"context without id":               object(emptyContext, goodRequest),
		"context without id, with session": object(emptyContext, goodSession, goodRequest),
		"session without id, with context": object(goodContext, emptySession, goodRequest),
		"context is null":                  object(`"context":null`, goodSession, goodRequest),
		"context is an array":              object(`"context":[]`, goodSession, goodRequest),
		"context is a string":              object(`"context":"x"`, goodSession, goodRequest),
		"session is null":                  object(goodContext, `"session":null`, goodRequest),
		"session is a number":              object(goodContext, `"session":1`, goodRequest),
		"System is null":                   object(`"context":{"System":null}`, goodRequest),
		"application is an array":          object(`"context":{"System":{"application":["`+skill+`"]}}`, goodRequest),
		"the id is a number":               object(strings.ReplaceAll(goodContext, `"`+skill+`"`, "1"), goodRequest),
		"the id is null":                   object(strings.ReplaceAll(goodContext, `"`+skill+`"`, "null"), goodRequest),
		"the id is an array":               object(strings.ReplaceAll(goodContext, `"`+skill+`"`, `["`+skill+`"]`), goodRequest),
		"no request":                       object(goodContext),
		"request is null":                  object(goodContext, `"request":null`),
		"request is an array":              object(goodContext, `"request":[{}]`),
		"request is a string":              object(goodContext, `"request":"IntentRequest"`),
		"request is empty":                 object(goodContext, `"request":{}`),
		"type is empty":                    object(goodContext, request("")),
		"type is a number":                 object(goodContext, `"request":{"type":1}`),
		"type is an object":                object(goodContext, `"request":{"type":{}}`),
		"type has a line break":            object(goodContext, `"request":{"type":"Launch\nRequest"}`),
		"requestId is null":                object(goodContext, `"request":{"type":"LaunchRequest","requestId":null}`),
		"requestId has a header in it":     object(goodContext, `"request":{"type":"LaunchRequest","requestId":"x\r\nFunker-Function: y"}`),
		"requestId has a NUL":              object(goodContext, `"request":{"type":"LaunchRequest","requestId":"\u0000"}`),
		"intent is missing":                object(goodContext, request("IntentRequest")),
		"intent is null":                   object(goodContext, `"request":{"type":"IntentRequest","intent":null}`),
		"intent is a string":               object(goodContext, `"request":{"type":"IntentRequest","intent":"HelloIntent"}`),
		"intent has no name":               object(goodContext, `"request":{"type":"IntentRequest","intent":{"slots":{}}}`),
		"intent has an empty name":         object(goodContext, `"request":{"type":"IntentRequest","intent":{"name":""}}`),
		"intent's name is an array":        object(goodContext, `"request":{"type":"IntentRequest","intent":{"name":["HelloIntent"]}}`),
		"question without intent":          object(goodContext, request("CanFulfillIntentRequest")),
		"type of 1 MB":                     object(goodContext, request(strings.Repeat("x", 1<<20))),
		"requestId of 1 MB":                object(goodContext, `"request":{"type":"LaunchRequest","requestId":"`+strings.Repeat("x", 1<<20)+`"}`),
		"intent of 1 MB":                   object(goodContext, strings.ReplaceAll(goodRequest, "HelloIntent", strings.Repeat("H", 1<<20))),
		"id of 1 MB":                       object(strings.ReplaceAll(goodContext, skill, strings.Repeat("x", 1<<20)), goodRequest),
		"a GitHub push":                    trigger.Sample(trigger.GitHub),
	}
	verify := newVerifier(t, alexaConfig)
	for name, body := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := verify(t.Context(), trigger.Request{Body: body})
			wantRefusal(t, err, trigger.ReasonMalformed)
		})
	}
}

func TestAlexa_RefusesWhatIsNotJSON(t *testing.T) {
	cases := map[string]struct {
		body []byte
		want trigger.Reason
	}{
		"no body":                      {nil, trigger.ReasonEmpty},
		"text":                         {[]byte("Alexa, hello"), trigger.ReasonSyntax},
		"cut off":                      {object(goodContext, goodRequest)[:100], trigger.ReasonSyntax},
		"wrong shape, then cut off":    {[]byte(`{"context":null,"request":`), trigger.ReasonSyntax},
		"two requests":                 {bytes.Repeat(object(goodContext, goodRequest), 2), trigger.ReasonSyntax},
		"invalid UTF-8":                {object(goodContext, goodRequest, "\"x\":\"\xff\""), trigger.ReasonEncoding},
		"10,000 brackets":              {nested(10_000), trigger.ReasonDepth},
		"10,000 brackets in a session": {object(goodContext, `"session":{"attributes":`+string(nested(10_000))+`}`, goodRequest), trigger.ReasonDepth},
	}
	verify := newVerifier(t, alexaConfig)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := verify(t.Context(), trigger.Request{Body: c.body})
			wantRefusal(t, err, c.want)
		})
	}
}

// In each of these, some parser finds the good value and some other one the bad.
func TestAlexa_RefusesMembersThatParsersReadDifferently(t *testing.T) {
	const badID = `"applicationId":"x"`
	const goodID = `"applicationId":"` + skill + `"`
	contextOf := func(application string) string { return `"context":{"System":{"application":{` + application + `}}}` }
	requestOf := func(more string) string { return strings.TrimSuffix(goodRequest, "}") + "," + more + "}" }
	cases := map[string][]byte{
		"context twice":                 object(`"context":{}`, goodContext, goodRequest),
		"context twice, good first":     object(goodContext, `"context":{"System":{"application":{`+badID+`}}}`, goodRequest),
		"the same context twice":        object(goodContext, goodContext, goodRequest),
		"context in capitals too":       object(goodContext, `"Context":{}`, goodRequest),
		"only Context":                  object(strings.Replace(goodContext, "context", "Context", 1), goodSession, goodRequest),
		"system":                        object(strings.Replace(goodContext, "System", "system", 1), goodRequest),
		"System and system":             object(`"context":{"System":{"application":{`+goodID+`}},"system":{}}`, goodRequest),
		"System twice":                  object(`"context":{"System":{},"System":{"application":{`+goodID+`}}}`, goodRequest),
		"application twice":             object(`"context":{"System":{"application":{`+goodID+`},"application":{`+badID+`}}}`, goodRequest),
		"applicationId twice":           object(contextOf(badID+","+goodID), goodRequest),
		"applicationId twice, bad last": object(contextOf(goodID+","+badID), goodRequest),
		"ApplicationId too":             object(contextOf(goodID+`,"ApplicationId":"x"`), goodRequest),
		"only ApplicationId":            object(contextOf(`"ApplicationId":"`+skill+`"`), goodRequest),
		"only APPLICATIONID":            object(contextOf(`"APPLICATIONID":"`+skill+`"`), goodRequest),
		"applicationId, escaped":        object(contextOf(goodID+`,"application\u0049d":"x"`), goodRequest),
		"ApplicationId, escaped":        object(contextOf(goodID+`,"\u0041pplicationId":"x"`), goodRequest),
		"session twice":                 object(goodContext, goodSession, `"session":{}`, goodRequest),
		"Session too":                   object(goodContext, goodSession, `"Session":{}`, goodRequest),
		"session with a long s":         object(goodContext, goodSession, `"ſession":{}`, goodRequest),
		"session's application twice":   object(goodContext, `"session":{"application":{`+goodID+`},"application":{`+goodID+`}}`, goodRequest),
		"session's id twice":            object(goodContext, `"session":{"application":{`+goodID+`,`+badID+`}}`, goodRequest),
		"request twice":                 object(goodContext, goodRequest, request("LaunchRequest")),
		"Request too":                   object(goodContext, goodRequest, `"Request":{}`),
		"type twice":                    object(goodContext, requestOf(`"type":"LaunchRequest"`)),
		"Type too":                      object(goodContext, requestOf(`"Type":"LaunchRequest"`)),
		"requestId twice":               object(goodContext, requestOf(`"requestId":"r2"`)),
		"requestid too":                 object(goodContext, requestOf(`"requestid":"r2"`)),
		"intent twice":                  object(goodContext, requestOf(`"intent":{"name":"AdminIntent"}`)),
		"Intent too":                    object(goodContext, requestOf(`"Intent":{"name":"AdminIntent"}`)),
		"name twice":                    object(goodContext, `"request":{"type":"IntentRequest","intent":{"name":"A","name":"B"}}`),
		"Name too":                      object(goodContext, `"request":{"type":"IntentRequest","intent":{"name":"A","Name":"B"}}`),
	}
	verify := newVerifier(t, alexaConfig)
	unsafe := newVerifier(t, trigger.Config{Kind: trigger.Alexa, Insecure: true})
	for name, body := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := verify(t.Context(), trigger.Request{Body: body})
			wantRefusal(t, err, trigger.ReasonMalformed)
			_, err = unsafe(t.Context(), trigger.Request{Body: body})
			wantRefusal(t, err, trigger.ReasonMalformed)
		})
	}
}

func TestAlexa_LeavesAloneWhatItDoesNotRelyOn(t *testing.T) {
	session := strings.TrimSuffix(goodSession, "}") + `,"attributes":{"a":1,"a":2,"Type":3},"Attributes":null,"user":[]}`
	body := object(`"version":"1.0"`, `"version":2`, goodContext, session, goodRequest, `"applicationId":"x"`, `"name":1`)
	if _, err := newVerifier(t, alexaConfig)(t.Context(), trigger.Request{Body: body}); err != nil {
		t.Error(err)
	}
}

func TestAlexa_InsecureWithoutAnIDStillWantsTheShape(t *testing.T) {
	verify := newVerifier(t, trigger.Config{Kind: trigger.Alexa, Insecure: true})
	for _, body := range [][]byte{object(goodRequest), object(`"context":{}`, goodRequest), trigger.Sample(trigger.Alexa)} {
		if got, err := verify(t.Context(), trigger.Request{Body: body}); err != nil || got.Intent != "HelloIntent" {
			t.Errorf("%s: got %+v, %v", body, got, err)
		}
	}
	_, err := verify(t.Context(), trigger.Request{Body: object(goodContext)})
	wantRefusal(t, err, trigger.ReasonMalformed)
}

func TestAlexa_WantsJSONByItsContentType(t *testing.T) {
	verify := newVerifier(t, alexaConfig)
	body := object(goodContext, goodRequest)
	for contentType, good := range map[string]bool{
		"": true, "application/json": true, "application/json;charset=UTF-8": true, "Application/JSON ; x=y": true,
		"application/x-www-form-urlencoded": false, "text/plain": false, "multipart/form-data; boundary=x": false,
	} {
		_, err := verify(t.Context(), trigger.Request{Header: http.Header{"Content-Type": {contentType}}, Body: body})
		if good && err != nil {
			t.Errorf("%q: %v", contentType, err)
		}
		if !good {
			wantRefusal(t, err, trigger.ReasonContentType)
		}
	}
}

func TestAlexa_AcceptsRecordedRequests(t *testing.T) {
	verify := newVerifier(t, trigger.Config{Kind: trigger.Alexa, IDOnly: true,
		SkillIDs: []string{"amzn1.ask.skill.1", "amzn1.ask.skill.c966b8cb-80bc-4482-8ddf-63af59ca07fc"}})
	stranger := newVerifier(t, alexaConfig)
	for name, body := range extraFiles(t, "FUNKER_TEST_PAYLOADS", "alexa/*.json") {
		want, isRequest := recordedType(body)
		if !isRequest {
			continue
		}
		got, err := verify(t.Context(), trigger.Request{Body: body, Time: received})
		if err != nil || got.Name != want || got.Identity == "" {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
		_, err = stranger(t.Context(), trigger.Request{Body: body, Time: received})
		wantRefusal(t, err, trigger.ReasonWrongSkill)
		if got := trigger.Kind(body); got != trigger.Alexa {
			t.Errorf("%s: kind %q", name, got)
		}
	}
}

// recordedType reads the type of a request as a function would.
func recordedType(body []byte) (string, bool) {
	var envelope struct {
		Request struct{ Type string }
	}
	err := json.Unmarshal(body, &envelope)
	return envelope.Request.Type, err == nil && envelope.Request.Type != ""
}

func TestAlexa_AcceptsTheRequestsOf2016(t *testing.T) {
	verify := newVerifier(t, trigger.Config{Kind: trigger.Alexa, IDOnly: true,
		SkillIDs: []string{"amzn1.ask.skill.72fb1025-aacc-4d05-a582-21344940c023"}})
	files := extraFiles(t, "FUNKER_TEST_SEED", "*_request.json")
	for name, intent := range map[string]string{"sample_request.json": "HelloIntent", "hostname_request.json": "HostnameIntent"} {
		if files == nil {
			break
		}
		got, err := verify(t.Context(), trigger.Request{Body: files[name], Time: received})
		if err != nil || got.Intent != intent || got.Answer != trigger.AnswerReply {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func TestAlexa_AcceptsOnlyItsOwnSkill(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		own := rapid.StringMatching(`amzn1\.ask\.skill\.[0-9a-f]{1,40}`).Draw(t, "own")
		other := rapid.StringMatching(`amzn1\.ask\.skill\.[0-9a-f]{1,40}`).Draw(t, "other")
		cfg := trigger.Config{Kind: trigger.Alexa, SkillIDs: []string{own}, IDOnly: true}
		verify, err := trigger.New(cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := verify(t.Context(), trigger.Request{Body: trigger.SampleFor(cfg, received)}); err != nil {
			t.Fatal(err)
		}
		cfg.SkillIDs[0] = other
		if _, err := verify(t.Context(), trigger.Request{Body: trigger.SampleFor(cfg, received)}); (err == nil) != (own == other) {
			t.Fatalf("a request for %q to the trigger of %q: %v", other, own, err)
		}
	})
}

func FuzzAlexa(f *testing.F) {
	seeds := [][]byte{
		object(goodContext, goodSession, goodRequest), object(goodSession, goodRequest), object(goodContext, request("SessionEndedRequest")),
		object(goodContext, goodContext, goodRequest), object(`"Context":null`, goodSession, goodRequest), object(`"ſession":[]`),
		[]byte(`{"request":{"typ\u0065":"\ud800","type":"x"}}`), []byte(`null`), []byte(`[[{]`),
	}
	for _, seed := range seeds {
		f.Add(seed)
	}
	verify := newVerifier(f, alexaConfig)
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := verify(t.Context(), trigger.Request{Body: body, Time: received})
		if err != nil {
			reasonOf(t, err)
			return
		}
		if err := trigger.CheckJSON(body); err != nil {
			t.Fatalf("accepted, although %v", err)
		}
		checkAlexaAsFunctionsSee(t, body, got)
	})
}

// checkAlexaAsFunctionsSee compares the event with what two other readers find in
// the body: a case-insensitive one and an exact one, both of the standard library.
func checkAlexaAsFunctionsSee(t *testing.T, body []byte, got trigger.Event) {
	t.Helper()
	type application struct{ ApplicationID string }
	var folded struct {
		Context struct {
			System struct{ Application application }
		}
		Session struct{ Application application }
		Request struct {
			Type, RequestID string
			Intent          struct{ Name string }
		}
	}
	if err := json.Unmarshal(body, &folded); err != nil {
		t.Fatalf("accepted, but a function in Go cannot read it: %v", err)
	}
	ids := folded.Context.System.Application.ApplicationID + folded.Session.Application.ApplicationID
	if ids != skill && ids != skill+skill {
		t.Fatalf("accepted, but a function in Go sees the skills %q", ids)
	}
	r := folded.Request
	if r.Type != got.Name || r.RequestID != got.Identity || r.Intent.Name != got.Intent {
		t.Fatalf("got %+v, but a function in Go sees %+v", got, r)
	}
	var exact map[string]map[string]any
	var top map[string]json.RawMessage
	if err := json.Unmarshal(body, &top); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(object(`"request":`+string(top["request"])), &exact); err != nil {
		t.Fatal(err)
	}
	if exact["request"]["type"] != got.Name {
		t.Fatalf("got %+v, but a function in Python sees the type %v", got, exact["request"]["type"])
	}
}

func TestAlexa_ReadsEscapesAsEncodingJSONDoes(t *testing.T) {
	verify, err := trigger.New(trigger.Config{Kind: trigger.Alexa, SkillIDs: []string{trigger.SampleSkillID}, IDOnly: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.OneOf(rapid.StringMatching(`\\u[0-9a-fA-F]{4}`), rapid.StringMatching(`\\u[dD][89abAB][0-9a-f]{2}\\u[dD][c-f][0-9a-f]{2}`),
			rapid.SampledFrom([]string{`\"`, `\\`, `\/`, "ü", "x"}))
		quoted := `"` + strings.Join(rapid.SliceOfN(piece, 1, 20).Draw(t, "pieces"), "") + `"`
		var want string
		if err := json.Unmarshal([]byte(quoted), &want); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsFunc(want, unicode.IsControl) {
			t.Skip("not a name")
		}
		body := strings.ReplaceAll(string(trigger.Sample(trigger.Alexa)), `"HelloIntent"`, quoted)
		if got, err := verify(t.Context(), trigger.Request{Body: []byte(body), Time: received}); err != nil || got.Intent != want {
			t.Fatalf("%s: got %q, %v; want %q", quoted, got.Intent, err, want)
		}
	})
}
