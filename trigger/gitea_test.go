package trigger_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// forges are the two kinds of one protocol, and how their headers begin.
var forges = map[string]string{trigger.Gitea: "X-Gitea-", trigger.Forgejo: "X-Forgejo-"}

func forgeConfig(kind string) trigger.Config {
	return trigger.Config{Kind: kind, Secrets: []trigger.Secret{[]byte(secret)}}
}

// bareSignature is written against Gitea's deliver.go, not against the package.
func bareSignature(key string, body []byte) string {
	return hex.EncodeToString(hmacOf(sha256.New, key, string(body)))
}

// forgeDelivery is a request with all the headers that Forgejo sends; Gitea sends
// those of a forge that is not X-Forgejo.
func forgeDelivery(kind, event, contentType string, payload, body []byte) trigger.Request {
	h := http.Header{"Content-Type": {contentType}}
	digits := bareSignature(secret, payload)
	families := []string{"X-Gitea-", "X-Gogs-"}
	if kind == trigger.Forgejo {
		families = append(families, "X-Forgejo-")
	}
	for _, family := range families {
		h.Set(family+"Event", event)
		h.Set(family+"Event-Type", event+"_finer")
		h.Set(family+"Delivery", "d1")
		h.Set(family+"Signature", digits)
	}
	h.Set("X-GitHub-Event", event)
	h.Set("X-Hub-Signature-256", "sha256="+digits)
	return trigger.Request{Header: h, Body: body, Time: received}
}

func TestGitea_AcceptsASignedPushAsJSONAndAsAForm(t *testing.T) {
	for kind, family := range forges {
		verify := newVerifier(t, forgeConfig(kind))
		body := trigger.Sample(kind)
		identities := map[string]bool{}
		for name, r := range map[string]trigger.Request{
			"JSON":                   forgeDelivery(kind, "push", "application/json", body, body),
			"form":                   forgeDelivery(kind, "push", formType, body, form(body)),
			"form with other fields": forgeDelivery(kind, "push", formType+"; charset=utf-8", body, []byte("a=1&"+string(form(body)))),
		} {
			got, err := verify(t.Context(), r)
			if err != nil {
				t.Errorf("%s, %s: %v", kind, name, err)
				continue
			}
			identities[got.Identity] = true
			want := trigger.Event{Name: "push", Identity: got.Identity, Answer: trigger.AnswerStored, Header: map[string]string{
				family + "Event": "push", family + "Event-Type": "push_finer", family + "Delivery": "d1"}}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s, %s: got %+v, want %+v", kind, name, got, want)
			}
			if payload, err := trigger.Payload(got.Form, r.Header.Get("Content-Type"), r.Body); err != nil || !bytes.Equal(payload, body) {
				t.Errorf("%s, %s: payload %.40q, %v", kind, name, payload, err)
			}
		}
		if len(identities) != 1 {
			t.Errorf("%s: the identities %v of one signed payload, want one", kind, identities)
		}
	}
}

func TestGitea_RefusesASignatureOfTheForm(t *testing.T) {
	for kind := range forges {
		body := form(trigger.Sample(kind))
		_, err := newVerifier(t, forgeConfig(kind))(t.Context(), forgeDelivery(kind, "push", formType, body, body))
		wantRefusal(t, err, trigger.ReasonForged)
	}
}

func TestGitea_RefusesWhatIsNotSignedRight(t *testing.T) {
	for kind, family := range forges {
		body := trigger.Sample(kind)
		good := bareSignature(secret, body)
		old := hmac.New(sha1.New, []byte(secret))
		old.Write(body)
		cases := map[string]struct {
			signature []string
			want      trigger.Reason
		}{
			"no header":             {nil, trigger.ReasonUnsigned},
			"empty header":          {[]string{""}, trigger.ReasonUnsigned},
			"GitHub's prefix":       {[]string{"sha256=" + good}, trigger.ReasonForged},
			"only the prefix":       {[]string{"sha256="}, trigger.ReasonForged},
			"one digit less":        {[]string{good[:63]}, trigger.ReasonForged},
			"one byte less":         {[]string{good[:62]}, trigger.ReasonForged},
			"one byte more":         {[]string{good + "00"}, trigger.ReasonForged},
			"not hexadecimal":       {[]string{good[:63] + "g"}, trigger.ReasonForged},
			"base64":                {[]string{base64.StdEncoding.EncodeToString([]byte(good))[:64]}, trigger.ReasonForged},
			"another secret":        {[]string{bareSignature("another", body)}, trigger.ReasonForged},
			"the empty secret":      {[]string{bareSignature("", body)}, trigger.ReasonForged},
			"secret and line break": {[]string{bareSignature(secret+"\n", body)}, trigger.ReasonForged},
			"another body":          {[]string{bareSignature(secret, append(body, ' '))}, trigger.ReasonForged},
			"twice":                 {[]string{good, good}, trigger.ReasonForged},
			"a wrong one after it":  {[]string{good, "x"}, trigger.ReasonForged},
			"two in one header":     {[]string{good + "," + good}, trigger.ReasonForged},
			"SHA-1":                 {[]string{hex.EncodeToString(old.Sum(nil))}, trigger.ReasonForged},
			"a huge one":            {[]string{strings.Repeat("0", 1<<20)}, trigger.ReasonForged},
		}
		verify := newVerifier(t, forgeConfig(kind))
		for name, c := range cases {
			t.Run(kind+"/"+name, func(t *testing.T) {
				r := forgeDelivery(kind, "push", "application/json", body, body)
				r.Header[family+"Signature"] = c.signature
				_, err := verify(t.Context(), r)
				wantRefusal(t, err, c.want)
				wantNothingDisclosed(t, err, good)
			})
		}
	}
}

