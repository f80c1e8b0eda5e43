package trigger

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"slices"
	"unicode/utf8"
)

// Messages of CloudWatch Logs, as its user guide has them in "Real-time processing
// of log data with subscriptions": a record is
//
//	{"messageType":"DATA_MESSAGE","owner","logGroup","logStream","subscriptionFilters":[],"logEvents":[]}
//
// with gzip, unless Firehose undoes that. Those that are CONTROL_MESSAGE only try
// out the destination. A Lambda function gets {"awslogs":{"data":"<base64 gzip>"}}.
const (
	logsData    = "DATA_MESSAGE"
	logsControl = "CONTROL_MESSAGE"
)

// maxInflated is how many bytes the records of one request may have without gzip,
// as far as they are looked at, which is until they say what they are:
// CloudWatch Logs says it first.
const maxInflated = 64 << 20

var gzipMagic = []byte{0x1f, 0x8b}

// inflater looks into the records of one request.
type inflater struct {
	zip  gzip.Reader
	used int64
}

// messageOf is the type of a message of CloudWatch Logs, "" of everything else.
func (in *inflater) messageOf(data []byte) (string, error) {
	switch {
	case bytes.HasPrefix(data, gzipMagic):
		return in.inflated(data)
	case firstByte(data) == '{':
		return messageType(bytes.NewReader(data)), nil
	default:
		return "", nil
	}
}

func (in *inflater) inflated(data []byte) (string, error) {
	if in.zip.Reset(bytes.NewReader(data)) != nil {
		return "", nil
	}
	left := io.LimitedReader{R: &in.zip, N: maxInflated - in.used}
	message := messageType(bufio.NewReader(&left))
	in.used = maxInflated - left.N
	if left.N == 0 {
		return "", refuse(ReasonInflated, "the records have more than %d bytes without gzip, and do not say that they are messages of CloudWatch Logs", maxInflated)
	}
	return message, nil
}

// messageType reads as little as possible, and keeps none of it: what inflates
// may be made to cost as much as it can. So it looks for the member and for
// nothing else; whether the rest is JSON is not its business.
func messageType(r io.ByteReader) string {
	depth, key, isKey := 0, "", false
	for {
		c, err := r.ReadByte()
		if err != nil {
			return ""
		}
		switch c {
		case '"':
			text, err := shortText(r)
			switch {
			case err != nil || depth == 0:
				return ""
			case depth > 1:
			case isKey:
				key, isKey = text, false
			case key == "messageType":
				return messageName(text)
			}
		case '{', '[':
			if depth == 0 && c == '[' {
				return ""
			}
			depth++
			isKey = depth == 1
		case '}', ']':
			if depth--; depth <= 0 {
				return ""
			}
		case ',':
			isKey = depth == 1
		case ' ', '\t', '\r', '\n':
		default:
			if depth == 0 {
				return ""
			}
		}
	}
}

func messageName(text string) string {
	if text == logsData || text == logsControl {
		return text
	}
	return ""
}

// shortText takes a string behind its first quote: as it stands there, or "" when
// it is longer than any that matters.
func shortText(r io.ByteReader) (string, error) {
	var text [len(logsControl)]byte
	for n, escaped := 0, false; ; {
		c, err := r.ReadByte()
		switch {
		case err != nil:
			return "", err
		case c == '"' && !escaped && n > len(text):
			return "", nil
		case c == '"' && !escaped:
			return string(text[:n]), nil
		case n < len(text):
			text[n] = c
		}
		n = min(n+1, len(text)+1)
		escaped = c == '\\' && !escaped
	}
}

// record is what a function gets of the bytes of a record, which are encoded in
// base64 too. It has no body when there is nothing to say, and no identity where
// the bytes have none.
func (in *inflater) record(data, encoded []byte) (Record, error) {
	message, err := in.messageOf(data)
	switch {
	case err != nil:
		return Record{}, err
	case len(data) == 0, message == logsControl:
		return Record{}, nil
	case message != "" && bytes.HasPrefix(data, gzipMagic):
		return Record{Name: message, Body: slices.Concat([]byte(`{"awslogs":{"data":"`), encoded, []byte(`"}}`))}, nil
	case !utf8.Valid(data):
		return Record{Body: slices.Concat([]byte(`{"data":"`), encoded, []byte(`"}`))}, nil
	case checkDepth(data, lambdaRecords) != nil:
		return textRecord(data)
	}
	return jsonRecord(data, message)
}

func textRecord(text []byte) (Record, error) {
	body, err := json.Marshal(string(text))
	return Record{Body: body}, err
}

// jsonRecord is a record that is JSON: itself, or what a Lambda function gets when
// it comes from DynamoDB.
func jsonRecord(data []byte, message string) (Record, error) {
	var o awsObject
	err := checkDocument(data, func(s *scanner) (err error) {
		o, err = s.awsValue()
		return err
	})
	switch {
	case err != nil: // more members than anybody looks at
		return Record{Body: data}, nil
	case o.isDynamoDB():
		return Record{Name: o.eventName, Identity: o.eventID, Body: asRecord(data)}, nil
	case message != "":
		return Record{Name: message, Body: data}, nil
	}
	return Record{Name: o.name(), Body: data}, nil
}
