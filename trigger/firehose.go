package trigger

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Firehose's HTTP endpoint destination, as the Amazon Data Firehose developer
// guide describes it in "Appendix - HTTP endpoint delivery request and response
// specifications":
//
//	POST, Content-Type application/json, with gzip when Content-Encoding says so
//	X-Amz-Firehose-Protocol-Version: 1.0
//	X-Amz-Firehose-Request-Id: <GUID>   the same again when a request is repeated
//	X-Amz-Firehose-Source-Arn: <ARN of the stream>
//	X-Amz-Firehose-Access-Key: <key>    as it is configured; nothing is signed
//
//	{"requestId":"<the same>","timestamp":<ms>,"records":[{"data":"<base64>"}]}
//
// with 1 to 10,000 records, which can be empty; by its schema the timestamp may be
// missing. The answer has to be exactly 200 and
// {"requestId":"<the same>","timestamp":<ms>}. Whoever calls a Verifier has undone
// the compression. X-Amz-Firehose-Common-Attributes are the user's and may hold
// secrets: they are not kept.
const (
	firehoseVersion = "X-Amz-Firehose-Protocol-Version"
	firehoseRequest = "X-Amz-Firehose-Request-Id"
	firehoseSource  = "X-Amz-Firehose-Source-Arn"
	firehoseKey     = "X-Amz-Firehose-Access-Key"
)

// formFirehose is a request of Firehose, of the stream whose ARN follows.
const formFirehose = "firehose"

func firehoseSender() sender {
	return sender{kind: Firehose, verifier: newFirehose, sign: signFirehose, sample: "firehose"}
}

var firehoseAuth = auth{scheme: AuthAPIKey, header: firehoseKey}

func newFirehose(cfg Config, _ Fetch) (Verifier, error) {
	return newPlain(cfg, firehoseAuth, firehoseEvent)
}

// firehoseHeader returns the headers to keep.
func firehoseHeader(h http.Header) (map[string]string, error) {
	if h.Get(firehoseVersion) != "1.0" {
		return nil, refuse(ReasonMalformed, "the header %s is not 1.0, the only version that this gateway knows", firehoseVersion)
	}
	return keep(h, []string{firehoseRequest, firehoseSource})
}

func firehoseEvent(r Request, payload string, divided bool) (Event, error) {
	header, err := firehoseHeader(r.Header)
	if err != nil {
		return Event{}, err
	}
	b, err := readFirehose(r.Body)
	if err != nil {
		return Event{}, err
	}
	if header[firehoseRequest] != b.id {
		return Event{}, refuse(ReasonMalformed, "the header %s is not the requestId of the body", firehoseRequest)
	}
	e := Event{Identity: b.id, Answer: AnswerStored, Header: header, Reply: firehoseReply(b.id, r.Time)}
	var idle bool
	if divided {
		e.Records, err = b.split()
		idle = len(e.Records) == 0
	} else {
		idle, err = b.idle()
	}
	if !divided && payload != PayloadRaw {
		e.Form = strings.TrimSuffix(formFirehose+" "+header[firehoseSource], " ")
	}
	if idle {
		e.Answer = AnswerControl
	}
	return e, err
}

func firehoseReply(requestID string, now time.Time) []byte {
	id, _ := json.Marshal(requestID) // a string can always be written
	return append(strconv.AppendInt(append(append([]byte(`{"requestId":`), id...), `,"timestamp":`...), now.UnixMilli(), 10), '}')
}

// firehoseBatch is the body of a request.
type firehoseBatch struct {
	id        string
	timestamp int64    // milliseconds; -1: it has none
	data      [][]byte // of the records, in base64, not yet looked at
	given     bool     // there are records, even if none
}

// readFirehose leaves the records where they are in body.
func readFirehose(body []byte) (*firehoseBatch, error) {
	b := &firehoseBatch{timestamp: -1}
	err := readDocument(body, func(s *scanner) error {
		return s.fields(func(name string) error { return b.member(s, name) })
	})
	switch {
	case err != nil:
		return nil, err
	case b.id == "", !b.given:
		return nil, refuse(ReasonMalformed, "the body needs requestId and records")
	}
	return b, nil
}

func (b *firehoseBatch) member(s *scanner, name string) (err error) {
	switch name {
	case "requestId":
		if b.id != "" {
			return refuse(ReasonMalformed, "requestId is there twice")
		}
		b.id, err = s.string()
	case "timestamp":
		b.timestamp, err = s.milliseconds()
	case "records":
		if b.given {
			return refuse(ReasonMalformed, "records are there twice")
		}
		b.given = true
		err = s.elements(func() error { return b.record(s) })
	default:
		err = s.value()
	}
	return err
}