func TestGitea_TakesUpperCaseDigitsAndEachOfTwoSecrets(t *testing.T) {
	for kind, family := range forges {
		cfg := forgeConfig(kind)
		cfg.Secrets = append([]trigger.Secret{[]byte("the new one")}, cfg.Secrets...)
		body := trigger.Sample(kind)
		r := forgeDelivery(kind, "push", "application/json", body, body)
		r.Header.Set(family+"Signature", strings.ToUpper(bareSignature(secret, body)))
		if _, err := newVerifier(t, cfg)(t.Context(), r); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestGitea_ParsesNothingBeforeTheSignatureIsRight(t *testing.T) {
	for kind, family := range forges {
		verify := newVerifier(t, forgeConfig(kind))
		for _, body := range []string{"no JSON", "\xff", "[]", string(nested(10_000))} {
			for contentType, sent := range map[string]string{"application/json": body, formType: string(form([]byte(body)))} {
				r := forgeDelivery(kind, "", contentType, []byte(body), []byte(sent))
				r.Header.Set(family+"Signature", bareSignature("another", []byte(body)))
				_, err := verify(t.Context(), r)
				wantRefusal(t, err, trigger.ReasonForged)
			}
		}
	}
}

func TestGitea_RefusesASignedBodyThatNoFunctionCanRead(t *testing.T) {
	for kind := range forges {
		verify := newVerifier(t, forgeConfig(kind))
		for name, c := range map[string]struct {
			contentType, payload, body string
			want                       trigger.Reason
		}{
			"empty":                 {"application/json", "", "", trigger.ReasonEmpty},
			"empty form":            {formType, "", "", trigger.ReasonEmpty},
			"text":                  {"application/json", "hello", "hello", trigger.ReasonSyntax},
			"array":                 {"application/json", "[]", "[]", trigger.ReasonMalformed},
			"form with an array":    {formType, "[]", "payload=%5B%5D", trigger.ReasonMalformed},
			"form without payload":  {formType, "{}", "a=1", trigger.ReasonMalformed},
			"form with two of them": {formType, "{}", "payload=%7B%7D&payload=%7B%7D", trigger.ReasonMalformed},
			"form with bad escapes": {formType, "{}", "payload=%7", trigger.ReasonMalformed},
			"invalid UTF-8":         {formType, "{\"\xff\":1}", "payload=%7B%22%ff%22:1%7D", trigger.ReasonEncoding},
			"10,000 brackets":       {formType, string(nested(10_000)), string(form(nested(10_000))), trigger.ReasonDepth},
			"10,000 in an object":   {"application/json", `{"a":` + string(nested(10_000)) + "}", `{"a":` + string(nested(10_000)) + "}", trigger.ReasonDepth},
			"XML":                   {"application/xml", "<a/>", "<a/>", trigger.ReasonContentType},
		} {
			_, err := verify(t.Context(), forgeDelivery(kind, "push", c.contentType, []byte(c.payload), []byte(c.body)))
			if got := reasonOf(t, err); got != c.want {
				t.Errorf("%s, %s: got %v, want %s", kind, name, err, c.want)
			}
		}
	}
}

func TestGitea_WantsTheNameOfTheEvent(t *testing.T) {
	for kind := range forges {
		verify := newVerifier(t, forgeConfig(kind))
		for event, want := range map[string]trigger.Reason{
			"": trigger.ReasonMalformed, "a\nb": trigger.ReasonMalformed, strings.Repeat("x", 1000): trigger.ReasonMalformed,
		} {
			_, err := verify(t.Context(), forgeDelivery(kind, event, "application/json", []byte("{}"), []byte("{}")))
			wantRefusal(t, err, want)
		}
		got, err := verify(t.Context(), forgeDelivery(kind, "invented_later", "application/json", []byte("{}"), []byte("{}")))
		if err != nil || got.Name != "invented_later" || got.Answer != trigger.AnswerStored {
			t.Errorf("%s: got %+v, %v", kind, got, err)
		}
	}
}

func TestGitea_IdentityIsOfTheSignatureAndElseTheDelivery(t *testing.T) {
	for kind, family := range forges {
		identity := func(cfg trigger.Config, delivery string) string {
			body := trigger.Sample(kind)
			r := forgeDelivery(kind, "push", "application/json", body, body)
			r.Header.Set(family+"Delivery", delivery)
			got, err := newVerifier(t, cfg)(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			return got.Identity
		}
		first, again := identity(forgeConfig(kind), "d1"), identity(forgeConfig(kind), "d2")
		if first != again || !strings.HasPrefix(first, "signed-") {
			t.Errorf("%s: got %q and %q, want the same", kind, first, again)
		}
		if got := identity(trigger.Config{Kind: kind, Insecure: true}, "d3"); got != "d3" {
			t.Errorf("%s: without a signature: got %q, want the delivery id", kind, got)
		}
	}
}

func TestGitea_AcceptsWhatItSigned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]string{trigger.Gitea, trigger.Forgejo}).Draw(t, "kind")
		cfg := trigger.Config{Kind: kind, Secrets: []trigger.Secret{[]byte(rapid.StringN(1, 100, -1).Draw(t, "secret"))}}
		body := pushLike(t)
		verify, err := trigger.New(cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		header, err := trigger.Sign(cfg, body, received)
		if err != nil {
			t.Fatal(err)
		}
		r := trigger.Request{Header: header, Body: body}
		if rapid.Bool().Draw(t, "form") {
			r.Header.Set("Content-Type", formType)
			r.Body = form(body)
		}
		if got, err := verify(t.Context(), r); err != nil || got.Name != "push" || got.Identity == "" {
			t.Fatalf("got %+v, %v", got, err)
		}
	})
}

