package trigger

import (
	"cmp"
	"context"
	"net/http"
	"time"
)

// Webhooks of Gitea and Forgejo, as services/webhook/deliver.go of Gitea and
// services/webhook/shared of Forgejo send them:
//
//	POST, Content-Type application/json, or application/x-www-form-urlencoded
//	with the JSON in the field payload
//	X-Gitea-Signature: <hex HMAC-SHA256 of the JSON, key = secret>
//	X-Gitea-Event: push             the event's name
//	X-Gitea-Event-Type: push        the same, or finer: pull_request_sync
//	X-Gitea-Delivery: <UUID>
//
// Forgejo sends the same again as X-Forgejo-…. Both also send GitHub's headers,
// which prove nothing here: the HMAC is over the JSON in a form as well, where
// GitHub signs the form. Without a secret the signature is there and empty.
const (
	giteaFamily   = "X-Gitea-"
	forgejoFamily = "X-Forgejo-"
)

// The headers of a family.
const (
	forgeSignature = "Signature"
	forgeEvent     = "Event"
	forgeType      = "Event-Type"
	forgeDelivery  = "Delivery"
)

func giteaSender() sender {
	return sender{Gitea, newGitea(giteaFamily), signGitea(giteaFamily), "gitea", giteaFamily + forgeEvent, "the secret of the webhook"}
}

func forgejoSender() sender {
	return sender{Forgejo, newGitea(forgejoFamily), signGitea(forgejoFamily), "gitea", forgejoFamily + forgeEvent, "the secret of the webhook"}
}

func newGitea(family string) func(Config, Fetch) (Verifier, error) {
	return func(cfg Config, _ Fetch) (Verifier, error) {
		return func(_ context.Context, r Request) (Event, error) { return verifyGitea(family, cfg.Secrets, r) }, nil
	}
}

func verifyGitea(family string, secrets []Secret, r Request) (Event, error) {
	payload, identity, err := checkGitea(family+forgeSignature, secrets, r)
	if err != nil {
		return Event{}, err
	}
	if err := readShape(payload, nil, nil); err != nil {
		return Event{}, err
	}
	header, err := keep(r.Header, []string{family + forgeEvent, family + forgeType, family + forgeDelivery})
	if err != nil {
		return Event{}, err
	}
	e := Event{Name: header[family+forgeEvent], Identity: cmp.Or(identity, header[family+forgeDelivery]), Answer: AnswerStored, Header: header}
	if e.Name == "" {
		return Event{}, refuse(ReasonMalformed, "the header %s is missing", family+forgeEvent)
	}
	return e, nil
}

// checkGitea returns the JSON, which is not parsed yet, and the identity of a
// signed request: "" when nothing has to be signed.
func checkGitea(header string, secrets []Secret, r Request) (payload []byte, identity string, err error) {
	if len(secrets) > 0 {
		if _, err := needed(r.Header, header, giveSecret); err != nil {
			return nil, "", err
		}
	}
	payload, err = jsonIn(r)
	if err == nil {
		identity, err = checkBody(secrets, r.Header, header, "", payload)
	}
	return payload, identity, err
}

func signGitea(family string) func(Config, []byte, time.Time) (http.Header, error) {
	return func(cfg Config, body []byte, _ time.Time) (http.Header, error) {
		h := http.Header{}
		h.Set("Content-Type", "application/json")
		h.Set(family+forgeDelivery, newGUID())
		if has := topLevel(body, "ref", "commits"); has[0] && has[1] {
			h.Set(family+forgeEvent, "push")
		}
		setMAC(h, family+forgeSignature, "", cfg.Secrets, body)
		return h, nil
	}
}
