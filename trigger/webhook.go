package trigger

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Webhooks of senders that this package does not know: a POST of any JSON value
// that is signed as Config.HMAC says, or has credentials as Config.Auth says
// (AuthBearer when it says nothing).

// webhook is what is configured for such a sender.
type webhook struct {
	auth    *auth    // nil: it signs
	signing *signing // nil: it does not
	id      place
	event   place
	kept    []string // headers that are kept with the event
}

var webhookAuth = auth{scheme: AuthBearer}

func webhookSender() sender {
	return sender{kind: Webhook, verifier: newWebhook, sign: signWebhook, sample: "webhook"}
}

func newWebhook(cfg Config, _ Fetch) (Verifier, error) {
	w, err := webhookOf(cfg)
	if err != nil {
		return nil, err
	}
	return func(_ context.Context, r Request) (Event, error) { return w.verify(r) }, nil
}

func webhookOf(cfg Config) (*webhook, error) {
	var w webhook
	var err error
	if w.id, w.event, err = placesOf(cfg); err != nil {
		return nil, err
	}
	for _, p := range []place{w.id, w.event} {
		if p.header != "" {
			w.kept = append(w.kept, p.header)
		}
	}
	if cfg.HMAC == (HMAC{}) {
		w.auth, err = newAuth(cfg, webhookAuth)
	} else {
		w.signing, err = newSigning(cfg)
	}
	return &w, err
}

func placesOf(cfg Config) (id, event place, err error) {
	id, err = parsePlace(cfg.IDFrom)
	if err == nil {
		event, err = parsePlace(cfg.EventFrom)
	}
	return id, event, err
}

func (w *webhook) verify(r Request) (Event, error) {
	// Nothing of the body is parsed before this has passed.
	signature, err := w.check(r)
	if err != nil {
		return Event{}, err
	}
	if err := wantJSON(r.Header); err != nil {
		return Event{}, err
	}
	if err := CheckJSON(r.Body); err != nil {
		return Event{}, err
	}
	header, err := keep(r.Header, w.kept)
	if err != nil {
		return Event{}, err
	}
	e := Event{Answer: AnswerStored, Header: header}
	if e.Name, err = w.event.value(r); err != nil {
		return Event{}, err
	}
	e.Identity, err = w.identity(r, signature)
	return e, err
}

// identity holds the body too where the id is not signed: else somebody who has seen
// one request could send it under the id of the next, which would then be a repeat.
func (w *webhook) identity(r Request, signature []byte) (string, error) {
	id, err := w.id.value(r)
	switch {
	case err != nil || signature == nil:
		return id, err
	case id == "":
		return signedIdentity(signature), nil
	case w.id.pointer != nil || w.signing.template.has(w.id.header):
		return id, nil
	}
	return digest("request", []byte(id), r.Body), nil
}

// check returns the signature, nil where there is none.
func (w *webhook) check(r Request) (signature []byte, err error) {
	if w.signing != nil {
		return w.signing.check(r)
	}
	return nil, w.auth.check(r.Header)
}

// checkWebhook is Check.
func checkWebhook(cfg Config) (key string, err error) {
	if cfg.HMAC == (HMAC{}) {
		key, err = checkAuth(cfg, webhookAuth)
	} else {
		key, err = checkHMAC(cfg)
	}
	if err != nil {
		return key, err
	}
	if err := cfg.checkPlace(cfg.IDFrom); err != nil {
		return "id", err
	}
	if err := cfg.checkPlace(cfg.EventFrom); err != nil {
		return "event", err
	}
	if cfg.HMAC.isTimeless() && !cfg.HMAC.covers(cfg.IDFrom) {
		return "id", fmt.Errorf("the signature covers neither the header %s nor a time, so anybody could send a request again under another id: "+
			"name an id in the body, put {header:%s} into the template if that is signed, or leave id out (what has the same signature is a repeat then)", cfg.IDFrom, cfg.IDFrom)
	}
	return "", nil
}

// checkPlace sees to it that no secret is taken for a name or an id: these are
// stored and shown.
func (cfg Config) checkPlace(from string) error {
	if err := CheckPlace(from); err != nil {
		return fmt.Errorf("%q %w", from, err)
	}
	secrets := []string{"Authorization", "Proxy-Authorization", "Cookie", cfg.Header, cfg.HMAC.Header}
	if from != "" && slices.ContainsFunc(secrets, func(s string) bool { return strings.EqualFold(s, from) }) {
		return fmt.Errorf("the header %s holds a secret or a signature: name another one", from)
	}
	return nil
}

// eventHeader is the header that names the event and is not signed, "" when there
// is none.
func (cfg Config) eventHeader() string {
	event, err := parsePlace(cfg.EventFrom)
	if err != nil || cfg.HMAC.covers(cfg.EventFrom) {
		return ""
	}
	return event.header
}

func signWebhook(cfg Config, body []byte, now time.Time) (http.Header, error) {
	w, err := webhookOf(cfg)
	if err != nil {
		return nil, err
	}
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	if w.event.header != "" {
		h.Set(w.event.header, "sample")
	}
	if w.id.header != "" {
		h.Set(w.id.header, newGUID())
	}
	if w.signing != nil {
		return h, w.signing.sign(h, body, now)
	}
	w.auth.sign(h)
	return h, nil
}
