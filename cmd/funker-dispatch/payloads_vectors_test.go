package main

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// vector is a request that somebody has signed: members that are not named here are its headers.
type vector map[string]any

var noHeaders = []string{
	"valid", "now", "body", "secret", "signing_token", "signing_secret", "public_key", "content_type", "json_payload", "source", "why", "note",
}

// vectorFaults is why each vector that is not genuine is refused.
var vectorFaults = map[string]string{
	"body changed":                                         "forged",
	"body changed (ed25519)":                               "forged",
	"form body, JSON inside changed":                       "forged",
	"timestamp header changed":                             "forged",
	"wrong plain token":                                    "forged",
	"SHA-1 is never accepted":                              "forged",
	"only an unknown signature version":                    "forged",
	"ten minutes old":                                      "stale",
	"six minutes old":                                      "stale",
	"empty signature":                                      "unsigned",
	"token header absent":                                  "unsigned",
	"only v0, which is ignored":                            "unsigned",
	"only the legacy SHA-1 header, although it is correct": "unsigned",
	"hook without a secret: the headers are there with empty values": "unsigned",
	"HMAC over the decoded JSON instead of the raw form body":        "forged",
	"HMAC key used as text, not base64-decoded":                      "forged",
}

func readVectors(t *testing.T, data string) (all []vector) {
	t.Helper()
	if err := json.Unmarshal([]byte(data), &all); err != nil || len(all) == 0 {
		t.Fatal(err)
	}
	return all
}

func (v vector) text(key string) string {
	s, _ := v[key].(string)
	return s
}

func (v vector) header() http.Header {
	h := http.Header{}
	for name, value := range v {
		if !slices.Contains(noHeaders, name) && value != nil { // null: it is not there
			h.Set(name, fmt.Sprint(value))
		}
	}
	h.Set("Content-Type", "application/json")
	if kind := v.text("content_type"); strings.Contains(kind, "/") {
		h.Set("Content-Type", kind)
	}
	return h
}

// vector begins the delivery of the i-th of a file.
func (b *builder) vector(i int, v vector, entry, secret string) *delivery {
	b.t.Helper()
	d := b.on(entry, secret).named(strings.TrimSpace(fmt.Sprintf("%d %s", i, v.text("why"))))
	d.header, d.body = v.header(), v.text("body")
	if v["valid"] == true {
		return d
	}
	code := vectorFaults[v.text("why")]
	if code == "" {
		b.t.Fatalf("%s: nobody has said how a vector is refused that is wrong because of %q", b.file, v.text("why"))
	}
	return d.refused(code)
}

// scheme is how a sender signs a body together with the time.
type scheme struct {
	signature, time string // headers
	mark            string // of the time in its header, "" where it is all of it
	text            func(v vector, time string) string
	signers         func(b *builder, v vector, text string) map[string]signer // by what they made of the text of v
}

type signer func(text string) string

var (
	standardScheme = scheme{"webhook-signature", "webhook-timestamp", "", func(v vector, time string) string {
		return v.text("webhook-id") + "." + time + "." + v.text("body")
	}, standardSigners}
	slackScheme = scheme{"X-Slack-Signature", "X-Slack-Request-Timestamp", "", func(v vector, time string) string {
		return "v0:" + time + ":" + v.text("body")
	}, func(_ *builder, v vector, text string) map[string]signer {
		return signersOf(text, hexMAC(v.text("signing_secret")))
	}}
	stripeScheme = scheme{"Stripe-Signature", "Stripe-Signature", "t=", func(v vector, time string) string {
		return time + "." + v.text("body")
	}, func(_ *builder, v vector, text string) map[string]signer {
		return signersOf(text, hexMAC(v.text("secret")))
	}}
)

func macOf(key, text string) []byte {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(text))
	return h.Sum(nil)
}

func hexMAC(key string) signer {
	return func(text string) string { return hex.EncodeToString(macOf(key, text)) }
}

func base64MAC(key string) signer {
	return func(text string) string { return base64.StdEncoding.EncodeToString(macOf(key, text)) }
}

func signersOf(text string, signers ...signer) map[string]signer {
	all := map[string]signer{}
	for _, sign := range signers {
		all[sign(text)] = sign
	}
	return all
}

// standardSigners are the secret as it is meant, and as text. The private key of a public one is not known: one of the
// test's own signs instead.
func standardSigners(b *builder, v vector, text string) map[string]signer {
	if v.text("public_key") != "" {
		return publicSigner(b, v, text)
	}
	secret := v.text("secret") + v.text("signing_token")
	bare := strings.TrimPrefix(secret, "whsec_")
	key, err := base64.StdEncoding.DecodeString(bare)
	if err != nil {
		b.t.Fatal(err)
	}
	return signersOf(text, base64MAC(string(key)), base64MAC(bare), base64MAC(secret))
}

func publicSigner(b *builder, v vector, text string) map[string]signer {
	_, given, _ := strings.Cut(v.text("webhook-signature"), ",")
	signature, err := base64.StdEncoding.DecodeString(given)
	if err != nil {
		b.t.Fatal(err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(v.text("public_key"), "whpk_"))
	if err != nil || !ed25519.Verify(key, []byte(text), signature) {
		b.t.Fatalf("%s: a signature is not by its public key: %v", b.file, err)
	}
	return map[string]signer{given: func(text string) string {
		return base64.StdEncoding.EncodeToString(ed25519.Sign(ownKey(), []byte(text)))
	}}
}

// ownKey signs with ed25519.
func ownKey() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(macOf("a key of the test's own", "")) }

func ownPublicKey() string {
	public, _ := ownKey().Public().(ed25519.PublicKey)
	return "whpk_" + base64.StdEncoding.EncodeToString(public)
}

// stamp is the time in a vector, in seconds.
func (s scheme) stamp(v vector) string {
	_, text, _ := strings.Cut(v.text(s.time), s.mark)
	text, _, _ = strings.Cut(text, ",")
	return text
}

// shifted is v with another time, and the signature that it had.
func (s scheme) shifted(v vector, by int64) vector {
	then := s.mark + s.stamp(v)
	v = maps.Clone(v)
	v[s.time] = strings.Replace(v.text(s.time), then, s.mark+later(s.stamp(v), by), 1)
	return v
}

// later is a stamp some seconds after another.
func later(stamp string, by int64) string {
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return stamp
	}
	return strconv.FormatInt(seconds+by, 10)
}

// moved brings a vector from its own time to now: a gateway runs by the clock of its machine, and the vectors are years
// old. Its times are moved, and its signature is made anew by what made it: a key of the vector, of the content of one
// that is genuine. What is wrong with a vector stays wrong.
func (s scheme) moved(b *builder, v vector, all []vector) vector {
	b.t.Helper()
	now, _ := v["now"].(float64)
	by := b.now.Unix() - int64(now)
	after := s.shifted(v, by)
	for _, good := range all {
		if good["valid"] != true || good[s.signature] == nil {
			continue
		}
		then := s.stamp(good)
		for old, sign := range s.signers(b, good, s.text(good, then)) {
			if strings.Contains(v.text(s.signature), old) {
				after[s.signature] = strings.Replace(after.text(s.signature), old, sign(s.text(good, later(then, by))), 1)
				return after
			}
		}
	}
	if v.text("why") != "only v0, which is ignored" {
		b.t.Fatalf("%s: nothing explains the signature of the vector %q", b.file, v.text("why"))
	}
	return after
}
