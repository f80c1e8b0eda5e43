package trigger

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
)

// Forms of stored bodies, for Event.Form.
const (
	snsFormLambda    = "sns-lambda"
	snsFormMessage   = "sns-message"
	snsFormRaw       = "sns-raw"
	snsFormDelivered = "sns-delivered" // without an envelope
)

func snsFormOf(payload string) (string, error) {
	switch payload {
	case "", PayloadLambda:
		return snsFormLambda, nil
	case PayloadMessage:
		return snsFormMessage, nil
	case PayloadRaw:
		return snsFormRaw, nil
	default:
		return "", fmt.Errorf("unknown payload %q: use %s, %s or %s", payload, PayloadLambda, PayloadMessage, PayloadRaw)
	}
}

// snsPayload makes what a function gets.
func snsPayload(form string, body []byte) ([]byte, error) {
	switch form {
	case snsFormRaw:
		return body, nil
	case snsFormDelivered:
		return snsDelivered(body)
	}
	m, err := readSNS(body)
	if err != nil {
		return nil, err
	}
	if content := contentOf(m.message); form == snsFormLambda && !content.isS3() {
		return m.lambda()
	}
	if CheckJSON([]byte(m.message)) == nil {
		return []byte(m.message), nil
	}
	return m.messageJSON, nil
}

// snsDelivered makes JSON of a message: it is JSON already, or becomes a string.
func snsDelivered(body []byte) ([]byte, error) {
	err := CheckJSON(body)
	if err == nil {
		return body, nil
	}
	if len(body) == 0 || invalidUTF8(body) < len(body) {
		return nil, err
	}
	return json.Marshal(string(body))
}

// lambda is the event of SNS that a Lambda function gets, as the guide for Lambda
// shows it. It spells two names in its own way.
func (m *snsMessage) lambda() ([]byte, error) {
	type message struct {
		Type, MessageId, TopicArn string //nolint:revive // as Lambda spells it
		Subject, Message          json.RawMessage
		Timestamp                 string
		SignatureVersion          string
		Signature                 string
		SigningCertUrl            string //nolint:revive // the same
		UnsubscribeUrl            string //nolint:revive // the same
		MessageAttributes         json.RawMessage
	}
	type record struct {
		EventSource, EventVersion, EventSubscriptionArn string
		Sns                                             message
	}
	return json.Marshal(struct{ Records []record }{[]record{{
		EventSource: "aws:sns", EventVersion: "1.0", EventSubscriptionArn: m.subscription(),
		Sns: message{
			Type: m.kind, MessageId: m.id, TopicArn: m.topic,
			Subject: orJSON(m.subjectJSON, "null"), Message: m.messageJSON,
			Timestamp: m.time, SignatureVersion: m.version, Signature: m.signature,
			SigningCertUrl: m.certURL, UnsubscribeUrl: m.unsubscribe,
			MessageAttributes: orJSON(m.more, "{}"),
		},
	}}})
}

// subscription is in the body only as a part of the URL that ends it.
func (m *snsMessage) subscription() string {
	u, err := url.Parse(m.unsubscribe)
	if err != nil {
		return ""
	}
	return u.Query().Get("SubscriptionArn")
}

func orJSON(given []byte, otherwise string) []byte {
	if given == nil {
		return []byte(otherwise)
	}
	return given
}

const s3TestEvent = "s3:TestEvent" // S3 sends it when notifications are set up

// snsContent is as much of the JSON in a message as matters here.
type snsContent struct {
	service, event       string // of S3's test
	alarm, state         string // of CloudWatch
	recordSource, record string // of the first of the records: where it comes from, and its name
}

// contentOf is zero for a message of another shape. It keeps nothing of the records
// but the first: a message can have millions.
func contentOf(message string) (c snsContent) {
	err := checkDocument([]byte(message), func(s *scanner) error {
		return s.inside(func(name string) error { return s.snsMember(name, &c) })
	})
	if err != nil {
		return snsContent{}
	}
	return c
}

func (s *scanner) snsMember(name string, c *snsContent) error {
	switch name {
	case "Service":
		return s.into(&c.service)
	case "Event":
		return s.into(&c.event)
	case "AlarmName":
		return s.into(&c.alarm)
	case "NewStateValue":
		return s.into(&c.state)
	case "Records":
		return s.firstRecord(c)
	}
	return s.value()
}

// firstRecord takes any value, and looks at the first element of an array.
func (s *scanner) firstRecord(c *snsContent) error {
	if s.next() != '[' {
		return s.value()
	}
	seen := false
	return s.elements(func() error {
		if seen {
			return s.value()
		}
		seen = true
		return s.inside(func(name string) error {
			switch name {
			case "eventSource":
				return s.into(&c.recordSource)
			case "eventName":
				return s.into(&c.record)
			}
			return s.value()
		})
	})
}

func (c *snsContent) isS3() bool { return c.recordSource == "aws:s3" }

// name is what S3 calls its event, "Alarm:" and the new state of a CloudWatch
// alarm, else Notification.
func (c *snsContent) name() string {
	name := ""
	switch {
	case c.isS3():
		name = c.record
	case c.service == "Amazon S3" && c.event == s3TestEvent:
		name = c.event
	case c.alarm != "" && c.state != "":
		name = "Alarm:" + c.state
	}
	if name == "" || !isName(name) {
		return snsNotification
	}
	return name
}

// s3Records are the records of a notification of S3, each as a notification of its
// own. S3 sends one more than once now and then, in different messages.
func s3Records(message, id string) []Record {
	var all []s3Record
	err := checkDocument([]byte(message), func(s *scanner) error {
		return s.fields(func(name string) (err error) {
			if name != "Records" {
				return s.value()
			}
			all, err = s.s3Records()
			return err
		})
	})
	if err != nil {
		return nil
	}
	records := make([]Record, len(all))
	for i, r := range all {
		records[i] = Record{
			Name:     cmp.Or(r.name, snsNotification),
			Identity: cmp.Or(r.identity(), id+"/"+strconv.Itoa(i)),
			Body:     asRecord(r.body),
		}
	}
	return distinct(records)
}
