package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1"   // for crypto.SHA1
	_ "crypto/sha256" // for crypto.SHA256
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// amazon signs as Amazon does, with a key and a certificate of its own.
type amazon struct {
	key   *rsa.PrivateKey
	roots *x509.CertPool // the certificate itself
	file  []byte         // the certificate, as it is fetched
}

func newAmazon(now time.Time) (*amazon, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, DNSNames: []string{"echo-api.amazon.com"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	a := &amazon{key: key, roots: x509.NewCertPool(), file: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	a.roots.AppendCertsFromPEM(a.file)
	return a, nil
}

func (a *amazon) fetch(context.Context, string) ([]byte, error) { return a.file, nil }

func (a *amazon) verifications(now time.Time) ([]verification, error) {
	alexa, err := a.alexa(now)
	if err != nil {
		return nil, err
	}
	alexa.wanted.MostUS = 200
	newer, err := a.sns("sns, signature version 2 (SHA-256), certificate cached", "2", crypto.SHA256, now)
	if err != nil {
		return nil, err
	}
	older, err := a.sns("sns, signature version 1 (SHA-1), certificate cached", "1", crypto.SHA1, now)
	return []verification{alexa, newer, older}, err
}

func (a *amazon) alexa(now time.Time) (verification, error) {
	cfg := trigger.Config{Kind: trigger.Alexa, SkillIDs: []string{trigger.SampleSkillID}, Roots: a.roots}
	r, err := signedRequest(trigger.Config{Kind: cfg.Kind, Insecure: true}, compact(trigger.SampleFor(cfg, now)), now)
	if err != nil {
		return verification{}, err
	}
	signature, err := a.sign(crypto.SHA256, r.Body)
	if err != nil {
		return verification{}, err
	}
	r.Header.Set("SignatureCertChainUrl", "https://s3.amazonaws.com/echo.api/bench.pem")
	r.Header.Set("Signature-256", signature)
	return verifying("alexa, certificate cached", cfg, a.fetch, r)
}

// sns signs the members of a notification, a name and a value a line.
func (a *amazon) sns(what, version string, hash crypto.Hash, now time.Time) (verification, error) {
	cfg := trigger.Config{Kind: trigger.SNS, Topics: []string{trigger.SampleTopic}}
	var message map[string]string
	if err := json.Unmarshal(trigger.SampleFor(cfg, now), &message); err != nil {
		return verification{}, fmt.Errorf("read sample: %w", err)
	}
	var text bytes.Buffer
	for _, name := range []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"} {
		text.WriteString(name + "\n" + message[name] + "\n")
	}
	signature, err := a.sign(hash, text.Bytes())
	if err != nil {
		return verification{}, err
	}
	message["SignatureVersion"], message["Signature"] = version, signature
	body, err := json.Marshal(message)
	if err != nil {
		return verification{}, fmt.Errorf("write message: %w", err)
	}
	r, err := signedRequest(trigger.Config{Kind: cfg.Kind, Insecure: true}, body, now)
	if err != nil {
		return verification{}, err
	}
	return verifying(what, cfg, a.fetch, r)
}

func (a *amazon) sign(hash crypto.Hash, text []byte) (string, error) {
	h := hash.New()
	h.Write(text)
	signature, err := rsa.SignPKCS1v15(nil, a.key, hash, h.Sum(nil))
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return base64.StdEncoding.EncodeToString(signature), nil
}
