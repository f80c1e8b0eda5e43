package ingress

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

const (
	topic   = "arn:aws:sns:eu-central-1:123456789012:uploads"
	snsHost = "sns.eu-central-1.amazonaws.com"
)

// subscribe adds a trigger of SNS to the manifest.
func subscribe(g *gateway, change ...func(*deploy.Trigger)) {
	d := &deploy.Trigger{Config: trigger.Config{Kind: trigger.SNS, Topics: []string{topic}}, Name: "s3", Path: "/sns/s3", Routes: []deploy.Route{{Function: "Fetch"}}}
	for _, f := range change {
		f(d)
	}
	m := manifest()
	m.Triggers = append(m.Triggers, d)
	g.catalog.Set(m)
}

// notify posts a message of SNS that Amazon has signed; pairs in change replace members and are not signed.
func (g *gateway) notify(t *testing.T, kind, text string, change ...string) answer {
	t.Helper()
	m := map[string]string{
		"Type": kind, "MessageId": queue.NewID(), "TopicArn": topic, "Message": text, "Timestamp": time.Now().UTC().Format(time.RFC3339),
		"SignatureVersion": "2", "SigningCertURL": "https://" + snsHost + "/SimpleNotificationService-" + strings.Repeat("0", 32) + ".pem",
	}
	signed := "Message\n" + text + "\nMessageId\n" + m["MessageId"]
	if kind == "Notification" {
		signed += "\nTimestamp\n" + m["Timestamp"]
	} else {
		m["Token"], m["SubscribeURL"] = "t1", "https://"+snsHost+"/?Action=ConfirmSubscription&TopicArn="+topic+"&Token=t1"
		signed += "\nSubscribeURL\n" + m["SubscribeURL"] + "\nTimestamp\n" + m["Timestamp"] + "\nToken\nt1"
	}
	m["Signature"] = signedByAmazon(t, signed+"\nTopicArn\n"+topic+"\nType\n"+kind+"\n")
	for i := 0; i < len(change); i += 2 {
		m[change[i]] = change[i+1]
	}
	body, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{"X-Amz-Sns-Message-Type": {kind}, "Content-Type": {"text/plain; charset=UTF-8"}}
	return g.do("POST", "/sns/s3", header, bytes.NewReader(body))
}

// amazonSNS serves the certificate, and notes what else is asked for.
func amazonSNS(t *testing.T) (change func(*Options), confirmed func() []string) {
	var mu sync.Mutex
	var asked []string
	s := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, r.URL.RequestURI())
			return
		}
		serveCertificate(w, r)
	})
	return instead(s, snsHost), func() []string {
		mu.Lock()
		defer mu.Unlock()
		return asked
	}
}

const s3Records = `{"Records":[` +
	`{"eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"a","sequencer":"%[1]s"}}},` +
	`{"eventSource":"aws:s3","eventName":"ObjectRemoved:Delete","s3":{"bucket":{"name":"b"},"object":{"key":"b","sequencer":"%[1]s"}}}]}`

func TestSNS_MessageIsStoredAndItsRepeatFound(t *testing.T) {
	change, _ := amazonSNS(t)
	g := start(t, change)
	subscribe(g)
	text := fmt.Sprintf(s3Records, queue.NewID())
	a := g.notify(t, "Notification", text)
	e := g.event()
	a.want(t, 200, fmt.Sprintf(`{"id":%q,"status":"queued"}`+"\n", e.ID))
	if got, err := trigger.Payload(e.Form, e.ContentType, e.Body); err != nil || string(got) != text || e.Name != "ObjectCreated:Put" || e.Source != "sns-s3" {
		t.Errorf("the function got %s of %s from %s, %v", got, e.Name, e.Source, err)
	}
	again := g.do("POST", "/sns/s3", nil, bytes.NewReader(e.Body))
	again.want(t, 200, fmt.Sprintf(`{"id":%q,"status":"queued","duplicate":true}`+"\n", e.ID))
	g.notify(t, "Notification", `{"Service":"Amazon S3","Event":"s3:TestEvent"}`).want(t, 200, `{"status":"connected"}`+"\n")
	g.idle()
}

func TestSNS_SplitMakesAnEventOfEachRecordThatIsWanted(t *testing.T) {
	change, _ := amazonSNS(t)
	g := start(t, change)
	subscribe(g, func(d *deploy.Trigger) {
		d.Split = true
		d.Routes = []deploy.Route{{Function: "Fetch", Filter: deploy.Filter{Events: []string{"ObjectRemoved:Delete"}}}}
	})
	g.notify(t, "Notification", fmt.Sprintf(s3Records, queue.NewID()))
	e := g.event()
	if !strings.HasPrefix(string(e.Body), `{"Records":[{"eventSource":"aws:s3","eventName":"ObjectRemoved:Delete"`) || e.Name != "ObjectRemoved:Delete" {
		t.Errorf("the function got %s", e.Body)
	}
	g.idle()
}