func (s *scanner) milliseconds() (int64, error) {
	raw, err := s.raw()
	if err != nil {
		return -1, err
	}
	ms, err := strconv.ParseInt(string(raw[:min(len(raw), 20)]), 10, 64)
	if err != nil || ms < 0 || len(raw) > 20 {
		return -1, refuse(ReasonMalformed, "timestamp is not a number of milliseconds")
	}
	return ms, nil
}

// record takes {"data":"<base64>"}.
func (b *firehoseBatch) record(s *scanner) error {
	if len(b.data) == maxRecords {
		return tooManyRecords()
	}
	var data []byte
	err := s.fields(func(name string) (err error) {
		if name != "data" || s.next() != '"' {
			return s.value()
		}
		if data, err = s.text(); bytes.IndexByte(data, '\\') >= 0 {
			data = bytes.Clone(s.unescape(data))
		}
		return err
	})
	if err == nil && data == nil {
		return refuse(ReasonMalformed, "record %d has no data", len(b.data))
	}
	b.data = append(b.data, data)
	return err
}

// decode returns the bytes of record i. It uses the memory of buffer where that is enough.
func (b *firehoseBatch) decode(i int, buffer []byte) ([]byte, error) {
	buffer, err := base64.StdEncoding.AppendDecode(buffer[:0], b.data[i])
	if err != nil || bytes.ContainsAny(b.data[i], "\r\n") {
		return nil, refuse(ReasonMalformed, "the data of record %d are not base64", i)
	}
	return buffer, nil
}

// idle says whether no record says anything: they are empty, or only tell that
// CloudWatch Logs has found its destination. It checks all of them.
func (b *firehoseBatch) idle() (bool, error) {
	var in inflater
	var buffer []byte
	idle := true
	for i := range b.data {
		data, err := b.decode(i, buffer)
		if err != nil {
			return false, err
		}
		buffer = data
		if !idle || len(data) == 0 {
			continue
		}
		message, err := in.messageOf(data)
		if err != nil {
			return false, err
		}
		idle = message == logsControl
	}
	return idle, nil
}

// split makes an event of each record that says something.
func (b *firehoseBatch) split() ([]Record, error) {
	var in inflater
	var records []Record
	for i := range b.data {
		data, err := b.decode(i, nil)
		if err != nil {
			return nil, err
		}
		r, err := in.record(data, b.data[i])
		if err != nil {
			return nil, err
		}
		r.Identity = cmp.Or(r.Identity, b.id+"/"+strconv.Itoa(i))
		if r.Body != nil {
			records = append(records, r)
		}
	}
	return distinct(records), nil
}

// firehosePayload is what a Lambda function gets of a stream of Firehose, as
// aws/aws-lambda-go has it in events/firehose.go. Firehose tells only when it sent
// the request, not when each record arrived.
func firehosePayload(arn string, body []byte) ([]byte, error) {
	b, err := readFirehose(body)
	if err != nil {
		return nil, err
	}
	head, err := json.Marshal(struct {
		InvocationID string `json:"invocationId"`
		Stream       string `json:"deliveryStreamArn"`
		Region       string `json:"region"`
	}{b.id, arn, regionOf(arn)})
	if err != nil {
		return nil, err
	}
	out := append(make([]byte, 0, len(body)+len(head)+len(b.data)*128), head[:len(head)-1]...)
	out = append(out, `,"records":[`...)
	for i, data := range b.data {
		if i > 0 {
			out = append(out, ',')
		}
		id, err := json.Marshal(b.id + "/" + strconv.Itoa(i))
		if err != nil {
			return nil, err
		}
		out = append(append(out, `{"recordId":`...), id...)
		if b.timestamp >= 0 {
			out = strconv.AppendInt(append(out, `,"approximateArrivalTimestamp":`...), b.timestamp, 10)
		}
		out = append(append(append(out, `,"data":"`...), data...), `"}`...)
	}
	return append(out, `]}`...), nil
}

// regionOf is in the fourth place of an ARN.
func regionOf(arn string) string {
	if parts := strings.Split(arn, ":"); len(parts) > 3 {
		return parts[3]
	}
	return ""
}

func signFirehose(cfg Config, body []byte, _ time.Time) (http.Header, error) {
	h, err := signPlain(cfg, firehoseAuth, "Amazon Kinesis Data Firehose Agent/1.0")
	if err != nil {
		return nil, err
	}
	h.Set(firehoseVersion, "1.0")
	h.Set(firehoseSource, "arn:aws:firehose:us-east-1:123456789012:deliverystream/sample")
	if b, err := readFirehose(body); err == nil {
		h.Set(firehoseRequest, b.id)
	}
	return h, nil
}
