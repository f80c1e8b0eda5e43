package trigger_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

var bitbucketConfig = trigger.Config{Kind: trigger.Bitbucket, Secrets: []trigger.Secret{[]byte(secret)}}

// bitbucketDelivery is a correctly signed request.
func bitbucketDelivery(event string, body []byte) trigger.Request {
	h := http.Header{"Content-Type": {"application/json"}}
	h.Set("X-Event-Key", event)
	h.Set("X-Hub-Signature", signature(secret, body))
	return trigger.Request{Header: h, Body: body, Time: received}
}

func TestBitbucket_AcceptsSignedEventsOfCloudAndDataCenter(t *testing.T) {
	verify := newVerifier(t, bitbucketConfig)
	for event, headers := range map[string]map[string]string{
		"repo:push":         {"X-Request-UUID": "r1", "X-Hook-UUID": "h1", "X-Attempt-Number": "2"},
		"repo:refs_changed": {"X-Request-Id": "r2"},
		"invented:later":    {},
	} {
		r := bitbucketDelivery(event, trigger.Sample(trigger.Bitbucket))
		r.Header.Set("Content-Type", "application/json; charset=utf-8")
		headers["X-Event-Key"] = event
		for name, value := range headers {
			r.Header.Set(name, value)
		}
		got, err := verify(t.Context(), r)
		want := trigger.Event{Name: event, Identity: got.Identity, Answer: trigger.AnswerStored, Header: headers}
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) || !strings.HasPrefix(got.Identity, "signed-") {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

func TestBitbucket_RefusesWhatIsNotSignedRight(t *testing.T) {
	body := trigger.Sample(trigger.Bitbucket)
	good := signature(secret, body)
	verify := newVerifier(t, bitbucketConfig)
	for name, c := range map[string]struct {
		signature []string
		want      trigger.Reason
	}{
		"no header":            {nil, trigger.ReasonUnsigned},
		"empty header":         {[]string{""}, trigger.ReasonUnsigned},
		"empty signature":      {[]string{"sha256="}, trigger.ReasonUnsigned},
		"SHA-1":                {[]string{"sha1=" + good[7:47]}, trigger.ReasonForged},
		"no prefix":            {[]string{good[7:]}, trigger.ReasonForged},
		"prefix in capitals":   {[]string{"SHA256=" + good[7:]}, trigger.ReasonForged},
		"one digit less":       {[]string{good[:len(good)-1]}, trigger.ReasonForged},
		"one byte more":        {[]string{good + "00"}, trigger.ReasonForged},
		"base64":               {[]string{"sha256=" + base64.StdEncoding.EncodeToString([]byte(good))[:64]}, trigger.ReasonForged},
		"another secret":       {[]string{signature("another", body)}, trigger.ReasonForged},
		"the empty secret":     {[]string{signature("", body)}, trigger.ReasonForged},
		"another body":         {[]string{signature(secret, append(body, ' '))}, trigger.ReasonForged},
		"twice":                {[]string{good, good}, trigger.ReasonForged},
		"a wrong one after it": {[]string{good, "x"}, trigger.ReasonForged},
	} {
		t.Run(name, func(t *testing.T) {
			r := bitbucketDelivery("repo:push", body)
			r.Header["X-Hub-Signature"] = c.signature
			_, err := verify(t.Context(), r)
			wantRefusal(t, err, c.want)
			wantNothingDisclosed(t, err, good)
		})
	}
}

// Data Center signs no test of the connection.
func TestBitbucket_AnswersATestOfTheConnectionAndMakesNothingOfIt(t *testing.T) {
	verify := newVerifier(t, bitbucketConfig)
	signed := bitbucketDelivery("diagnostics:ping", []byte(`{"test":true}`))
	unsigned := trigger.Request{Header: http.Header{"X-Event-Key": {"diagnostics:ping"}}, Body: []byte(`{"test":true}`)}
	for name, r := range map[string]trigger.Request{"signed": signed, "unsigned": unsigned} {
		got, err := verify(t.Context(), r)
		if err != nil || got.Name != "diagnostics:ping" || got.Answer != trigger.AnswerControl {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	signed.Header.Set("X-Hub-Signature", signature("another", signed.Body))
	_, err := verify(t.Context(), signed)
	wantRefusal(t, err, trigger.ReasonForged)
	unsigned.Header["X-Event-Key"] = []string{"repo:push", "diagnostics:ping"}
	_, err = verify(t.Context(), unsigned)
	wantRefusal(t, err, trigger.ReasonUnsigned)
}

func TestBitbucket_RefusesASignedBodyThatNoFunctionCanRead(t *testing.T) {
	verify := newVerifier(t, bitbucketConfig)
	for name, c := range map[string]struct {
		event, contentType, body string
		want                     trigger.Reason
	}{
		"empty":         {"repo:push", "application/json", "", trigger.ReasonEmpty},
		"text":          {"repo:push", "application/json", "hello", trigger.ReasonSyntax},
		"array":         {"repo:push", "", "[]", trigger.ReasonMalformed},
		"form":          {"repo:push", formType, "payload=%7B%7D", trigger.ReasonContentType},
		"no event":      {"", "application/json", "{}", trigger.ReasonMalformed},
		"a bad event":   {"a\nb", "application/json", "{}", trigger.ReasonMalformed},
		"deep brackets": {"repo:push", "application/json", `{"a":` + string(nested(10_000)) + "}", trigger.ReasonDepth},
	} {
		r := bitbucketDelivery(c.event, []byte(c.body))
		r.Header.Set("Content-Type", c.contentType)
		_, err := verify(t.Context(), r)
		if got := reasonOf(t, err); got != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

func TestBitbucket_IdentityIsOfTheSignatureAndElseTheRequest(t *testing.T) {
	identity := func(cfg trigger.Config, header, value string) string {
		r := bitbucketDelivery("repo:push", []byte("{}"))
		r.Header.Set(header, value)
		got, err := newVerifier(t, cfg)(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return got.Identity
	}
	first, again := identity(bitbucketConfig, "X-Request-UUID", "r1"), identity(bitbucketConfig, "X-Request-Id", "r2")
	if first != again || first == "" {
		t.Errorf("got %q and %q, want the same", first, again)
	}
	unsigned := trigger.Config{Kind: trigger.Bitbucket, Insecure: true}
	for _, header := range []string{"X-Request-UUID", "X-Request-Id"} {
		if got := identity(unsigned, header, "r3"); got != "r3" {
			t.Errorf("%s: got %q", header, got)
		}
	}
}

func TestBitbucket_RefusesAnyFlippedBitOfWhatItSigned(t *testing.T) {
	verify := newVerifier(t, bitbucketConfig)
	rapid.Check(t, func(t *rapid.T) {
		body, err := json.Marshal(map[string]any{"push": anyValue(2).Draw(t, "push")})
		if err != nil {
			t.Fatal(err)
		}
		header, err := trigger.Sign(bitbucketConfig, body, received)
		if err != nil {
			t.Fatal(err)
		}
		r := trigger.Request{Header: header, Body: bytes.Clone(body)}
		if got, err := verify(t.Context(), r); err != nil || got.Name != "repo:push" {
			t.Fatalf("got %+v, %v", got, err)
		}
		bit := rapid.IntRange(0, 8*len(body)-1).Draw(t, "bit")
		r.Body[bit/8] ^= 1 << (bit % 8)
		if _, err := verify(t.Context(), r); err == nil || !strings.HasPrefix(err.Error(), "forged: ") {
			t.Fatalf("got %v, want forged", err)
		}
	})
}

func TestBitbucket_AgreesWithTheSignatureVectors(t *testing.T) {
	for name, data := range extraFiles(t, "FUNKER_TEST_PAYLOADS", "bitbucket/signature-vectors.json") {
		var vectors []struct {
			Valid     bool    `json:"valid"`
			Why       string  `json:"why"`
			Signature *string `json:"X-Hub-Signature"`
			Body      string  `json:"body"`
			Secret    string  `json:"secret"`
		}
		if err := json.Unmarshal(data, &vectors); err != nil || len(vectors) == 0 {
			t.Fatalf("%s: %v", name, err)
		}
		for i, v := range vectors {
			h := http.Header{"Content-Type": {"application/json"}, "X-Event-Key": {"repo:push"}}
			if v.Signature != nil {
				h.Set("X-Hub-Signature", *v.Signature)
			}
			cfg := trigger.Config{Kind: trigger.Bitbucket, Secrets: []trigger.Secret{[]byte(v.Secret)}}
			_, err := newVerifier(t, cfg)(t.Context(), trigger.Request{Header: h, Body: []byte(v.Body)})
			if got := !refusesSignature(t, err); got != v.Valid {
				t.Errorf("%s, vector %d (%s): %v", name, i, v.Why, err)
			}
		}
	}
}

func TestBitbucket_AcceptsRecordedEvents(t *testing.T) {
	verify := newVerifier(t, bitbucketConfig)
	for name, body := range extraFiles(t, "FUNKER_TEST_PAYLOADS", "bitbucket/*-repo-*.json") {
		if got, err := verify(t.Context(), bitbucketDelivery("repo:x", body)); err != nil || got.Answer != trigger.AnswerStored {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func FuzzBitbucket(f *testing.F) {
	f.Add("repo:push", "application/json", signature(secret, []byte("{}")), []byte("{}"), false)
	f.Add("diagnostics:ping", "", "", []byte(`{"test":true}`), false)
	f.Add("a\nb", formType, "sha256=", []byte("payload=%7B%7D"), true)
	f.Add("", "application/json", "sha1=00", []byte("[]"), true)
	verify := newVerifier(f, bitbucketConfig)
	f.Fuzz(func(t *testing.T, event, contentType, sig string, body []byte, signed bool) {
		right := signature(secret, body)
		if signed {
			sig = right
		}
		h := http.Header{"Content-Type": {contentType}, "X-Hub-Signature": {sig}, "X-Event-Key": {event}}
		got, err := verify(t.Context(), trigger.Request{Header: h, Body: body})
		if err != nil {
			reasonOf(t, err)
			wantNothingDisclosed(t, err, right)
			return
		}
		if got.Answer == trigger.AnswerControl && sig == "" {
			return
		}
		payload, unreadable := trigger.Payload("", contentType, body)
		if !strings.EqualFold(sig, right) || unreadable != nil || trigger.CheckJSON(payload) != nil || got.Name == "" {
			t.Fatalf("accepted %+v with the signature %q and the payload %q, %v", got, sig, payload, unreadable)
		}
	})
}
