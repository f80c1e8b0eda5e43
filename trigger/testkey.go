package trigger

import (
	"errors"
	"net/http"
)

// Only Amazon can sign what Amazon signs. So that a trigger can be tried without
// it, a request may be signed with a secret of its own instead:
//
//	Funker-Test-Signature: sha256=<hex HMAC-SHA256 of the raw body>
//
// That stands for the sender's signature and for nothing else, and only where
// Config.TestSecrets has a secret.
const (
	testSignature = "Funker-Test-Signature"
	testPrefix    = "sha256="
)

// signedForTest says whether a request has a test signature. One that is wrong is
// refused; without secrets there is none.
func signedForTest(secrets []Secret, r Request) (bool, error) {
	if len(secrets) == 0 || len(r.Header.Values(testSignature)) == 0 {
		return false, nil
	}
	_, err := checkBody(secrets, r.Header, testSignature, testPrefix, r.Body)
	return err == nil, err
}

// signForTest is what Sign does for a sender whose signature nobody else can make.
func signForTest(h http.Header, cfg Config, body []byte) error {
	if len(cfg.TestSecrets) == 0 {
		return errors.New("only Amazon can sign for it: add test-secret-file: <file> to the trigger, or send through Amazon")
	}
	setMAC(h, testSignature, testPrefix, cfg.TestSecrets, body)
	return nil
}
