package trigger_test

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// webhookConfig has the secret of the tests.
func webhookConfig(change func(*trigger.Config)) trigger.Config {
	cfg := trigger.Config{Kind: trigger.Webhook, Secrets: []trigger.Secret{[]byte(secret)}}
	change(&cfg)
	return cfg
}

func signedWith(h trigger.HMAC) trigger.Config {
	return webhookConfig(func(c *trigger.Config) { c.HMAC = h })
}

func webhookRequest(body string, pairs ...string) trigger.Request {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return trigger.Request{Header: h, Body: []byte(body), Time: received}
}

func TestWebhook_TakesCredentials(t *testing.T) {
	for name, c := range map[string]struct {
		cfg           trigger.Config
		header, value string
	}{
		"bearer is the default": {webhookConfig(func(*trigger.Config) {}), "Authorization", "Bearer " + secret},
		"bearer":                {webhookConfig(func(c *trigger.Config) { c.Auth = trigger.AuthBearer }), "Authorization", "Bearer " + secret},
		"basic": {webhookConfig(func(c *trigger.Config) { c.Auth, c.User = trigger.AuthBasic, "ida" }), "Authorization",
			"Basic " + base64.StdEncoding.EncodeToString([]byte("ida:"+secret))},
		"API key": {webhookConfig(func(c *trigger.Config) { c.Auth, c.Header = trigger.AuthAPIKey, "X-Api-Key" }), "X-Api-Key", secret},
	} {
		verify := newVerifier(t, c.cfg)
		got, err := verify(t.Context(), webhookRequest("[1]", c.header, c.value))
		if err != nil || got.Answer != trigger.AnswerStored || got.Identity != "" || got.Name != "" || len(got.Header) != 0 {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
		_, err = verify(t.Context(), webhookRequest("no JSON", c.header, c.value+"x"))
		wantRefusal(t, err, trigger.ReasonForged)
		_, err = verify(t.Context(), webhookRequest("no JSON"))
		wantRefusal(t, err, trigger.ReasonUnsigned)
	}
}

func TestWebhook_TakesASignatureInEachWriting(t *testing.T) {
	const body = `{"lamp":"lit"}`
	for algorithm, sum := range map[string][]byte{
		"": hmacOf(sha256.New, secret, body), "sha256": hmacOf(sha256.New, secret, body),
		"sha1": hmacOf(sha1.New, secret, body), "sha512": hmacOf(sha512.New, secret, body),
	} {
		for encoding, written := range map[string]string{
			"": hex.EncodeToString(sum), "hex": strings.ToUpper(hex.EncodeToString(sum)), "base64": base64.StdEncoding.EncodeToString(sum),
		} {
			for _, prefix := range []string{"", "v1="} {
				verify := newVerifier(t, signedWith(trigger.HMAC{Header: "X-Sig", Algorithm: algorithm, Encoding: encoding, Prefix: prefix}))
				got, err := verify(t.Context(), webhookRequest(body, "X-Sig", prefix+written))
				if err != nil || !strings.HasPrefix(got.Identity, "signed-") || strings.Contains(got.Identity, written) {
					t.Errorf("%q as %q behind %q: got %+v, %v", algorithm, encoding, prefix, got, err)
				}
			}
		}
	}
}

// The values are those of RFC 4231, section 4.3 (test case 2).
func TestWebhook_ReproducesThePublishedSignatures(t *testing.T) {
	const body = "what do ya want for nothing?"
	for algorithm, want := range map[string]string{
		"sha256": "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
		"sha512": "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
	} {
		cfg := signedWith(trigger.HMAC{Header: "X-Sig", Algorithm: algorithm})
		cfg.Secrets = []trigger.Secret{[]byte("Jefe")}
		if got := sign(t, cfg, []byte(body)).Get("X-Sig"); got != want {
			t.Errorf("%s: got %s, want %s", algorithm, got, want)
		}
	}
}

func TestWebhook_RefusesWhatIsNotSignedRight(t *testing.T) {
	const body = `{"lamp":"lit"}`
	digits := hex.EncodeToString(hmacOf(sha256.New, secret, body))
	in64 := base64.StdEncoding.EncodeToString(hmacOf(sha256.New, secret, body))
	inHex := newVerifier(t, signedWith(trigger.HMAC{Header: "X-Sig", Prefix: "v1="}))
	inBase64 := newVerifier(t, signedWith(trigger.HMAC{Header: "X-Sig", Encoding: "base64"}))
	for name, c := range map[string]struct {
		verify    trigger.Verifier
		signature []string
		want      trigger.Reason
	}{
		"no header":              {inHex, nil, trigger.ReasonUnsigned},
		"empty header":           {inHex, []string{""}, trigger.ReasonUnsigned},
		"empty signature":        {inHex, []string{"v1="}, trigger.ReasonUnsigned},
		"no prefix":              {inHex, []string{digits}, trigger.ReasonForged},
		"prefix in capitals":     {inHex, []string{"V1=" + digits}, trigger.ReasonForged},
		"one digit less":         {inHex, []string{"v1=" + digits[:63]}, trigger.ReasonForged},
		"one byte more":          {inHex, []string{"v1=" + digits + "00"}, trigger.ReasonForged},
		"not hexadecimal":        {inHex, []string{"v1=" + digits[:63] + "g"}, trigger.ReasonForged},
		"base64 for hex":         {inHex, []string{"v1=" + in64}, trigger.ReasonForged},
		"twice":                  {inHex, []string{"v1=" + digits, "v1=" + digits}, trigger.ReasonForged},
		"another secret":         {inHex, []string{"v1=" + hex.EncodeToString(hmacOf(sha256.New, "another", body))}, trigger.ReasonForged},
		"the empty secret":       {inHex, []string{"v1=" + hex.EncodeToString(hmacOf(sha256.New, "", body))}, trigger.ReasonForged},
		"another body":           {inHex, []string{"v1=" + hex.EncodeToString(hmacOf(sha256.New, secret, body, " "))}, trigger.ReasonForged},
		"another hash":           {inHex, []string{"v1=" + hex.EncodeToString(hmacOf(sha1.New, secret, body))}, trigger.ReasonForged},
		"a longer hash, cut":     {inHex, []string{"v1=" + hex.EncodeToString(hmacOf(sha512.New, secret, body))[:64]}, trigger.ReasonForged},
		"a huge one":             {inHex, []string{"v1=" + strings.Repeat("0", 1<<20)}, trigger.ReasonForged},
		"base64, no padding":     {inBase64, []string{strings.TrimRight(in64, "=")}, trigger.ReasonForged},
		"base64 of URLs":         {inBase64, []string{base64.URLEncoding.EncodeToString(bytes.Repeat([]byte{255}, 32))}, trigger.ReasonForged},
		"base64, one byte less":  {inBase64, []string{base64.StdEncoding.EncodeToString(make([]byte, 31))}, trigger.ReasonForged},
		"hex for base64":         {inBase64, []string{digits}, trigger.ReasonForged},
		"base64 with line break": {inBase64, []string{in64[:40] + "\r\n" + in64[42:]}, trigger.ReasonForged},
	} {
		t.Run(name, func(t *testing.T) {
			r := webhookRequest(body)
			r.Header["X-Sig"] = c.signature
			_, err := c.verify(t.Context(), r)
			wantRefusal(t, err, c.want)
			wantNothingDisclosed(t, err, digits)
		})
	}
}

func TestWebhook_TakesATimeThatIsSignedAndNear(t *testing.T) {
	const body = `{"lamp":"lit"}`
	cfg := signedWith(trigger.HMAC{Header: "X-Sig", Template: "v0:{timestamp:X-Time}|{body}", Tolerance: time.Minute})
	verify := newVerifier(t, cfg)
	seconds := func(d time.Duration) string { return strconv.FormatInt(received.Add(d).Unix(), 10) }
	for written, want := range map[string]trigger.Reason{
		seconds(0):              "",
		seconds(-time.Minute):   "",
		seconds(time.Minute):    "",
		seconds(-61e9):          trigger.ReasonStale,
		seconds(61e9):           trigger.ReasonStale,
		seconds(-1e6 * 61e9):    trigger.ReasonStale,
		seconds(-60e9) + "000":  "", // milliseconds
		seconds(-61e9) + "000":  trigger.ReasonStale,
		"0":                     trigger.ReasonStale,
		"9999999999999":         trigger.ReasonStale,
		"99999999999999":        trigger.ReasonMalformed,
		"99999999999999999999":  trigger.ReasonMalformed,
		"-" + seconds(0):        trigger.ReasonMalformed,
		"+" + seconds(0):        trigger.ReasonMalformed,
		seconds(0) + ".5":       trigger.ReasonMalformed,
		"0x6907":                trigger.ReasonMalformed,
		"soon":                  trigger.ReasonMalformed,
		"2026-11-02T08:30:30Z":  "",
		"2026-11-02T09:30:30Z":  trigger.ReasonStale,
		"2026-11-02T09:30+0100": trigger.ReasonMalformed,
	} {
		r := webhookRequest(body, "X-Time", written, "X-Sig", hex.EncodeToString(hmacOf(sha256.New, secret, "v0:", written, "|", body)))
		if got, err := verify(t.Context(), r); want == "" && (err != nil || !strings.HasPrefix(got.Identity, "signed-")) {
			t.Errorf("%s: got %+v, %v", written, got, err)
		} else if want != "" && reasonOf(t, err) != want {
			t.Errorf("%s: got %v, want %s", written, err, want)
		}
		r.Header.Set("X-Time", seconds(time.Second))
		_, err := verify(t.Context(), r)
		wantRefusal(t, err, trigger.ReasonForged)
	}
	r := webhookRequest(body, "X-Sig", hex.EncodeToString(hmacOf(sha256.New, secret, "v0:|", body)))
	_, err := verify(t.Context(), r)
	wantRefusal(t, err, trigger.ReasonUnsigned)
	r.Header["X-Time"] = []string{seconds(0), seconds(0)}
	_, err = verify(t.Context(), r)
	wantRefusal(t, err, trigger.ReasonForged)
}

func TestWebhook_ASignatureIsGoodForFiveMinutesUnlessTheManifestSaysOtherwise(t *testing.T) {
	cfg := signedWith(trigger.HMAC{Header: "X-Sig", Template: "{timestamp:X-Time}{body}"})
	body := trigger.Sample(trigger.Webhook)
	for age, want := range map[time.Duration]trigger.Reason{
		-301 * time.Second: trigger.ReasonStale, -300 * time.Second: "", 300 * time.Second: "", 301 * time.Second: trigger.ReasonStale,
	} {
		r := trigger.Request{Header: sign(t, cfg, body), Body: body, Time: time.Unix(received.Unix(), 0).Add(age)}
		if _, err := newVerifier(t, cfg)(t.Context(), r); want == "" && err != nil || want != "" && reasonOf(t, err) != want {
			t.Errorf("%s: got %v, want %q", age, err, want)
		}
	}
}

// Who has seen one request must not be able to move bytes over the border between
// two parts of what is signed.
func TestWebhook_CannotBeTakenApartInAnotherWay(t *testing.T) {
	verify := newVerifier(t, webhookConfig(func(c *trigger.Config) {
		c.IDFrom, c.HMAC = "X-Id", trigger.HMAC{Header: "X-Sig", Template: "{header:X-Id}.{header:X-Tenant}:{body}"}
	}))
	sum := hex.EncodeToString(hmacOf(sha256.New, secret, `a.b:{"c":".d:1"}`))
	if got, err := verify(t.Context(), webhookRequest(`{"c":".d:1"}`, "X-Id", "a", "X-Tenant", "b", "X-Sig", sum)); err != nil || got.Identity != "a" {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, r := range []trigger.Request{
		webhookRequest(`1"}`, "X-Id", "a", "X-Tenant", `b:{"c":".d`, "X-Sig", sum),
		webhookRequest(`1"}`, "X-Id", `a.b:{"c":"`, "X-Tenant", "d", "X-Sig", sum),
	} {
		_, err := verify(t.Context(), r)
		wantRefusal(t, err, trigger.ReasonMalformed)
	}
	right := newVerifier(t, webhookConfig(func(c *trigger.Config) {
		c.IDFrom, c.HMAC = "X-Id", trigger.HMAC{Header: "X-Sig", Template: "{header:X-Id}{body}"}
	}))
	sum = hex.EncodeToString(hmacOf(sha256.New, secret, `12[{"a":34}]`))
	for id, body := range map[string]string{"12[": `{"a":34}]`, "1": `2[{"a":34}]`, `12[{"a":`: `34}]`, "12[{": `"a":34}]`} {
		_, err := right(t.Context(), webhookRequest(body, "X-Id", id, "X-Sig", sum))
		wantRefusal(t, err, trigger.ReasonMalformed)
	}
	if got, err := right(t.Context(), webhookRequest(`[{"a":34}]`, "X-Id", "12", "X-Sig", sum)); err != nil || got.Identity != "12" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestWebhook_FindsTheIDAndTheNameWhereTheManifestSays(t *testing.T) {
	const body = `{"id":"e1","n":-1.50e+2,"none":null,"deep":[{"a/b~c":["x","type"]},7],"ID2":"","ü":"\u00fc\n"}`
	for place, want := range map[string]string{
		"X-Id": "h1", "x-id": "h1", "X-Missing": "", "/id": "e1", "/n": "-1.50e+2", "/none": "", "/missing": "", "/Id": "", "/id/deeper": "",
		"/deep/0/a~1b~0c/1": "type", "/deep/1": "7", "/deep/2": "", "/deep/-": "", "/deep/00": "", "/deep/0/x": "", "/ID2": "", "": "",
	} {
		cfg := webhookConfig(func(c *trigger.Config) { c.IDFrom, c.EventFrom = place, place })
		got, err := newVerifier(t, cfg)(t.Context(), webhookRequest(body, "Authorization", "Bearer "+secret, "X-Id", "h1"))
		if err != nil || got.Identity != want || got.Name != want {
			t.Errorf("%s: got %+v, %v, want %q", place, got, err, want)
		}
		if kept := want != "" && place[0] != '/'; kept != (got.Header[place] == want && len(got.Header) == 1) {
			t.Errorf("%s: kept %v", place, got.Header)
		}
	}
	for place, want := range map[string]string{"/ü": "control characters", "/deep": "a string or a number"} {
		cfg := webhookConfig(func(c *trigger.Config) { c.EventFrom = place })
		_, err := newVerifier(t, cfg)(t.Context(), webhookRequest(body, "Authorization", "Bearer "+secret))
		wantRefusal(t, err, trigger.ReasonMalformed)
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", place, err, want)
		}
	}
}

func TestWebhook_RefusesANameOrIDThatIsNotClear(t *testing.T) {
	cfg := webhookConfig(func(c *trigger.Config) { c.IDFrom, c.EventFrom = "/a/0/b", "X-Event" })
	verify := newVerifier(t, cfg)
	for _, body := range []string{
		`{"a":[{"b":1,"b":2}]}`, `{"a":[{"b":1}],"a":[]}`, `{"a":[{"b":1,"B":2}]}`, `{"a":[{"b":true}]}`, `{"a":[{"b":{}}]}`,
		`{"a":[{"b":"` + strings.Repeat("x", 513) + `"}]}`, `{"a":[{"b":` + strings.Repeat("1", 513) + `}]}`,
		`{"a":[{"b":"` + strings.Repeat("x", 10_000) + `"}]}`,
	} {
		_, err := verify(t.Context(), webhookRequest(body, "Authorization", "Bearer "+secret))
		wantRefusal(t, err, trigger.ReasonMalformed)
	}
	_, err := verify(t.Context(), webhookRequest(`{}`, "Authorization", "Bearer "+secret, "X-Event", "a\x01"))
	wantRefusal(t, err, trigger.ReasonMalformed)
}

func TestWebhook_IdentityIsWhatTheSignatureCovers(t *testing.T) {
	const body = `{"id":"in the body"}`
	at := strconv.FormatInt(received.Unix(), 10)
	for name, c := range map[string]struct {
		id     string
		hmac   trigger.HMAC
		signed string
		want   string // "" for that of the signature
	}{
		"an id in the body":             {"/id", trigger.HMAC{}, body, "in the body"},
		"a signed header":               {"X-Id", trigger.HMAC{Template: "{header:x-id}.{body}"}, "h1." + body, "h1"},
		"no id":                         {"", trigger.HMAC{}, body, ""},
		"no id, and a signed time":      {"", trigger.HMAC{Template: "{timestamp:X-Time}.{body}"}, at + "." + body, ""},
		"an id that is not in the body": {"/other", trigger.HMAC{}, body, ""},
	} {
		c.hmac.Header = "X-Sig"
		cfg := webhookConfig(func(cfg *trigger.Config) { cfg.IDFrom, cfg.HMAC = c.id, c.hmac })
		got, err := newVerifier(t, cfg)(t.Context(), webhookRequest(body, "X-Id", "h1", "X-Time", at,
			"X-Sig", hex.EncodeToString(hmacOf(sha256.New, secret, c.signed))))
		if err != nil || got.Identity != c.want && (c.want != "" || !strings.HasPrefix(got.Identity, "signed-")) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

// Who has seen one request may send it under the id of the next one, which is
// a number higher. That one has to be an event all the same.
func TestWebhook_UnsignedIDIsTheSameOnlyWithTheSameBody(t *testing.T) {
	cfg := webhookConfig(func(cfg *trigger.Config) {
		cfg.IDFrom, cfg.HMAC = "X-Id", trigger.HMAC{Header: "X-Sig", Template: "{timestamp:X-Time}.{body}"}
	})
	identity := func(id, body string, at time.Time) string {
		t.Helper()
		when := strconv.FormatInt(at.Unix(), 10)
		got, err := newVerifier(t, cfg)(t.Context(), webhookRequest(body, "X-Id", id, "X-Time", when,
			"X-Sig", hex.EncodeToString(hmacOf(sha256.New, secret, when+"."+body))))
		if err != nil {
			t.Fatal(err)
		}
		return got.Identity
	}
	genuine := identity("2", `{"n":2}`, received)
	if again := identity("2", `{"n":2}`, received.Add(time.Minute)); genuine == "" || again != genuine {
		t.Errorf("got %q for a request and %q for its repeat", genuine, again)
	}
	if passedOff := identity("2", `{"n":1}`, received); passedOff == genuine {
		t.Error("another body under its id is taken for it")
	}
	if other := identity("3", `{"n":2}`, received); other == genuine {
		t.Error("another id makes no difference")
	}
}

func TestWebhook_RefusesABodyThatNoFunctionCanRead(t *testing.T) {
	verify := newVerifier(t, webhookConfig(func(*trigger.Config) {}))
	for body, want := range map[string]trigger.Reason{
		"": trigger.ReasonEmpty, "hello": trigger.ReasonSyntax, "{} {}": trigger.ReasonSyntax, "\"\xff\"": trigger.ReasonEncoding,
		string(nested(10_000)): trigger.ReasonDepth,
	} {
		_, err := verify(t.Context(), webhookRequest(body, "Authorization", "Bearer "+secret))
		wantRefusal(t, err, want)
	}
	for contentType, want := range map[string]trigger.Reason{
		formType: trigger.ReasonContentType, "text/plain": trigger.ReasonContentType, "application/vnd.x+json; charset=utf-8": "", "": "",
	} {
		r := webhookRequest(`"a string"`, "Authorization", "Bearer "+secret)
		r.Header.Set("Content-Type", contentType)
		if got, err := verify(t.Context(), r); want == "" && err != nil || want != "" && reasonOf(t, err) != want {
			t.Errorf("%s: got %+v, %v, want %q", contentType, got, err, want)
		}
	}
}

func TestWebhook_EveryFaultOfItsSettingsNamesTheKeyAndTheReason(t *testing.T) {
	signed := func(h trigger.HMAC) trigger.Config { h.Header = "X-Sig"; return signedWith(h) }
	with := func(c trigger.Config, change func(*trigger.Config)) trigger.Config { change(&c); return c }
	for want, cfg := range map[string]trigger.Config{
		"hmac: needs header":                  signedWith(trigger.HMAC{Template: "{body}"}),
		"hmac: needs header: the":             signedWith(trigger.HMAC{Header: "X Sig"}),
		`hmac: unknown algorithm "md5"`:       signed(trigger.HMAC{Algorithm: "md5"}),
		`hmac: unknown encoding "base32"`:     signed(trigger.HMAC{Encoding: "base32"}),
		"hmac: does not end with {body}":      signed(trigger.HMAC{Template: "{timestamp:X-Time}."}),
		"hmac: {body} twice":                  signed(trigger.HMAC{Template: "{body}.{body}"}),
		"hmac: unknown placeholder {time}":    signed(trigger.HMAC{Template: "{time}.{body}"}),
		"hmac: has {timestamp}: write":        signed(trigger.HMAC{Template: "{timestamp}.{body}"}),
		"hmac: has {header:a b}: write":       signed(trigger.HMAC{Template: "{header:a b}.{body}"}),
		"hmac: unknown placeholder {{header":  signed(trigger.HMAC{Template: "{{header:A}.{body}"}),
		"hmac: a } without a {":               signed(trigger.HMAC{Template: "}{body}"}),
		"hmac: without text between them":     signed(trigger.HMAC{Template: "{header:A}{header:B}.{body}"}),
		"hmac: has two times":                 signed(trigger.HMAC{Template: "{timestamp:A}.{timestamp:B}.{body}"}),
		"hmac: which has the signature":       signed(trigger.HMAC{Template: "{header:x-sig}.{body}"}),
		"hmac: tolerance needs a time":        signed(trigger.HMAC{Tolerance: time.Minute}),
		"hmac: below zero":                    signed(trigger.HMAC{Template: "{timestamp:A}.{body}", Tolerance: -1}),
		"hmac: excludes auth":                 with(signed(trigger.HMAC{}), func(c *trigger.Config) { c.Auth = "bearer" }),
		"hmac: excludes auth, user":           with(signed(trigger.HMAC{}), func(c *trigger.Config) { c.User = "u" }),
		"insecure: exclude each other":        with(signed(trigger.HMAC{}), func(c *trigger.Config) { c.Insecure = true }),
		"auth: auth exclude each other":       {Kind: trigger.Webhook, Auth: trigger.AuthBearer, Insecure: true},
		"auth: needs user":                    webhookConfig(func(c *trigger.Config) { c.Auth = "basic" }),
		"auth: needs header":                  webhookConfig(func(c *trigger.Config) { c.Auth = "api-key" }),
		"user: is for auth: basic":            webhookConfig(func(c *trigger.Config) { c.User = "u" }),
		"header: is for auth: api-key":        webhookConfig(func(c *trigger.Config) { c.Auth, c.Header = "bearer", "H" }),
		"id: neither the name of a header":    webhookConfig(func(c *trigger.Config) { c.IDFrom = "a b" }),
		"event: write ~0 for ~":               webhookConfig(func(c *trigger.Config) { c.EventFrom = "/a~2" }),
		"event: control characters":           webhookConfig(func(c *trigger.Config) { c.EventFrom = "/a\n" }),
		"event: longer than 512 bytes":        webhookConfig(func(c *trigger.Config) { c.EventFrom = "/" + strings.Repeat("a", 513) }),
		"id: holds a secret":                  webhookConfig(func(c *trigger.Config) { c.IDFrom = "authorization" }),
		"event: holds a secret":               webhookConfig(func(c *trigger.Config) { c.EventFrom, c.Auth, c.Header = "X-Key", "api-key", "x-key" }),
		"id: holds a secret or a signature":   with(signed(trigger.HMAC{}), func(c *trigger.Config) { c.IDFrom = "X-SIG" }),
		"id: neither the header X-Id nor a t": with(signed(trigger.HMAC{}), func(c *trigger.Config) { c.IDFrom = "X-Id" }),
	} {
		wantKey, wantText, _ := strings.Cut(want, ": ")
		key, err := trigger.Check(cfg)
		if err == nil || key != wantKey || !strings.Contains(err.Error(), wantText) {
			t.Errorf("%s: got %q, %v", want, key, err)
		}
		if verify, err := trigger.New(cfg, nil); err == nil || verify != nil {
			t.Errorf("%s: there is a verifier", want)
		}
		if header, err := trigger.Sign(cfg, []byte("{}"), received); err == nil {
			t.Errorf("%s: signed with %v", want, header)
		}
	}
}

func TestWebhook_FailsClosed(t *testing.T) {
	hmac := trigger.HMAC{Header: "X-Sig"}
	for name, cfg := range map[string]trigger.Config{
		"nothing": {}, "auth without a secret": {Auth: trigger.AuthBearer}, "hmac without a secret": {HMAC: hmac},
	} {
		cfg.Kind = trigger.Webhook
		if verify, err := trigger.New(cfg, nil); verify != nil || !errors.Is(err, trigger.ErrUnverified) {
			t.Errorf("%s: got %v, want ErrUnverified", name, err)
		}
	}
	empty := trigger.Config{Kind: trigger.Webhook, HMAC: hmac, Secrets: []trigger.Secret{{}}}
	if verify, err := trigger.New(empty, nil); err == nil || verify != nil {
		t.Errorf("an empty secret: got %v", err)
	}
	open := newVerifier(t, trigger.Config{Kind: trigger.Webhook, Insecure: true, IDFrom: "/id"})
	if got, err := open(t.Context(), webhookRequest(`{"id":7}`)); err != nil || got.Identity != "7" {
		t.Errorf("insecure: got %+v, %v", got, err)
	}
}

func TestWebhook_NameHeaderIsOneThatIsNotSigned(t *testing.T) {
	for _, c := range []struct {
		cfg  trigger.Config
		want string
	}{
		{webhookConfig(func(c *trigger.Config) { c.EventFrom = "X-Event" }), "X-Event"},
		{webhookConfig(func(c *trigger.Config) { c.EventFrom = "/type" }), ""},
		{webhookConfig(func(c *trigger.Config) { c.EventFrom, c.HMAC = "X-Event", trigger.HMAC{Header: "X-Sig"} }), "X-Event"},
		{webhookConfig(func(c *trigger.Config) {
			c.EventFrom, c.HMAC = "X-Event", trigger.HMAC{Header: "X-Sig", Template: "{header:X-Event}:{body}"}
		}), ""},
		{gitHubConfig, "X-GitHub-Event"}, {trigger.Config{Kind: "x"}, ""},
	} {
		if got := trigger.NameHeader(c.cfg); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.cfg, got, c.want)
		}
	}
}

// hmacs draws how a sender signs.
func hmacs(t *rapid.T) trigger.HMAC {
	return trigger.HMAC{
		Header:    "X-Sig",
		Algorithm: rapid.SampledFrom(trigger.HMACAlgorithms()).Draw(t, "algorithm"),
		Encoding:  rapid.SampledFrom(trigger.HMACEncodings()).Draw(t, "encoding"),
		Prefix:    rapid.SampledFrom([]string{"", "sha256=", "v1,"}).Draw(t, "prefix"),
		Template: rapid.SampledFrom([]string{"", "{body}", "{timestamp:X-Time}.{body}", "v0:{timestamp:X-Time}:{body}", "{timestamp:X-Time}{body}",
			"{header:X-Id}.{timestamp:X-Time}.{body}", "→{header:X-Id}→{body}"}).Draw(t, "template"),
	}
}

func TestWebhook_AcceptsWhatItSignedAndNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := trigger.Config{Kind: trigger.Webhook, HMAC: hmacs(t), Secrets: []trigger.Secret{[]byte(rapid.StringN(1, 100, -1).Draw(t, "secret"))}}
		verify, err := trigger.New(cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		body := pushLike(t)
		header, err := trigger.Sign(cfg, body, received)
		if err != nil {
			t.Fatal(err)
		}
		r := trigger.Request{Header: header, Body: bytes.Clone(body), Time: received}
		if got, err := verify(t.Context(), r); err != nil || got.Identity == "" {
			t.Fatalf("got %+v, %v", got, err)
		}
		bit := rapid.IntRange(0, 8*len(body)-1).Draw(t, "bit")
		r.Body[bit/8] ^= 1 << (bit % 8)
		if got, err := verify(t.Context(), r); err == nil {
			t.Fatalf("accepted another body: %+v", got)
		}
		r.Body = body
		for _, name := range slices.Sorted(maps.Keys(header)) {
			if name == "Content-Type" {
				continue
			}
			r.Header = header.Clone()
			r.Header.Set(name, header.Get(name)+rapid.SampledFrom([]string{"0", ".", "a", "→"}).Draw(t, "more"))
			if got, err := verify(t.Context(), r); err == nil {
				t.Fatalf("accepted another %s: %+v", name, got)
			}
		}
	})
}

