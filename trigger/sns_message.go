package trigger

import (
	"bytes"
	"strings"
)

// snsMessage is the envelope of a message.
type snsMessage struct {
	kind, id, topic, time          string
	message, subject               string
	version, signature, certURL    string
	token, subscribe, unsubscribe  string
	messageJSON, subjectJSON, more []byte // as they stand in the body; more: MessageAttributes
}

const (
	inSNSType = iota
	inSNSMessageID
	inSNSTopicARN
	inSNSSubject
	inSNSMessage
	inSNSTimestamp
	inSNSVersion
	inSNSSignature
	inSNSCertURL
	inSNSToken
	inSNSSubscribeURL
	inSNSUnsubscribeURL
	inSNSAttributes
	snsFields
)

// snsMembers are the members that are signed, or mean something here.
var snsMembers = []member{
	{"Type", inSNSType, nil}, {"MessageId", inSNSMessageID, nil}, {"TopicArn", inSNSTopicARN, nil},
	{"Subject", inSNSSubject, nil}, {"Message", inSNSMessage, nil}, {"Timestamp", inSNSTimestamp, nil},
	{"SignatureVersion", inSNSVersion, nil}, {"Signature", inSNSSignature, nil}, {"SigningCertURL", inSNSCertURL, nil},
	{"Token", inSNSToken, nil}, {"SubscribeURL", inSNSSubscribeURL, nil},
	{"UnsubscribeURL", inSNSUnsubscribeURL, nil}, {"MessageAttributes", inSNSAttributes, nil},
}

// readSNS takes an envelope apart. Like readShape it refuses what other parsers
// would read in another way.
func readSNS(body []byte) (*snsMessage, error) {
	values, err := readMembers(body, snsMembers)
	if err != nil {
		return nil, err
	}
	if string(values[inSNSSubject]) == "null" {
		values[inSNSSubject] = nil
	}
	var texts [snsFields]string
	for i, m := range snsMembers {
		if values[i] == nil || i == inSNSAttributes {
			continue
		}
		if values[i][0] != '"' {
			return nil, refuse(ReasonMalformed, "the member %q must be a string", m.name)
		}
		texts[i] = unquoteJSON(values[i])
		// What is signed has a line for each, so that only one of them may have more.
		if i != inSNSMessage && strings.ContainsAny(texts[i], "\r\n") {
			return nil, refuse(ReasonMalformed, "the member %q has line breaks", m.name)
		}
	}
	m := &snsMessage{
		kind: texts[inSNSType], id: texts[inSNSMessageID], topic: texts[inSNSTopicARN], time: texts[inSNSTimestamp],
		message: texts[inSNSMessage], subject: texts[inSNSSubject],
		version: texts[inSNSVersion], signature: texts[inSNSSignature], certURL: texts[inSNSCertURL],
		token: texts[inSNSToken], subscribe: texts[inSNSSubscribeURL], unsubscribe: texts[inSNSUnsubscribeURL],
		messageJSON: values[inSNSMessage], subjectJSON: values[inSNSSubject], more: values[inSNSAttributes],
	}
	return m, m.check()
}

func (m *snsMessage) check() error {
	switch {
	case m.kind != snsNotification && m.kind != snsSubscribe && m.kind != snsUnsubscribe:
		return refuse(ReasonMalformed, "the body is no message of SNS: its Type is none of %s, %s and %s", snsNotification, snsSubscribe, snsUnsubscribe)
	case m.id == "" || m.topic == "" || m.messageJSON == nil:
		return refuse(ReasonMalformed, "the body is no message of SNS: MessageId, TopicArn or Message is missing")
	case !isName(m.id) || !isName(m.topic):
		return refuse(ReasonMalformed, "MessageId or TopicArn is longer than %d bytes or has control characters", maxName)
	}
	return nil
}

// signedText is what the signature is over: names and values, a line each.
func (m *snsMessage) signedText() []byte {
	var b bytes.Buffer
	line := func(name, value string) { b.WriteString(name + "\n" + value + "\n") }
	line("Message", m.message)
	line("MessageId", m.id)
	if m.kind == snsNotification {
		if m.subjectJSON != nil {
			line("Subject", m.subject)
		}
		line("Timestamp", m.time)
	} else {
		line("SubscribeURL", m.subscribe)
		line("Timestamp", m.time)
		line("Token", m.token)
	}
	line("TopicArn", m.topic)
	line("Type", m.kind)
	return b.Bytes()
}
