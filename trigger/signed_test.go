package trigger_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// The key of all kinds here: a text to Stripe and Slack, base64 to the others.
var (
	keyBytes = []byte("an oil lamp and a fresnel lens 1")
	keyText  = "whsec_" + base64.StdEncoding.EncodeToString(keyBytes)

	standardConfig = trigger.Config{Kind: trigger.StandardWebhooks, Secrets: []trigger.Secret{[]byte(keyText)}}
	gitLabConfig   = trigger.Config{Kind: trigger.GitLab, SigningSecrets: []trigger.Secret{[]byte(keyText)}}
	stripeConfig   = trigger.Config{Kind: trigger.Stripe, Secrets: []trigger.Secret{[]byte(keyText)}}
	slackConfig    = trigger.Config{Kind: trigger.Slack, Secrets: []trigger.Secret{[]byte(keyText)}}
)

func signedConfigs() []trigger.Config {
	return []trigger.Config{standardConfig, gitLabConfig, stripeConfig, slackConfig}
}

// signedAs puts the headers of a kind into a request: the signature of body at a time in unix seconds, with a key. It is
// what the sender does; the package's own Sign is compared with it.
func signedAs(kind string, key []byte, at string, body []byte) http.Header {
	h := http.Header{"Content-Type": {"application/json"}}
	switch kind {
	case trigger.StandardWebhooks, trigger.GitLab:
		h.Set("webhook-id", "m-1")
		h.Set("webhook-timestamp", at)
		h.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(hmacOf(sha256.New, string(key), "m-1."+at+"."+string(body))))
	case trigger.Stripe:
		h.Set("Stripe-Signature", "t="+at+",v1="+hex.EncodeToString(hmacOf(sha256.New, string(key), at+"."+string(body))))
	case trigger.Slack:
		h.Set("X-Slack-Request-Timestamp", at)
		h.Set("X-Slack-Signature", "v0="+hex.EncodeToString(hmacOf(sha256.New, string(key), "v0:"+at+":"+string(body))))
	}
	return h
}

// keyOf is what a kind takes for the key.
func keyOf(kind string) []byte {
	if kind == trigger.StandardWebhooks || kind == trigger.GitLab {
		return keyBytes
	}
	return []byte(keyText)
}

func at(offset time.Duration) string { return strconv.FormatInt(received.Add(offset).Unix(), 10) }

// signatureHeaderOf names the one header with the signature, "" where there are three of them.
func signatureHeaderOf(kind string) string {
	return map[string]string{trigger.Stripe: "Stripe-Signature", trigger.Slack: "X-Slack-Signature"}[kind]
}

// keyParts are what must be in no error.
var keyParts = []string{keyText, keyText[6:18], string(keyBytes), hex.EncodeToString(keyBytes)[:8]}

func TestSigned_AcceptsWhatTheSenderSigns(t *testing.T) {
	for _, cfg := range signedConfigs() {
		body := trigger.Sample(cfg.Kind)
		for _, offset := range []time.Duration{0, -5 * time.Minute, 5 * time.Minute, 299 * time.Second} {
			h := signedAs(cfg.Kind, keyOf(cfg.Kind), at(offset), body)
			got, err := newVerifier(t, cfg)(t.Context(), trigger.Request{Header: h, Body: body, Time: received.Truncate(time.Second)})
			if err != nil || got.Name == "" || got.Identity == "" || got.Answer != trigger.AnswerStored {
				t.Errorf("%s, %s: got %+v, %v", cfg.Kind, offset, got, err)
			}
			for name := range got.Header {
				if strings.Contains(strings.ToLower(name), "signature") {
					t.Errorf("%s keeps the signature: %v", cfg.Kind, got.Header)
				}
			}
		}
	}
}

