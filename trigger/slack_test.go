package trigger_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// verifySlack signs a body and verifies it.
func verifySlack(t *testing.T, contentType, body string) (trigger.Event, error) {
	t.Helper()
	h := signedAs(trigger.Slack, []byte(keyText), at(0), []byte(body))
	h.Set("Content-Type", contentType)
	return newVerifier(t, slackConfig)(t.Context(), trigger.Request{Header: h, Body: []byte(body), Time: received})
}

// The example of Slack's documentation.
func TestSlack_AcceptsThePublishedSignature(t *testing.T) {
	const body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA" +
		"&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F" +
		"96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
	h := http.Header{
		"Content-Type": {formType}, "X-Slack-Request-Timestamp": {"1531420618"},
		"X-Slack-Signature": {"v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"},
	}
	cfg := trigger.Config{Kind: trigger.Slack, Secrets: []trigger.Secret{[]byte("8f742231b10e8888abcd99yyyzzz85a5")}}
	got, err := newVerifier(t, cfg)(t.Context(), trigger.Request{Header: h, Body: []byte(body), Time: time.Unix(1531420618, 0)})
	if err != nil || got.Name != "/webhook-collect" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestSlack_TellsEventsApart(t *testing.T) {
	payload := func(s string) string { return "payload=" + url.QueryEscape(s) }
	for body, want := range map[string]trigger.Event{
		`{"type":"event_callback","event_id":"Ev1","event":{"type":"app_mention"}}`: {Name: "app_mention", Identity: "Ev1"},
		`{"type":"event_callback","event_id":"Ev1"}`:                                {Name: "event_callback", Identity: "Ev1"},
		`{"type":"app_rate_limited","minute_rate_limited":7}`:                       {Name: "app_rate_limited", Identity: "body-"},
		`{"type":"url_verification","challenge":"x"}`:                               {Name: "url_verification", Identity: "body-", Answer: trigger.AnswerControl, Reply: []byte(`{"challenge":"x"}`)},
		`command=%2Flamp&text=`:                                                     {Name: "/lamp", Identity: "body-", Form: "fields", Reply: []byte{}},
		`ssl_check=1&token=x`:                                                       {Name: "ssl_check", Identity: "body-", Answer: trigger.AnswerControl, Reply: []byte{}},
		payload(`{"type":"block_actions","trigger_id":"1"}`):                        {Name: "block_actions", Identity: "body-", Reply: []byte{}},
	} {
		contentType := "application/json"
		if body[0] != '{' {
			contentType = formType + "; charset=utf-8"
		}
		if want.Answer == 0 {
			want.Answer = trigger.AnswerStored
		}
		want.Header = map[string]string{"X-Slack-Request-Timestamp": at(0)}
		got, err := verifySlack(t, contentType, body)
		if strings.HasPrefix(got.Identity, want.Identity) {
			want.Identity = got.Identity
		}
		if err != nil || fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) {
			t.Errorf("%s:\n got %#v, %v\nwant %#v", body, got, err, want)
		}
	}
}

