package trigger

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Standard Webhooks 1.0.0, as github.com/standard-webhooks/standard-webhooks
// specifies them:
//
//	POST, Content-Type application/json
//	webhook-id: msg_…                   the same again when a message is repeated
//	webhook-timestamp: 1614265330       of this attempt, in seconds since 1970
//	webhook-signature: v1,<base64> v1a,<base64> …
//	{"type": "user.created", "timestamp": …, "data": {…}}      or any other JSON
//
// A signature is over id.timestamp.body: v1 is HMAC-SHA256, v1a is ed25519. There
// are several while the sender changes its key; those of unknown versions are
// passed over. Svix, where the scheme comes from, calls the headers svix-….
//
// Neither id nor timestamp may have a dot: it would be open where one ends and the
// next begins, and so what was signed.
type standardNames struct{ id, timestamp, signature string }

var (
	webhookNames = standardNames{"webhook-id", "webhook-timestamp", "webhook-signature"}
	svixNames    = standardNames{"svix-id", "svix-timestamp", "svix-signature"}
)

// maxSignatures in one header: each of them may cost a pass over the body.
const maxSignatures = 8

// standardMessage is what the three headers say.
type standardMessage struct{ id, timestamp, signature string }

func standardSender() sender {
	return sender{StandardWebhooks, newStandard, signStandard, "standard-webhooks", "", "the sender's key, which begins with " + hmacKeyPrefix + " or " + publicKeyPrefix}
}

func newStandard(cfg Config, _ Fetch) (Verifier, error) {
	keys, err := standardKeys(cfg.Secrets, parseStandardKey)
	if err != nil {
		return nil, err
	}
	repeats, err := newDedupe(cfg.Dedupe)
	if err != nil {
		return nil, fmt.Errorf("dedupe %w", err)
	}
	return func(_ context.Context, r Request) (Event, error) {
		names := standardNamesOf(r.Header)
		// Nothing of the body is parsed before this has passed.
		id, err := names.check(keys, r)
		if err != nil {
			return Event{}, err
		}
		return standardEvent(names, id, repeats, r)
	}, nil
}

// standardNamesOf are the names that the sender uses.
func standardNamesOf(h http.Header) standardNames {
	if len(h.Values(webhookNames.id)) == 0 && len(h.Values(svixNames.id)) > 0 {
		return svixNames
	}
	return webhookNames
}

// check returns the id of a request that one of the keys has signed. Without keys
// the id is what the sender says, "" when it says none.
func (n standardNames) check(keys []standardKey, r Request) (id string, err error) {
	if len(keys) == 0 {
		return only(r.Header, n.id)
	}
	m, err := n.read(r.Header)
	if err != nil {
		return "", err
	}
	if err := checkSeconds(m.timestamp, r.Time); err != nil {
		return "", err
	}
	list := strings.Fields(m.signature)
	if len(list) > maxSignatures {
		return "", refuse(ReasonForged, "the header %s has more than %d signatures", n.signature, maxSignatures)
	}
	if !m.isSigned(keys, list, r.Body) {
		return "", refuse(ReasonForged, "no signature of the version %s or %s fits: check the key on both sides", versionHMAC, versionEd25519)
	}
	return m.id, nil
}

// read takes the message from the headers.
func (n standardNames) read(h http.Header) (m standardMessage, err error) {
	for _, header := range []struct {
		name string
		to   *string
	}{{n.signature, &m.signature}, {n.id, &m.id}, {n.timestamp, &m.timestamp}} {
		if *header.to, err = needed(h, header.name, "the sender has to sign its requests, and to say their id and time"); err != nil {
			return m, err
		}
	}
	if strings.Contains(m.id, ".") || !isName(m.id) {
		return m, refuse(ReasonForged, "the header %s has a dot or control characters, or is longer than %d bytes", n.id, maxName)
	}
	return m, nil
}

// isSigned says whether one of the signatures in list is of one of the keys.
func (m standardMessage) isSigned(keys []standardKey, list []string, body []byte) bool {
	signatures := map[string][][]byte{}
	for _, entry := range list {
		version, text, _ := strings.Cut(entry, ",")
		if signature, err := base64.StdEncoding.Strict().DecodeString(text); err == nil {
			signatures[version] = append(signatures[version], signature)
		}
	}
	return slices.ContainsFunc(keys, func(k standardKey) bool {
		candidates := signatures[k.version]
		return len(candidates) > 0 && slices.ContainsFunc(candidates, k.checker(m.head(), body))
	})
}

// head is what is signed before the body.
func (m standardMessage) head() []byte { return []byte(m.id + "." + m.timestamp + ".") }

func standardEvent(names standardNames, id string, repeats dedupe, r Request) (Event, error) {
	if err := wantJSON(r.Header); err != nil {
		return Event{}, err
	}
	name, err := scalarAt(r.Body, standardType)
	if err != nil {
		return Event{}, err
	}
	identity, err := repeats.identity(id, r.Body)
	if err != nil {
		return Event{}, err
	}
	header, err := keep(r.Header, []string{names.id, names.timestamp})
	if err != nil {
		return Event{}, err
	}
	return Event{Name: name.name(), Identity: identity, Answer: AnswerStored, Header: header}, nil
}

// standardType is where the name of an event is by custom.
var standardType = pointer{[]byte("type")}

func signStandard(cfg Config, body []byte, now time.Time) (http.Header, error) {
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	keys, err := standardKeys(cfg.Secrets, parseStandardKey)
	if err != nil {
		return nil, err
	}
	keys = slices.DeleteFunc(keys, func(k standardKey) bool { return k.version != versionHMAC })
	if len(keys) == 0 && len(cfg.Secrets) > 0 {
		return nil, errors.New("only the sender can sign for a public key: add a key of your own, which begins with " + hmacKeyPrefix + ", to try it")
	}
	webhookNames.sign(h, "msg_"+randomHex(12), keys, body, now)
	return h, nil
}

// sign sets the three headers, without keys the first two.
func (n standardNames) sign(h http.Header, id string, keys []standardKey, body []byte, now time.Time) {
	m := standardMessage{id: id, timestamp: strconv.FormatInt(now.Unix(), 10)}
	h.Set(n.id, m.id)
	h.Set(n.timestamp, m.timestamp)
	if len(keys) > 0 {
		h.Set(n.signature, versionHMAC+","+base64.StdEncoding.EncodeToString(mac(sha256.New, keys[0].bytes, m.head(), body)))
	}
}
