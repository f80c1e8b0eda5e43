package trigger

import (
	"context"
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

func gitHubSender() sender {
	return sender{GitHub, newGitHub, signGitHub, "github", gitHubEvent, "the secret of the webhook"}
}

func newGitHub(cfg Config, _ Fetch) (Verifier, error) {
	return func(_ context.Context, r Request) (Event, error) {
		// Nothing of the body is parsed before this has passed.
		identity, err := checkGitHub(cfg.Secrets, r)
		if err != nil {
			return Event{}, err
		}
		e, err := gitHubEventOf(r)
		if identity != "" {
			e.Identity = identity
		}
		return e, err
	}, nil
}

// checkGitHub returns the identity of a signed request, "" when nothing has to be
// signed.
func checkGitHub(secrets []Secret, r Request) (identity string, err error) {
	if len(secrets) > 0 && r.Header.Get(gitHubSignature) == "" && r.Header.Get(gitHubLegacy) != "" {
		return "", refuse(ReasonUnsigned, "there is only a SHA-1 signature: send %s", gitHubSignature)
	}
	return checkBody(secrets, r.Header, gitHubSignature, gitHubPrefix, r.Body)
}

func gitHubEventOf(r Request) (Event, error) {
	payload, err := jsonIn(r)
	if err != nil {
		return Event{}, err
	}
	if err := readShape(payload, nil, nil); err != nil {
		return Event{}, err
	}
	header, err := keep(r.Header, gitHubHeaders)
	if err != nil {
		return Event{}, err
	}
	e := Event{
		Name:     header[gitHubEvent],
		Identity: header[gitHubDelivery],
		Answer:   AnswerStored,
		Header:   header,
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

// jsonIn returns the JSON that was sent, as it is or in a form; it is not parsed yet.
func jsonIn(r Request) ([]byte, error) {
	if len(r.Body) == 0 {
		return nil, CheckJSON(r.Body)
	}
	return plainPayload(r.Header.Get("Content-Type"), r.Body)
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

func signGitHub(cfg Config, body []byte, _ time.Time) (http.Header, error) {
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "GitHub-Hookshot/sample")
	h.Set(gitHubDelivery, newGUID())
	if name := gitHubName(body); name != "" {
		h.Set(gitHubEvent, name)
	}
	setMAC(h, gitHubSignature, gitHubPrefix, cfg.Secrets, body)
	return h, nil
}
