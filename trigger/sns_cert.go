package trigger

import (
	"context"
	"crypto"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// The file at SigningCertURL has one certificate and not the chain above it. That
// it is Amazon's rests on where it was fetched from: over HTTPS, from a host that
// only Amazon can have.
var (
	snsHost = regexp.MustCompile(`^sns\.[a-z0-9-]{3,63}\.amazonaws\.com(\.cn)?$`)
	snsPath = regexp.MustCompile(`^/SimpleNotificationService-[a-zA-Z0-9]{32}\.pem$`)
)

// snsSignature checks Amazon's signatures.
type snsSignature struct {
	certs      *certs
	tests      []Secret
	onlySHA256 bool
	maxAge     time.Duration
}

func newSNSSignature(maxAge time.Duration, cfg Config, fetch Fetch) *snsSignature {
	return &snsSignature{
		certs: newCerts(fetch, snsCert), tests: cfg.TestSecrets, onlySHA256: cfg.RequireSHA256, maxAge: maxAge,
	}
}

func (a *snsSignature) check(ctx context.Context, m *snsMessage, r Request) error {
	if err := a.checkTime(m, r.Time); err != nil {
		return err
	}
	if test, err := signedForTest(a.tests, r); test || err != nil {
		return err
	}
	hash, sum, err := a.sum(m)
	if err != nil {
		return err
	}
	location, err := snsCertURL(m.certURL)
	if err != nil {
		return err
	}
	return a.certs.check(ctx, location, r.Time, signed{hash, sum, m.signature})
}

func (a *snsSignature) checkTime(m *snsMessage, now time.Time) error {
	sent, err := time.Parse(time.RFC3339, m.time)
	if err != nil {
		return refuse(ReasonMalformed, "Timestamp is missing or no time")
	}
	return checkAge(sent, now, a.maxAge)
}

// sum is the hash of what is signed. Version 1 is what a topic has unless its
// attribute SignatureVersion says 2.
func (a *snsSignature) sum(m *snsMessage) (crypto.Hash, []byte, error) {
	switch {
	case m.signature == "":
		return 0, nil, refuse(ReasonUnsigned, "Signature is missing")
	case m.version == "2":
		sum := sha256.Sum256(m.signedText())
		return crypto.SHA256, sum[:], nil
	case m.version != "1":
		return 0, nil, refuse(ReasonMalformed, "SignatureVersion is neither 1 nor 2: this version knows no other")
	case a.onlySHA256:
		return 0, nil, refuse(ReasonMalformed, "the signature is SHA-1: set the topic's attribute SignatureVersion to 2, or remove require-sha256")
	default:
		sum := sha1.Sum(m.signedText())
		return crypto.SHA1, sum[:], nil
	}
}

// snsCertURL returns the URL to fetch, in one spelling.
func snsCertURL(given string) (string, error) {
	u, ok := amazonURL(given)
	if !ok || !snsPath.MatchString(u.Path) || u.RawPath != "" || u.RawQuery != "" || u.ForceQuery {
		return "", refuse(ReasonForged, "SigningCertURL is not one of Amazon's")
	}
	return "https://" + u.Host + u.Path, nil
}

// checkSubscribeURL makes sure that a confirmation is all that the URL does.
func checkSubscribeURL(m *snsMessage) error {
	if u, ok := amazonURL(m.subscribe); ok && (u.Path == "/" || u.Path == "") {
		q, err := url.ParseQuery(u.RawQuery)
		if err == nil && q.Get("Action") == "ConfirmSubscription" && q.Get("TopicArn") == m.topic {
			return nil
		}
	}
	return refuse(ReasonForged, "SubscribeURL is not one with which Amazon confirms a subscription to this topic")
}

// amazonURL parses a URL of SNS itself; its host is in small letters then.
func amazonURL(given string) (*url.URL, bool) {
	u, err := url.Parse(given)
	if err != nil || len(given) > 4*maxName || u.Scheme != "https" || u.User != nil || u.Opaque != "" || u.Fragment != "" {
		return nil, false
	}
	u.Host = strings.ToLower(u.Host)
	return u, snsHost.MatchString(u.Host)
}

// snsCert reads the certificate, which is Amazon's as it came from there. That it is
// not valid may be the fault of our clock, and that its key is of another kind is
// that of this program: nothing is forged, so SNS has to come again.
func snsCert(chain []*x509.Certificate, now time.Time) (*cert, error) {
	leaf := chain[0]
	key, err := rsaKey(leaf, ReasonUnfetched)
	if err != nil {
		return nil, err
	}
	c := &cert{key: key, from: leaf.NotBefore, until: leaf.NotAfter}
	if !c.validAt(now) {
		return nil, refuse(ReasonUnfetched, "the certificate is not valid now: check the clock of this machine")
	}
	return c, nil
}
