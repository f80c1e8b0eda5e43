package trigger_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

var eventBridgeConfig = trigger.Config{Kind: trigger.EventBridge, Secrets: []trigger.Secret{[]byte(secret)}}

func TestEventBridge_TakesAllThatAConnectionCanSend(t *testing.T) {
	body := string(trigger.Sample(trigger.EventBridge))
	for name, c := range map[string]struct{ auth, user, header, value string }{
		"Authorization": {auth: trigger.AuthBearer, value: "Bearer " + secret},
		"authorization": {auth: trigger.AuthBasic, user: "aws", value: "Basic YXdzOmFuIG9pbCBsYW1wIGFuZCBhIGZyZXNuZWwgbGVucw=="},
		"X-Lamp":        {header: "x-lamp", value: secret},
		"X-Horn":        {auth: trigger.AuthAPIKey, header: "X-Horn", value: secret},
		"X-Api-Key":     {value: secret},
	} {
		cfg := eventBridgeConfig
		cfg.Auth, cfg.User, cfg.Header = c.auth, c.user, c.header
		r := sent(t, cfg, body)
		if got := r.Header.Get(name); got != c.value {
			t.Errorf("%s: sign sends %q, want %q", name, got, c.value)
		}
		if _, err := newVerifier(t, cfg)(t.Context(), r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEventBridge_EventsAreNamedAndFoundAgain(t *testing.T) {
	insert, remove := change("e1", "INSERT"), change("e2", "REMOVE")
	for body, want := range map[string]struct{ name, identity string }{
		`{"id":"a1","detail-type":"Object Created","detail":{}}`:           {"Object Created", "a1"},
		`{"id":7,"detail-type":[]}`:                                        {"", "body-"},
		`{"id":"` + strings.Repeat("x", 513) + `","detail-type":"\u0001"}`: {"", "body-"},
		`"a text of an input transformer"`:                                 {"", "body-"},
		`[]`:                                                               {"", "body-"},
		insert:                                                             {"INSERT", "e1"},
		"[" + insert + "]":                                                 {"INSERT", "e1"},
		"[" + insert + "," + change("e3", "INSERT") + "]":                  {"INSERT", "events-"},
		"[" + insert + "," + remove + "]":                                  {"", "events-"},
		`{"Records":[` + insert + "," + remove + "]}":                      {"", "events-"},
		`{"Records":[{"eventName":"ObjectCreated:Put","eventSource":"aws:s3"}]}`: {"ObjectCreated:Put", "body-"},
		`{"Records":7}`: {"", "body-"},
		`[{"eventID":"k1","eventSource":"aws:kinesis"}]`: {"", "body-"},
	} {
		e := verified(t, eventBridgeConfig, body)
		if e.Name != want.name || !strings.HasPrefix(e.Identity, want.identity) || e.Answer != trigger.AnswerStored || e.Records != nil {
			t.Errorf("%s: got %+v, want %+v", body, e, want)
		}
	}
	if a, b := verified(t, eventBridgeConfig, `{"a":1}`), verified(t, eventBridgeConfig, `{"a":2}`); a.Identity == b.Identity {
		t.Error("two bodies are one event")
	}
}

func TestEventBridge_AFunctionGetsWhatALambdaFunctionWouldGet(t *testing.T) {
	one, other := change("e1", "INSERT"), change("e2", "MODIFY")
	raw := eventBridgeConfig
	raw.Payload = trigger.PayloadRaw
	for body, want := range map[string]string{
		one:                              `{"Records":[` + one + `]}`,
		" [" + one + " , " + other + "]": `{"Records": [` + one + " , " + other + `]}`,
		`{"Records":[` + one + `]}`:      `{"Records":[` + one + `]}`,
		`[` + one + `,{"eventSource":"aws:sqs"}]`: `[` + one + `,{"eventSource":"aws:sqs"}]`,
		`{"id":"x","detail":{"Records":[]}}`:      `{"id":"x","detail":{"Records":[]}}`,
		`[]`:                                      `[]`, `7`: `7`,
	} {
		if got := payloadOf(t, verified(t, eventBridgeConfig, body), body); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := payloadOf(t, verified(t, raw, body), body); got != body {
			t.Errorf("raw: got %s, want %s", got, body)
		}
	}
}

func TestEventBridge_SplitMakesAnEventOfEachRecord(t *testing.T) {
	one, other := change("e1", "INSERT"), change("e2", "MODIFY")
	s3 := `{"eventName":"ObjectCreated:Put","eventSource":"aws:s3"}`
	for body, want := range map[string][]string{
		"[" + one + "," + other + "," + one + "]": {"INSERT e1 " + `{"Records":[` + one + `]}`, "MODIFY e2 " + `{"Records":[` + other + `]}`},
		`{"Records":[` + s3 + "," + s3 + `]}`:     {`ObjectCreated:Put body-/0 {"Records":[` + s3 + `]}`, `ObjectCreated:Put body-/1 {"Records":[` + s3 + `]}`},
		`[1,"a",` + s3 + `]`:                      {` body-/0 1`, ` body-/1 "a"`, `ObjectCreated:Put body-/2 ` + s3},
		one:                                       nil,
		`{"id":"x"}`:                              nil,
	} {
		cfg := eventBridgeConfig
		cfg.Split = true
		e := verified(t, cfg, body)
		if got := written(e.Records); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %q, want %q", got, want)
		}
		cfg.Payload = trigger.PayloadRaw
		for i, r := range verified(t, cfg, body).Records {
			if string(r.Body) != trimLambda(string(e.Records[i].Body)) {
				t.Errorf("raw: got %s", r.Body)
			}
		}
	}
	cfg := eventBridgeConfig
	cfg.Split = true
	if e := verified(t, cfg, "[]"); e.Answer != trigger.AnswerControl {
		t.Errorf("an empty array makes %+v", e)
	}
}

// written are records as texts, without the digests of bodies.
func written(records []trigger.Record) []string {
	var all []string
	for _, r := range records {
		identity := r.Identity
		if before, index, ok := strings.Cut(identity, "/"); ok && strings.HasPrefix(before, "body-") {
			identity = "body-/" + index
		}
		all = append(all, r.Name+" "+identity+" "+string(r.Body))
	}
	return all
}

func trimLambda(body string) string {
	return strings.TrimSuffix(strings.TrimPrefix(body, `{"Records":[`), `]}`)
}

func TestEventBridge_BoundsWhatOneRequestBecomes(t *testing.T) {
	verify := newVerifier(t, eventBridgeConfig)
	_, err := verify(t.Context(), sent(t, eventBridgeConfig, "["+strings.Repeat("1,", 10_000)+"1]"))
	wantRefusal(t, err, trigger.ReasonMalformed)
	deep := strings.Repeat("[", 499) + strings.Repeat("]", 499)
	record := `{"eventID":"1","eventSource":"aws:dynamodb","dynamodb":` + deep + `}`
	_, err = verify(t.Context(), sent(t, eventBridgeConfig, record)) // two levels more for a function are too many
	wantRefusal(t, err, trigger.ReasonDepth)
	verified(t, eventBridgeConfig, `{"id":"1","detail":`+deep+`}`)
}

func TestEventBridge_RecordedEvents(t *testing.T) {
	files := extraFiles(t, "FUNKER_TEST_PAYLOADS", "eventbridge/*.json")
	dynamoDB := extraFiles(t, "FUNKER_TEST_PAYLOADS", "dynamodb/*.json")
	if files != nil {
		maps.Copy(files, dynamoDB)
	}
	for name, body := range files {
		e := verified(t, eventBridgeConfig, string(body))
		payload := payloadOf(t, e, string(body))
		if e.Identity == "" || strings.HasPrefix(e.Identity, "body-") {
			t.Errorf("%s: got the identity %q", name, e.Identity)
		}
		var records struct{ Records []struct{ EventID string } }
		if strings.Contains(name, "dynamodb") && (json.Unmarshal([]byte(payload), &records) != nil || len(records.Records) < 2) {
			t.Errorf("%s: got %s", name, payload)
		} else if !strings.Contains(name, "dynamodb") && (e.Name == "" || payload != string(body)) {
			t.Errorf("%s: got %+v and %s", name, e, payload)
		}
	}
}
