package trigger_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

var minIOConfig = trigger.Config{Kind: trigger.MinIO, Secrets: []trigger.Secret{[]byte(secret)}}

// stored is a record of MinIO.
func stored(name, key, sequencer string) string {
	return fmt.Sprintf(`{"eventVersion":"2.0","eventSource":"minio:s3","awsRegion":"","eventName":%q,"s3":{"bucket":{"name":"logs"},"object":{"key":%q,"sequencer":%q}},"source":{"host":"h"}}`,
		name, key, sequencer)
}

func postedJSON(records ...string) string {
	return `{"EventName":"s3:ObjectCreated:Put","Key":"logs/a","Records":[` + strings.Join(records, ",") + `]}`
}

func TestMinIO_TakesATokenAsItIsConfiguredOnEitherSide(t *testing.T) {
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("minio:lamp"))
	body := postedJSON(stored("s3:ObjectCreated:Put", "a", "1"))
	for _, c := range []struct{ secret, given string }{
		{"lamp", "Bearer lamp"}, {"lamp", "lamp"}, {"Bearer lamp", "Bearer lamp"}, {basic, basic},
	} {
		for _, kind := range []string{trigger.MinIO, trigger.RustFS} {
			cfg := trigger.Config{Kind: kind, Secrets: []trigger.Secret{[]byte(c.secret)}}
			r := sent(t, cfg, body)
			if got := r.Header.Get("Authorization"); got != c.given && c.given != c.secret {
				t.Errorf("sign sends %q, want %q", got, c.given)
			}
			r.Header.Set("Authorization", c.given)
			if _, err := newVerifier(t, cfg)(t.Context(), r); err != nil {
				t.Errorf("%q for %q: %v", c.given, c.secret, err)
			}
		}
	}
	r := sent(t, minIOConfig, body)
	r.Header.Set("Authorization", "bearer "+secret)
	_, err := newVerifier(t, minIOConfig)(t.Context(), r)
	wantRefusal(t, err, trigger.ReasonForged)
}

func TestMinIO_AnEventIsAChangeOfAnObject(t *testing.T) {
	identities := map[string]string{}
	for _, body := range []string{
		postedJSON(stored("s3:ObjectCreated:Put", "a", "1")), postedJSON(stored("s3:ObjectCreated:Put", "a", "2")),
		postedJSON(stored("s3:ObjectCreated:Put", "b", "1")), postedJSON(stored("s3:ObjectRemoved:Delete", "a", "1")),
		postedJSON(strings.Replace(stored("s3:ObjectCreated:Put", "a", "1"), `"key"`, `"versionId":"v","key"`, 1)),
		postedJSON(stored("s3:ObjectCreated:Put", "a", "1"), stored("s3:ObjectCreated:Put", "b", "1")),
		postedJSON("{}"), postedJSON(`{"s3":7,"eventName":[]}`),
	} {
		e := verified(t, minIOConfig, body)
		if other := identities[e.Identity]; other != "" || e.Name != "s3:ObjectCreated:Put" {
			t.Errorf("%s and %s: got %+v", body, other, e)
		}
		identities[e.Identity] = body
	}
	a := verified(t, minIOConfig, postedJSON(stored("s3:ObjectCreated:Put", "a", "1")))
	again := postedJSON(strings.Replace(stored("s3:ObjectCreated:Put", "a", "1"), `"h"`, `"another"`, 1))
	if b := verified(t, minIOConfig, again); a.Identity != b.Identity {
		t.Error("a repeat is another event")
	}
}

func TestMinIO_RefusesWhatIsNoNotification(t *testing.T) {
	for _, body := range []string{`[]`, `7`, `{}`, `{"EventName":"x"}`, `{"EventName":"x","Records":[]}`, `{"EventName":7,"Records":[{}]}`, postedJSON("7")} {
		_, err := newVerifier(t, minIOConfig)(t.Context(), sent(t, minIOConfig, body))
		wantRefusal(t, err, trigger.ReasonMalformed)
	}
	_, err := newVerifier(t, minIOConfig)(t.Context(), sent(t, minIOConfig, postedJSON(strings.Repeat("{},", 10_000)+"{}")))
	wantRefusal(t, err, trigger.ReasonMalformed)
}

func TestMinIO_LambdaIsAnEventOfAmazonS3(t *testing.T) {
	cfg := minIOConfig
	if got := payloadOf(t, verified(t, cfg, postedJSON("{}")), postedJSON("{}")); got != postedJSON("{}") {
		t.Errorf("raw: got %s", got)
	}
	cfg.Payload = trigger.PayloadLambda
	body := postedJSON(stored("s3:ObjectCreated:Put", "2026%2Ffog+horn.txt", "1"))
	const want = `{"Records":[{"eventSource":"aws:s3","awsRegion":"us-east-1","eventName":"ObjectCreated:Put","eventVersion":"2.0",` +
		`"s3":{"bucket":{"name":"logs"},"object":{"key":"2026%2Ffog+horn.txt","sequencer":"1"}},"source":{"host":"h"}}]}`
	if got := payloadOf(t, verified(t, cfg, body), body); got != want {
		t.Errorf("got %s", got)
	}
	region := strings.Replace(body, `"awsRegion":""`, `"awsRegion":"eu-1"`, 1)
	if got := payloadOf(t, verified(t, cfg, region), region); !strings.Contains(got, `"awsRegion":"eu-1"`) || strings.Contains(got, defaultRegion) {
		t.Errorf("got %s", got)
	}
}

const defaultRegion = "us-east-1"

func TestMinIO_SplitMakesAnEventOfEachRecord(t *testing.T) {
	cfg := minIOConfig
	cfg.Split = true
	put, remove := stored("s3:ObjectCreated:Put", "a", "1"), stored("s3:ObjectRemoved:Delete", "a", "2")
	records := verified(t, cfg, postedJSON(put, remove, put)).Records
	if len(records) != 2 || string(records[0].Body) != put || records[1].Name != "s3:ObjectRemoved:Delete" || string(records[1].Body) != remove {
		t.Errorf("got %q", written(records))
	}
	cfg.Payload = trigger.PayloadLambda
	for i, r := range verified(t, cfg, postedJSON(put, remove, put)).Records {
		var event struct {
			Records []struct{ EventSource string }
		}
		if err := json.Unmarshal(r.Body, &event); err != nil || len(event.Records) != 1 || event.Records[0].EventSource != "aws:s3" || r.Identity != records[i].Identity {
			t.Errorf("got %+v", r)
		}
	}
}

func TestMinIO_RecordedEvents(t *testing.T) {
	for name, body := range extraFiles(t, "FUNKER_TEST_PAYLOADS", "minio/*.json") {
		for _, kind := range []string{trigger.MinIO, trigger.RustFS} {
			cfg := trigger.Config{Kind: kind, Secrets: minIOConfig.Secrets, Payload: trigger.PayloadLambda}
			e := verified(t, cfg, string(body))
			if got := payloadOf(t, e, string(body)); e.Name != "s3:ObjectCreated:Put" || !strings.HasPrefix(e.Identity, "object-") || !strings.Contains(got, `"ObjectCreated:Put"`) {
				t.Errorf("%s: got %+v and %s", name, e, got)
			}
		}
	}
}
