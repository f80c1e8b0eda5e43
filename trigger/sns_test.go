package trigger_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

const (
	topic      = "arn:aws:sns:eu-central-1:123456789012:alarms"
	snsCertURL = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789ABCDEF.pem"
)

var snsConfig = trigger.Config{Kind: trigger.SNS, Topics: []string{"arn:aws:sns:eu-central-1:123456789012:first", topic}}

// snsSide is Amazon's side.
type snsSide struct {
	*shelf
	t testing.TB
}

func newSNSSide(t testing.TB) *snsSide {
	a := &snsSide{shelf: &shelf{files: map[string][]byte{}}, t: t}
	a.put(snsCertURL, newAuthority(t).chain(t, aKey(), nil))
	return a
}

func (a *snsSide) verifier(cfg trigger.Config) trigger.Verifier {
	a.t.Helper()
	return must(a.t)(trigger.New(cfg, a.fetch))
}

// message is a notification, with its members as they are to be sent.
func message(text string, change ...string) map[string]any {
	m := map[string]any{
		"Type": "Notification", "MessageId": "m1", "TopicArn": topic, "Message": text,
		"Timestamp": received.Format("2006-01-02T15:04:05.000Z"), "SignatureVersion": "2", "SigningCertURL": snsCertURL,
		"UnsubscribeURL": "https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=" + topic + ":s1",
	}
	for i := 0; i < len(change); i += 2 {
		m[change[i]] = change[i+1]
	}
	return m
}

// confirmation is a message about the subscription.
func confirmation(kind string) map[string]any {
	return message("You have chosen to subscribe …", "Type", kind, "Token", "t1",
		"SubscribeURL", "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn="+topic+"&Token=t1")
}

// sign signs as the guide of SNS has it: names and values of what is there, in the order of the names.
func (a *snsSide) sign(m map[string]any) map[string]any {
	names := []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	if m["Type"] != "Notification" {
		names = []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	}
	text := ""
	for _, name := range names {
		if value, ok := m[name]; ok {
			text += fmt.Sprintf("%s\n%s\n", name, value)
		}
	}
	hash := crypto.SHA256
	if m["SignatureVersion"] == "1" {
		hash = crypto.SHA1
	}
	m["Signature"] = signRSA(a.t, aKey(), hash, []byte(text))
	return m
}

func postedSNS(m map[string]any) trigger.Request {
	body, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	h := http.Header{}
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Set("x-amz-sns-message-type", fmt.Sprint(m["Type"]))
	h.Set("x-amz-sns-message-id", fmt.Sprint(m["MessageId"]))
	h.Set("x-amz-sns-topic-arn", fmt.Sprint(m["TopicArn"]))
	return trigger.Request{Header: h, Body: body, Time: received}
}

const (
	putRecord    = `{"eventVersion":"2.1","eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"a+b.jpg","size":1,"versionId":"v","sequencer":"0055"}}}`
	removeRecord = `{"eventVersion":"2.1","eventSource":"aws:s3","eventName":"ObjectRemoved:Delete","s3":{"bucket":{"name":"b"},"object":{"key":"c.jpg","sequencer":"0056"}}}`
	oldRecord    = `{"eventVersion":"2.0","eventSource":"aws:s3","eventName":"ReducedRedundancyLostObject","s3":{"bucket":{"name":"b"},"object":{"key":"c.jpg"}}}`
	s3Message    = `{"Records":[` + putRecord + `,` + removeRecord + `,` + oldRecord + `]}`
	s3Test       = `{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-11-02T08:30:00.000Z","Bucket":"b"}`
	alarm        = `{"AlarmName":"disk","NewStateValue":"ALARM","OldStateValue":"OK","Trigger":{"MetricName":"DiskUsed"}}`
)

