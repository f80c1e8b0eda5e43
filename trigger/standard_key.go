package trigger

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
)

// Keys of Standard Webhooks are base64 behind a prefix that says what they are.
const (
	hmacKeyPrefix    = "whsec_"
	publicKeyPrefix  = "whpk_"
	privateKeyPrefix = "whsk_"

	minHMACKey = 24 // bytes
	maxHMACKey = 64
)

// Versions of signatures.
const (
	versionHMAC    = "v1"
	versionEd25519 = "v1a"
)

// standardKey checks signatures of one version.
type standardKey struct {
	version string
	bytes   []byte
}

// standardKeys reads all keys. Its errors say which of them is wrong, and show none.
func standardKeys(secrets []Secret, parse func(Secret) (standardKey, error)) ([]standardKey, error) {
	var keys []standardKey
	for i, secret := range secrets {
		key, err := parse(secret)
		if err != nil {
			return nil, fmt.Errorf("secret %d of %d %w", i+1, len(secrets), err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// parseStandardKey reads a key as senders show it. Its errors complete the
// sentence "secret 1 of 2 …".
func parseStandardKey(secret Secret) (standardKey, error) {
	if text, ok := bytes.CutPrefix(secret, []byte(hmacKeyPrefix)); ok {
		return decodeKey(versionHMAC, text, minHMACKey, maxHMACKey)
	}
	if text, ok := bytes.CutPrefix(secret, []byte(publicKeyPrefix)); ok {
		return decodeKey(versionEd25519, text, ed25519.PublicKeySize, ed25519.PublicKeySize)
	}
	if bytes.HasPrefix(secret, []byte(privateKeyPrefix)) {
		return standardKey{}, fmt.Errorf("is the sender's private key: use the public one, which begins with %s", publicKeyPrefix)
	}
	return standardKey{}, fmt.Errorf("begins with neither %s nor %s: copy it whole from the sender, or put %s before a key that is only base64",
		hmacKeyPrefix, publicKeyPrefix, hmacKeyPrefix)
}

func decodeKey(version string, text []byte, least, most int) (standardKey, error) {
	key, err := base64.StdEncoding.Strict().DecodeString(string(text))
	switch {
	case err != nil:
		return standardKey{}, errors.New("is not base64 after its prefix: copy it again from the sender")
	case len(key) < least || len(key) > most:
		return standardKey{}, fmt.Errorf("has a key of %d bytes, it must have %d to %d: copy it again from the sender", len(key), least, most)
	}
	return standardKey{version, key}, nil
}

// checker returns what tells the key's signatures of a message, which is head and
// body, from others.
func (k standardKey) checker(head, body []byte) func(signature []byte) bool {
	if k.version == versionHMAC {
		sum := mac(sha256.New, k.bytes, head, body)
		return func(signature []byte) bool { return hmac.Equal(signature, sum) }
	}
	message := slices.Concat(head, body)
	return func(signature []byte) bool { return ed25519.Verify(k.bytes, message, signature) }
}
