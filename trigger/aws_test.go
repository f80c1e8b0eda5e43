package trigger_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// plainKinds are the kinds here whose senders sign nothing.
func plainKinds() []trigger.Config {
	var all []trigger.Config
	for _, kind := range []string{trigger.EventBridge, trigger.Firehose, trigger.MinIO, trigger.RustFS} {
		all = append(all, trigger.Config{Kind: kind, Secrets: []trigger.Secret{[]byte(secret), []byte("the next key")}})
	}
	return all
}

// keyHeader is where a kind has its secret.
func keyHeader(kind string) string {
	switch kind {
	case trigger.EventBridge:
		return "X-Api-Key"
	case trigger.Firehose:
		return "X-Amz-Firehose-Access-Key"
	default:
		return "Authorization"
	}
}

// sent is the request of a sender with cfg.
func sent(t testing.TB, cfg trigger.Config, body string) trigger.Request {
	t.Helper()
	return trigger.Request{Header: sign(t, cfg, []byte(body)), Body: []byte(body), Time: received}
}

func verified(t testing.TB, cfg trigger.Config, body string) trigger.Event {
	t.Helper()
	e, err := newVerifier(t, cfg)(t.Context(), sent(t, cfg, body))
	if err != nil {
		t.Fatalf("%s: %v for %.200s", cfg.Kind, err, body)
	}
	return e
}

// payloadOf is what a function gets of an unsplit event.
func payloadOf(t testing.TB, e trigger.Event, body string) string {
	t.Helper()
	if e.Records != nil {
		t.Fatalf("the event is split: %+v", e.Records)
	}
	payload, err := trigger.Payload(e.Form, "application/json", []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if err := trigger.CheckJSON(payload); err != nil {
		t.Errorf("the payload is not good: %v", err)
	}
	return string(payload)
}

func TestPlainSenders_AreKnownByTheirSecretOnly(t *testing.T) {
	for _, cfg := range plainKinds() {
		verify, name := newVerifier(t, cfg), keyHeader(cfg.Kind)
		body := string(trigger.Sample(cfg.Kind))
		good := sent(t, cfg, body).Header.Get(name)
		for _, key := range []string{secret, "the next key"} {
			r := sent(t, trigger.Config{Kind: cfg.Kind, Secrets: []trigger.Secret{[]byte(key)}}, body)
			if _, err := verify(t.Context(), r); err != nil {
				t.Errorf("%s: %v", cfg.Kind, err)
			}
		}
		for what, c := range map[string]struct {
			values []string
			want   trigger.Reason
		}{
			"none":          {nil, trigger.ReasonUnsigned},
			"empty":         {[]string{""}, trigger.ReasonUnsigned},
			"another":       {[]string{"Bearer another"}, trigger.ReasonForged},
			"truncated":     {[]string{good[:len(good)-1]}, trigger.ReasonForged},
			"longer":        {[]string{good + "x"}, trigger.ReasonForged},
			"in capitals":   {[]string{strings.ToUpper(good)}, trigger.ReasonForged},
			"there twice":   {[]string{good, good}, trigger.ReasonForged},
			"two in one":    {[]string{good + "," + good}, trigger.ReasonForged},
			"with a prefix": {[]string{"Basic " + secret}, trigger.ReasonForged},
			"a huge one":    {[]string{strings.Repeat("x", 1<<20)}, trigger.ReasonForged},
		} {
			r := sent(t, cfg, body)
			r.Header.Del(name)
			r.Header[http.CanonicalHeaderKey(name)] = c.values
			_, err := verify(t.Context(), r)
			if got := reasonOf(t, err); got != c.want {
				t.Errorf("%s, %s: got %q, want %q", cfg.Kind, what, got, c.want)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error tells the secret: %v", cfg.Kind, err)
			}
		}
		r := sent(t, cfg, body)
		r.Header.Del(name)
		r.Body = []byte("{")
		_, err := verify(t.Context(), r)
		wantRefusal(t, err, trigger.ReasonUnsigned) // and not that it is no JSON
	}
}

func TestPlainSenders_FailClosed(t *testing.T) {
	for _, cfg := range plainKinds() {
		for what, c := range map[string]trigger.Config{
			"no secret":       {Kind: cfg.Kind},
			"an empty secret": {Kind: cfg.Kind, Secrets: []trigger.Secret{[]byte(secret), {}}},
		} {
			if v, err := trigger.New(c, nil); !errors.Is(err, trigger.ErrUnverified) || v != nil {
				t.Errorf("%s with %s: got %v", cfg.Kind, what, err)
			}
		}
		bad := cfg
		bad.Payload = "lambada"
		if v, err := trigger.New(bad, nil); err == nil || v != nil {
			t.Errorf("%s: took a payload that does not exist", cfg.Kind)
		}
		verified(t, trigger.Config{Kind: cfg.Kind, Insecure: true}, string(trigger.Sample(cfg.Kind)))
	}
}

func TestPlainSenders_RefuseWhatNoFunctionCouldRead(t *testing.T) {
	for _, cfg := range plainKinds() {
		verify := newVerifier(t, cfg)
		for body, want := range map[string]trigger.Reason{
			"":                         trigger.ReasonEmpty,
			"{":                        trigger.ReasonSyntax,
			"{} {}":                    trigger.ReasonSyntax,
			"{\"a\":\"\xff\"}":         trigger.ReasonEncoding,
			strings.Repeat("[", 10000): "",
		} {
			_, err := verify(t.Context(), sent(t, cfg, body))
			if got := reasonOf(t, err); want != "" && got != want {
				t.Errorf("%s, %.20q: got %q, want %q", cfg.Kind, body, got, want)
			}
		}
		r := sent(t, cfg, string(trigger.Sample(cfg.Kind)))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		_, err := verify(t.Context(), r)
		wantRefusal(t, err, trigger.ReasonContentType)
	}
}

// Whatever JSON comes, its payload is JSON that passes CheckJSON, and so are its records.
func TestPlainSenders_EveryEventCanBeRun(t *testing.T) {
	value := drawValue(4)
	rapid.Check(t, func(t *rapid.T) {
		cfg := rapid.SampledFrom(plainKinds()).Draw(t, "kind")
		cfg.Payload = rapid.SampledFrom([]string{"", "lambda", "raw"}).Draw(t, "payload")
		cfg.Split = rapid.Bool().Draw(t, "split")
		body, err := json.Marshal(value.Draw(t, "body"))
		if err != nil {
			t.Fatal(err)
		}
		if bad := unrunnable(cfg, body); bad != "" {
			t.Fatal(bad)
		}
	})
}

// unrunnable says what of what a verifier lets through cannot be run.
func unrunnable(cfg trigger.Config, body []byte) string {
	verify, err := trigger.New(cfg, nil)
	if err != nil {
		return err.Error()
	}
	header, err := trigger.Sign(cfg, body, received)
	if err != nil {
		return err.Error()
	}
	e, err := verify(context.Background(), trigger.Request{Header: header, Body: body, Time: received})
	if err != nil {
		return ""
	}
	if e.Records == nil {
		payload, err := trigger.Payload(e.Form, "application/json", body)
		if err != nil || trigger.CheckJSON(payload) != nil {
			return fmt.Sprintf("%s makes %.200q (%v) of %.200q", cfg.Kind, payload, err, body)
		}
	}
	seen := map[string]bool{}
	for _, r := range e.Records {
		if trigger.CheckJSON(r.Body) != nil || r.Identity == "" || seen[r.Identity] {
			return fmt.Sprintf("%s makes the record %+v of %.200q", cfg.Kind, r, body)
		}
		seen[r.Identity] = true
	}
	return ""
}

// drawValue prefers what has a meaning for Amazon's senders, in a few levels.
func drawValue(levels int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		shape := 0
		if levels > 0 {
			shape = rapid.IntRange(0, 4).Draw(t, "shape")
		}
		switch shape {
		case 0:
			return rapid.SampledFrom([]any{nil, true, 1.5, "", "s3:ObjectCreated:Put", "aws:dynamodb", "1", 7}).Draw(t, "leaf")
		case 1:
			return rapid.SliceOfN(drawValue(levels-1), 0, 3).Draw(t, "array")
		case 2:
			return map[string]any{"requestId": "r1", "timestamp": 1, "records": rapid.SliceOfN(rapid.Custom(drawData), 0, 3).Draw(t, "records")}
		default:
			names := rapid.SampledFrom([]string{"id", "detail-type", "eventID", "eventName", "eventSource", "dynamodb", "Records", "EventName",
				"s3", "bucket", "object", "key", "name", "awsRegion", "sequencer"})
			return rapid.MapOfN(names, drawValue(levels-1), 0, 5).Draw(t, "object")
		}
	})
}