func TestSNS_AcceptsBothVersionsWithAndWithoutSubject(t *testing.T) {
	a := newSNSSide(t)
	verify := a.verifier(snsConfig)
	rapid.Check(t, func(t *rapid.T) {
		m := message(rapid.String().Draw(t, "message"), "SignatureVersion", rapid.SampledFrom([]string{"1", "2"}).Draw(t, "version"))
		if rapid.Bool().Draw(t, "with subject") {
			m["Subject"] = rapid.StringMatching(`[ -~é"\\]{0,100}`).Draw(t, "subject")
		}
		e, err := verify(context.Background(), postedSNS(a.sign(m)))
		if err != nil || e.Identity != "m1" || e.Answer != trigger.AnswerStored || e.Confirm != "" {
			t.Fatalf("got %+v, %v", e, err)
		}
	})
	if n := a.count(); n != 1 {
		t.Errorf("%d fetches, want one", n)
	}
}

func TestSNS_NamesWhatHappened(t *testing.T) {
	a := newSNSSide(t)
	verify := a.verifier(snsConfig)
	for text, want := range map[string]string{
		s3Message: "ObjectCreated:Put", alarm: "Alarm:ALARM", strings.Replace(alarm, `"ALARM"`, `"OK"`, 1): "Alarm:OK", s3Test: "s3:TestEvent",
		"the disk is full": "Notification", `{"Records":[]}`: "Notification", `{"Records":{}}`: "Notification", `[1]`: "Notification", "": "Notification",
		`{"Records":[{"eventSource":"aws:s3"}]}`: "Notification", `{"AlarmName":"a"}`: "Notification", `{"AlarmName":"a","NewStateValue":"a\nb"}`: "Notification",
	} {
		e, err := verify(t.Context(), postedSNS(a.sign(message(text))))
		answer := trigger.AnswerStored
		if text == s3Test {
			answer = trigger.AnswerControl
		}
		if err != nil || e.Name != want || e.Answer != answer {
			t.Errorf("%s: got %+v, %v", text, e, err)
		}
	}
}

func TestSNS_KeepsItsHeaders(t *testing.T) {
	a := newSNSSide(t)
	r := postedSNS(a.sign(message("x")))
	r.Header.Set("x-amz-sns-subscription-arn", topic+":s1")
	r.Header.Set("Authorization", "Basic x")
	e, err := a.verifier(snsConfig)(t.Context(), r)
	want := map[string]string{"X-Amz-Sns-Message-Type": "Notification", "X-Amz-Sns-Message-Id": "m1", "X-Amz-Sns-Topic-Arn": topic, "X-Amz-Sns-Subscription-Arn": topic + ":s1"}
	if err != nil || !maps.Equal(e.Header, want) {
		t.Errorf("got %v, %v", e.Header, err)
	}
}

func TestSNS_ConfirmsASubscriptionToATopicOfTheList(t *testing.T) {
	a := newSNSSide(t)
	m := a.sign(confirmation("SubscriptionConfirmation"))
	e, err := a.verifier(snsConfig)(t.Context(), postedSNS(m))
	if err != nil || e.Confirm != m["SubscribeURL"] || e.Answer != trigger.AnswerControl || e.Warning != "" {
		t.Errorf("got %+v, %v", e, err)
	}
	e, err = a.verifier(snsConfig)(t.Context(), postedSNS(a.sign(confirmation("UnsubscribeConfirmation"))))
	if err != nil || e.Confirm != "" || e.Answer != trigger.AnswerControl || !strings.Contains(e.Warning, topic) {
		t.Errorf("got %+v, %v", e, err)
	}
	for _, url := range []string{
		"", "http://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + topic, "https://example.org/?Action=ConfirmSubscription&TopicArn=" + topic,
		"https://sns.eu-central-1.amazonaws.com:8443/?Action=ConfirmSubscription&TopicArn=" + topic, "https://sns.eu-central-1.amazonaws.com@example.org/?Action=ConfirmSubscription&TopicArn=" + topic,
		"https://sns.eu-central-1.amazonaws.com/?Action=DeleteTopic&TopicArn=" + topic, "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=another",
		"https://sns.eu-central-1.amazonaws.com/x?Action=ConfirmSubscription&TopicArn=" + topic, "https://sns.amazonaws.com.example.org/?Action=ConfirmSubscription&TopicArn=" + topic,
	} {
		m := confirmation("SubscriptionConfirmation")
		m["SubscribeURL"] = url
		e, err := a.verifier(snsConfig)(t.Context(), postedSNS(a.sign(m)))
		wantRefusal(t, err, trigger.ReasonForged)
		if e.Confirm != "" {
			t.Errorf("%s: it would be fetched", url)
		}
	}
}