func TestSigned_RefusesWhatIsTooOldOrTooNewOrNoTime(t *testing.T) {
	for _, cfg := range signedConfigs() {
		verify, body := newVerifier(t, cfg), trigger.Sample(cfg.Kind)
		now := at(0)
		for text, want := range map[string]trigger.Reason{
			at(-301 * time.Second): trigger.ReasonStale, at(302 * time.Second): trigger.ReasonStale, "0": trigger.ReasonStale,
			"1099511627775": trigger.ReasonStale,
			"-" + now:       trigger.ReasonForged, "+" + now: trigger.ReasonForged, now + " ": trigger.ReasonForged, " " + now: trigger.ReasonForged,
			now + ".0": trigger.ReasonForged, now + ".": trigger.ReasonForged, "1_000": trigger.ReasonForged, "0x6": trigger.ReasonForged,
			"1e9": trigger.ReasonForged, "now": trigger.ReasonForged, now + "000000000000": trigger.ReasonForged,
			"٠": trigger.ReasonForged, "2026-11-02T08:30:01Z": trigger.ReasonForged,
		} {
			h := signedAs(cfg.Kind, keyOf(cfg.Kind), text, body)
			_, err := verify(t.Context(), trigger.Request{Header: h, Body: body, Time: received})
			if got := reasonOf(t, err); got != want {
				t.Errorf("%s, %q: got %v, want %s", cfg.Kind, text, err, want)
			}
		}
	}
}

func TestSigned_RefusesSignaturesOfOthers(t *testing.T) {
	for _, cfg := range signedConfigs() {
		verify, body, key, now := newVerifier(t, cfg), trigger.Sample(cfg.Kind), keyOf(cfg.Kind), at(0)
		for name, h := range map[string]http.Header{
			"another body":       signedAs(cfg.Kind, key, now, append([]byte{' '}, body...)),
			"another key":        signedAs(cfg.Kind, []byte("another"), now, body),
			"the empty key":      signedAs(cfg.Kind, nil, now, body),
			"the key as text":    signedAs(cfg.Kind, []byte(map[bool]string{true: string(keyBytes), false: keyText}[string(key) == keyText]), now, body),
			"a line end too":     signedAs(cfg.Kind, append(append([]byte{}, key...), '\n'), now, body),
			"a time not signed":  moved(cfg.Kind, signedAs(cfg.Kind, key, now, body), now, at(time.Second)),
			"nothing but a time": signedAs(cfg.Kind, key, now, nil),
		} {
			_, err := verify(t.Context(), trigger.Request{Header: h, Body: body, Time: received})
			if got := reasonOf(t, err); got != trigger.ReasonForged {
				t.Errorf("%s, %s: got %v", cfg.Kind, name, err)
			}
			wantHidden(t, err, keyParts...)
		}
	}
}

// moved changes the time in the headers, but not in what was signed.
func moved(kind string, h http.Header, from, to string) http.Header {
	for _, name := range []string{"webhook-timestamp", "X-Slack-Request-Timestamp", "Stripe-Signature"} {
		if value := h.Get(name); value != "" {
			h.Set(name, strings.Replace(value, from, to, 1))
		}
	}
	return h
}

