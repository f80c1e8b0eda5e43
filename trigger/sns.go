package trigger

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// AWS SNS over HTTPS, as "Fanout Amazon SNS notifications to HTTPS endpoints" and
// "Verifying the signatures of Amazon SNS messages" describe it:
//
//	POST, Content-Type text/plain; charset=UTF-8, whose body is JSON all the same
//	x-amz-sns-message-type: Notification | SubscriptionConfirmation | UnsubscribeConfirmation
//	{"Type": …, "MessageId": …, "TopicArn": …, "Subject": …, "Message": …, "Timestamp": …,
//	 "SignatureVersion": "1" | "2", "Signature": …, "SigningCertURL": …,
//	 "UnsubscribeURL": …, "MessageAttributes": {…}}
//	with "Token" and "SubscribeURL" in the two confirmations
//
// Headers are not signed: the body says what a message is. A subscription begins
// when somebody fetches SubscribeURL.
//
// With raw message delivery (x-amz-sns-rawdelivery: true) the body of a
// notification is the message itself and nothing is signed. SNS sends user and
// password of the endpoint's URL once it was answered 401 with a challenge;
// confirmations have their envelope as ever.
//
// SNS repeats a message that is answered with 5xx, up to an hour, and takes every
// 4xx for delivered.
const (
	snsTypeHeader  = "X-Amz-Sns-Message-Type"
	snsIDHeader    = "X-Amz-Sns-Message-Id"
	snsTopicHeader = "X-Amz-Sns-Topic-Arn"
	snsRawHeader   = "X-Amz-Sns-Rawdelivery"

	snsNotification = "Notification"
	snsSubscribe    = "SubscriptionConfirmation"
	snsUnsubscribe  = "UnsubscribeConfirmation"

	// snsMaxAge is the hour in which SNS repeats, and what clocks may differ.
	snsMaxAge = 65 * time.Minute
)

var snsHeaders = []string{snsTypeHeader, snsIDHeader, snsTopicHeader, "X-Amz-Sns-Subscription-Arn", snsRawHeader}

func snsSender() sender {
	return sender{kind: SNS, verifier: newSNS, sign: signSNS, sample: "sns"}
}

type sns struct {
	topics   []string
	insecure bool
	split    bool
	form     string
	basic    *auth // nil: no raw delivery
	amazon   *snsSignature
}

func newSNS(cfg Config, fetch Fetch) (Verifier, error) {
	return newSNSOfAge(snsMaxAge, cfg, fetch)
}

func newSNSOfAge(maxAge time.Duration, cfg Config, fetch Fetch) (Verifier, error) {
	v := &sns{topics: cfg.Topics, insecure: cfg.Insecure, split: cfg.Split}
	switch {
	case slices.Contains(v.topics, ""):
		return nil, errors.New("a topic is empty")
	case len(v.topics) == 0 && !cfg.Insecure:
		return nil, fmt.Errorf("%w: give it the ARN of a topic, or say insecure: true", ErrUnverified)
	case fetch == nil && !cfg.Insecure:
		return nil, fmt.Errorf("%w: there is no way to fetch Amazon's certificates", ErrUnverified)
	}
	var err error
	if v.form, err = snsFormOf(cfg.Payload); err != nil {
		return nil, err
	}
	if cfg.RawDelivery {
		if v.basic, err = newAuth(cfg, auth{scheme: AuthBasic}); err != nil {
			return nil, err
		}
	}
	v.amazon = newSNSSignature(maxAge, cfg, fetch)
	return v.verify, nil
}

func (v *sns) verify(ctx context.Context, r Request) (Event, error) {
	header, err := keep(r.Header, snsHeaders)
	if err != nil {
		return Event{}, err
	}
	if v.basic != nil {
		if err := v.basic.check(r.Header); err != nil {
			return Event{}, err
		}
	}
	var e Event
	if raw := header[snsRawHeader] == "true"; raw && v.basic != nil && header[snsTypeHeader] == snsNotification {
		e, err = v.delivered(header, r.Body)
	} else if raw {
		return Event{}, refuse(ReasonMalformed, "the subscription has raw message delivery: switch it off, or say raw-delivery: true")
	} else {
		e, err = v.signed(ctx, header, r)
	}
	e.Header = header
	return e, err
}

