package trigger_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

const certURL = "https://s3.amazonaws.com/echo.api/echo-api-cert-1.pem"

var signedAlexa = trigger.Config{Kind: trigger.Alexa, SkillIDs: []string{skill}}

// alexa is Amazon's side: it signs, and its server has the chain.
type alexaSide struct {
	*authority
	*shelf
	t testing.TB
}

func newAlexaSide(t testing.TB) *alexaSide {
	a := &alexaSide{authority: newAuthority(t), shelf: &shelf{files: map[string][]byte{}}, t: t}
	a.put(certURL, a.chain(t, aKey(), nil))
	return a
}

func (a *alexaSide) verifier(cfg trigger.Config) trigger.Verifier {
	a.t.Helper()
	return must(a.t)(trigger.New(a.trusted(cfg), a.fetch))
}

// trusted is cfg with the root of this side.
func (a *alexaSide) trusted(cfg trigger.Config) trigger.Config {
	cfg.Roots = a.pool()
	return cfg
}

// speaks is a signed request.
func (a *alexaSide) speaks(body []byte) trigger.Request {
	h := http.Header{}
	h.Set("Content-Type", "application/json;charset=UTF-8")
	h.Set("SignatureCertChainUrl", certURL)
	h.Set("Signature-256", signRSA(a.t, aKey(), crypto.SHA256, body))
	h.Set("Signature", signRSA(a.t, aKey(), crypto.SHA1, body))
	return trigger.Request{Header: h, Body: body, Time: received}
}

// spoken is a request of a type at a time.
func spoken(kind string, at time.Time) []byte {
	return object(goodContext, fmt.Sprintf(`"request":{"type":%q,"requestId":"r1","timestamp":%q}`, kind, at.Format(time.RFC3339)))
}

func TestAlexaSignature_OfEveryKindOfRequestIsAccepted(t *testing.T) {
	a := newAlexaSide(t)
	verify := a.verifier(signedAlexa)
	for _, kind := range []string{"LaunchRequest", "AudioPlayer.PlaybackStarted", "PlaybackController.NextCommandIssued", "System.ExceptionEncountered",
		"SessionEndedRequest", "AlexaSkillEvent.SkillDisabled", "Something.Amazon.InventsLater"} {
		for _, session := range []string{"", goodSession + ","} {
			body := []byte("{" + session + string(spoken(kind, received)[1:]))
			if e, err := verify(t.Context(), a.speaks(body)); err != nil || e.Name != kind || e.Identity != "r1" {
				t.Errorf("%s: got %+v, %v", kind, e, err)
			}
		}
	}
	if n := a.count(); n != 1 {
		t.Errorf("the certificate was fetched %d times, want once", n)
	}
}

