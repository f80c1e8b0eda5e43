package trigger

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// mac is the HMAC-SHA256 of message.
func mac(key, message []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	return h.Sum(nil)
}

// checkMAC checks a signature of the form prefix + hex against the HMAC-SHA256
// of message, in constant time and over decoded bytes.
func checkMAC(signature, prefix string, key, message []byte) error {
	digits, ok := strings.CutPrefix(signature, prefix)
	if signature == "" || ok && digits == "" {
		return refuse(ReasonUnsigned, "the request has no signature")
	}
	if !ok || len(digits) != hex.EncodedLen(sha256.Size) {
		return refuse(ReasonForged, "the signature is not %q and %d hexadecimal digits", prefix, hex.EncodedLen(sha256.Size))
	}
	got, err := hex.DecodeString(digits)
	if err != nil {
		return refuse(ReasonForged, "the signature is not hexadecimal")
	}
	if !hmac.Equal(got, mac(key, message)) {
		return refuse(ReasonForged, "the signature does not fit the body: check the secret on both sides")
	}
	return nil
}
