package trigger

import (
	"cmp"
	"context"
	"net/http"
	"time"
)

// Webhooks of Bitbucket, Cloud and Data Center, as Atlassian describes them in
// "Manage webhooks" and "Event payload":
//
//	POST, Content-Type application/json
//	X-Hub-Signature: sha256=<hex HMAC-SHA256 of the raw body, key = secret>
//	X-Event-Key: repo:push           of Cloud, repo:refs_changed of Data Center
//	X-Request-UUID: <UUID>           of Cloud
//	X-Request-Id: <UUID>             of Data Center
//
// The signature's header has the name of GitHub's old one and holds SHA-256 all
// the same. The button "Test connection" of Data Center sends diagnostics:ping,
// which is not signed even when the webhook has a secret: it may come without a
// signature, since nothing is stored or run for it.
const (
	bitbucketSignature = "X-Hub-Signature"
	bitbucketPrefix    = "sha256="
	bitbucketEvent     = "X-Event-Key"
	bitbucketCloudID   = "X-Request-UUID"
	bitbucketServerID  = "X-Request-Id"
	bitbucketPing      = "diagnostics:ping"
)

// bitbucketHeaders are the headers that are kept with the event.
var bitbucketHeaders = []string{bitbucketEvent, bitbucketCloudID, bitbucketServerID, "X-Hook-UUID", "X-Attempt-Number"}

func bitbucketSender() sender {
	return sender{Bitbucket, newBitbucket, signBitbucket, "bitbucket", bitbucketEvent, "the secret of the webhook"}
}

func newBitbucket(cfg Config, _ Fetch) (Verifier, error) {
	return func(_ context.Context, r Request) (Event, error) {
		if r.Header.Get(bitbucketEvent) == bitbucketPing && r.Header.Get(bitbucketSignature) == "" {
			return Event{Name: bitbucketPing, Answer: AnswerControl}, nil
		}
		identity, err := checkBody(cfg.Secrets, r.Header, bitbucketSignature, bitbucketPrefix, r.Body)
		if err != nil {
			return Event{}, err
		}
		return bitbucketEventOf(r, identity)
	}, nil
}

func bitbucketEventOf(r Request, identity string) (Event, error) {
	if err := wantJSON(r.Header); err != nil {
		return Event{}, err
	}
	if err := readShape(r.Body, nil, nil); err != nil {
		return Event{}, err
	}
	header, err := keep(r.Header, bitbucketHeaders)
	if err != nil {
		return Event{}, err
	}
	e := Event{
		Name:     header[bitbucketEvent],
		Identity: cmp.Or(identity, header[bitbucketCloudID], header[bitbucketServerID]),
		Answer:   AnswerStored,
		Header:   header,
	}
	switch e.Name {
	case "":
		return Event{}, refuse(ReasonMalformed, "the header %s is missing", bitbucketEvent)
	case bitbucketPing:
		e.Answer = AnswerControl
	}
	return e, nil
}

func signBitbucket(cfg Config, body []byte, _ time.Time) (http.Header, error) {
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set(bitbucketCloudID, newGUID())
	if topLevel(body, "push")[0] {
		h.Set(bitbucketEvent, "repo:push")
	}
	setMAC(h, bitbucketSignature, bitbucketPrefix, cfg.Secrets, body)
	return h, nil
}
