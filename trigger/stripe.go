package trigger

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Stripe webhooks, as docs.stripe.com describes them in "Receive Stripe events in
// your webhook endpoint" and "Verify webhook signatures manually":
//
//	POST, Content-Type application/json; charset=utf-8
//	Stripe-Signature: t=1614265330,v1=<hex>,v1=<hex>,v0=<hex>
//	{"id": "evt_…", "object": "event", "type": "charge.succeeded", "data": {…}}
//
// v1 is the HMAC-SHA256 of t.body. Its key is the secret as it is shown, whsec_
// and all: not decoded, unlike in Standard Webhooks. There are several v1 while
// the secret is changed. v0 is a signature for tests and proves nothing.
const stripeSignature = "Stripe-Signature"

const (
	stripeID = iota
	stripeType
	stripeFields
)

var stripeShape = []member{{"id", stripeID, nil}, {"type", stripeType, nil}}

func stripeSender() sender {
	return sender{Stripe, newStripe, signStripe, "stripe", "", "the signing secret of the endpoint"}
}

func newStripe(cfg Config, _ Fetch) (Verifier, error) {
	return func(_ context.Context, r Request) (Event, error) {
		// Nothing of the body is parsed before this has passed.
		if err := checkStripe(cfg.Secrets, r); err != nil {
			return Event{}, err
		}
		return stripeEvent(r)
	}, nil
}

func checkStripe(secrets []Secret, r Request) error {
	if len(secrets) == 0 {
		return nil
	}
	header, err := needed(r.Header, stripeSignature, "Stripe signs all its requests")
	if err != nil {
		return err
	}
	timestamp, signatures, err := readStripe(header)
	if err != nil {
		return err
	}
	if err := checkSeconds(timestamp, r.Time); err != nil {
		return err
	}
	if !slices.ContainsFunc(secrets, func(key Secret) bool { return isStripe(signatures, key, timestamp, r.Body) }) {
		return refuse(ReasonForged, "no signature fits the body: check the secret on both sides, each endpoint at Stripe has its own")
	}
	return nil
}

// isStripe says whether one of the signatures is of the key.
func isStripe(signatures [][]byte, key Secret, timestamp string, body []byte) bool {
	sum := mac(sha256.New, key, []byte(timestamp+"."), body)
	return slices.ContainsFunc(signatures, func(got []byte) bool { return hmac.Equal(got, sum) })
}

// readStripe takes the header apart. What it does not know it passes over, as
// Stripe asks.
func readStripe(header string) (timestamp string, signatures [][]byte, err error) {
	for item := range strings.SplitSeq(header, ",") {
		switch key, value, _ := strings.Cut(item, "="); key {
		case "t":
			if timestamp != "" {
				return "", nil, refuse(ReasonForged, "the header %s has two timestamps", stripeSignature)
			}
			timestamp = value
		case "v1":
			if signature, err := hex.DecodeString(value); err == nil && value != "" {
				signatures = append(signatures, signature)
			}
		}
	}
	switch {
	case timestamp == "":
		return "", nil, refuse(ReasonUnsigned, "the header %s has no timestamp, t", stripeSignature)
	case len(signatures) == 0:
		return "", nil, refuse(ReasonUnsigned, "the header %s has no signature of the version v1", stripeSignature)
	case len(signatures) > maxSignatures:
		return "", nil, refuse(ReasonForged, "the header %s has more than %d signatures", stripeSignature, maxSignatures)
	}
	return timestamp, signatures, nil
}

func stripeEvent(r Request) (Event, error) {
	if err := wantJSON(r.Header); err != nil {
		return Event{}, err
	}
	var e [stripeFields]found
	if err := readShape(r.Body, stripeShape, e[:]); err != nil {
		return Event{}, err
	}
	for i, m := range stripeShape {
		if e[i].text == "" {
			return Event{}, refuse(ReasonMalformed, "the member %q is missing: an event of Stripe has it", m.name)
		}
	}
	return Event{Name: e[stripeType].text, Identity: e[stripeID].text, Answer: AnswerStored}, nil
}

func signStripe(cfg Config, body []byte, now time.Time) (http.Header, error) {
	h := http.Header{}
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("User-Agent", "Stripe/1.0 (sample)")
	timestamp := strconv.FormatInt(now.Unix(), 10)
	setMAC(h, stripeSignature, "t="+timestamp+",v1=", cfg.Secrets, []byte(timestamp+"."), body)
	return h, nil
}