// signed is for a message in its envelope.
func (v *sns) signed(ctx context.Context, header map[string]string, r Request) (Event, error) {
	m, err := readSNS(r.Body)
	if err != nil {
		return Event{}, err
	}
	if kind := header[snsTypeHeader]; kind != "" && kind != m.kind {
		return Event{}, refuse(ReasonForged, "the header %s and the body's Type differ", snsTypeHeader)
	}
	// Before anything is fetched.
	if err := v.checkTopic(m.topic); err != nil {
		return Event{}, err
	}
	if !v.insecure {
		if err := v.amazon.check(ctx, m, r); err != nil {
			return Event{}, err
		}
	}
	return v.event(m, r.Body)
}

func (v *sns) checkTopic(topic string) error {
	if len(v.topics) > 0 && !slices.Contains(v.topics, topic) {
		return refuse(ReasonWrongTopic, "the message is of another topic: add its ARN to topics if that is wrong")
	}
	return nil
}

func (v *sns) event(m *snsMessage, body []byte) (Event, error) {
	switch m.kind {
	case snsNotification:
		return v.notification(m.message, m.id, v.form, body)
	case snsUnsubscribe:
		return Event{Name: m.kind, Identity: m.id, Answer: AnswerControl,
			Warning: "the subscription was cancelled: SNS sends nothing more of the topic " + m.topic}, nil
	default:
		return v.subscription(m)
	}
}

// subscription confirms what the operator wants: a topic of the list.
func (v *sns) subscription(m *snsMessage) (Event, error) {
	e := Event{Name: m.kind, Identity: m.id, Answer: AnswerControl}
	err := checkSubscribeURL(m)
	switch {
	case err == nil && len(v.topics) > 0:
		e.Confirm = m.subscribe
	case !v.insecure:
		return Event{}, err
	default:
		e.Warning = "a subscription is not confirmed, as nothing says that it is wanted: confirm it by hand, or name the topic in topics"
	}
	return e, nil
}

// delivered is for the message of raw delivery, whose sender basic has checked.
func (v *sns) delivered(header map[string]string, body []byte) (Event, error) {
	if err := v.checkTopic(header[snsTopicHeader]); err != nil {
		return Event{}, err
	}
	return v.notification(string(body), header[snsIDHeader], snsFormDelivered, body)
}

// notification is of a message, which stands in body as the form says.
func (v *sns) notification(message, id, form string, body []byte) (Event, error) {
	payload, err := snsPayload(form, body)
	if err == nil {
		err = CheckJSON(payload)
	}
	if err != nil {
		return Event{}, err
	}
	content := contentOf(message)
	e := Event{Name: content.name(), Identity: id, Answer: AnswerStored, Form: form}
	switch {
	case e.Name == s3TestEvent:
		e.Answer = AnswerControl
	case v.split && content.isS3():
		e.Records = s3Records(message, id)
	}
	return e, nil
}

func signSNS(cfg Config, body []byte, _ time.Time) (http.Header, error) {
	h := http.Header{}
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Set("User-Agent", "Amazon Simple Notification Service Agent")
	m, err := readSNS(body)
	if cfg.RawDelivery && err != nil {
		return h, signRawSNS(h, cfg)
	}
	if err != nil {
		return nil, err
	}
	h.Set(snsTypeHeader, m.kind)
	h.Set(snsIDHeader, m.id)
	h.Set(snsTopicHeader, m.topic)
	if cfg.RawDelivery {
		signBasic(h, cfg)
	}
	if cfg.Insecure {
		return h, nil
	}
	return h, signForTest(h, cfg, body)
}

func signRawSNS(h http.Header, cfg Config) error {
	h.Set(snsTypeHeader, snsNotification)
	h.Set(snsIDHeader, newGUID())
	h.Set(snsRawHeader, "true")
	if len(cfg.Topics) > 0 {
		h.Set(snsTopicHeader, cfg.Topics[0])
	}
	signBasic(h, cfg)
	return nil
}

func signBasic(h http.Header, cfg Config) {
	(&auth{scheme: AuthBasic, user: cfg.User, secrets: cfg.Secrets}).sign(h)
}