func TestSlack_RefusesASignedBodyThatIsNothingOfSlack(t *testing.T) {
	for body, want := range map[string]trigger.Reason{
		`{}`: trigger.ReasonMalformed, `[]`: trigger.ReasonMalformed, `{"type":7}`: trigger.ReasonMalformed, `{"type":"a","event":"b"}`: trigger.ReasonMalformed,
		`{"type":"url_verification"}`: trigger.ReasonMalformed, `{"type":"url_verification","challenge":7}`: trigger.ReasonMalformed,
		`{"type":"a","type":"url_verification","challenge":"x"}`: trigger.ReasonMalformed, `{"event_id":"a"}`: trigger.ReasonMalformed,
		"text=a": trigger.ReasonMalformed, "command=": trigger.ReasonMalformed, "command=a&command=b": trigger.ReasonMalformed, "&": trigger.ReasonMalformed,
		"command=a%0ab": trigger.ReasonMalformed, "command=" + strings.Repeat("a", 513): trigger.ReasonMalformed, "command=%zz": trigger.ReasonMalformed,
		"command=a&%zz=1": trigger.ReasonMalformed, "command=a&text=%ff": trigger.ReasonEncoding, "command=a&%ff=": trigger.ReasonEncoding,
		"command=a" + strings.Repeat("&a", 3): trigger.ReasonMalformed, "payload=": trigger.ReasonEmpty, "payload=a": trigger.ReasonSyntax,
		"payload={}": trigger.ReasonMalformed, "payload=[]": trigger.ReasonMalformed, "payload={}&payload={}": trigger.ReasonMalformed,
		"payload=" + string(nested(10_000)): trigger.ReasonDepth,
	} {
		contentType := "application/json"
		if !strings.ContainsAny(body[:1], "{[") {
			contentType = formType
		}
		_, err := verifySlack(t, contentType, body)
		if got := reasonOf(t, err); got != want {
			t.Errorf("%.60s: got %v, want %s", body, err, want)
		}
	}
	many := &strings.Builder{}
	for i := range 300 {
		fmt.Fprintf(many, "f%d=&", i)
	}
	_, err := verifySlack(t, formType, many.String()+"command=a")
	wantRefusal(t, err, trigger.ReasonMalformed)
}

func TestSlack_KeepsWhyARequestIsRepeated(t *testing.T) {
	body := `{"type":"event_callback","event_id":"Ev1","event":{"type":"app_mention"}}`
	h := signedAs(trigger.Slack, []byte(keyText), at(0), []byte(body))
	h.Set("X-Slack-Retry-Num", "2")
	h.Set("X-Slack-Retry-Reason", "http_timeout")
	got, err := newVerifier(t, slackConfig)(t.Context(), trigger.Request{Header: h, Body: []byte(body), Time: received})
	if err != nil || got.Header["X-Slack-Retry-Num"] != "2" || got.Header["X-Slack-Retry-Reason"] != "http_timeout" || got.Identity != "Ev1" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestSlack_SignsFormsToo(t *testing.T) {
	body := []byte("command=%2Flamp&text=on")
	h := sign(t, slackConfig, body)
	got, err := newVerifier(t, slackConfig)(t.Context(), trigger.Request{Header: h, Body: body, Time: received})
	if err != nil || got.Name != "/lamp" || h.Get("Content-Type") != formType {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestPayload_MakesAnObjectOfTheFieldsOfAForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		form, want := url.Values{}, map[string]string{}
		for name, value := range rapid.MapOfN(rapid.String(), rapid.String(), 1, 9).Draw(t, "fields") {
			form.Set(name, value)
			want[name] = value
		}
		payload, err := trigger.Payload("fields", formType+"; charset=utf-8", []byte(form.Encode()))
		if err != nil || trigger.CheckJSON(payload) != nil {
			t.Fatalf("got %s, %v", payload, err)
		}
		var got map[string]string
		if err := json.Unmarshal(payload, &got); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	})
	for contentType, body := range map[string]string{"application/json": "{}", "": "a=b"} {
		_, err := trigger.Payload("fields", contentType, []byte(body))
		wantRefusal(t, err, trigger.ReasonContentType)
	}
	_, err := trigger.Payload("fields", formType, nil)
	wantRefusal(t, err, trigger.ReasonEmpty)
}

func TestSlack_AgreesWithTheSignatureVectors(t *testing.T) {
	vectors(t, "slack/signature-vectors.json", []string{"X-Slack-Request-Timestamp", "X-Slack-Signature"}, func(v vector) trigger.Config {
		return trigger.Config{Kind: trigger.Slack, Secrets: secretsOf(v, "signing_secret")}
	})
}

func TestSlack_AcceptsRecordedRequests(t *testing.T) {
	for name, body := range extraFiles(t, "FUNKER_TEST_PAYLOADS", "slack/*_*.json") {
		got, err := verifySlack(t, "application/json", string(body))
		want := map[string]trigger.Answer{"url_verification.json": trigger.AnswerControl, "event_callback.json": trigger.AnswerStored}[name]
		if err != nil || got.Answer != want {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}
