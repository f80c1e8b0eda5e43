package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// sampleSenders are triggers for what `sign` sends, one of each kind at least.
var sampleSenders = []struct {
	name, entry, secret string
	file                string // of the sample
}{
	{"alexa", "alexa: " + trigger.SampleSkillID + ", name: NAME", "", "alexa.json"},
	{"bitbucket", bitbucketEntry, payloadSecret, "bitbucket.json"},
	{"cloudevents", cloudEventsEntry, payloadSecret, "cloudevents.json"},
	{"eventbridge", eventBridgeEntry, payloadSecret, "eventbridge.json"},
	{"eventbridge basic", eventBridgeEntry + ", auth: basic, user: u", payloadSecret, "eventbridge.json"},
	{"eventbridge bearer", eventBridgeEntry + ", auth: bearer", payloadSecret, "eventbridge.json"},
	{"firehose", firehoseEntry, payloadSecret, "firehose.json"},
	{"forgejo", "forgejo: NAME, secret-file: SECRET", payloadSecret, "gitea.json"},
	{"gitea", "gitea: NAME, secret-file: SECRET", payloadSecret, "gitea.json"},
	{"github", gitHubEntry, payloadSecret, "github.json"},
	{"gitlab", "gitlab: NAME, signing-secret-file: SECRET", signingKey, "gitlab.json"},
	{"gitlab token", "gitlab: NAME, secret-file: SECRET", payloadSecret, "gitlab.json"},
	{"minio", "minio: NAME, secret-file: SECRET", payloadSecret, "minio.json"},
	{"rustfs", "rustfs: NAME, secret-file: SECRET", payloadSecret, "minio.json"},
	{"slack", slackEntry, payloadSecret, "slack.json"},
	{"sns", fmt.Sprintf("sns: NAME, topics: [%q]", trigger.SampleTopic), "", "sns.json"},
	{"standard-webhooks", "standard-webhooks: NAME, secret-file: SECRET", signingKey, "standard-webhooks.json"},
	{"stripe", "stripe: NAME, secret-file: SECRET", payloadSecret, "stripe.json"},
	{"webhook", "webhook: NAME, secret-file: SECRET, id: /id", payloadSecret, "webhook.json"},
	{"webhook hmac", "webhook: NAME, secret-file: SECRET, hmac: {header: X-Signature}", payloadSecret, "webhook.json"},
}

// sampleDeliveries are of all samples, and of what senders send besides events.
func sampleDeliveries(t *testing.T, b *builder) {
	t.Helper()
	checkSamples(t)
	for _, s := range sampleSenders {
		b.file = "samples/" + s.file
		genuine := b.sample(s.entry, s.secret).named(s.name)
		if genuine.trigger.Kind == trigger.Alexa {
			genuine.answered(silentReply)
		} else {
			genuine.stored(sampleRun(b, genuine)).otherwise()
		}
		b.sample(s.entry, s.secret).named(s.name + " forged").forge().refused("forged")
		b.sample(s.entry, s.secret).named(s.name + " unsigned").strip().refused("unsigned").fetching()
		d := b.sample(s.entry, s.secret).named(s.name + " too large").refused("body_too_large").fetching()
		d.body = strings.Repeat(" ", maxPayload+1)
	}
	controlDeliveries(b)
	snsControlDeliveries(b)
	rawDeliveries(b)
	ignoredDeliveries(b)
}

// checkSamples: no sample and no kind is forgotten.
func checkSamples(t *testing.T) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join("..", "..", "trigger", "samples", "*"))
	if err != nil {
		t.Fatal(err)
	}
	files, kinds := map[string]bool{}, map[string]bool{}
	for _, s := range sampleSenders {
		kind, _, _ := strings.Cut(s.entry, ":")
		files[s.file], kinds[kind] = true, true
		data, err := os.ReadFile(filepath.Join("..", "..", "trigger", "samples", s.file))
		if err != nil || !bytes.Equal(data, trigger.Sample(kind)) {
			t.Errorf("%s is not the sample of %s: %v", s.file, kind, err)
		}
	}
	for _, file := range found {
		if !files[filepath.Base(file)] {
			t.Errorf("the sample %s is of no sender of the table", file)
		}
	}
	for _, kind := range trigger.Kinds() {
		if !kinds[kind] {
			t.Errorf("%s is not in the table", kind)
		}
	}
}

// sample begins the delivery of what `sign` would send.
func (b *builder) sample(entry, secret string) *delivery {
	b.t.Helper()
	kind, _, _ := strings.Cut(entry, ":")
	switch kind {
	case trigger.Alexa:
		return b.alexa(b.sampleOf(kind), 0)
	case trigger.SNS:
		return b.sns(b.parsedMessage(b.sampleOf(kind)), "")
	}
	d := b.on(entry, secret)
	return d.signed(string(trigger.SampleFor(d.trigger.Config, b.now)))
}

func (b *builder) sampleOf(kind string) string {
	return string(trigger.SampleFor(trigger.Config{Kind: kind}, b.now))
}

func (b *builder) parsedMessage(body string) (m map[string]string) {
	b.read(body, &m)
	return m
}

// sampleRun is what a function gets of it.
func sampleRun(b *builder, d *delivery) string {
	switch d.trigger.Kind {
	case trigger.SNS:
		return b.parsedMessage(d.body)["Message"] // it is of S3
	case trigger.Firehose:
		return b.streamed(d.body)
	default:
		return d.body
	}
}