func TestSNS_RefusesWhatAmazonHasNotSigned(t *testing.T) {
	a := newSNSSide(t)
	verify := a.verifier(snsConfig)
	set := func(key string, value any) func(map[string]any) { return func(m map[string]any) { m[key] = value } }
	without := func(key string) func(map[string]any) { return func(m map[string]any) { delete(m, key) } }
	for name, c := range map[string]struct {
		change func(map[string]any)
		want   trigger.Reason
	}{
		"another message":        {set("Message", "another"), trigger.ReasonForged},
		"another id":             {set("MessageId", "m2"), trigger.ReasonForged},
		"another topic of ours":  {set("TopicArn", snsConfig.Topics[0]), trigger.ReasonForged},
		"a topic of others":      {set("TopicArn", topic+"2"), trigger.ReasonWrongTopic},
		"a topic in capitals":    {set("TopicArn", strings.ToUpper(topic)), trigger.ReasonWrongTopic},
		"another subject":        {set("Subject", "another"), trigger.ReasonForged},
		"no subject":             {without("Subject"), trigger.ReasonForged},
		"another time":           {set("Timestamp", received.Add(time.Minute).Format(time.RFC3339)), trigger.ReasonForged},
		"another type":           {set("Type", "UnsubscribeConfirmation"), trigger.ReasonForged},
		"an unknown type":        {set("Type", "Alert"), trigger.ReasonMalformed},
		"a version that differs": {set("SignatureVersion", "1"), trigger.ReasonForged},
		"an unknown version":     {set("SignatureVersion", "3"), trigger.ReasonMalformed},
		"no version":             {without("SignatureVersion"), trigger.ReasonMalformed},
		"no signature":           {without("Signature"), trigger.ReasonUnsigned},
		"an empty signature":     {set("Signature", ""), trigger.ReasonUnsigned},
		"no base64":              {set("Signature", "EXAMPLE!"), trigger.ReasonForged},
		"a short signature":      {set("Signature", base64.StdEncoding.EncodeToString([]byte("x"))), trigger.ReasonForged},
		"no certificate":         {without("SigningCertURL"), trigger.ReasonForged},
		"a foreign certificate":  {set("SigningCertURL", "https://example.org/SimpleNotificationService-0123456789abcdef0123456789ABCDEF.pem"), trigger.ReasonForged},
		"one that is missing":    {set("SigningCertURL", strings.Replace(snsCertURL, "eu-central-1", "eu-west-1", 1)), trigger.ReasonUnfetched},
		"a number as the id":     {set("MessageId", 1), trigger.ReasonMalformed},
		"no message":             {without("Message"), trigger.ReasonMalformed},
		"no id":                  {without("MessageId"), trigger.ReasonMalformed},
		"a line break in the id": {set("MessageId", "m1\nx"), trigger.ReasonMalformed},
		"two lines of subject":   {set("Subject", "a\nTimestamp\nb"), trigger.ReasonMalformed},
		"a spelling of Lambda":   {set("SigningCertUrl", snsCertURL), trigger.ReasonMalformed},
		"no time":                {set("Timestamp", "now"), trigger.ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			m := a.sign(message("x", "Subject", "s"))
			r := postedSNS(m)
			c.change(m)
			r.Body = postedSNS(m).Body
			r.Header.Set("x-amz-sns-message-type", fmt.Sprint(m["Type"]))
			_, err := verify(t.Context(), r)
			wantRefusal(t, err, c.want)
		})
	}
	r := postedSNS(a.sign(message("x")))
	r.Header.Set("x-amz-sns-message-type", "SubscriptionConfirmation")
	_, err := verify(t.Context(), r)
	wantRefusal(t, err, trigger.ReasonForged)
	r = postedSNS(a.sign(message("x")))
	r.Body = append([]byte(`{"Message":"y",`), r.Body[1:]...)
	_, err = verify(t.Context(), r)
	wantRefusal(t, err, trigger.ReasonMalformed)
	for body, want := range map[string]trigger.Reason{"": trigger.ReasonEmpty, "no JSON": trigger.ReasonSyntax, "[]": trigger.ReasonMalformed, "{}": trigger.ReasonMalformed, "\xff": trigger.ReasonEncoding} {
		_, err := verify(t.Context(), trigger.Request{Body: []byte(body), Time: received})
		wantRefusal(t, err, want)
	}
}

