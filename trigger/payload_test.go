package trigger_test

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

func TestPayload_ReturnsTheJSONOfABody(t *testing.T) {
	cases := map[string]struct{ contentType, body, want string }{
		"JSON":                {"application/json", ` {"a": 1}`, ` {"a": 1}`},
		"JSON, parameters":    {"application/json; charset=utf-8", `{}`, `{}`},
		"a format on JSON":    {"application/cloudevents+json", `{}`, `{}`},
		"no content type":     {"", `{}`, `{}`},
		"form":                {formType, "payload=%7B%22a%22%3A+1%7D", `{"a": 1}`},
		"form, parameters":    {"Application/X-WWW-Form-URLEncoded ;charset=utf-8", "a=b&payload={}", `{}`},
		"form, equals sign":   {formType, `payload={"a":"b=c"}`, `{"a":"b=c"}`},
		"form, other fields":  {formType, "&&Payload=no&=x&payload={}&xpayload=1&%=2", `{}`},
		"form, empty payload": {formType, "payload=", ""},
	}
	for name, c := range cases {
		got, err := trigger.Payload("", c.contentType, []byte(c.body))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, c.want)
		}
	}
}

func TestPayload_RefusesOtherContentTypes(t *testing.T) {
	for _, contentType := range []string{
		"text/plain", "text/json", "application/xml", "application/jsonp", "application/octet-stream", "multipart/form-data", "*/*", "x+json", ", application/json",
	} {
		_, err := trigger.Payload("", contentType, []byte("{}"))
		wantRefusal(t, err, trigger.ReasonContentType)
	}
}

func TestPayload_ReadsAFormWithManyFieldsWithoutKeepingThem(t *testing.T) {
	many := []byte(strings.Repeat("a&", 1<<20) + "payload={}")
	got := testing.AllocsPerRun(1, func() {
		if _, err := trigger.Payload("", formType, many); err != nil {
			t.Error(err)
		}
	})
	if got > 10 {
		t.Errorf("got %v allocations, want a handful", got)
	}
}

func TestPayload_UndoesAnyForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := url.Values{}
		for name, value := range rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "fields") {
			fields.Set(name, value)
		}
		want := rapid.String().Draw(t, "payload")
		fields.Set("payload", want)
		if got, err := trigger.Payload("", formType, []byte(fields.Encode())); err != nil || string(got) != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	})
}

func TestKind_TellsTheSenderByTheShape(t *testing.T) {
	for body, want := range map[string]string{
		`{"ref":"x","commits":[]}`:                           trigger.GitHub,
		` {"commits":null, "ref":1} `:                        trigger.GitHub,
		`{"r\u0065f":"x","commits":[]}`:                      trigger.GitHub,
		`{"session":{},"request":{}}`:                        trigger.Alexa,
		`{"context":{},"request":{}}`:                        trigger.Alexa,
		`{"context":{},"session":{},"request":{}}`:           trigger.Alexa,
		`{"request":{},"request":{},"context":{}}`:           trigger.Alexa,
		`{"ref":"x"}`:                                        "",
		`{"commits":[]}`:                                     "",
		`{"request":{}}`:                                     "",
		`{"session":{},"context":{}}`:                        "",
		`{"Ref":"x","Commits":[]}`:                           "",
		`{"a":{"ref":"x","commits":[]}}`:                     "",
		`{"ref":"x","commits":[],"request":{},"session":{}}`: "",
		`{}`:                                "",
		`[]`:                                "",
		`["ref","commits"]`:                 "",
		`"ref commits"`:                     "",
		`null`:                              "",
		``:                                  "",
		`{"ref":"x","commits":[]} x`:        "",
		`{"ref":"x","commits":[}`:           "",
		"{\"ref\":\"\xff\",\"commits\":[]}": "",
		`{"ref":` + string(nested(10_000)) + `,"commits":[]}`: "",
	} {
		if got := trigger.Kind([]byte(body)); got != want {
			t.Errorf("Kind(%.60q) = %q, want %q", body, got, want)
		}
	}
}

func FuzzPayload(f *testing.F) {
	body := []byte(`{"ref":"x","commits":[]}`)
	f.Add("application/json", body)
	f.Add(formType, form(body))
	f.Add(formType, []byte("a=b&p%61yload=%7B+%7D&c"))
	f.Add(formType+" ; x", []byte("payload=%zz&payload"))
	f.Add("text/plain", []byte("payload"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		before := bytes.Clone(body)
		got, err := trigger.Payload("", contentType, body)
		if !bytes.Equal(body, before) {
			t.Fatal("the body was changed")
		}
		if err != nil {
			reasonOf(t, err)
			return
		}
		checkAgainstURL(t, contentType, body, got)
		trigger.Kind(got)
	})
}

// checkAgainstURL compares a form's payload with what net/url reads.
func checkAgainstURL(t *testing.T, contentType string, body, got []byte) {
	t.Helper()
	if !strings.HasPrefix(strings.ToLower(strings.TrimSpace(contentType)), formType) {
		if !bytes.Equal(got, body) {
			t.Fatalf("got %q, want the body %q", got, body)
		}
		return
	}
	fields, err := url.ParseQuery(string(body))
	if err != nil {
		return // net/url refuses the whole form for a field that is not ours
	}
	if want := fields["payload"]; len(want) != 1 || want[0] != string(got) {
		t.Fatalf("got %q, want %q", got, want)
	}
}