func TestGitea_RefusesAnyFlippedBit(t *testing.T) {
	verify := newVerifier(t, forgeConfig(trigger.Gitea))
	rapid.Check(t, func(t *rapid.T) {
		body := pushLike(t)
		r := forgeDelivery(trigger.Gitea, "push", "application/json", body, bytes.Clone(body))
		bit := rapid.IntRange(0, 8*len(body)-1).Draw(t, "bit")
		r.Body[bit/8] ^= 1 << (bit % 8)
		if _, err := verify(t.Context(), r); err == nil || !strings.HasPrefix(err.Error(), "forged: ") {
			t.Fatalf("got %v, want forged", err)
		}
	})
}

func TestGitea_AgreesWithTheSignatureVectors(t *testing.T) {
	for name, data := range extraFiles(t, "FUNKER_TEST_PAYLOADS", "gitea/signature-vectors.json") {
		var vectors []map[string]any
		if err := json.Unmarshal(data, &vectors); err != nil || len(vectors) == 0 {
			t.Fatalf("%s: %v", name, err)
		}
		for i, v := range vectors {
			for kind, family := range forges {
				h := http.Header{"Content-Type": {fmt.Sprint(v["content_type"])}}
				h.Set(family+"Event", "push")
				h.Set(family+"Signature", fmt.Sprint(v["X-Gitea-Signature"]))
				h.Set("X-Hub-Signature-256", fmt.Sprint(v["X-Hub-Signature-256"]))
				cfg := trigger.Config{Kind: kind, Secrets: []trigger.Secret{[]byte(fmt.Sprint(v["secret"]))}}
				_, err := newVerifier(t, cfg)(t.Context(), trigger.Request{Header: h, Body: []byte(fmt.Sprint(v["body"]))})
				if got := err == nil; got != v["valid"] {
					t.Errorf("%s, %s, vector %d (%v): %v", kind, name, i, v["why"], err)
				}
			}
		}
	}
}

func TestGitea_AcceptsRecordedEvents(t *testing.T) {
	for name, body := range extraFiles(t, "FUNKER_TEST_PAYLOADS", "gitea/*-event.json") {
		event := strings.ReplaceAll(strings.TrimSuffix(name, "-event.json"), "-", "_")
		for kind := range forges {
			got, err := newVerifier(t, forgeConfig(kind))(t.Context(), forgeDelivery(kind, event, formType, body, form(body)))
			if err != nil || got.Name != event {
				t.Errorf("%s, %s: got %+v, %v", kind, name, got, err)
			}
		}
	}
}

func FuzzGitea(f *testing.F) {
	body := []byte(`{"ref":"x","commits":[]}`)
	f.Add("push", "application/json", bareSignature(secret, body), body, false)
	f.Add("push", formType, "", form(body), true)
	f.Add("", formType+";x", "sha256=", []byte("payload=%7B%7D&payload"), true)
	f.Add("a\nb", "text/plain", strings.Repeat("0", 64), []byte(`[]`), true)
	verify := newVerifier(f, forgeConfig(trigger.Gitea))
	f.Fuzz(func(t *testing.T, event, contentType, sig string, body []byte, signed bool) {
		payload, unreadable := trigger.Payload("", contentType, body)
		right := bareSignature(secret, payload)
		if signed {
			sig = right
		}
		h := http.Header{"Content-Type": {contentType}, "X-Gitea-Signature": {sig}, "X-Gitea-Event": {event}}
		got, err := verify(t.Context(), trigger.Request{Header: h, Body: body})
		if err != nil {
			reasonOf(t, err)
			wantNothingDisclosed(t, err, right)
			return
		}
		if !strings.EqualFold(sig, right) || unreadable != nil || trigger.CheckJSON(payload) != nil || got.Name == "" {
			t.Fatalf("accepted %+v with the signature %q and the payload %q, %v", got, sig, payload, unreadable)
		}
	})
}