func TestAlexaSignature_ThatIsNotRightIsRefused(t *testing.T) {
	a := newAlexaSide(t)
	body := spoken("LaunchRequest", received)
	good := a.speaks(body)
	signature := good.Header.Get("Signature-256")
	raw, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	verify := a.verifier(signedAlexa)
	for name, c := range map[string]struct {
		header string
		values []string
		want   trigger.Reason
	}{
		"no signature":           {"Signature-256", nil, trigger.ReasonUnsigned},
		"an empty one":           {"Signature-256", []string{""}, trigger.ReasonUnsigned},
		"of another key":         {"Signature-256", []string{signRSA(t, stranger, crypto.SHA256, body)}, trigger.ReasonForged},
		"of another body":        {"Signature-256", []string{signRSA(t, aKey(), crypto.SHA256, append(body, ' '))}, trigger.ReasonForged},
		"with SHA-1":             {"Signature-256", []string{good.Header.Get("Signature")}, trigger.ReasonForged},
		"cut off":                {"Signature-256", []string{signature[:len(signature)-4]}, trigger.ReasonForged},
		"cut off in its base64":  {"Signature-256", []string{signature[:len(signature)-1]}, trigger.ReasonForged},
		"hexadecimal":            {"Signature-256", []string{fmt.Sprintf("%x", raw)}, trigger.ReasonForged},
		"base64 for URLs":        {"Signature-256", []string{base64.RawURLEncoding.EncodeToString(raw)}, trigger.ReasonForged},
		"in small letters":       {"Signature-256", []string{strings.ToLower(signature)}, trigger.ReasonForged},
		"twice":                  {"Signature-256", []string{signature, signature}, trigger.ReasonForged},
		"no URL":                 {"Signaturecertchainurl", nil, trigger.ReasonUnsigned},
		"an empty URL":           {"Signaturecertchainurl", []string{""}, trigger.ReasonUnsigned},
		"the URL twice":          {"Signaturecertchainurl", []string{certURL, certURL}, trigger.ReasonForged},
		"a URL of somebody else": {"Signaturecertchainurl", []string{"https://example.org/echo.api/echo-api-cert-1.pem"}, trigger.ReasonForged},
		"a file that is missing": {"Signaturecertchainurl", []string{"https://s3.amazonaws.com/echo.api/none.pem"}, trigger.ReasonUnfetched},
	} {
		t.Run(name, func(t *testing.T) {
			r := a.speaks(body)
			r.Header[c.header] = c.values
			_, err := verify(t.Context(), r)
			wantRefusal(t, err, c.want)
			if strings.Contains(err.Error(), signature[:8]) || strings.Contains(err.Error(), skill) {
				t.Errorf("the refusal discloses: %v", err)
			}
		})
	}
	if _, err := verify(t.Context(), good); err != nil {
		t.Errorf("after all that, the good one: %v", err)
	}
}

func TestAlexaSignature_WantsACertificateThatIsAmazonsAndValid(t *testing.T) {
	a := newAlexaSide(t)
	other := newAuthority(t)
	elliptical, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := func(change func(*x509.Certificate)) []byte {
		return a.chain(t, aKey(), func(leaf, _ *x509.Certificate) { change(leaf) })
	}
	good := a.chain(t, aKey(), nil)
	for name, chain := range map[string][]byte{
		"for another name":       leaf(func(c *x509.Certificate) { c.DNSNames = []string{"echo-api.amazon.com.example.org"} }),
		"without a name":         leaf(func(c *x509.Certificate) { c.DNSNames, c.Subject.CommonName = nil, "echo-api.amazon.com" }),
		"that has ended":         leaf(func(c *x509.Certificate) { c.NotAfter = received.Add(-time.Second) }),
		"that begins later":      leaf(func(c *x509.Certificate) { c.NotBefore = received.Add(time.Minute) }),
		"only for mail":          leaf(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} }),
		"below one that ended":   a.chain(t, aKey(), func(_, b *x509.Certificate) { b.NotAfter = received.Add(-time.Second) }),
		"below one that may not": a.chain(t, aKey(), func(_, b *x509.Certificate) { b.IsCA, b.KeyUsage = false, 0 }),
		"of another root":        other.chain(t, aKey(), nil),
		"without those above":    good[:strings.Index(string(good[1:]), "-----BEGIN")+1],
		"with another key":       a.chain(t, elliptical, nil),
	} {
		t.Run(name, func(t *testing.T) {
			a.put(certURL, chain)
			_, err := a.verifier(signedAlexa)(t.Context(), a.speaks(spoken("LaunchRequest", received)))
			wantRefusal(t, err, trigger.ReasonForged)
		})
	}
	for name, chain := range map[string]string{
		"nothing": "", "no PEM": "<Error/>", "a key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"no certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "many": strings.Repeat(string(good), 6),
	} {
		t.Run(name, func(t *testing.T) {
			a.put(certURL, []byte(chain))
			_, err := a.verifier(signedAlexa)(t.Context(), a.speaks(spoken("LaunchRequest", received)))
			wantRefusal(t, err, trigger.ReasonUnfetched)
		})
	}
}