func TestSNS_MovingTextFromOneFieldToAnotherIsNoticed(t *testing.T) {
	a := newSNSSide(t)
	m := a.sign(message("a\nMessageId\nm0\nTimestamp\n" + received.Format(time.RFC3339) + "\nTopicArn\n" + topic + "\nType\nNotification"))
	signature := m["Signature"]
	for _, moved := range []map[string]any{
		message("a", "MessageId", "m0", "Subject", "x"),
		message("a", "MessageId", "m0", "Type", "Notification\nMessageId\nm1"),
		message("a", "MessageId", "m0"),
	} {
		moved["Signature"] = signature
		if _, err := a.verifier(snsConfig)(t.Context(), postedSNS(moved)); err == nil {
			t.Errorf("accepted %v", moved)
		}
	}
}

func TestSNS_WantsSHA256WhereThatIsConfigured(t *testing.T) {
	a := newSNSSide(t)
	cfg := snsConfig
	cfg.RequireSHA256 = true
	verify := a.verifier(cfg)
	if _, err := verify(t.Context(), postedSNS(a.sign(message("x")))); err != nil {
		t.Error(err)
	}
	_, err := verify(t.Context(), postedSNS(a.sign(message("x", "SignatureVersion", "1"))))
	wantRefusal(t, err, trigger.ReasonMalformed)
}

func TestSNS_TakesMessagesOfTheLastHour(t *testing.T) {
	a := newSNSSide(t)
	verify := a.verifier(snsConfig)
	r := postedSNS(a.sign(message("x")))
	rapid.Check(t, func(t *rapid.T) {
		seconds := rapid.OneOf(rapid.IntRange(-5000, 5000), rapid.SampledFrom([]int{-3901, -3900, 3900, 3901})).Draw(t, "seconds")
		_, err := verify(context.Background(), takenAt(r, received.Add(time.Duration(seconds)*time.Second)))
		if (err == nil) != (seconds >= -3900 && seconds <= 3900) {
			t.Fatalf("%d seconds later: %v", seconds, err)
		}
	})
	old := received.AddDate(0, 2, 0)
	m := a.sign(message("x", "Timestamp", old.Format(time.RFC3339)))
	_, err := a.verifier(snsConfig)(t.Context(), takenAt(postedSNS(m), old))
	wantRefusal(t, err, trigger.ReasonUnfetched) // the certificate has ended
}

// To SNS a refusal means that the message was delivered.
func TestSNS_KeyThatThisProgramDoesNotKnowIsNoForgery(t *testing.T) {
	a := newSNSSide(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.put(snsCertURL, newAuthority(t).chain(t, key, nil))
	_, err = a.verifier(snsConfig)(t.Context(), postedSNS(a.sign(message("x"))))
	wantRefusal(t, err, trigger.ReasonUnfetched)
}

func TestSNSCertURL_IsAmazons(t *testing.T) {
	for url, want := range map[string]string{
		snsCertURL: snsCertURL, strings.Replace(snsCertURL, "sns.eu", "SNS.EU", 1): snsCertURL,
		strings.Replace(snsCertURL, ".com/", ".com.cn/", 1): strings.Replace(snsCertURL, ".com/", ".com.cn/", 1),
		strings.Replace(snsCertURL, "https", "http", 1):     "", snsCertURL + "?x": "", snsCertURL + "?": "", snsCertURL + "#x": "", snsCertURL + "/..": "",
		strings.Replace(snsCertURL, ".com/", ".com:443/", 1): "", strings.Replace(snsCertURL, "//", "//u@", 1): "",
		strings.Replace(snsCertURL, ".com/", ".com.example.org/", 1): "", strings.Replace(snsCertURL, ".com/", ".com/../", 1): "",
		strings.Replace(snsCertURL, "sns.", "sqs.", 1): "", strings.Replace(snsCertURL, "sns.eu", "sns.a.eu", 1): "",
		strings.Replace(snsCertURL, "Simple", "%53imple", 1): "", strings.Replace(snsCertURL, "eu-central-1.", "", 1): "", "": "", "%": "",
	} {
		got, err := trigger.SNSCertURL(url)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v; want %q", url, got, err, want)
		}
	}
}

