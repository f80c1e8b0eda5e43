package trigger

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// GitLab webhooks, as docs.gitlab.com describes them in "Webhooks" and "Webhook
// events":
//
//	POST, Content-Type application/json
//	X-Gitlab-Event: Push Hook          the event's name; object_kind in the body is much the same
//	X-Gitlab-Token: <secret token>     as it is
//	Idempotency-Key: <UUID>            the same again when a delivery is repeated
//	webhook-id, webhook-timestamp, webhook-signature
//
// The last three are Standard Webhooks, and there when the webhook has a signing
// token (since 2026): whsec_ and the base64 of 32 bytes. webhook-id is then the
// Idempotency-Key.
const (
	gitLabEvent      = "X-Gitlab-Event"
	gitLabToken      = "X-Gitlab-Token"
	gitLabKey        = "Idempotency-Key"
	gitLabSigningKey = 32 // bytes
)

// gitLabHeaders are the headers that are kept with the event.
var gitLabHeaders = []string{
	gitLabEvent,
	gitLabKey,
	"X-Gitlab-Instance",
	"X-Gitlab-Webhook-UUID",
	"X-Gitlab-Event-UUID",
	"webhook-id",
	"webhook-timestamp",
}

// gitLabNames are the events by their object_kind, for requests that do not name
// theirs.
var gitLabNames = map[string]string{
	"push":          "Push Hook",
	"tag_push":      "Tag Push Hook",
	"issue":         "Issue Hook",
	"note":          "Note Hook",
	"merge_request": "Merge Request Hook",
	"wiki_page":     "Wiki Page Hook",
	"pipeline":      "Pipeline Hook",
	"build":         "Job Hook",
	"deployment":    "Deployment Hook",
	"feature_flag":  "Feature Flag Hook",
	"release":       "Release Hook",
	"emoji":         "Emoji Hook",
}

var gitLabKind = pointer{[]byte("object_kind")}

// gitLab checks either proof of a request.
type gitLab struct {
	token *auth
	keys  []standardKey
}

func gitLabSender() sender {
	return sender{kind: GitLab, verifier: newGitLab, sign: signGitLab, sample: "gitlab", nameHeader: gitLabEvent}
}

func newGitLab(cfg Config, _ Fetch) (Verifier, error) {
	if len(cfg.Secrets) == 0 && len(cfg.SigningSecrets) == 0 && !cfg.Insecure {
		return nil, fmt.Errorf("%w: give it the signing token or the secret token of the webhook, or say insecure: true", ErrUnverified)
	}
	keys, err := gitLabKeys(cfg)
	if err != nil {
		return nil, err
	}
	g := gitLab{gitLabTokens(cfg), keys}
	return func(_ context.Context, r Request) (Event, error) {
		// Nothing of the body is parsed before this has passed.
		identity, err := g.check(r)
		if err != nil {
			return Event{}, err
		}
		return gitLabEventOf(identity, r)
	}, nil
}

func gitLabTokens(cfg Config) *auth {
	return &auth{scheme: AuthAPIKey, header: gitLabToken, secrets: cfg.Secrets}
}

func gitLabKeys(cfg Config) ([]standardKey, error) {
	keys, err := standardKeys(cfg.SigningSecrets, func(secret Secret) (standardKey, error) {
		key, err := parseStandardKey(secret)
		if err != nil || key.version != versionHMAC || len(key.bytes) != gitLabSigningKey {
			return key, fmt.Errorf("is not %s and the base64 of %d bytes: copy the signing token from the webhook at GitLab", hmacKeyPrefix, gitLabSigningKey)
		}
		return key, nil
	})
	if err != nil {
		return nil, fmt.Errorf("signing %w", err)
	}
	return keys, nil
}

// check returns the identity of a genuine request. A signature that can be checked
// has to be right, whatever the token is.
func (g gitLab) check(r Request) (identity string, err error) {
	signed := len(r.Header.Values(webhookNames.signature)) > 0
	if len(g.keys) > 0 && (signed || len(g.token.secrets) == 0) {
		return webhookNames.check(g.keys, r)
	}
	if err := g.token.check(r.Header); err != nil {
		return "", err
	}
	return only(r.Header, gitLabKey)
}

func gitLabEventOf(identity string, r Request) (Event, error) {
	if err := wantJSON(r.Header); err != nil {
		return Event{}, err
	}
	if err := readShape(r.Body, nil, nil); err != nil {
		return Event{}, err
	}
	header, err := keep(r.Header, gitLabHeaders)
	if err != nil {
		return Event{}, err
	}
	name := header[gitLabEvent]
	if name == "" {
		name = gitLabName(r.Body)
	}
	if name == "" {
		return Event{}, refuse(ReasonMalformed, "the header %s is missing and object_kind is none that is known", gitLabEvent)
	}
	return Event{Name: name, Identity: identity, Answer: AnswerStored, Header: header}, nil
}

// gitLabName tells the event by the body where that is possible.
func gitLabName(body []byte) string {
	kind, err := scalarAt(body, gitLabKind)
	if err != nil {
		return ""
	}
	return gitLabNames[kind.name()]
}

func signGitLab(cfg Config, body []byte, now time.Time) (http.Header, error) {
	keys, err := gitLabKeys(cfg)
	if err != nil {
		return nil, err
	}
	h, id := http.Header{}, newGUID()
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "GitLab/sample")
	h.Set(gitLabKey, id)
	if name := gitLabName(body); name != "" {
		h.Set(gitLabEvent, name)
	}
	gitLabTokens(cfg).sign(h)
	if len(keys) > 0 {
		webhookNames.sign(h, id, keys, body, now)
	}
	return h, nil
}