func TestAlexaSignature_EndsWithItsCertificateAndGoesOnWithTheNext(t *testing.T) {
	a := newAlexaSide(t)
	verify := a.verifier(signedAlexa)
	for _, step := range []struct {
		now  time.Time
		want trigger.Reason
	}{{received, ""}, {received.AddDate(0, 0, 20), ""}, {received.AddDate(0, 1, 1), trigger.ReasonForged}} {
		_, err := verify(t.Context(), takenAt(a.speaks(spoken("LaunchRequest", step.now)), step.now))
		if step.want != "" {
			wantRefusal(t, err, step.want)
		} else if err != nil {
			t.Errorf("%s: %v", step.now, err)
		}
	}
	a.put(certURL, a.chain(t, aKey(), func(leaf, _ *x509.Certificate) { leaf.NotAfter = received.AddDate(0, 3, 0) }))
	later := received.AddDate(0, 1, 2)
	if _, err := verify(t.Context(), takenAt(a.speaks(spoken("LaunchRequest", later)), later)); err != nil {
		t.Errorf("with a new certificate under the same URL: %v", err)
	}
}

func TestAlexaSignature_IsGoodForTwoAndAHalfMinutesAndForSkillEventsForAnHour(t *testing.T) {
	a := newAlexaSide(t)
	verify := a.verifier(signedAlexa)
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]string{"LaunchRequest", "IntentRequestX", "AlexaSkillEvent.SkillEnabled", "AlexaHouseholdListEvent.ItemsCreated"}).Draw(t, "kind")
		limit := 150
		if strings.HasPrefix(kind, "AlexaSkillEvent.") {
			limit = 3600
		}
		shift := rapid.OneOf(rapid.IntRange(-4000, 4000), rapid.SampledFrom([]int{-limit - 1, -limit, limit, limit + 1})).Draw(t, "seconds")
		r := takenAt(a.speaks(spoken(kind, received)), received.Add(time.Duration(shift)*time.Second))
		_, err := verify(context.Background(), r)
		if (err == nil) != (shift <= limit && shift >= -limit) {
			t.Fatalf("%s %d seconds later: %v", kind, shift, err)
		}
	})
	for _, timestamp := range []string{"", `,"timestamp":""`, `,"timestamp":"today"`, `,"timestamp":"1793607001"`} {
		body := object(goodContext, `"request":{"type":"LaunchRequest"`+timestamp+`}`)
		_, err := verify(t.Context(), a.speaks(body))
		wantRefusal(t, err, trigger.ReasonMalformed)
	}
}

func TestAlexaSignature_FetchesNothingForWhoDoesNotKnowTheSkillOrTheTime(t *testing.T) {
	verify := must(t)(trigger.New(signedAlexa, func(context.Context, string) ([]byte, error) {
		t.Error("something was fetched")
		return nil, errNoFile
	}))
	a := newAlexaSide(t)
	body := strings.ReplaceAll(string(spoken("LaunchRequest", received)), skill, "amzn1.ask.skill.other")
	_, err := verify(t.Context(), a.speaks([]byte(body)))
	wantRefusal(t, err, trigger.ReasonWrongSkill)
	_, err = verify(t.Context(), a.speaks(spoken("LaunchRequest", received.Add(-time.Hour))))
	wantRefusal(t, err, trigger.ReasonStale)
	for _, url := range []string{"https://example.org/echo.api/c.pem", "https://s3.amazonaws.com/echo.api/../b/c.pem", "http://s3.amazonaws.com/echo.api/c.pem"} {
		r := a.speaks(spoken("LaunchRequest", received))
		r.Header.Set("SignatureCertChainUrl", url)
		_, err := verify(t.Context(), r)
		wantRefusal(t, err, trigger.ReasonForged)
	}
}