// What is found at a pointer is what a general parser finds there.
func TestWebhook_PointersAgreeWithAParser(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(rapid.StringMatching(`[ -~ü→]{0,20}`).AsAny(), rapid.Int32().AsAny()).Draw(t, "value")
		want, pointer := fmt.Sprint(value), ""
		for range rapid.IntRange(1, 5).Draw(t, "depth") {
			if i := rapid.IntRange(-1, 3).Draw(t, "index"); i >= 0 {
				list := make([]any, 4)
				list[i], pointer = value, fmt.Sprintf("/%d%s", i, pointer)
				value = list
				continue
			}
			name := rapid.StringMatching(`[a-z/~"ü]{0,5}`).Draw(t, "name")
			pointer = "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name) + pointer
			value = map[string]any{name: value, "another member": nil}
		}
		body, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		verify, err := trigger.New(trigger.Config{Kind: trigger.Webhook, Insecure: true, IDFrom: pointer}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := verify(t.Context(), trigger.Request{Body: body}); err != nil || got.Identity != want {
			t.Fatalf("%s in %s: got %+v, %v, want %q", pointer, body, got, err, want)
		}
	})
}

func FuzzWebhook(f *testing.F) {
	at := strconv.FormatInt(received.Unix(), 10)
	f.Add("e1", at, "x", "application/json", []byte(`{"type":"a"}`), true)
	f.Add("e.1", at+"000", "00", "", []byte(`[1]`), true)
	f.Add("", "soon", "", formType, []byte(`payload=%7B%7D`), false)
	cfg := webhookConfig(func(c *trigger.Config) {
		c.IDFrom, c.EventFrom, c.HMAC = "X-Id", "/type", trigger.HMAC{Header: "X-Sig", Template: "{header:X-Id}.{timestamp:X-Time}.{body}"}
	})
	verify := newVerifier(f, cfg)
	f.Fuzz(func(t *testing.T, id, at, sig, contentType string, body []byte, signed bool) {
		right := hex.EncodeToString(hmacOf(sha256.New, secret, id, ".", at, ".", string(body)))
		if signed {
			sig = right
		}
		r := webhookRequest(string(body), "X-Id", id, "X-Time", at, "X-Sig", sig)
		r.Header.Set("Content-Type", contentType)
		got, err := verify(t.Context(), r)
		if err != nil {
			reasonOf(t, err)
			wantNothingDisclosed(t, err, right)
			return
		}
		payload, unreadable := trigger.Payload("", contentType, body)
		if !strings.EqualFold(sig, right) || got.Identity != id || id == "" || strings.Contains(id, ".") || unreadable != nil || trigger.CheckJSON(payload) != nil {
			t.Fatalf("accepted %+v with the signature %q and the payload %q, %v", got, sig, payload, unreadable)
		}
	})
}

// FuzzTemplate holds that what is taken for a template signs and verifies, or is
// refused with a reason.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"", "{body}", "{timestamp:T}.{body}", "{header:A}{body}", "{header:A}\n{timestamp:B}:{body}", "{", "}{body}", "{body}}", "{header:}{body}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		cfg := signedWith(trigger.HMAC{Header: "X-Sig", Template: s})
		if _, err := trigger.Check(cfg); err != nil {
			return
		}
		header, err := trigger.Sign(cfg, []byte("{}"), received)
		if err != nil {
			reasonOf(t, errors.Unwrap(err)) // a header of the template has the byte that ends it
			return
		}
		if got, err := newVerifier(t, cfg)(t.Context(), trigger.Request{Header: header, Body: []byte("{}"), Time: received}); err != nil || got.Identity == "" {
			t.Fatalf("%q: got %+v, %v", s, got, err)
		}
	})
}