// snsPayloadOf gives what a function gets of a signed message.
func snsPayloadOf(t testing.TB, cfg trigger.Config, r trigger.Request, verify trigger.Verifier) string {
	t.Helper()
	e, err := verify(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := trigger.Payload(e.Form, r.Header.Get("Content-Type"), r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := trigger.CheckJSON(got); err != nil {
		t.Fatalf("%s: %v", got, err)
	}
	return string(got)
}

func TestSNSPayload_IsWhatTheManifestSays(t *testing.T) {
	a := newSNSSide(t)
	of := func(payload, text string) string {
		cfg := snsConfig
		cfg.Payload = payload
		return snsPayloadOf(t, cfg, postedSNS(a.sign(message(text))), a.verifier(cfg))
	}
	deep := string(nested(501))
	for _, c := range []struct{ payload, text, want string }{
		{"", s3Message, s3Message}, {"lambda", s3Message, s3Message}, {"message", s3Message, s3Message},
		{"message", alarm, alarm}, {"message", "the disk \"is\" full", `"the disk \"is\" full"`}, {"message", "7", "7"}, {"message", "", `""`},
		{"message", deep, `"` + deep + `"`}, // deeper than functions can read

	} {
		if got := of(c.payload, c.text); got != c.want {
			t.Errorf("%s of %.40s: got %s", c.payload, c.text, got)
		}
	}
	r := postedSNS(a.sign(message("x")))
	raw := snsConfig
	raw.Payload = "raw"
	if got := snsPayloadOf(t, raw, r, a.verifier(raw)); got != string(r.Body) {
		t.Errorf("raw: got %s", got)
	}
	if _, err := trigger.New(trigger.Config{Kind: trigger.SNS, Topics: []string{topic}, Payload: "x"}, a.fetch); err == nil {
		t.Error("an unknown payload is taken")
	}
}

func TestSNSPayload_IsTheEventThatLambdaGets(t *testing.T) {
	a := newSNSSide(t)
	attributes := map[string]any{"level": map[string]any{"Type": "String", "Value": "<high>"}}
	m := message(alarm, "Subject", "ALARM: \"disk\"")
	m["MessageAttributes"] = attributes
	a.sign(m)
	var got map[string]any
	if err := json.Unmarshal([]byte(snsPayloadOf(t, snsConfig, postedSNS(m), a.verifier(snsConfig))), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"Records": []any{map[string]any{
		"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": topic + ":s1",
		"Sns": map[string]any{
			"Type": "Notification", "MessageId": "m1", "TopicArn": topic, "Subject": m["Subject"], "Message": alarm, "Timestamp": m["Timestamp"],
			"SignatureVersion": "2", "Signature": m["Signature"], "SigningCertUrl": snsCertURL, "UnsubscribeUrl": m["UnsubscribeURL"], "MessageAttributes": attributes,
		},
	}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	plain := snsPayloadOf(t, snsConfig, postedSNS(a.sign(message("x"))), a.verifier(snsConfig))
	if !strings.Contains(plain, `"Subject":null`) || !strings.Contains(plain, `"MessageAttributes":{}`) {
		t.Errorf("without subject and attributes: got %s", plain)
	}
}

func TestSNSPayload_ThatNoFunctionCanReadIsRefused(t *testing.T) {
	a := newSNSSide(t)
	r := postedSNS(a.sign(message("x")))
	r.Body = append([]byte(`{"MessageAttributes":`+string(nested(499))+`,`), r.Body[1:]...)
	_, err := a.verifier(snsConfig)(t.Context(), r)
	wantRefusal(t, err, trigger.ReasonDepth)
}

func TestSNS_SplitsNotificationsOfS3(t *testing.T) {
	a := newSNSSide(t)
	cfg := snsConfig
	cfg.Split = true
	verify := a.verifier(cfg)
	first, err := verify(t.Context(), postedSNS(a.sign(message(s3Message))))
	if err != nil || len(first.Records) != 3 {
		t.Fatalf("got %+v, %v", first, err)
	}
	for i, want := range []struct{ name, record string }{{"ObjectCreated:Put", putRecord}, {"ObjectRemoved:Delete", removeRecord}, {"ReducedRedundancyLostObject", oldRecord}} {
		if r := first.Records[i]; r.Name != want.name || string(r.Body) != `{"Records":[`+want.record+`]}` {
			t.Errorf("record %d: got %s %s", i, r.Name, r.Body)
		}
	}
	again, err := verify(t.Context(), postedSNS(a.sign(message(`{"Records":[`+removeRecord+`,`+putRecord+`,`+oldRecord+`]}`, "MessageId", "m2"))))
	if err != nil {
		t.Fatal(err)
	}
	id := func(e trigger.Event, i int) string { return e.Records[i].Identity }
	if id(first, 0) != id(again, 1) || id(first, 1) != id(again, 0) || id(first, 0) == id(first, 1) || id(first, 2) != "m1/2" || id(again, 2) != "m2/2" {
		t.Errorf("identities: %v and %v", first.Records, again.Records)
	}
	for _, text := range []string{alarm, "x", `{"Records":[{"eventSource":"aws:ses"}]}`} {
		if e, err := verify(t.Context(), postedSNS(a.sign(message(text)))); err != nil || e.Records != nil {
			t.Errorf("%s: got %+v, %v", text, e, err)
		}
	}
}

func TestSNS_RawDeliveryIsForWhoKnowsThePassword(t *testing.T) {
	a := newSNSSide(t)
	cfg := snsConfig
	cfg.RawDelivery, cfg.User, cfg.Secrets = true, "sns", []trigger.Secret{[]byte(secret)}
	verify := a.verifier(cfg)
	raw := func(body, user, password string) trigger.Request {
		h := http.Header{}
		h.Set("x-amz-sns-message-type", "Notification")
		h.Set("x-amz-sns-message-id", "m1")
		h.Set("x-amz-sns-topic-arn", topic)
		h.Set("x-amz-sns-rawdelivery", "true")
		h.Set("Content-Type", "text/plain; charset=UTF-8")
		if user != "" {
			h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
		}
		return trigger.Request{Header: h, Body: []byte(body), Time: received}
	}
	for text, want := range map[string]string{s3Message: s3Message, alarm: alarm, "plain <text>": `"plain \u003ctext\u003e"`, "7": "7"} {
		if got := snsPayloadOf(t, cfg, raw(text, "sns", secret), verify); got != want {
			t.Errorf("%s: got %s", text, got)
		}
	}
	e, err := verify(t.Context(), raw(s3Message, "sns", secret))
	if err != nil || e.Name != "ObjectCreated:Put" || e.Identity != "m1" {
		t.Errorf("got %+v, %v", e, err)
	}
	if e, err := verify(t.Context(), raw(s3Test, "sns", secret)); err != nil || e.Answer != trigger.AnswerControl {
		t.Errorf("got %+v, %v", e, err)
	}
	for _, c := range []struct {
		r    trigger.Request
		want trigger.Reason
	}{
		{raw(alarm, "", ""), trigger.ReasonUnsigned}, {raw(alarm, "sns", "x"), trigger.ReasonForged}, {raw(alarm, "x", secret), trigger.ReasonForged},
		{raw("", "sns", secret), trigger.ReasonEmpty}, {raw("\xff", "sns", secret), trigger.ReasonEncoding},
	} {
		_, err := verify(t.Context(), c.r)
		wantRefusal(t, err, c.want)
	}
	foreign := raw(alarm, "sns", secret)
	foreign.Header.Set("x-amz-sns-topic-arn", "another")
	_, err = verify(t.Context(), foreign)
	wantRefusal(t, err, trigger.ReasonWrongTopic)

	// What is in its envelope needs both, and without raw-delivery nothing raw is taken.
	signed := postedSNS(a.sign(confirmation("SubscriptionConfirmation")))
	_, err = verify(t.Context(), signed)
	wantRefusal(t, err, trigger.ReasonUnsigned)
	signed.Header.Set("Authorization", raw("", "sns", secret).Header.Get("Authorization"))
	if e, err := verify(t.Context(), signed); err != nil || e.Confirm == "" {
		t.Errorf("got %+v, %v", e, err)
	}
	_, err = a.verifier(snsConfig)(t.Context(), raw(alarm, "sns", secret))
	wantRefusal(t, err, trigger.ReasonMalformed)

	sample := trigger.SampleFor(cfg, received)
	if e, err := verify(t.Context(), trigger.Request{Header: sign(t, cfg, sample), Body: sample, Time: received}); err != nil || e.Name != "ObjectCreated:Put" {
		t.Errorf("the sample: got %+v, %v", e, err)
	}
	cfg.Secrets = nil
	if _, err := trigger.New(cfg, a.fetch); err == nil {
		t.Error("raw delivery without a secret is taken")
	}
}

func TestSNS_InsecureConfirmsOnlyWhatIsWanted(t *testing.T) {
	body := postedSNS(confirmation("SubscriptionConfirmation"))
	local := confirmation("SubscriptionConfirmation")
	local["SubscribeURL"] = "http://localhost:4566/?Action=ConfirmSubscription&TopicArn=" + topic
	listed := newVerifier(t, trigger.Config{Kind: trigger.SNS, Insecure: true, Topics: []string{topic}})
	for _, c := range []struct {
		verify  trigger.Verifier
		r       trigger.Request
		confirm bool
	}{
		{newVerifier(t, trigger.Config{Kind: trigger.SNS, Insecure: true}), body, false}, {listed, body, true}, {listed, postedSNS(local), false},
	} {
		e, err := c.verify(t.Context(), c.r)
		if err != nil || (e.Confirm != "") != c.confirm || (e.Warning == "") != c.confirm {
			t.Errorf("got %+v, %v", e, err)
		}
	}
	if e, err := listed(t.Context(), postedSNS(message("x"))); err != nil || e.Name != "Notification" {
		t.Errorf("got %+v, %v", e, err)
	}
}

func TestSNS_NewFailsClosed(t *testing.T) {
	for name, cfg := range map[string]trigger.Config{
		"nothing": {Kind: trigger.SNS}, "an empty topic": {Kind: trigger.SNS, Topics: []string{topic, ""}},
		"raw without user": {Kind: trigger.SNS, Topics: []string{topic}, RawDelivery: true, Secrets: []trigger.Secret{[]byte("x")}},
	} {
		if verify, err := trigger.New(cfg, noFetch); err == nil || verify != nil {
			t.Errorf("%s: got no error", name)
		}
	}
	if _, err := trigger.New(snsConfig, nil); err == nil {
		t.Error("without a way to fetch: got no error")
	}
}

func TestSNS_AgreesWithTheVectors(t *testing.T) {
	for _, data := range extraFiles(t, "FUNKER_TEST_PAYLOADS", "sns/signature-vectors.json") {
		var file struct {
			Certificate string `json:"certificate_pem"`
			Cases       []struct {
				Valid   bool
				Why     string
				Message map[string]any
			}
			URLs []struct {
				URL string
				OK  bool
			} `json:"signing_cert_url_cases"`
		}
		if err := json.Unmarshal(data, &file); err != nil || len(file.Cases) == 0 || len(file.URLs) == 0 {
			t.Fatal(err)
		}
		fetch := func(context.Context, string) ([]byte, error) { return []byte(file.Certificate), nil }
		for _, c := range file.Cases {
			cfg := trigger.Config{Kind: trigger.SNS, Topics: []string{fmt.Sprint(c.Message["TopicArn"])}}
			verify := must(t)(trigger.NewSNSOfAge(100*365*24*time.Hour, cfg, fetch))
			if _, err := verify(t.Context(), postedSNS(c.Message)); (err == nil) != c.Valid {
				t.Errorf("%v %s: %v", c.Message["Type"], c.Why, err)
			}
		}
		for _, c := range file.URLs {
			if _, err := trigger.SNSCertURL(c.URL); (err == nil) != c.OK {
				t.Errorf("%s: %v", c.URL, err)
			}
		}
	}
}

func TestSNS_TakesWhatServicesOfAmazonSend(t *testing.T) {
	a := newSNSSide(t)
	verify := a.verifier(snsConfig)
	for name, text := range extraFiles(t, "FUNKER_TEST_PAYLOADS", "s3/*.json") {
		e, err := verify(t.Context(), postedSNS(a.sign(message(string(text)))))
		if want := map[string]string{"s3-test-event.json": "s3:TestEvent"}[name]; err != nil || want != "" && e.Name != want || e.Name == "Notification" {
			t.Errorf("%s: got %+v, %v", name, e, err)
		}
	}
	for name, text := range extraFiles(t, "FUNKER_TEST_PAYLOADS", "cloudwatch/*-sns-payload-*.json") {
		var lambda struct {
			Records []struct{ Sns struct{ Message string } }
		}
		if err := json.Unmarshal(text, &lambda); err != nil {
			t.Fatal(err)
		}
		if e, err := verify(t.Context(), postedSNS(a.sign(message(lambda.Records[0].Sns.Message)))); err != nil || e.Name != "Alarm:ALARM" {
			t.Errorf("%s: got %+v, %v", name, e, err)
		}
	}
	insecure := newVerifier(t, trigger.Config{Kind: trigger.SNS, Insecure: true})
	for name, body := range extraFiles(t, "FUNKER_TEST_PAYLOADS", "sns/doc-*.json") {
		if _, err := insecure(t.Context(), trigger.Request{Body: body, Time: received}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzSNS(f *testing.F) {
	a := newSNSSide(f)
	good := postedSNS(a.sign(message(alarm, "Subject", "s")))
	confirm := postedSNS(a.sign(confirmation("SubscriptionConfirmation")))
	f.Add(good.Body)
	f.Add(confirm.Body)
	f.Add(postedSNS(message(s3Message)).Body)
	f.Add([]byte(`{"Type":"Notification","Subject":null}`))
	verify, open := a.verifier(snsConfig), newVerifier(f, trigger.Config{Kind: trigger.SNS, Insecure: true, Split: true})
	f.Fuzz(func(t *testing.T, body []byte) {
		r := trigger.Request{Header: http.Header{}, Body: body, Time: received}
		if e, err := verify(t.Context(), r); err != nil {
			reasonOf(t, err)
		} else if e.Identity != "m1" {
			t.Fatalf("accepted %q, which nobody signed", body)
		}
		e, err := open(t.Context(), r)
		if err != nil {
			reasonOf(t, err)
			return
		}
		payload, err := trigger.Payload(e.Form, "text/plain", body)
		if e.Answer == trigger.AnswerStored && (err != nil || trigger.CheckJSON(payload) != nil) {
			t.Fatalf("accepted, but its payload is %q, %v", payload, err)
		}
		for _, record := range e.Records {
			if err := trigger.CheckJSON(record.Body); err != nil || record.Name == "" {
				t.Fatalf("record %q: %v", record.Body, err)
			}
		}
		if slices.ContainsFunc(a.asked, func(url string) bool { return !strings.HasPrefix(url, "https://sns.") }) {
			t.Fatalf("fetched %v", a.asked)
		}
	})
}