func TestAlexaCertURL_IsAmazonsInOneSpelling(t *testing.T) {
	for _, spelling := range []string{
		certURL, "HTTPS://S3.AmazonAWS.com/echo.api/echo-api-cert-1.pem", "https://s3.amazonaws.com:443/echo.api/echo-api-cert-1.pem",
		"https://s3.amazonaws.com/echo.api/../echo.api/echo-api-cert-1.pem", "https://s3.amazonaws.com/echo.api/./a/%2e%2e//echo-api-cert-1.pem",
		"https://s3.amazonaws.com/x/../echo.api/echo%2dapi-cert-1.pem",
	} {
		if got, err := trigger.AlexaCertURL(spelling); err != nil || got != certURL {
			t.Errorf("%s: got %s, %v", spelling, got, err)
		}
	}
	for _, url := range []string{
		"http://s3.amazonaws.com/echo.api/c.pem", "https://s3.amazonaws.com.example.org/echo.api/c.pem", "https://s3.amazonaws.com@example.org/echo.api/c.pem",
		"https://u:p@s3.amazonaws.com/echo.api/c.pem", "https://s3.amazonaws.com:8443/echo.api/c.pem", "https://s3.amazonaws.com/Echo.api/c.pem",
		"https://s3.amazonaws.com/echo.api", "https://s3.amazonaws.com/echo.api/", "https://s3.amazonaws.com/echo.api/../c.pem",
		"https://s3.amazonaws.com/echo.api/%2e%2e/bucket/c.pem", "https://s3.amazonaws.com/echo.api/..%2fbucket/c.pem", "https://s3.amazonaws.com/echo.apix/c.pem",
		"https://s3.amazonaws.com/echo.api/c.pem?x=1", "https://s3.amazonaws.com/echo.api/c.pem#x", "https:s3.amazonaws.com/echo.api/c.pem",
		"//s3.amazonaws.com/echo.api/c.pem", "s3.amazonaws.com/echo.api/c.pem", "https://s3.amazonaws.com/echo.api/" + strings.Repeat("x", 1000), "https://%zz",
	} {
		if got, err := trigger.AlexaCertURL(url); err == nil {
			t.Errorf("%s: got %s, want a refusal", url, got)
		}
	}
	for _, data := range extraFiles(t, "FUNKER_TEST_PAYLOADS", "alexa/cert-url-cases.json") {
		var file struct {
			Cases []struct {
				URL string
				OK  bool
			}
		}
		if err := json.Unmarshal(data, &file); err != nil || len(file.Cases) == 0 {
			t.Fatal(err, file)
		}
		for _, c := range file.Cases {
			if got, err := trigger.AlexaCertURL(c.URL); (err == nil) != c.OK {
				t.Errorf("%s: got %s, %v; want ok %v", c.URL, got, err, c.OK)
			}
		}
	}
}

