package trigger_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

const charge = `{"id":"evt_1","object":"event","type":"charge.succeeded"}`

func verifyStripe(t *testing.T, header, body string) (trigger.Event, error) {
	t.Helper()
	return newVerifier(t, stripeConfig)(t.Context(), trigger.Request{Header: http.Header{"Stripe-Signature": {header}}, Body: []byte(body), Time: received})
}

func TestStripe_TheEventIsInTheBody(t *testing.T) {
	got, err := verifyStripe(t, signedAs(trigger.Stripe, []byte(keyText), at(0), []byte(charge)).Get("Stripe-Signature"), charge)
	if err != nil || got.Name != "charge.succeeded" || got.Identity != "evt_1" || got.Answer != trigger.AnswerStored || len(got.Header) != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestStripe_ReadsTheHeader(t *testing.T) {
	now := at(0)
	good := strings.TrimPrefix(signedAs(trigger.Stripe, []byte(keyText), now, []byte(charge)).Get("Stripe-Signature"), "t="+now+",")
	bad := "v1=" + strings.Repeat("0", 64)
	for header, want := range map[string]trigger.Reason{
		"t=" + now + "," + good:                                 "",
		good + ",t=" + now:                                      "",
		"t=" + now + "," + bad + "," + good + ",v0=00":          "",
		"t=" + now + ",v1=zz,v1=," + good:                       "",
		"t=" + now + ",v2=1,new," + good:                        "",
		"t=" + now + "," + strings.ToUpper(good[3:]):            trigger.ReasonUnsigned,
		"t=" + now + "," + strings.Replace(good, "v1", "V1", 1): trigger.ReasonUnsigned,
		"t=" + now + "," + strings.Replace(good, "v1", "v0", 1): trigger.ReasonUnsigned,
		"t=" + now:                            trigger.ReasonUnsigned,
		"t=" + now + ",v1=":                   trigger.ReasonUnsigned,
		"t=," + good:                          trigger.ReasonUnsigned,
		good:                                  trigger.ReasonUnsigned,
		"t=" + now + ", " + good:              trigger.ReasonUnsigned,
		"t=" + now + "," + bad:                trigger.ReasonForged,
		"t=" + now + "," + good + "00":        trigger.ReasonForged,
		"t=" + now + ",t=" + now + "," + good: trigger.ReasonForged,
		"t=" + now + "," + strings.Repeat(bad+",", 8) + good: trigger.ReasonForged,
	} {
		_, err := verifyStripe(t, header, charge)
		if want == "" && err != nil || want != "" && reasonOf(t, err) != want {
			t.Errorf("%.60s: got %v, want %q", header, err, want)
		}
	}
}

func TestStripe_RefusesASignedBodyThatIsNoEvent(t *testing.T) {
	for _, body := range []string{
		`{}`, `[]`, `null`, `{"id":"evt_1"}`, `{"type":"a"}`, `{"id":7,"type":"a"}`, `{"id":"","type":"a"}`,
		`{"id":"a","id":"b","type":"a"}`, `{"id":"a","type":"a","Type":"b"}`, `{"id":"a\n","type":"a"}`,
	} {
		_, err := verifyStripe(t, signedAs(trigger.Stripe, []byte(keyText), at(0), []byte(body)).Get("Stripe-Signature"), body)
		wantRefusal(t, err, trigger.ReasonMalformed)
	}
}

func TestStripe_AgreesWithTheSignatureVectors(t *testing.T) {
	vectors(t, "stripe/signature-vectors.json", []string{"Stripe-Signature"}, func(v vector) trigger.Config {
		return trigger.Config{Kind: trigger.Stripe, Secrets: secretsOf(v, "secret")}
	})
}
