package trigger_test

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

const (
	signatureHeader = "X-Hub-Signature-256"
	formType        = "application/x-www-form-urlencoded"
)

// signature is written against GitHub's documentation, not against the package.
func signature(key string, body []byte) string {
	return "sha256=" + hex.EncodeToString(hmacOf(sha256.New, key, string(body)))
}

// delivery is a correctly signed request.
func delivery(event, contentType string, body []byte) trigger.Request {
	h := http.Header{}
	h.Set("Content-Type", contentType)
	h.Set("X-GitHub-Event", event)
	h.Set("X-GitHub-Delivery", "d1")
	h.Set(signatureHeader, signature(secret, body))
	return trigger.Request{Header: h, Body: body, Time: received}
}

func form(payload []byte) []byte {
	return []byte("payload=" + url.QueryEscape(string(payload)))
}

func TestGitHub_ReproducesThePublishedSignature(t *testing.T) {
	cfg := trigger.Config{Kind: trigger.GitHub, Secrets: []trigger.Secret{[]byte("It's a Secret to Everybody")}}
	const want = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	if got := sign(t, cfg, []byte("Hello, World!")).Get(signatureHeader); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestGitHub_AcceptsASignedPush(t *testing.T) {
	body := trigger.Sample(trigger.GitHub)
	verify := newVerifier(t, gitHubConfig)
	for name, r := range map[string]trigger.Request{
		"JSON":                     delivery("push", "application/json", body),
		"JSON with parameters":     delivery("push", "Application/JSON; charset=utf-8", body),
		"form":                     delivery("push", formType, form(body)),
		"form with other fields":   delivery("push", formType+"; charset=utf-8", []byte("a=1&"+string(form(body))+"&b=%zz")),
		"form with an escaped key": delivery("push", formType, []byte("p%61yload"+string(form(body)[7:]))),
	} {
		got, err := verify(t.Context(), r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := trigger.Event{Name: "push", Identity: got.Identity, Answer: trigger.AnswerStored,
			Header: map[string]string{"X-GitHub-Event": "push", "X-GitHub-Delivery": "d1"}}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

func TestGitHub_AnotherDeliveryIDMakesNoOtherEventOfASignedBody(t *testing.T) {
	identity := func(cfg trigger.Config, id string, body []byte) string {
		r := delivery("push", "application/json", body)
		r.Header.Set("X-GitHub-Delivery", id)
		got, err := newVerifier(t, cfg)(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return got.Identity
	}
	body, other := trigger.Sample(trigger.GitHub), []byte(`{"ref":"x","commits":[]}`)
	first := identity(gitHubConfig, "d1", body)
	if again := identity(gitHubConfig, "d2", body); again != first || first == "" {
		t.Errorf("got %q and %q, want the same", first, again)
	}
	if got := identity(gitHubConfig, "d1", other); got == first {
		t.Error("two bodies are one event")
	}
	if strings.Contains(delivery("push", "application/json", body).Header.Get("X-Hub-Signature-256"), strings.TrimPrefix(first, "signed-")) {
		t.Error("the identity tells the signature")
	}
	unsigned := trigger.Config{Kind: trigger.GitHub, Insecure: true}
	if got := identity(unsigned, "d3", body); got != "d3" {
		t.Errorf("without a signature: got %q, want the delivery id", got)
	}
}

func TestGitHub_AcceptsUpperCaseDigits(t *testing.T) {
	r := delivery("push", "application/json", trigger.Sample(trigger.GitHub))
	r.Header.Set(signatureHeader, "sha256="+strings.ToUpper(strings.TrimPrefix(r.Header.Get(signatureHeader), "sha256=")))
	if _, err := newVerifier(t, gitHubConfig)(t.Context(), r); err != nil {
		t.Error(err)
	}
}

func TestGitHub_RefusesWhatIsNotSignedRight(t *testing.T) {
	body := trigger.Sample(trigger.GitHub)
	good := signature(secret, body)
	h := sha1.New()
	h.Write(body)
	cases := map[string]struct {
		signature []string
		want      trigger.Reason
	}{
		"no header":             {nil, trigger.ReasonUnsigned},
		"empty header":          {[]string{""}, trigger.ReasonUnsigned},
		"empty signature":       {[]string{"sha256="}, trigger.ReasonUnsigned},
		"only the prefix":       {[]string{"sha256"}, trigger.ReasonForged},
		"no prefix":             {[]string{good[len("sha256="):]}, trigger.ReasonForged},
		"another prefix":        {[]string{"sha1=" + good[len("sha256="):]}, trigger.ReasonForged},
		"prefix in capitals":    {[]string{"SHA256=" + good[len("sha256="):]}, trigger.ReasonForged},
		"one digit less":        {[]string{good[:len(good)-1]}, trigger.ReasonForged},
		"one byte less":         {[]string{good[:len(good)-2]}, trigger.ReasonForged},
		"one byte more":         {[]string{good + "00"}, trigger.ReasonForged},
		"a space after it":      {[]string{good + " "}, trigger.ReasonForged},
		"not hexadecimal":       {[]string{good[:len(good)-1] + "g"}, trigger.ReasonForged},
		"base64":                {[]string{"sha256=" + base64.StdEncoding.EncodeToString([]byte(good))[:64]}, trigger.ReasonForged},
		"another secret":        {[]string{signature("another", body)}, trigger.ReasonForged},
		"the empty secret":      {[]string{signature("", body)}, trigger.ReasonForged},
		"secret and line break": {[]string{signature(secret+"\n", body)}, trigger.ReasonForged},
		"another body":          {[]string{signature(secret, append(body, ' '))}, trigger.ReasonForged},
		"two in one header":     {[]string{good + "," + good}, trigger.ReasonForged},
		"a wrong one first":     {[]string{signature("another", body), good}, trigger.ReasonForged},
		"SHA-1 in the header":   {[]string{"sha256=" + hex.EncodeToString(h.Sum(nil))}, trigger.ReasonForged},
		"zeros":                 {[]string{"sha256=" + strings.Repeat("0", 64)}, trigger.ReasonForged},
		"a huge one":            {[]string{"sha256=" + strings.Repeat("0", 1<<20)}, trigger.ReasonForged},
	}
	verify := newVerifier(t, gitHubConfig)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := delivery("push", "application/json", body)
			r.Header[signatureHeader] = c.signature
			_, err := verify(t.Context(), r)
			wantRefusal(t, err, c.want)
			wantNothingDisclosed(t, err, good)
		})
	}
}

// wantNothingDisclosed looks for the expected signature, in any writing, and for
// the secret.
func wantNothingDisclosed(t *testing.T, err error, expected string) {
	t.Helper()
	digits := strings.TrimPrefix(expected, "sha256=")
	raw, _ := hex.DecodeString(digits)
	wantHidden(t, err, secret, digits[:8], base64.StdEncoding.EncodeToString(raw)[:8], string(raw[:4]))
}

func TestGitHub_TakesSHA1ForNoSignature(t *testing.T) {
	body := trigger.Sample(trigger.GitHub)
	r := delivery("push", "application/json", body)
	r.Header.Del(signatureHeader)
	r.Header.Set("X-Hub-Signature", "sha1="+hex.EncodeToString(hmacOf(sha1.New, secret, string(body))))
	_, err := newVerifier(t, gitHubConfig)(t.Context(), r)
	wantRefusal(t, err, trigger.ReasonUnsigned)
}

func TestGitHub_SignatureOfTheJSONInAFormProvesNothing(t *testing.T) {
	body := trigger.Sample(trigger.GitHub)
	r := delivery("push", formType, form(body))
	r.Header.Set(signatureHeader, signature(secret, body))
	_, err := newVerifier(t, gitHubConfig)(t.Context(), r)
	wantRefusal(t, err, trigger.ReasonForged)
}

func TestGitHub_ParsesNothingBeforeTheSignatureIsRight(t *testing.T) {
	verify := newVerifier(t, gitHubConfig)
	for _, body := range []string{"", "no JSON", "\xff", "[]", string(nested(10_000))} {
		r := delivery("push", "text/plain", []byte(body))
		r.Header.Set(signatureHeader, signature("another", []byte(body)))
		_, err := verify(t.Context(), r)
		wantRefusal(t, err, trigger.ReasonForged)
	}
}

func TestGitHub_AnswersAPingWithoutRunningAnything(t *testing.T) {
	verify := newVerifier(t, gitHubConfig)
	ping := []byte(`{"zen":"Lamps first.","hook_id":7,"hook":{"type":"Repository"}}`)
	for contentType, body := range map[string][]byte{"application/json": ping, formType: form(ping)} {
		got, err := verify(t.Context(), delivery("ping", contentType, body))
		if err != nil || got.Name != "ping" || got.Answer != trigger.AnswerControl {
			t.Errorf("%s: got %+v, %v", contentType, got, err)
		}
	}
	r := delivery("ping", "application/json", ping)
	r.Header.Del(signatureHeader)
	_, err := verify(t.Context(), r)
	wantRefusal(t, err, trigger.ReasonUnsigned)
}

func TestGitHub_StoresEventsThatItDoesNotKnow(t *testing.T) {
	got, err := newVerifier(t, gitHubConfig)(t.Context(), delivery("invented_later", "application/json", []byte("{}")))
	if err != nil || got.Name != "invented_later" || got.Answer != trigger.AnswerStored {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestGitHub_TellsAPushAndAPingByTheBodyWhenTheHeaderIsMissing(t *testing.T) {
	verify := newVerifier(t, gitHubConfig)
	for body, want := range map[string]trigger.Answer{
		string(trigger.Sample(trigger.GitHub)): trigger.AnswerStored,
		`{"zen":"","hook_id":1}`:               trigger.AnswerControl,
	} {
		r := delivery("", "application/json", []byte(body))
		if got, err := verify(t.Context(), r); err != nil || got.Answer != want {
			t.Errorf("%.40s: got %+v, %v", body, got, err)
		}
	}
	_, err := verify(t.Context(), delivery("", "application/json", []byte(`{"action":"opened"}`)))
	wantRefusal(t, err, trigger.ReasonMalformed)
}

func TestGitHub_KeepsItsHeadersButNoSignature(t *testing.T) {
	r := delivery("star", "application/json", []byte("{}"))
	want := map[string]string{
		"X-GitHub-Event": "star", "X-GitHub-Delivery": "d1", "X-GitHub-Hook-ID": "7",
		"X-GitHub-Hook-Installation-Target-Type": "repository", "X-GitHub-Hook-Installation-Target-ID": "8",
		"X-GitHub-Enterprise-Version": "3.19.0", "X-GitHub-Enterprise-Host": "git.example.org",
	}
	for name, value := range want {
		r.Header.Set(name, value)
	}
	r.Header.Set("X-Hub-Signature", "sha1=00")
	r.Header.Set("Authorization", "Bearer x")
	got, err := newVerifier(t, gitHubConfig)(t.Context(), r)
	if err != nil || fmt.Sprint(got.Header) != fmt.Sprint(want) {
		t.Errorf("got %v, %v, want %v", got.Header, err, want)
	}
}

func TestGitHub_RefusesHeadersThatWouldBreakOthers(t *testing.T) {
	verify := newVerifier(t, gitHubConfig)
	for _, value := range []string{"a\nb", "a\x00", "\xff", strings.Repeat("x", 1000)} {
		for _, name := range []string{"X-GitHub-Event", "X-GitHub-Delivery", "X-GitHub-Hook-ID"} {
			r := delivery("push", "application/json", trigger.Sample(trigger.GitHub))
			r.Header.Set(name, value)
			_, err := verify(t.Context(), r)
			wantRefusal(t, err, trigger.ReasonMalformed)
		}
	}
}

func TestGitHub_RefusesASignedBodyThatNoFunctionCanRead(t *testing.T) {
	body := string(trigger.Sample(trigger.GitHub))
	cases := map[string]struct {
		contentType, body string
		want              trigger.Reason
	}{
		"empty":                      {"application/json", "", trigger.ReasonEmpty},
		"empty form":                 {formType, "", trigger.ReasonEmpty},
		"text":                       {"application/json", "Hello, World!", trigger.ReasonSyntax},
		"array":                      {"application/json", "[]", trigger.ReasonMalformed},
		"number":                     {"application/json", "1", trigger.ReasonMalformed},
		"null":                       {"application/json", "null", trigger.ReasonMalformed},
		"string":                     {"application/json", `"push"`, trigger.ReasonMalformed},
		"invalid UTF-8":              {"application/json", "{\"a\":\"\xff\"}", trigger.ReasonEncoding},
		"10,000 brackets":            {"application/json", `{"a":` + string(nested(10_000)) + "}", trigger.ReasonDepth},
		"form without payload":       {formType, "a=1&b=2", trigger.ReasonMalformed},
		"form with an empty payload": {formType, "payload=", trigger.ReasonEmpty},
		"form with two payloads":     {formType, "payload=%7B%7D&payload=%7B%7D", trigger.ReasonMalformed},
		"two, one of them escaped":   {formType, "payload=%7B%7D&p%61yload=%7B%7D", trigger.ReasonMalformed},
		"two, one of them empty":     {formType, "payload&payload=%7B%7D", trigger.ReasonMalformed},
		"form with a bad escape":     {formType, "payload=%7", trigger.ReasonMalformed},
		"form with invalid UTF-8":    {formType, "payload=%7B%22%ff%22:1%7D", trigger.ReasonEncoding},
		"form with text":             {formType, "payload=hello", trigger.ReasonSyntax},
		"form with an array":         {formType, "payload=%5B%5D", trigger.ReasonMalformed},
		"form with 10,000 brackets":  {formType, string(form(nested(10_000))), trigger.ReasonDepth},
		"JSON called a form":         {formType, body, trigger.ReasonMalformed},
		"form called JSON":           {"application/json", string(form([]byte(body))), trigger.ReasonSyntax},
		"XML":                        {"application/xml", "<push/>", trigger.ReasonContentType},
		"multipart":                  {"multipart/form-data; boundary=x", body, trigger.ReasonContentType},
	}
	verify := newVerifier(t, gitHubConfig)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := verify(t.Context(), delivery("push", c.contentType, []byte(c.body)))
			wantRefusal(t, err, c.want)
		})
	}
}

func TestGitHub_AllowsDuplicateKeysBecauseNothingDependsOnThem(t *testing.T) {
	body := []byte(`{"ref":"a","ref":"b","Ref":"c","commits":[]}`)
	if _, err := newVerifier(t, gitHubConfig)(t.Context(), delivery("push", "application/json", body)); err != nil {
		t.Error(err)
	}
}

func TestGitHub_AcceptsHugeStrings(t *testing.T) {
	body := []byte(`{"ref":"` + strings.Repeat("x", 4<<20) + `","commits":[]}`)
	if _, err := newVerifier(t, gitHubConfig)(t.Context(), delivery("push", "application/json", body)); err != nil {
		t.Error(err)
	}
}

func TestGitHub_InsecureAcceptsUnsigned(t *testing.T) {
	verify := newVerifier(t, trigger.Config{Kind: trigger.GitHub, Insecure: true})
	got, err := verify(t.Context(), trigger.Request{Body: trigger.Sample(trigger.GitHub)})
	if err != nil || got.Name != "push" || got.Identity != "" {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err = verify(t.Context(), trigger.Request{Body: []byte("[]")}); err == nil {
		t.Error("insecure must still want an object")
	}
}

func TestGitHub_AcceptsWhatItSigned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := trigger.Config{Kind: trigger.GitHub, Secrets: []trigger.Secret{[]byte(rapid.StringN(1, 100, -1).Draw(t, "secret"))}}
		body := pushLike(t)
		verify, err := trigger.New(cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		header, err := trigger.Sign(cfg, body, received)
		if err != nil {
			t.Fatal(err)
		}
		got, err := verify(t.Context(), trigger.Request{Header: header, Body: body})
		if err != nil || got.Name != "push" || got.Identity == "" {
			t.Fatalf("got %+v, %v", got, err)
		}
	})
}