func TestAlexaSignature_AgreesWithTheVectors(t *testing.T) {
	for _, data := range extraFiles(t, "FUNKER_TEST_PAYLOADS", "alexa/signature-vectors.json") {
		var file struct {
			SkillID string `json:"skill_id"`
			RootPEM string `json:"root_pem"`
			Chains  []struct {
				PEM string
				OK  bool
			}
			ClockCases     []map[string]any `json:"clock_cases"`
			SignatureCases []map[string]any `json:"signature_cases"`
		}
		var base map[string]any
		if err := errors.Join(json.Unmarshal(data, &file), json.Unmarshal(data, &base)); err != nil || len(file.Chains) == 0 {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM([]byte(file.RootPEM)) {
			t.Fatal("no root")
		}
		try := func(chain string, change map[string]any) error {
			r := trigger.Request{Header: http.Header{}}
			for _, values := range []map[string]any{base, change} {
				for key, value := range values {
					text, _ := value.(string)
					switch key {
					case "now":
						r.Time, _ = time.Parse(time.RFC3339, text)
					case "body":
						r.Body = []byte(text)
					case "SignatureCertChainUrl", "Signature-256", "Signature":
						if r.Header.Set(key, text); value == nil {
							r.Header.Del(key)
						}
					}
				}
			}
			fetch := func(context.Context, string) ([]byte, error) { return []byte(chain), nil }
			verify := must(t)(trigger.New(trigger.Config{Kind: trigger.Alexa, SkillIDs: []string{file.SkillID}, Roots: roots}, fetch))
			_, err := verify(t.Context(), r)
			return err
		}
		for i, c := range file.Chains {
			if err := try(c.PEM, nil); (err == nil) != c.OK {
				t.Errorf("chain %d: %v, want ok %v", i, err, c.OK)
			}
		}
		for i, c := range append(file.ClockCases, file.SignatureCases...) {
			if err := try(file.Chains[0].PEM, c); (err == nil) != (c["ok"] == true) {
				t.Errorf("case %d %v: %v", i, c["name"], err)
			}
		}
	}
}

// The chain is Amazon's own of 2023; who signed the request is then another matter.
func TestAlexaSignature_TrustsAmazonsChainByTheRootsOfTheSystem(t *testing.T) {
	for _, data := range extraFiles(t, "FUNKER_TEST_PAYLOADS", "alexa/real-chain-echo-api-12.json") {
		var file struct {
			PEM      string
			VerifyAt time.Time `json:"verify_at"`
			NotAfter time.Time `json:"leaf_not_after"`
		}
		if err := json.Unmarshal(data, &file); err != nil {
			t.Fatal(err)
		}
		a := newAlexaSide(t)
		a.put(certURL, []byte(file.PEM))
		for now, want := range map[time.Time]string{
			file.VerifyAt: "does not fit the body", file.NotAfter.Add(time.Second): "not valid now",
		} {
			verify := must(t)(trigger.New(signedAlexa, a.fetch))
			_, err := verify(t.Context(), takenAt(a.speaks(spoken("LaunchRequest", now)), now))
			if wantRefusal(t, err, trigger.ReasonForged); !strings.Contains(err.Error(), want) {
				t.Errorf("at %s: got %v, want %q", now, err, want)
			}
		}
	}
}

func TestAlexa_SaysWhyASessionEnded(t *testing.T) {
	verify := newVerifier(t, alexaConfig)
	for body, want := range map[string]string{
		`"reason":"ERROR","error":{"type":"INVALID_RESPONSE","message":"no"}`: "Alexa ended a session because of an error: INVALID_RESPONSE",
		`"reason":"USER_INITIATED"`:              "",
		`"reason":"ERROR","error":{"type":"\n"}`: "",
		`"reason":7,"error":[]`:                  "",
	} {
		e, err := verify(t.Context(), trigger.Request{Body: object(goodContext, `"request":{"type":"SessionEndedRequest",`+body+`}`)})
		if err != nil || e.Warning != want {
			t.Errorf("%s: got %q, %v; want %q", body, e.Warning, err, want)
		}
	}
}

func FuzzAlexaSigned(f *testing.F) {
	a := newAlexaSide(f)
	verify := a.verifier(signedAlexa)
	good := a.speaks(spoken("LaunchRequest", received))
	f.Add(good.Body, certURL, good.Header.Get("Signature-256"))
	f.Add(good.Body, "https://s3.amazonaws.com/echo.api/../x", "AAAA")
	f.Fuzz(func(t *testing.T, body []byte, url, signature string) {
		r := trigger.Request{Header: http.Header{"Signaturecertchainurl": {url}, "Signature-256": {signature}}, Body: body, Time: received}
		_, err := verify(t.Context(), r)
		if err != nil {
			reasonOf(t, err)
		} else if string(body) != string(good.Body) {
			t.Fatalf("accepted %q, which nobody signed", body)
		}
		for _, asked := range a.asked {
			if !strings.HasPrefix(asked, "https://s3.amazonaws.com/echo.api/") || strings.Contains(asked, "..") && strings.Contains(asked, "/../") {
				t.Fatalf("fetched %s", asked)
			}
		}
	})
}