func TestSigned_RefusesMisshapenSignatures(t *testing.T) {
	now := at(0)
	for _, cfg := range signedConfigs() {
		verify, body := newVerifier(t, cfg), trigger.Sample(cfg.Kind)
		name := signatureHeaderOf(cfg.Kind)
		if name == "" {
			name = "webhook-signature"
		}
		good := signedAs(cfg.Kind, keyOf(cfg.Kind), now, body).Get(name)
		prefix := good[:strings.LastIndexAny(good[:len(good)-2], ",=")+1]
		digits := good[len(prefix):]
		for _, bad := range [][]string{
			nil, {""}, {prefix}, {digits}, {strings.ToUpper(prefix) + digits}, {prefix + digits[:len(digits)-1]}, {prefix + digits[:len(digits)-4]},
			{prefix + digits + "00"}, {prefix + digits + "!"}, {prefix + flipCase(digits) + "x"}, {good, good}, {good, ""}, {"", good},
			{prefix + hex.EncodeToString([]byte(digits))}, {prefix + base64.RawURLEncoding.EncodeToString([]byte(digits))},
			{prefix + strings.Repeat("0", 64)}, {prefix + strings.Repeat("A", 43) + "="}, {strings.Repeat("v1,AAAA ", 2000)},
			{strings.Replace(good, "v1", "v2", 1) + "x"}, {strings.Replace(strings.Replace(good, "v1", "v9", 1), "v0=", "v1=", 1)},
		} {
			h := signedAs(cfg.Kind, keyOf(cfg.Kind), now, body)
			h[http.CanonicalHeaderKey(name)] = bad
			_, err := verify(t.Context(), trigger.Request{Header: h, Body: body, Time: received})
			if got := reasonOf(t, err); got != trigger.ReasonForged && got != trigger.ReasonUnsigned {
				t.Errorf("%s, %.80q: got %v", cfg.Kind, bad, err)
			}
			wantHidden(t, err, keyParts...)
		}
	}
}

func flipCase(s string) string {
	if upper := strings.ToUpper(s); upper != s {
		return upper
	}
	return strings.ToLower(s)
}

func TestSigned_RefusesARequestWithoutOneOfItsHeaders(t *testing.T) {
	for _, cfg := range signedConfigs() {
		verify, body := newVerifier(t, cfg), trigger.Sample(cfg.Kind)
		for name := range signedAs(cfg.Kind, nil, "1", nil) {
			if name == "Content-Type" {
				continue
			}
			h := signedAs(cfg.Kind, keyOf(cfg.Kind), at(0), body)
			h.Del(name)
			_, err := verify(t.Context(), trigger.Request{Header: h, Body: body, Time: received})
			wantRefusal(t, err, trigger.ReasonUnsigned)
		}
	}
}

func TestSigned_EachKeyIsGood(t *testing.T) {
	for _, cfg := range signedConfigs() {
		other := []byte("whsec_" + base64.StdEncoding.EncodeToString([]byte("a newer key, of 32 bytes as well")))
		keys := []trigger.Secret{other, []byte(keyText)}
		if cfg.Secrets = keys; cfg.Kind == trigger.GitLab {
			cfg.Secrets, cfg.SigningSecrets = nil, keys
		}
		body := trigger.Sample(cfg.Kind)
		verify := newVerifier(t, cfg)
		for _, h := range []http.Header{sign(t, cfg, body), signedAs(cfg.Kind, keyOf(cfg.Kind), at(0), body)} {
			if _, err := verify(t.Context(), trigger.Request{Header: h, Body: body, Time: received}); err != nil {
				t.Errorf("%s: %v", cfg.Kind, err)
			}
		}
	}
}

func TestSigned_ParsesNothingBeforeTheSignatureIsRight(t *testing.T) {
	for _, cfg := range signedConfigs() {
		for _, body := range []string{"", "no JSON", "\xff", string(nested(10_000))} {
			h := signedAs(cfg.Kind, []byte("another"), at(0), []byte(body))
			_, err := newVerifier(t, cfg)(t.Context(), trigger.Request{Header: h, Body: []byte(body), Time: received})
			wantRefusal(t, err, trigger.ReasonForged)
		}
	}
}