func drawData(t *rapid.T) any {
	data := rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Map(drawValue(2), func(v any) []byte {
		b, _ := json.Marshal(v)
		return b
	}), rapid.Just(zipped(`{"messageType":"CONTROL_MESSAGE"}`)), rapid.Just(zipped(`{"logEvents":[],"messageType":"DATA_MESSAGE"}`)))
	return map[string]any{"data": data.Draw(t, "data")}
}

// fuzzPlain runs bodies through all kinds and settings.
func fuzzPlain(f *testing.F, kinds ...string) {
	for _, seed := range []string{"", "[]", `{"Records":[]}`, `[{"eventID":"1","eventSource":"aws:dynamodb","dynamodb":{}}]`, `{"a":[{}`, string(changes(2)),
		`{"requestId":"a","timestamp":1,"records":[{"data":"H4sIAAAA"},{"data":""}]}`, `{"EventName":"s3:x","Records":[{"eventName":"s3:x","s3":{"object":{"key":1}}}]}`} {
		f.Add([]byte(seed))
	}
	for _, kind := range kinds {
		f.Add(trigger.Sample(kind))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, kind := range kinds {
			for _, payload := range []string{"lambda", "raw"} {
				for _, split := range []bool{false, true} {
					if bad := unrunnable(trigger.Config{Kind: kind, Insecure: true, Payload: payload, Split: split}, body); bad != "" {
						t.Error(bad)
					}
				}
			}
		}
	})
}

func FuzzEventBridge(f *testing.F) { fuzzPlain(f, trigger.EventBridge) }
func FuzzFirehose(f *testing.F)    { fuzzPlain(f, trigger.Firehose) }
func FuzzMinIO(f *testing.F)       { fuzzPlain(f, trigger.MinIO, trigger.RustFS) }

// changes is an array of n records of DynamoDB.
func changes(n int) []byte {
	var all []string
	for i := range n {
		all = append(all, change(fmt.Sprintf("e%d", i), "INSERT"))
	}
	return []byte("[" + strings.Join(all, ",") + "]")
}

// change is a record of a DynamoDB stream.
func change(id, name string) string {
	return fmt.Sprintf(`{"eventID":%q,"eventName":%q,"eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"eu-central-1",`+
		`"dynamodb":{"ApproximateCreationDateTime":1793608200,"Keys":{"id":{"S":"lamp"}},"SequenceNumber":"1","StreamViewType":"KEYS_ONLY"}}`, id, name)
}
