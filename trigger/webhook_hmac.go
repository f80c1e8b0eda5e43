package trigger

import (
	"cmp"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// HMAC says how the sender of a Webhook signs its requests (RFC 2104), with one
// of Config.Secrets as the key. The zero value says that it does not.
type HMAC struct {
	Header    string        // that has the signature
	Algorithm string        // of the hash, one of HMACAlgorithms; "": the first
	Encoding  string        // of the signature, one of HMACEncodings; "": the first
	Prefix    string        // what stands before the signature in the header
	Template  string        // what is signed, see CheckTemplate; "": the body alone
	Tolerance time.Duration // how far a time in the template may be from now, both ways; 0: DefaultTolerance
}

// DefaultTolerance is how far from now, before or after, a request may have been
// signed. Standard Webhooks, Stripe and Slack advise the same five minutes.
const DefaultTolerance = 5 * time.Minute

// HMACAlgorithms are the hashes that HMAC.Algorithm may name. SHA-1 is broken for
// signatures of documents, not in an HMAC.
func HMACAlgorithms() []string { return []string{"sha256", "sha512", "sha1"} }

// HMACEncodings are what HMAC.Encoding may name: hexadecimal digits, and base64
// with padding (RFC 4648, section 4).
func HMACEncodings() []string { return []string{"hex", "base64"} }

var hashes = map[string]func() hash.Hash{"": sha256.New, "sha256": sha256.New, "sha512": sha512.New, "sha1": sha1.New}

// encoding is what base64.Encoding and hexadecimal digits share.
type encoding interface {
	EncodedLen(n int) int
	EncodeToString(b []byte) string
	DecodeString(s string) ([]byte, error)
}

type hexadecimal struct{}

func (hexadecimal) EncodedLen(n int) int                  { return hex.EncodedLen(n) }
func (hexadecimal) EncodeToString(b []byte) string        { return hex.EncodeToString(b) }
func (hexadecimal) DecodeString(s string) ([]byte, error) { return hex.DecodeString(s) }

var encodings = map[string]encoding{"": hexadecimal{}, "hex": hexadecimal{}, "base64": base64.StdEncoding.Strict()}

// isTimeless says whether there is a signature that never grows old.
func (c HMAC) isTimeless() bool { return c != (HMAC{}) && !strings.Contains(c.Template, "{timestamp:") }

// covers says whether the value at a place is signed.
func (c HMAC) covers(from string) bool {
	t, err := parseTemplate(c.Template)
	return c != (HMAC{}) && err == nil && (from == "" || strings.HasPrefix(from, "/") || t.has(from))
}

// checkHMAC is Check for senders that sign.
func checkHMAC(cfg Config) (key string, err error) {
	c := cfg.HMAC
	t, bad := parseTemplate(c.Template)
	switch {
	case cfg.Insecure:
		return "insecure", errors.New("insecure: true and hmac exclude each other: remove one")
	case cfg.Auth != "" || cfg.User != "" || cfg.Header != "":
		return "hmac", errors.New("hmac excludes auth, user and header: a sender signs, or it sends a secret along")
	case !isHeaderName(c.Header):
		return "hmac", errors.New("hmac needs header: the name of the header that has the signature")
	case hashes[c.Algorithm] == nil:
		return "hmac", fmt.Errorf("unknown algorithm %q: use one of %s", c.Algorithm, strings.Join(HMACAlgorithms(), ", "))
	case encodings[c.Encoding] == nil:
		return "hmac", fmt.Errorf("unknown encoding %q: use one of %s", c.Encoding, strings.Join(HMACEncodings(), ", "))
	case bad != nil:
		return "hmac", fmt.Errorf("template %q %w", c.Template, bad)
	case t.has(c.Header):
		return "hmac", fmt.Errorf("template has the header %s, which has the signature itself: name another one", c.Header)
	case c.Tolerance != 0 && c.isTimeless():
		return "hmac", errors.New("tolerance needs a time that is signed: add {timestamp:<header>} to the template, or remove tolerance")
	case c.Tolerance < 0:
		return "hmac", errors.New("tolerance is below zero")
	}
	return "", nil
}

// signing checks signatures.
type signing struct {
	HMAC
	secrets  []Secret
	hash     func() hash.Hash
	encoding encoding
	template template
}

func newSigning(cfg Config) (*signing, error) {
	if len(cfg.Secrets) == 0 {
		return nil, fmt.Errorf("%w: give it the secret with which the sender signs", ErrUnverified)
	}
	t, err := parseTemplate(cfg.HMAC.Template)
	return &signing{cfg.HMAC, cfg.Secrets, hashes[cfg.HMAC.Algorithm], encodings[cfg.HMAC.Encoding], t}, err
}

// check returns the decoded signature of a request that is signed right, and not
// too long ago.
func (s *signing) check(r Request) ([]byte, error) {
	written, err := needed(r.Header, s.Header, giveSecret)
	if err != nil {
		return nil, err
	}
	given, err := decodeMAC(written, s.Prefix, s.encoding, s.hash().Size())
	if err != nil {
		return nil, err
	}
	before, when, err := s.template.fill(r.Header, r.Body)
	if err != nil {
		return nil, err
	}
	if !isMAC(s.hash, given, s.secrets, []byte(before), r.Body) {
		return nil, refuse(ReasonForged, "the signature does not fit what was sent: check the secret on both sides, and hmac in the manifest")
	}
	return given, s.checkTime(when, r.Time)
}

// checkTime takes "" for a template without a time.
func (s *signing) checkTime(written string, now time.Time) error {
	if written == "" {
		return nil
	}
	when, err := parseTime(written)
	if err != nil {
		return err
	}
	return checkAge(when, now, cmp.Or(s.Tolerance, DefaultTolerance))
}

// parseTime reads the time since 1970, in seconds or, from 12 digits on, in
// milliseconds; or RFC 3339. 12 digits are milliseconds since 1973, and would
// be seconds from the year 5138 on.
func parseTime(written string) (time.Time, error) {
	if strings.Trim(written, "0123456789") != "" {
		when, err := time.Parse(time.RFC3339, written)
		if err != nil {
			return when, refuse(ReasonMalformed, "the signed time is neither seconds nor milliseconds since 1970, nor as in RFC 3339")
		}
		return when, nil
	}
	n, err := strconv.ParseInt(written, 10, 64)
	switch {
	case err != nil || len(written) > len("9999999999999"):
		return time.Time{}, refuse(ReasonMalformed, "the signed time has too many digits for seconds or milliseconds since 1970")
	case len(written) >= len("999999999999"):
		return time.UnixMilli(n), nil
	}
	return time.Unix(n, 0), nil
}

// sign adds the headers that the template wants, and the signature.
func (s *signing) sign(h http.Header, body []byte, now time.Time) error {
	s.template.complete(h, now)
	before, _, err := s.template.fill(h, body)
	if err != nil {
		return err
	}
	h.Set(s.Header, s.Prefix+s.encoding.EncodeToString(mac(s.hash, s.secrets[0], []byte(before), body)))
	return nil
}
