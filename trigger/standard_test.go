package trigger_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

var (
	private   = ed25519.NewKeyFromSeed(keyBytes)
	publicKey = "whpk_" + base64.StdEncoding.EncodeToString(private[ed25519.SeedSize:])
)

// edSigned is a request that is signed with the private key.
func edSigned(id string, body []byte) http.Header {
	h := signedAs(trigger.StandardWebhooks, nil, at(0), nil)
	h.Set("webhook-id", id)
	h.Set("webhook-signature", "v1a,"+base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte(id+"."+at(0)+"."+string(body)))))
	return h
}

func verifyStandard(t testing.TB, cfg trigger.Config, h http.Header, body string) (trigger.Event, error) {
	t.Helper()
	return newVerifier(t, cfg)(t.Context(), trigger.Request{Header: h, Body: []byte(body), Time: received})
}

func withKeys(keys ...string) trigger.Config {
	cfg := trigger.Config{Kind: trigger.StandardWebhooks}
	for _, key := range keys {
		cfg.Secrets = append(cfg.Secrets, []byte(key))
	}
	return cfg
}

func TestStandard_AcceptsEd25519(t *testing.T) {
	body := []byte(`{"type":"lamp.lit"}`)
	for _, cfg := range []trigger.Config{withKeys(publicKey), withKeys(keyText, publicKey)} {
		got, err := verifyStandard(t, cfg, edSigned("m-2", body), string(body))
		if err != nil || got.Identity != "m-2" || got.Name != "lamp.lit" {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	for name, h := range map[string]http.Header{
		"another body":   edSigned("m-2", append(body, ' ')),
		"an HMAC of it":  signedAs(trigger.StandardWebhooks, private[ed25519.SeedSize:], at(0), body),
		"the HMAC key's": signedAs(trigger.StandardWebhooks, keyBytes, at(0), body),
	} {
		_, err := verifyStandard(t, withKeys(publicKey), h, string(body))
		if got := reasonOf(t, err); got != trigger.ReasonForged {
			t.Errorf("%s: got %v", name, err)
		}
	}
	h := edSigned("m-2", body)
	h.Set("webhook-signature", strings.Replace(h.Get("webhook-signature"), "v1a,", "v1,", 1))
	_, err := verifyStandard(t, withKeys(publicKey, keyText), h, string(body))
	wantRefusal(t, err, trigger.ReasonForged)
}

func TestStandard_OneOfSeveralSignaturesIsEnough(t *testing.T) {
	body := []byte(`{"type":"a"}`)
	good := signedAs(trigger.StandardWebhooks, keyBytes, at(0), body).Get("webhook-signature")
	h := signedAs(trigger.StandardWebhooks, keyBytes, at(0), body)
	for _, list := range []string{"v9,x " + good, good + " v1,AAAA", "v1,! " + good, "v1 " + good, "v1a,AAAA " + good, strings.Repeat("v1,AAAA ", 7) + good} {
		h.Set("webhook-signature", list)
		if _, err := verifyStandard(t, withKeys(publicKey, keyText), h, string(body)); err != nil {
			t.Errorf("%s: %v", list, err)
		}
	}
	h.Set("webhook-signature", strings.Repeat("v1a,AAAA ", 8)+good)
	_, err := verifyStandard(t, withKeys(keyText), h, string(body))
	wantRefusal(t, err, trigger.ReasonForged)
}

func TestStandard_TakesTheHeadersOfSvix(t *testing.T) {
	body := []byte(`{"type":"a"}`)
	h := http.Header{}
	for name, values := range signedAs(trigger.StandardWebhooks, keyBytes, at(0), body) {
		h[strings.Replace(name, "Webhook-", "Svix-", 1)] = values
	}
	got, err := verifyStandard(t, standardConfig, h, string(body))
	want := map[string]string{"svix-id": "m-1", "svix-timestamp": at(0)}
	if err != nil || got.Identity != "m-1" || fmt.Sprint(got.Header) != fmt.Sprint(want) {
		t.Errorf("got %+v, %v", got, err)
	}
	h.Set("webhook-id", "m-2")
	_, err = verifyStandard(t, standardConfig, h, string(body))
	wantRefusal(t, err, trigger.ReasonUnsigned) // no mixture
}

func TestStandard_RefusesAnIDThatCouldBePartOfTheTime(t *testing.T) {
	for _, id := range []string{"m.1", ".", "m\x001", strings.Repeat("m", 513)} {
		_, err := verifyStandard(t, withKeys(publicKey), edSigned(id, []byte("{}")), "{}")
		if got := reasonOf(t, err); got != trigger.ReasonForged {
			t.Errorf("%.20q: got %v", id, err)
		}
	}
}

func TestStandard_TheNameIsTheTypeWhereItIsAString(t *testing.T) {
	for body, want := range map[string]string{
		`{"type":"lamp.lit"}`: "lamp.lit", `{"data":{"type":"b"},"type":"a"}`: "a", `{"ty\u0070e":"\u0061"}`: "a",
		`{"type":7}`: "", `{"type":{"type":"a"}}`: "", `{"type":null}`: "", `{"Type":"a"}`: "", `{}`: "",
		`[{"type":"a"}]`: "", `"type"`: "", `1`: "", `{"type":"a\nb"}`: "", `{"type":"` + strings.Repeat("x", 513) + `"}`: "",
		`{"` + strings.Repeat("x", 1<<16) + `":1,"type":"a"}`: "a",
	} {
		got, err := verifyStandard(t, standardConfig, signedAs(trigger.StandardWebhooks, keyBytes, at(0), []byte(body)), body)
		if err != nil || got.Name != want {
			t.Errorf("%.40s: got %q, %v, want %q", body, got.Name, err, want)
		}
	}
	for _, body := range []string{`{"type":"a","type":"a"}`, `{"type":"a","Type":"b"}`, `{"TYPE":1,"type":"a"}`} {
		_, err := verifyStandard(t, standardConfig, signedAs(trigger.StandardWebhooks, keyBytes, at(0), []byte(body)), body)
		wantRefusal(t, err, trigger.ReasonMalformed)
	}
}

func TestStandard_FindsRepeatsByWhatIsConfigured(t *testing.T) {
	const body = `{"id":"top","n":7,"data":{"id":"inner","a/b~c":{"":"odd"}},"list":["x"]}`
	identity := func(dedupe, id, body string) string {
		t.Helper()
		cfg := withKeys(publicKey)
		cfg.Dedupe = dedupe
		got, err := verifyStandard(t, cfg, edSigned(id, []byte(body)), body)
		if err != nil {
			t.Fatal(err)
		}
		return got.Identity
	}
	for dedupe, want := range map[string]string{
		"": "m-1", "id": "m-1", "/id": "top", "/data/id": "inner", "/n": "7", "/data/a~1b~0c/": "odd",
		"/data": "m-1", "/none": "m-1", "/id/x": "m-1", "/list/0": "x", "/list/1": "m-1", "/list": "m-1", "/": "m-1",
	} {
		if got := identity(dedupe, "m-1", body); got != want {
			t.Errorf("%q: got %q, want %q", dedupe, got, want)
		}
	}
	if a, b := identity("body", "m-1", body), identity("body", "m-2", body); a != b || a == identity("body", "m-1", body+" ") {
		t.Errorf("by the body: got %q and %q", a, b)
	}
}

func TestStandard_RefusesABodyWithTwoOfWhatRepeatsAreFoundBy(t *testing.T) {
	cfg := withKeys(publicKey)
	cfg.Dedupe = "/data/id"
	for _, body := range []string{`{"data":{"id":"a","id":"b"}}`, `{"data":{"id":"a"},"data":{}}`, `{"data":{"id":"a","ID":"b"}}`} {
		_, err := verifyStandard(t, cfg, edSigned("m-1", []byte(body)), body)
		wantRefusal(t, err, trigger.ReasonMalformed)
	}
}

func TestCheckDedupe_SaysWhatIsWrong(t *testing.T) {
	for s, want := range map[string]string{
		"data": "is none of id, body and a JSON pointer", "ID": "is none of", "$.id": "is none of", "#/id": "is none of",
		"/a~": "is not a JSON pointer", "/~2": "is not a JSON pointer", "/" + strings.Repeat("x", 512): "is longer than 512 bytes",
	} {
		cfg := withKeys(keyText)
		cfg.Dedupe = s
		_, err := trigger.New(cfg, nil)
		if check := trigger.CheckDedupe(s); check == nil || err == nil || !strings.Contains(check.Error(), want) || !strings.Contains(err.Error(), "dedupe "+want) {
			t.Errorf("%.20q: got %v and %v, want %s", s, check, err, want)
		}
	}
}

// A pointer finds what encoding/json finds at the same members.
func TestDedupe_FollowsAnyPath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		path := rapid.SliceOfN(rapid.StringMatching(`[a-z~/ü"\\0]{0,6}`), 1, 5).Draw(t, "path")
		want := rapid.StringMatching(`[a-zü"]{1,9}`).Draw(t, "value")
		var value any = want
		pointer := ""
		for i := range path {
			value = map[string]any{path[len(path)-1-i]: value, "other-member": 1}
			pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(path[i])
		}
		body, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		verify, err := trigger.New(trigger.Config{Kind: trigger.StandardWebhooks, Insecure: true, Dedupe: pointer}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := verify(t.Context(), trigger.Request{Header: http.Header{"Webhook-Id": {"m-1"}}, Body: body}); err != nil || got.Identity != want {
			t.Fatalf("got %+v, %v, want %q in %s", got, err, want, body)
		}
	})
}

