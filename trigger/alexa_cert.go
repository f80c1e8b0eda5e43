package trigger

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

// How Amazon signs for Alexa, as "Host a Custom Skill as a Web Service" has it:
//
//	The URL in SignatureCertChainUrl is https, on s3.amazonaws.com, port 443, and
//	its path begins with /echo.api/ once dots and escapes are resolved.
//	The first certificate there is valid now, names echo-api.amazon.com, and leads
//	over the others to a root that is trusted.
//	Signature-256 is that of the whole body by that certificate's key.
//	request.timestamp is at most 150 seconds away, for skill events 3600.
//
// Amazon's own SDKs look only at how old a request is. Alexa's clock can be ahead
// of ours, so it may be as far in the future.
const (
	alexaCertHeader      = "SignatureCertChainUrl"
	alexaSignatureHeader = "Signature-256"

	alexaCertHost = "s3.amazonaws.com"
	alexaCertPath = "/echo.api/"
	alexaCertName = "echo-api.amazon.com"

	alexaTolerance      = 150 * time.Second
	alexaEventTolerance = time.Hour
)

// alexaSignature checks Amazon's signatures.
type alexaSignature struct {
	certs *certs
	tests []Secret
}

func newAlexaSignature(cfg Config, fetch Fetch) *alexaSignature {
	read := func(chain []*x509.Certificate, now time.Time) (*cert, error) { return alexaCert(cfg.Roots, chain, now) }
	return &alexaSignature{certs: newCerts(fetch, read), tests: cfg.TestSecrets}
}

func (a *alexaSignature) check(ctx context.Context, e *alexaEnvelope, r Request) error {
	if err := e.checkTime(r.Time); err != nil {
		return err
	}
	if test, err := signedForTest(a.tests, r); test || err != nil {
		return err
	}
	signature, err := needed(r.Header, alexaSignatureHeader, "Amazon signs all its requests")
	if err != nil {
		return err
	}
	chain, err := needed(r.Header, alexaCertHeader, "Amazon signs all its requests")
	if err != nil {
		return err
	}
	location, err := alexaCertURL(chain)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(r.Body)
	return a.certs.check(ctx, location, r.Time, signed{crypto.SHA256, sum[:], signature})
}

// checkTime also says for how long a captured request can be sent again.
func (e *alexaEnvelope) checkTime(now time.Time) error {
	sent, err := time.Parse(time.RFC3339, e[alexaTimestamp].text)
	if err != nil {
		return refuse(ReasonMalformed, "request.timestamp is missing or no time")
	}
	tolerance := alexaTolerance
	if strings.HasPrefix(e[alexaType].text, "AlexaSkillEvent.") {
		tolerance = alexaEventTolerance
	}
	return checkAge(sent, now, tolerance)
}

// alexaCertURL returns the URL to fetch: Amazon's, in one spelling whatever the
// header's is.
func alexaCertURL(given string) (string, error) {
	u, err := url.Parse(given)
	if err != nil || len(given) > maxName || !strings.EqualFold(u.Scheme, "https") || !strings.EqualFold(u.Hostname(), alexaCertHost) ||
		u.Port() != "" && u.Port() != "443" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", refuse(ReasonForged, "the URL in SignatureCertChainUrl is not Amazon's")
	}
	// Prefixes are compared after ".." is resolved, and what was compared is fetched.
	name := path.Clean(u.Path)
	if !strings.HasPrefix(name, alexaCertPath) {
		return "", refuse(ReasonForged, "the URL in SignatureCertChainUrl is not below %s", alexaCertPath)
	}
	return (&url.URL{Scheme: "https", Host: alexaCertHost, Path: name}).String(), nil
}

// alexaCert checks a chain, the certificate that signs first.
func alexaCert(roots *x509.CertPool, chain []*x509.Certificate, now time.Time) (*cert, error) {
	leaf, rest := chain[0], x509.NewCertPool()
	for _, c := range chain[1:] {
		rest.AddCert(c)
	}
	if !slices.Contains(leaf.DNSNames, alexaCertName) {
		return nil, refuse(ReasonForged, "the certificate is not for %s", alexaCertName)
	}
	paths, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: rest, CurrentTime: now})
	if err != nil {
		return nil, refuse(ReasonForged, "the certificate is not valid now or leads to no root that is trusted here")
	}
	key, err := rsaKey(leaf, ReasonForged)
	if err != nil {
		return nil, err
	}
	c := &cert{key: key, from: leaf.NotBefore, until: leaf.NotAfter}
	for _, above := range paths[0] {
		c.from, c.until = later(c.from, above.NotBefore), earlier(c.until, above.NotAfter)
	}
	return c, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
