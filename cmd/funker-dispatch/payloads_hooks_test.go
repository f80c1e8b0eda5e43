package main

import (
	"cmp"
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

func bitbucketEvent(event string) func(*builder, string) {
	return func(b *builder, body string) {
		b.on(bitbucketEntry, payloadSecret).signed(body, "X-Event-Key", event).stored(body)
	}
}

// The text of these vectors is no JSON: 400 says that the signature was right, and what is missing then.
const notJSON = "not_json"

func bitbucketVectors(b *builder, data string) {
	for i, v := range readVectors(b.t, data) {
		d := b.vector(i, v, bitbucketEntry, v.text("secret")).with("X-Event-Key", "repo:push")
		if v["valid"] == true {
			d.refused(notJSON)
		}
	}
}

// asForm is JSON in the form that a hook may be set to.
func asForm(body string) string { return "payload=" + url.QueryEscape(body) }

const formType = "application/x-www-form-urlencoded"

func giteaEvent(event string) func(*builder, string) {
	return func(b *builder, body string) {
		for _, kind := range []string{trigger.Gitea, trigger.Forgejo} {
			entry := kind + ": NAME, secret-file: SECRET"
			header := []string{"X-Gitea-Event", event, "X-Forgejo-Event", event}
			b.on(entry, payloadSecret).named(kind).signed(body, header...).stored(body)
			// They sign the JSON that is in the form.
			d := b.on(entry, payloadSecret).named(kind+" form").signed(body, header...).with("Content-Type", formType).stored(body)
			d.body = asForm(body)
		}
	}
}

func giteaVectors(b *builder, data string) {
	for i, v := range readVectors(b.t, data) {
		d := b.vector(i, v, "gitea: NAME, secret-file: SECRET", v.text("secret")).with("X-Gitea-Event", "create", "X-Gitea-Delivery", "d1")
		if v["valid"] == true {
			d.stored(cmp.Or(v.text("json_payload"), v.text("body")))
		}
	}
}

// gitHubEvent is of a file that is named after its event.
func gitHubEvent(b *builder, body string) {
	event, _, _ := strings.Cut(path.Base(b.file), ".")
	b.on(gitHubEntry, payloadSecret).signed(body, "X-GitHub-Event", event).stored(body)
	b.on(gitHubEntry, payloadSecret).named("form").signed(asForm(body), "X-GitHub-Event", event, "Content-Type", formType).stored(body)
}

func gitHubPing(b *builder, body string) {
	b.on(gitHubEntry, payloadSecret).signed(body, "X-GitHub-Event", "ping").connected()
	b.on(gitHubEntry, payloadSecret).named("form").signed(asForm(body), "X-GitHub-Event", "ping", "Content-Type", formType).connected()
}

func gitHubVectors(b *builder, data string) {
	for i, v := range readVectors(b.t, data) {
		d := b.vector(i, v, gitHubEntry, v.text("secret")).with("X-GitHub-Event", "ping")
		switch {
		case v["valid"] != true:
		case v.text("json_payload") != "":
			d.connected()
		default:
			d.refused(notJSON)
		}
	}
}

func gitLabEvent(b *builder, body string) {
	b.on("gitlab: NAME, signing-secret-file: SECRET", signingKey).signed(body).stored(body)
	b.on("gitlab: NAME, secret-file: SECRET", payloadSecret).named("token").signed(body).stored(body)
}

func gitLabVectors(b *builder, data string) {
	all := readVectors(b.t, data)
	for i, v := range all {
		entry, secret := "gitlab: NAME, secret-file: SECRET", v.text("secret")
		if v.text("signing_token") != "" {
			entry, secret, v = "gitlab: NAME, signing-secret-file: SECRET", v.text("signing_token"), standardScheme.moved(b, v, all)
		}
		d := b.vector(i, v, entry, secret)
		if v["valid"] != true {
			continue
		}
		if d.stored(d.body); d.header.Get("Idempotency-Key") == "" {
			d.once() // an older GitLab has no ids
		}
	}
}

func standardVectors(b *builder, data string) {
	all := readVectors(b.t, data)
	for i, v := range all {
		secret := v.text("secret")
		if v.text("public_key") != "" {
			secret = ownPublicKey()
		}
		d := b.vector(i, standardScheme.moved(b, v, all), "standard-webhooks: NAME, secret-file: SECRET", secret)
		if v["valid"] == true {
			d.stored(d.body)
		}
	}
}

func stripeVectors(b *builder, data string) {
	all := readVectors(b.t, data)
	for i, v := range all {
		d := b.vector(i, stripeScheme.moved(b, v, all), "stripe: NAME, secret-file: SECRET", v.text("secret"))
		if v["valid"] == true {
			d.stored(d.body)
		}
	}
}

func slackVectors(b *builder, data string) {
	all := readVectors(b.t, data)
	for i, v := range all {
		d := b.vector(i, slackScheme.moved(b, v, all), slackEntry, v.text("signing_secret"))
		switch {
		case v["valid"] != true:
		case strings.HasSuffix(v.text("content_type"), "json"):
			d.stored(d.body)
		default:
			d.stored(fieldsOf(b, d.body)).otherwise().says("text/plain; charset=utf-8", "")
		}
	}
}

// fieldsOf a form, as a function gets them.
func fieldsOf(b *builder, form string) string {
	values, err := url.ParseQuery(form)
	if err != nil {
		b.t.Fatal(err)
	}
	fields := map[string]string{}
	for name := range values {
		fields[name] = values.Get(name)
	}
	return b.written(fields)
}

func slackEvent(b *builder, body string) {
	b.on(slackEntry, payloadSecret).signed(body).stored(body)
}

func slackChallenge(b *builder, body string) {
	var request struct{ Challenge string }
	b.read(body, &request)
	d := b.on(slackEntry, payloadSecret).signed(body).connected()
	d.want.body = fmt.Sprintf(`{"challenge":%q}`, request.Challenge)
}
