package trigger

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"net/http"
	"strings"
)

// mac is the HMAC of the parts of a message, one behind the other.
func mac(hash func() hash.Hash, key []byte, message ...[]byte) []byte {
	h := hmac.New(hash, key)
	for _, part := range message {
		h.Write(part)
	}
	return h.Sum(nil)
}

// checkMAC checks a signature of the form prefix + hex against the HMAC-SHA256
// of message with any of the keys, in constant time and over decoded bytes. It
// returns the decoded signature.
func checkMAC(signature, prefix string, keys []Secret, message ...[]byte) ([]byte, error) {
	got, err := decodeMAC(signature, prefix, hexadecimal{}, sha256.Size)
	if err != nil {
		return nil, err
	}
	if !isMAC(sha256.New, got, keys, message...) {
		return nil, refuse(ReasonForged, "the signature does not fit the body: check the secret on both sides")
	}
	return got, nil
}

// decodeMAC takes a signature of some bytes, with what stands before it.
func decodeMAC(signature, prefix string, e encoding, size int) ([]byte, error) {
	text, ok := strings.CutPrefix(signature, prefix)
	if ok && text == "" {
		return nil, refuse(ReasonUnsigned, "the request has no signature")
	}
	length := e.EncodedLen(size)
	got, err := e.DecodeString(text[:min(len(text), length)])
	if !ok || len(text) != length || err != nil || len(got) != size {
		return nil, refuse(ReasonForged, "the signature is not %q and %d characters that encode %d bytes", prefix, length, size)
	}
	return got, nil
}

func isMAC(hash func() hash.Hash, got []byte, keys []Secret, message ...[]byte) bool {
	for _, key := range keys {
		if hmac.Equal(got, mac(hash, key, message...)) {
			return true
		}
	}
	return false
}

const giveSecret = "give the webhook its secret at the sender"

// checkBody checks the signature of a body in a header, as checkMAC does, and
// returns the identity of the request; "" without keys, as nothing is signed then.
func checkBody(keys []Secret, h http.Header, header, prefix string, body []byte) (identity string, err error) {
	if len(keys) == 0 {
		return "", nil
	}
	signature, err := needed(h, header, giveSecret)
	if err != nil {
		return "", err
	}
	sum, err := checkMAC(signature, prefix, keys, body)
	if err != nil {
		return "", err
	}
	return signedIdentity(sum), nil
}

// setMAC signs a message with the first of the keys, if there is one.
func setMAC(h http.Header, header, prefix string, keys []Secret, message ...[]byte) {
	if len(keys) > 0 {
		h.Set(header, prefix+hex.EncodeToString(mac(sha256.New, keys[0], message...)))
	}
}

// signedIdentity is the identity of a request whose signature covers the body and
// no id: requests with the same signature have the same body, whatever id they
// bring. It does not tell the signature.
func signedIdentity(signature []byte) string {
	sum := sha256.Sum256(signature)
	return "signed-" + hex.EncodeToString(sum[:16])
}