func TestSigned_RefusesASignedBodyThatNoFunctionCanRead(t *testing.T) {
	for _, cfg := range signedConfigs() {
		for body, want := range map[string]trigger.Reason{
			"": trigger.ReasonEmpty, "text": trigger.ReasonSyntax, `{"type":"a","id":"b"}x`: trigger.ReasonSyntax,
			"{\"type\":\"\xff\"}": trigger.ReasonEncoding, `{"type":"a","id":"b","c":` + string(nested(10_000)) + "}": trigger.ReasonDepth,
		} {
			h := signedAs(cfg.Kind, keyOf(cfg.Kind), at(0), []byte(body))
			_, err := newVerifier(t, cfg)(t.Context(), trigger.Request{Header: h, Body: []byte(body), Time: received})
			wantRefusal(t, err, want)
		}
		body := trigger.Sample(cfg.Kind)
		h := signedAs(cfg.Kind, keyOf(cfg.Kind), at(0), body)
		h.Set("Content-Type", "text/plain")
		_, err := newVerifier(t, cfg)(t.Context(), trigger.Request{Header: h, Body: body, Time: received})
		wantRefusal(t, err, trigger.ReasonContentType)
	}
}

func TestSigned_AcceptsWhatItSignedAndNothingElse(t *testing.T) {
	for _, cfg := range signedConfigs() {
		verify := newVerifier(t, cfg)
		rapid.Check(t, func(t *rapid.T) {
			body := fmt.Appendf(nil, `{"type":"a","id":"b","object_kind":"push","data":%q}`, rapid.StringMatching(`[a-z]*`).Draw(t, "data"))
			header, err := trigger.Sign(cfg, body, received)
			if err != nil {
				t.Fatal(err)
			}
			r := trigger.Request{Header: header, Body: body, Time: received}
			if got, err := verify(t.Context(), r); err != nil || got.Name == "" {
				t.Fatalf("got %+v, %v", got, err)
			}
			bit := rapid.IntRange(0, 8*len(body)-1).Draw(t, "bit")
			body[bit/8] ^= 1 << (bit % 8)
			if _, err := verify(t.Context(), r); err == nil || !strings.HasPrefix(err.Error(), "forged: ") {
				t.Fatalf("got %v", err)
			}
		})
	}
}

// FuzzSigned holds that no request is accepted whose signature is not the sender's, and that what is accepted can be read.
func FuzzSigned(f *testing.F) {
	f.Add(byte(0), "m-1", "1793608201", "v1,AAAA v1a,AAAA v2,x", []byte(`{"type":"a"}`), true, false)
	f.Add(byte(1), "a.b", "+1793608201", "v1,", []byte(`{"object_kind":"push"}`), true, false)
	f.Add(byte(2), "", "1793608201", "t=1793608201,v1=00,v1=", []byte(`{"type":"a","id":"b"}`), true, false)
	f.Add(byte(3), "", "0", "v0=00", []byte("command=%2Fa&text=%ff"), true, true)
	f.Add(byte(3), "", "1793608201", "", []byte("payload=%7B%22type%22%3A%22a%22%7D&x"), true, true)
	var verifiers []trigger.Verifier
	for _, cfg := range signedConfigs() {
		verifiers = append(verifiers, newVerifier(f, cfg))
	}
	f.Fuzz(func(t *testing.T, which byte, id, stamp, signature string, body []byte, sign, isForm bool) {
		n := int(which) % len(verifiers)
		kind := signedConfigs()[n].Kind
		h := signedAs(kind, keyOf(kind), stamp, body)
		if name := signatureHeaderOf(kind); !sign && name != "" {
			h.Set(name, signature)
		} else if !sign {
			h.Set("webhook-id", id)
			h.Set("webhook-signature", signature)
		}
		if isForm {
			h.Set("Content-Type", formType)
		}
		got, err := verifiers[n](t.Context(), trigger.Request{Header: h, Body: body, Time: received})
		if err != nil {
			reasonOf(t, err)
			wantHidden(t, err, keyParts...)
			return
		}
		if !sign {
			t.Fatalf("accepted %v", h)
		}
		payload, err := trigger.Payload(got.Form, h.Get("Content-Type"), body)
		if got.Answer == trigger.AnswerStored && (err != nil || trigger.CheckJSON(payload) != nil) {
			t.Fatalf("accepted %+v with the payload %q, %v", got, payload, err)
		}
	})
}
