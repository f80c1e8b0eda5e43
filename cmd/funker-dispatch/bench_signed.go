package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// What is verified: requests of the senders' samples, made larger, by the verifiers that the gateway has.

const (
	smallBody = 10 << 10 // bytes
	largeBody = 25e6     // GitHub sends no larger one
)

const hashAlone = "SHA-256 alone, 25 MB"

func verifications(ctx context.Context) ([]verification, error) {
	now := time.Now()
	amazon, err := newAmazon(now)
	if err != nil {
		return nil, err
	}
	large, err := largeOnes(now)
	if err != nil {
		return nil, err
	}
	small, err := smallOnes(now)
	if err != nil {
		return nil, err
	}
	all, err := amazon.verifications(now)
	if err != nil {
		return nil, err
	}
	all = append(append(all, small...), large...)
	for _, v := range all {
		if err := v.do(ctx); err != nil { // which also fetches the certificate
			return nil, fmt.Errorf("%s: %w", v.what, err)
		}
	}
	return all, nil
}

// verifying returns what verifies a request and wants it to be good.
func verifying(what string, cfg trigger.Config, fetch trigger.Fetch, r trigger.Request) (verification, error) {
	verify, err := trigger.New(cfg, fetch)
	if err != nil {
		return verification{}, err
	}
	return verification{what: what, body: r.Body, do: func(ctx context.Context) error {
		_, err := verify(ctx, r)
		return err
	}}, nil
}

// smallOnes are of every way to sign or to show a secret.
func smallOnes(now time.Time) ([]verification, error) {
	secret := []trigger.Secret{[]byte(benchSecret)}
	standard := []trigger.Secret{[]byte("whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32)))}
	var all []verification
	for _, c := range []struct {
		what string
		cfg  trigger.Config
	}{
		{"github, 10 KiB", trigger.Config{Kind: trigger.GitHub, Secrets: secret}},
		{"standard-webhooks with HMAC, 10 KiB", trigger.Config{Kind: trigger.StandardWebhooks, Secrets: standard}},
		{"stripe, 10 KiB", trigger.Config{Kind: trigger.Stripe, Secrets: secret}},
		{"slack, 10 KiB", trigger.Config{Kind: trigger.Slack, Secrets: secret}},
		{"webhook with a bearer token, 10 KiB", trigger.Config{Kind: trigger.Webhook, Auth: trigger.AuthBearer, Secrets: secret}},
	} {
		r, err := signedRequest(c.cfg, filled(trigger.SampleFor(c.cfg, now), smallBody), now)
		if err != nil {
			return nil, err
		}
		v, err := verifying(c.what, c.cfg, nil, r)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	v, err := ed25519One(now)
	return append(all, v), err
}

func signedRequest(cfg trigger.Config, body []byte, now time.Time) (trigger.Request, error) {
	header, err := trigger.Sign(cfg, body, now)
	if err != nil {
		return trigger.Request{}, err
	}
	return trigger.Request{Header: header, Body: body, Time: now}, nil
}

// ed25519One is signed with a private key, which trigger.Sign never has.
func ed25519One(now time.Time) (verification, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return verification{}, fmt.Errorf("make key: %w", err)
	}
	cfg := trigger.Config{Kind: trigger.StandardWebhooks, Secrets: []trigger.Secret{[]byte("whpk_" + base64.StdEncoding.EncodeToString(public))}}
	body := filled(trigger.SampleFor(cfg, now), smallBody)
	r, err := signedRequest(trigger.Config{Kind: cfg.Kind, Insecure: true}, body, now)
	if err != nil {
		return verification{}, err
	}
	text := r.Header.Get("webhook-id") + "." + r.Header.Get("webhook-timestamp") + "." + string(body)
	r.Header.Set("webhook-signature", "v1a,"+base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte(text))))
	return verifying("standard-webhooks with ed25519, 10 KiB", cfg, nil, r)
}

// largeOnes compare the largest push with its hash alone. The HMAC of one that is forged is calculated as that of a good
// one is, and nothing else: then it is refused.
func largeOnes(now time.Time) ([]verification, error) {
	cfg := trigger.Config{Kind: trigger.GitHub, Secrets: []trigger.Secret{[]byte(benchSecret)}}
	r, err := signedRequest(cfg, filled(trigger.SampleFor(cfg, now), largeBody), now)
	if err != nil {
		return nil, err
	}
	good, err := verifying("github, 25 MB: HMAC, and the check of the JSON", cfg, nil, r)
	if err != nil {
		return nil, err
	}
	r.Header = r.Header.Clone()
	r.Header.Set("X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64))
	forged, err := verifying("github, 25 MB: HMAC, as of a forged one", cfg, nil, r)
	if err != nil {
		return nil, err
	}
	forged.do = wantForged(forged.do)
	forged.wanted.LeastMB = 500
	good.versus, forged.versus = hashAlone, hashAlone
	alone := verification{what: hashAlone, body: r.Body, do: func(context.Context) error { _ = sha256.Sum256(r.Body); return nil }}
	return []verification{alone, forged, good}, nil
}

// wantForged wants a request to be refused as forged.
func wantForged(do func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		err := do(ctx)
		if e := (*trigger.Error)(nil); errors.As(err, &e) && e.Reason == trigger.ReasonForged {
			return nil
		}
		return fmt.Errorf("a forged request is not refused as one: %w", err)
	}
}

// filled returns the object in body with a list of pushes behind its members, size bytes in all.
func filled(body []byte, size int) []byte {
	push := compact(trigger.Sample(trigger.GitHub))
	b := bytes.NewBuffer(make([]byte, 0, size))
	b.Write(bytes.TrimSuffix(compact(body), []byte("}")))
	b.WriteString(`,"more":[`)
	for b.Len()+len(push)+len(`,""]}`) <= size {
		b.Write(push)
		b.WriteByte(',')
	}
	b.WriteString(`"` + strings.Repeat("x", size-b.Len()-len(`""]}`)) + `"]}`)
	return b.Bytes()
}

// compact leaves the white space out, as senders do.
func compact(sample []byte) []byte {
	var b bytes.Buffer
	_ = json.Compact(&b, sample) // a sample is JSON
	return b.Bytes()
}
