package trigger

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"
)

// GitHub webhooks, as docs.github.com describes them in "Validating webhook
// deliveries" and "Webhook events and payloads":
//
//	POST, Content-Type application/json, or application/x-www-form-urlencoded
//	with the JSON in the field payload
//	X-Hub-Signature-256: sha256=<hex HMAC-SHA256 of the raw body, key = secret>
//	X-GitHub-Event: push        the event's name, which is nowhere else
//	X-GitHub-Delivery: <GUID>   the same again when a delivery is repeated
//
// The HMAC is over the body as sent: over the form's text, not over the JSON in
// it. X-Hub-Signature (SHA-1) is for old receivers and proves nothing here. The
// event "ping" arrives when a webhook is created and wants a success answer.
const (
	gitHubSignature = "X-Hub-Signature-256"
	gitHubLegacy    = "X-Hub-Signature"
	gitHubPrefix    = "sha256="
	gitHubEvent     = "X-GitHub-Event"
	gitHubDelivery  = "X-GitHub-Delivery"
)

// gitHubHeaders are the headers that are kept with the event.
var gitHubHeaders = []string{
	gitHubEvent,
	gitHubDelivery,
	"X-GitHub-Hook-ID",
	"X-GitHub-Hook-Installation-Target-Type",
	"X-GitHub-Hook-Installation-Target-ID",
	"X-GitHub-Enterprise-Version",
	"X-GitHub-Enterprise-Host",
}

func newGitHub(cfg Config) (Verifier, error) {
	if len(cfg.Secret) == 0 && !cfg.Insecure {
		return nil, fmt.Errorf("%w: give it the secret of the webhook, or say insecure: true", ErrUnverified)
	}
	secret := bytes.Clone(cfg.Secret)
	return func(r Request) (Event, error) {
		// Nothing of the body is parsed before this has passed.
		if err := checkGitHub(secret, r); err != nil {
			return Event{}, err
		}
		return gitHubEventOf(r)
	}, nil
}

func checkGitHub(secret []byte, r Request) error {
	if len(secret) == 0 {
		return nil
	}
	signature := r.Header.Get(gitHubSignature)
	if signature == "" && r.Header.Get(gitHubLegacy) != "" {
		return refuse(ReasonUnsigned, "there is only a SHA-1 signature: send %s", gitHubSignature)
	}
	if signature == "" {
		return refuse(ReasonUnsigned, "the header %s is missing: give the webhook its secret at GitHub", gitHubSignature)
	}
	return checkMAC(signature, gitHubPrefix, secret, r.Body)
}

func gitHubEventOf(r Request) (Event, error) {
	payload, err := gitHubPayload(r)
	if err != nil {
		return Event{}, err
	}
	header, err := keep(r.Header, gitHubHeaders)
	if err != nil {
		return Event{}, err
	}
	e := Event{
		Name:       header[gitHubEvent],
		DeliveryID: header[gitHubDelivery],
		Answer:     AnswerStored,
		Header:     header,
	}
	if e.Name == "" {
		e.Name = gitHubName(payload)
	}
	switch e.Name {
	case "":
		return Event{}, refuse(ReasonMalformed, "the header %s is missing and the body is no push", gitHubEvent)
	case "ping":
		e.Answer = AnswerControl
	}
	return e, nil
}

// gitHubPayload returns the JSON object that was sent.
func gitHubPayload(r Request) ([]byte, error) {
	if len(r.Body) == 0 {
		return nil, CheckJSON(r.Body)
	}
	payload, err := Payload(r.Header.Get("Content-Type"), r.Body)
	if err != nil {
		return nil, err
	}
	return payload, readShape(payload, nil, nil)
}

// keep returns those of the named headers that are there.
func keep(from http.Header, names []string) (map[string]string, error) {
	kept := make(map[string]string, len(names))
	for _, name := range names {
		value := from.Get(name)
		if !isName(value) {
			return nil, refuse(ReasonMalformed, "the header %s is longer than %d bytes or has control characters", name, maxName)
		}
		if value != "" {
			kept[name] = value
		}
	}
	return kept, nil
}

// gitHubName tells the event by the body where that is possible.
func gitHubName(body []byte) string {
	has := topLevel(body, "ref", "commits", "zen", "hook_id")
	switch {
	case has[0] && has[1]:
		return "push"
	case has[2] && has[3]:
		return "ping"
	default:
		return ""
	}
}

func signGitHub(cfg Config, body []byte, _ time.Time) http.Header {
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "GitHub-Hookshot/sample")
	h.Set(gitHubDelivery, newGUID())
	if name := gitHubName(body); name != "" {
		h.Set(gitHubEvent, name)
	}
	if len(cfg.Secret) > 0 {
		h.Set(gitHubSignature, gitHubPrefix+hex.EncodeToString(mac(cfg.Secret, body)))
	}
	return h
}