func TestGitHub_RefusesAnyFlippedBit(t *testing.T) {
	verify := newVerifier(t, gitHubConfig)
	rapid.Check(t, func(t *rapid.T) {
		r := delivery("push", "application/json", pushLike(t))
		r.Body = bytes.Clone(r.Body)
		bit := rapid.IntRange(0, 8*len(r.Body)-1).Draw(t, "bit")
		r.Body[bit/8] ^= 1 << (bit % 8)
		_, err := verify(t.Context(), r)
		if err == nil {
			t.Fatal("accepted")
		}
		if want := "forged: "; !strings.HasPrefix(err.Error(), want) {
			t.Fatalf("got %v, want %s", err, want)
		}
	})
}

// pushLike draws a body with the shape of a push.
func pushLike(t *rapid.T) []byte {
	body, err := json.Marshal(map[string]any{"ref": rapid.String().Draw(t, "ref"), "commits": anyValue(2).Draw(t, "commits")})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestGitHub_RefusesEachFlippedBitOfASignature(t *testing.T) {
	verify := newVerifier(t, gitHubConfig)
	r := delivery("push", "application/json", trigger.Sample(trigger.GitHub))
	good, err := hex.DecodeString(strings.TrimPrefix(r.Header.Get(signatureHeader), "sha256="))
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(good) {
		bad := bytes.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		r.Header.Set(signatureHeader, "sha256="+hex.EncodeToString(bad))
		_, err := verify(t.Context(), r)
		wantRefusal(t, err, trigger.ReasonForged)
	}
}

func TestGitHub_AgreesWithTheSignatureVectors(t *testing.T) {
	for name, data := range extraFiles(t, "FUNKER_TEST_PAYLOADS", "github/signature-vectors.json") {
		var vectors []struct {
			Valid       bool    `json:"valid"`
			Why         string  `json:"why"`
			Signature   *string `json:"X-Hub-Signature-256"`
			Legacy      *string `json:"X-Hub-Signature"`
			Body        string  `json:"body"`
			ContentType string  `json:"content_type"`
			Secret      string  `json:"secret"`
			Payload     string  `json:"json_payload"`
		}
		if err := json.Unmarshal(data, &vectors); err != nil || len(vectors) == 0 {
			t.Fatalf("%s: %v", name, err)
		}
		for i, v := range vectors {
			h := http.Header{"Content-Type": {v.ContentType}}
			for header, value := range map[string]*string{signatureHeader: v.Signature, "X-Hub-Signature": v.Legacy} {
				if value != nil {
					h.Set(header, *value)
				}
			}
			verify := newVerifier(t, trigger.Config{Kind: trigger.GitHub, Secrets: []trigger.Secret{[]byte(v.Secret)}})
			_, err := verify(t.Context(), trigger.Request{Header: h, Body: []byte(v.Body)})
			if got := !refusesSignature(t, err); got != v.Valid {
				t.Errorf("%s, vector %d (%s): %v", name, i, v.Why, err)
			}
			if v.Payload == "" {
				continue
			}
			if got, err := trigger.Payload("", v.ContentType, []byte(v.Body)); err != nil || string(got) != v.Payload {
				t.Errorf("%s, vector %d: payload %q, %v", name, i, got, err)
			}
		}
	}
}

// refusesSignature tells a bad signature from a body that is no JSON, as in the
// vector that GitHub publishes.
func refusesSignature(t *testing.T, err error) bool {
	t.Helper()
	if err == nil {
		return false
	}
	reason := reasonOf(t, err)
	return reason == trigger.ReasonUnsigned || reason == trigger.ReasonForged
}

func TestGitHub_AcceptsRecordedEvents(t *testing.T) {
	verify := newVerifier(t, gitHubConfig)
	for name, body := range extraFiles(t, "FUNKER_TEST_PAYLOADS", "github/*.*.json") {
		event, _, _ := strings.Cut(name, ".")
		for contentType, sent := range map[string][]byte{"application/json": body, formType: form(body)} {
			got, err := verify(t.Context(), delivery(event, contentType, sent))
			want := trigger.AnswerStored
			if event == "ping" {
				want = trigger.AnswerControl
			}
			if err != nil || got.Name != event || got.Answer != want {
				t.Errorf("%s as %s: got %+v, %v", name, contentType, got, err)
			}
		}
		if want := map[string]string{"push": trigger.GitHub}[event]; trigger.Kind(body) != want {
			t.Errorf("%s: kind %q, want %q", name, trigger.Kind(body), want)
		}
	}
	for name, body := range extraFiles(t, "FUNKER_TEST_SEED", "github_push_event.json") {
		if _, err := verify(t.Context(), delivery("push", "application/json", body)); err != nil || trigger.Kind(body) != trigger.GitHub {
			t.Errorf("%s: kind %q, %v", name, trigger.Kind(body), err)
		}
	}
}

func FuzzGitHub(f *testing.F) {
	body := []byte(`{"ref":"x","commits":[]}`)
	f.Add("push", "application/json", signature(secret, body), body, false)
	f.Add("push", formType, "", form(body), true)
	f.Add("ping", formType+";x", "sha256=", []byte("payload=%7B%7D&payload"), true)
	f.Add("", "", "sha256="+strings.Repeat("0", 64), []byte(`{"zen":1,"hook_id":2}`), true)
	f.Add("a\nb", "text/plain", "sha1=00", []byte(`[]`), false)
	verify := newVerifier(f, gitHubConfig)
	f.Fuzz(func(t *testing.T, event, contentType, sig string, body []byte, signed bool) {
		right := signature(secret, body)
		if signed {
			sig = right
		}
		h := http.Header{"Content-Type": {contentType}, signatureHeader: {sig}}
		h.Set("X-GitHub-Event", event)
		got, err := verify(t.Context(), trigger.Request{Header: h, Body: body})
		if err != nil {
			reasonOf(t, err)
			wantNothingDisclosed(t, err, right)
			return
		}
		if !strings.EqualFold(sig, right) {
			t.Fatalf("accepted the signature %q", sig)
		}
		payload, err := trigger.Payload("", contentType, body)
		if err != nil || trigger.CheckJSON(payload) != nil || got.Name == "" {
			t.Fatalf("accepted %+v with the payload %q, %v", got, payload, err)
		}
	})
}