func TestSNS_SubscriptionIsConfirmedOnceItIsVerified(t *testing.T) {
	change, confirmed := amazonSNS(t)
	g := start(t, change)
	subscribe(g)
	g.notify(t, "SubscriptionConfirmation", "please", "Token", "t2").refused(t, 403, "forged")
	g.notify(t, "SubscriptionConfirmation", "please", "TopicArn", topic+"2").refused(t, 403, "wrong_topic")
	g.notify(t, "SubscriptionConfirmation", "please", "SubscribeURL", "https://127.0.0.1/").refused(t, 403, "forged")
	if got := confirmed(); len(got) != 0 {
		t.Fatalf("fetched %v", got)
	}
	g.notify(t, "SubscriptionConfirmation", "please").want(t, 200, `{"status":"connected"}`+"\n")
	if got := confirmed(); len(got) != 1 || got[0] != "/?Action=ConfirmSubscription&TopicArn="+topic+"&Token=t1" {
		t.Errorf("fetched %v", got)
	}
	g.notify(t, "UnsubscribeConfirmation", "bye").want(t, 200, `{"status":"connected"}`+"\n")
	if lines := g.log.String(); !strings.Contains(lines, "level=WARN") || !strings.Contains(lines, "the subscription was cancelled") {
		t.Errorf("got %s", lines)
	}
	if got := confirmed(); len(got) != 1 {
		t.Errorf("fetched %v", got)
	}
	g.idle()
}

// A 4xx tells SNS that the message was delivered.
func TestSNS_Gets4xxForForgeriesOnly(t *testing.T) {
	change, _ := amazonSNS(t)
	g := start(t, change, func(o *Options) { o.MaxBody = 10_000 })
	subscribe(g)
	for _, c := range []struct {
		status int
		code   string
		change []string
	}{
		{403, "forged", []string{"Message", "another"}}, {403, "unsigned", []string{"Signature", ""}}, {403, "wrong_topic", []string{"TopicArn", topic + "2"}},
		{403, "forged", []string{"SigningCertURL", "https://example.org/x.pem"}},
		{503, "certificate_unavailable", []string{"SigningCertURL", "https://sns.eu-west-9.amazonaws.com/SimpleNotificationService-" + strings.Repeat("0", 32) + ".pem"}},
		{503, "malformed", []string{"SignatureVersion", "3"}}, {503, "stale", []string{"Timestamp", "2012-05-02T00:54:06.655Z"}},
		{503, "body_too_large", []string{"Message", strings.Repeat("x", 10_000)}}, {503, "malformed", []string{"Type", "x"}},
	} {
		header := g.notify(t, "Notification", "x", c.change...)
		if c.change[0] == "Type" {
			continue // the header differs then
		}
		header.refused(t, c.status, c.code)
		if (header.Header.Get("Retry-After") != "") != (c.status == 503) {
			t.Errorf("%s: Retry-After is %q", c.code, header.Header.Get("Retry-After"))
		}
	}
	g.do("POST", "/sns/s3", nil, strings.NewReader("no JSON")).refused(t, 503, "not_json")
	g.do("GET", "/sns/s3", nil, http.NoBody).refused(t, 405, "method_not_allowed") // a person, who looks whether it is there
	g.idle()
}

func TestSNS_ConfirmationThatCannotBeFetchedIsAskedForAgain(t *testing.T) {
	s := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		serveCertificate(w, r)
	})
	g := start(t, instead(s, snsHost))
	subscribe(g)
	g.notify(t, "SubscriptionConfirmation", "please").refused(t, 503, "unavailable")
}

func TestSNS_RawDeliveryAsksForThePassword(t *testing.T) {
	g := start(t)
	subscribe(g, func(d *deploy.Trigger) {
		d.RawDelivery, d.User, d.Secrets = true, "sns", []trigger.Secret{[]byte(secret)}
	})
	id := fresh()
	post := func(body string, change ...string) answer {
		h := http.Header{"Content-Type": {"text/plain; charset=UTF-8"}}
		for _, pair := range [][2]string{{"X-Amz-Sns-Message-Type", "Notification"}, {"X-Amz-Sns-Message-Id", id}, {"X-Amz-Sns-Topic-Arn", topic}, {"X-Amz-Sns-Rawdelivery", "true"}} {
			h.Set(pair[0], pair[1])
		}
		for i := 0; i < len(change); i += 2 {
			h.Set(change[i], change[i+1])
		}
		return g.do("POST", "/sns/s3", h, strings.NewReader(body))
	}
	r, err := http.NewRequestWithContext(t.Context(), "POST", "http://x", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("sns", secret)
	password := r.Header.Get("Authorization")
	a := post("hello")
	a.refused(t, 401, "unsigned")
	a.header(t, "Www-Authenticate", `Basic realm="funker"`)
	a = post("hello", "Authorization", "Basic eDp4")
	a.refused(t, 401, "forged")
	a.header(t, "Www-Authenticate", `Basic realm="funker"`)
	post("hello", "Authorization", password, "X-Amz-Sns-Topic-Arn", "another").refused(t, 403, "wrong_topic")
	post("", "Authorization", password).refused(t, 503, "empty_body")
	if a := post("hello", "Authorization", password); a.StatusCode != 200 {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
	e := g.event()
	if got, err := trigger.Payload(e.Form, e.ContentType, e.Body); err != nil || string(got) != `"hello"` {
		t.Errorf("the function got %s, %v", got, err)
	}
	for name, value := range e.Header {
		if strings.Contains(value, "Basic") {
			t.Errorf("the event has the header %s", name)
		}
	}
	g.idle()
}
