package trigger_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// json.Valid, which leaves out the check of UTF-8 and of depth, is measured
// beside it for scale.
func BenchmarkCheckJSON(b *testing.B) {
	body := oneKilobyte(b)
	for name, valid := range map[string]func([]byte) bool{
		"CheckJSON":  func(body []byte) bool { return trigger.CheckJSON(body) == nil },
		"json.Valid": json.Valid,
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if !valid(body) {
					b.Fatal("refused")
				}
			}
		})
	}
}

func BenchmarkKind(b *testing.B) {
	body := oneKilobyte(b)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if got := trigger.Kind(body); got != trigger.Alexa {
			b.Fatal(got)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, cfg := range []trigger.Config{
		{Kind: trigger.Alexa, SkillIDs: []string{trigger.SampleSkillID}, IDOnly: true},
		{Kind: trigger.GitHub, Secrets: []trigger.Secret{[]byte("a secret of the benchmark")}},
	} {
		b.Run(cfg.Kind, func(b *testing.B) {
			body := oneKilobyte(b)
			verify, err := trigger.New(cfg, nil)
			if err != nil {
				b.Fatal(err)
			}
			header, err := trigger.Sign(cfg, body, time.Now())
			if err != nil {
				b.Fatal(err)
			}
			header.Set("X-GitHub-Event", "push")
			r := trigger.Request{Header: header, Body: body, Time: time.Now()}
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := verify(b.Context(), r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The certificate is there: what every request but the first costs.
func BenchmarkVerifyAmazon(b *testing.B) {
	a, n := newAlexaSide(b), newSNSSide(b)
	body := trigger.SampleFor(signedAlexa, received)
	for _, c := range []struct {
		name   string
		verify trigger.Verifier
		r      trigger.Request
	}{
		{"alexa", a.verifier(signedAlexa), a.speaks(body)},
		{"sns-sha256", n.verifier(snsConfig), postedSNS(n.sign(message(s3Message)))},
		{"sns-sha1", n.verifier(snsConfig), postedSNS(n.sign(message(s3Message, "SignatureVersion", "1")))},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.r.Body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.verify(b.Context(), c.r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// oneKilobyte is the Alexa sample: about 1 KB, indented as senders do not.
func oneKilobyte(b *testing.B) []byte {
	b.Helper()
	return trigger.Sample(trigger.Alexa)
}