func TestStandard_KeysThatAreNoneAreRefusedWithoutBeingShown(t *testing.T) {
	encode := func(n int) string { return base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", n))) }
	for key, want := range map[string]string{
		"": "a secret is empty", "whsec_": "has a key of 0 bytes", "whsec_" + encode(23): "has a key of 23 bytes, it must have 24 to 64",
		"whsec_" + encode(65): "has a key of 65 bytes", "whpk_" + encode(31): "has a key of 31 bytes", "whpk_" + encode(33): "it must have 32 to 32",
		"whsec_" + encode(24)[:31]: "is not base64", "whsec_" + encode(32) + " ": "is not base64", "whsec_" + encode(32) + "\nwhsec_" + encode(32): "is not base64",
		"whsec_" + strings.TrimRight(encode(25), "="): "is not base64", "whsec_" + strings.Repeat("-_", 16): "is not base64",
		encode(32): "begins with neither whsec_ nor whpk_", "WHSEC_" + encode(32): "begins with neither", "v1,whsec_" + encode(32): "begins with neither",
		" whsec_" + encode(32): "begins with neither", "whsk_" + encode(32): "is the sender's private key: use the public one",
	} {
		_, err := trigger.New(withKeys(keyText, key), nil)
		if err == nil || !strings.Contains(err.Error(), want) || key != "" && !strings.Contains(err.Error(), "secret 2 of 2 ") {
			t.Errorf("%q: got %v, want %s", key, err, want)
			continue
		}
		if strings.Contains(err.Error(), encode(3)) || strings.Contains(err.Error(), "kkk") {
			t.Errorf("the error shows the key: %v", err)
		}
	}
	for _, n := range []int{24, 32, 64} {
		if _, err := trigger.New(withKeys("whsec_"+encode(n)), nil); err != nil {
			t.Errorf("a key of %d bytes: %v", n, err)
		}
	}
}

func TestStandard_SignsOnlyWithAKeyThatCanSign(t *testing.T) {
	if _, err := trigger.Sign(withKeys(publicKey), []byte("{}"), received); err == nil || !strings.Contains(err.Error(), "add a key of your own") {
		t.Errorf("got %v", err)
	}
	h := sign(t, withKeys(publicKey, keyText), []byte("{}"))
	if _, err := verifyStandard(t, withKeys(keyText), h, "{}"); err != nil {
		t.Error(err)
	}
	if h := sign(t, trigger.Config{Kind: trigger.StandardWebhooks, Insecure: true}, []byte("{}")); h.Get("webhook-signature") != "" || h.Get("webhook-id") == "" {
		t.Errorf("got %v", h)
	}
}

func TestStandard_InsecureTakesWhatHasNoHeaders(t *testing.T) {
	got, err := verifyStandard(t, trigger.Config{Kind: trigger.StandardWebhooks, Insecure: true}, http.Header{}, `[1]`)
	if err != nil || got.Identity != "" || got.Name != "" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// vector is a case of the files of signature vectors; keys that are headers are headers.
type vector map[string]any

func (v vector) text(key string) string { s, _ := v[key].(string); return s }

func (v vector) valid() bool { b, _ := v["valid"].(bool); return b }

// vectors runs the cases of a file, with the keys that config takes from each.
func vectors(t *testing.T, pattern string, headers []string, config func(vector) trigger.Config) {
	t.Helper()
	for name, data := range extraFiles(t, "FUNKER_TEST_PAYLOADS", pattern) {
		var cases []vector
		if err := json.Unmarshal(data, &cases); err != nil || len(cases) == 0 {
			t.Fatalf("%s: %v", name, err)
		}
		for i, v := range cases {
			h := http.Header{"Content-Type": {v.text("content_type")}}
			for _, header := range headers {
				if value, given := v[header].(string); given {
					h.Set(header, value)
				}
			}
			now, _ := v["now"].(float64)
			_, err := newVerifier(t, config(v))(t.Context(), trigger.Request{Header: h, Body: []byte(v.text("body")), Time: time.Unix(int64(now), 0)})
			if (err == nil) != v.valid() {
				t.Errorf("%s, vector %d (%s): %v", name, i, v.text("why"), err)
			}
		}
	}
}

func secretsOf(v vector, keys ...string) (secrets []trigger.Secret) {
	for _, key := range keys {
		if s := v.text(key); s != "" {
			secrets = append(secrets, []byte(s))
		}
	}
	return secrets
}

func TestStandard_AgreesWithTheSignatureVectors(t *testing.T) {
	vectors(t, "standard-webhooks/vectors.json", []string{"webhook-id", "webhook-timestamp", "webhook-signature"}, func(v vector) trigger.Config {
		return trigger.Config{Kind: trigger.StandardWebhooks, Secrets: secretsOf(v, "secret", "public_key")}
	})
}