// forge has the delivery signed by somebody else.
func (d *delivery) forge() *delivery {
	switch {
	case d.trigger.Kind == trigger.Alexa:
		d.body += " "
		return d
	case d.trigger.Kind == trigger.SNS && !d.trigger.RawDelivery:
		m := d.b.parsedMessage(d.body)
		m["Message"] += " "
		d.body = d.b.written(m)
		return d
	}
	another := []trigger.Secret{trigger.Secret("the secret of somebody else")}
	if strings.HasPrefix(d.secret, "whsec_") {
		another[0] = trigger.Secret(strings.Replace(d.secret, "whsec_d", "whsec_e", 1))
	}
	return d.signedAs(func(c *trigger.Config) {
		if len(c.SigningSecrets) > 0 {
			c.SigningSecrets = another
		} else {
			c.Secrets = another
		}
	}, d.body)
}

// strip takes away all that says who has sent it.
func (d *delivery) strip() *delivery {
	for _, name := range []string{
		"Authorization", "X-Api-Key", "X-Amz-Firehose-Access-Key", "X-Hub-Signature", "X-Hub-Signature-256", "X-Gitea-Signature", "X-Forgejo-Signature",
		"X-Gitlab-Token", "Webhook-Signature", "X-Slack-Signature", "Stripe-Signature", "X-Signature", "Signature-256",
	} {
		d.header.Del(name)
	}
	if d.trigger.Kind == trigger.SNS && !d.trigger.RawDelivery {
		m := d.b.parsedMessage(d.body)
		m["Signature"] = ""
		d.body = d.b.written(m)
	}
	return d
}

// controlDeliveries are what senders send to see whether somebody is here.
func controlDeliveries(b *builder) {
	b.file = "control"
	b.on(gitHubEntry, payloadSecret).named("github ping").signed(`{"zen":"Keep the lamp lit.","hook_id":1}`).connected()
	b.on(bitbucketEntry, payloadSecret).named("bitbucket ping").
		with("X-Event-Key", "diagnostics:ping", "Content-Type", "application/json").connected().body = `{"test":true}`
	challenge := b.on(slackEntry, payloadSecret).named("slack challenge").signed(`{"type":"url_verification","challenge":"lamp"}`).connected()
	challenge.want.body = `{"challenge":"lamp"}`
	b.on(slackEntry, payloadSecret).named("slack ssl_check").signed("ssl_check=1&token=x").connected().says("text/plain; charset=utf-8", "")
	b.on(firehoseEntry, payloadSecret).named("firehose empty").signed(`{"requestId":"r1","timestamp":1578090901599,"records":[{"data":""}]}`).connected()
	b.on(eventBridgeEntry+", split: true", payloadSecret).named("eventbridge nothing").signed(`[]`).connected()
	d := b.on(cloudEventsEntry, payloadSecret).named("cloudevents handshake").with("WebHook-Request-Origin", "sender.example.org")
	d.method = http.MethodOptions
	d.want = hearing{http.StatusOK, "", `{"status":"granted"}` + "\n", map[string]string{"WebHook-Allowed-Origin": "sender.example.org", "WebHook-Allowed-Rate": "*", "Allow": "POST"}}
	d = b.on("rustfs: NAME, secret-file: SECRET", payloadSecret).named("rustfs health")
	d.method, d.path, d.want = http.MethodHead, "/", hearing{status: http.StatusOK}
}

func snsControlDeliveries(b *builder) {
	b.sns(b.message(`{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}`), "").named("s3 test").connected()
	for _, kind := range []string{"SubscriptionConfirmation", "UnsubscribeConfirmation"} {
		m := b.message("You have chosen to.")
		m["Type"], m["Token"] = kind, "t1"
		m["SubscribeURL"] = "https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + vectorTopic + "&Token=t1"
		delete(m, "UnsubscribeURL")
		b.sns(m, "").named("sns " + kind).heard(m)
	}
}

// rawDeliveries are messages of SNS without an envelope. SNS sends its password when it is asked for it.
func rawDeliveries(b *builder) {
	entry := fmt.Sprintf("sns: NAME, topics: [%q], raw-delivery: true, user: sns, secret-file: SECRET", vectorTopic)
	b.on(entry, payloadSecret).named("sns raw").signed("hello").stored(`"hello"`)
	for code, change := range map[string]func(d *delivery) *delivery{"unsigned": (*delivery).strip, "forged": (*delivery).forge} {
		d := change(b.on(entry, payloadSecret).named("sns raw " + code).signed("hello")).refused(code)
		d.want.status, d.want.header["Www-Authenticate"] = http.StatusUnauthorized, `Basic realm="funker"`
	}
}

// ignoredDeliveries are events that nobody wants.
func ignoredDeliveries(b *builder) {
	b.file = "ignored"
	const others = ", events: [another]"
	b.on(gitHubEntry+others, payloadSecret).named("github").signed(string(trigger.Sample(trigger.GitHub))).ignored(http.StatusAccepted)
	b.on(slackEntry+others, payloadSecret).named("slack").signed(string(trigger.Sample(trigger.Slack))).ignored(http.StatusOK)
	b.sns(b.message("hello"), others).named("sns").ignored(http.StatusOK)
	b.on(cloudEventsEntry+", batch: true", payloadSecret).named("cloudevents nothing").signed("[]").ignored(http.StatusAccepted)
	d := b.on(firehoseEntry+", split: true"+others, payloadSecret).named("firehose").signed(string(trigger.Sample(trigger.Firehose))).ignored(http.StatusOK)
	d.want.body = d.firehoseSuccess()
}

// ignored: no filter lets it through, and the sender hears that all is well.
func (d *delivery) ignored(status int) *delivery {
	d.tally.ignored = 1
	d.want = hearing{status, "", `{"status":"ignored"}` + "\n", map[string]string{"Content-Type": "application/json", "Location": "", "Funker-Event-Id": ""}}
	return d
}

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
