package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

const snsTime = "2006-01-02T15:04:05.000Z" // its layout

const vectorTopic = "arn:aws:sns:us-west-2:123456789012:MyTopic"

// message is one of SNS.
func (b *builder) message(text string) map[string]string {
	return map[string]string{
		"Type": "Notification", "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn": vectorTopic, "Message": text, "SignatureVersion": "1",
		"SigningCertURL": "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem",
		"UnsubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=" + vectorTopic + ":c9135db0-26c4-47ec-8998-413945fb5a96",
	}
}

// sns begins the delivery of a message. It is signed now: SNS repeats for an hour, so what is older is refused.
func (b *builder) sns(m map[string]string, settings string) *delivery {
	b.t.Helper()
	m["Timestamp"] = b.now.UTC().Format(snsTime)
	b.amazon.signMessage(m)
	return b.snsAsItIs(m, settings).fetching(m["SigningCertURL"])
}

func (b *builder) snsAsItIs(m map[string]string, settings string) *delivery {
	b.t.Helper()
	d := b.on(fmt.Sprintf("sns: NAME, topics: [%q]%s", m["TopicArn"], settings), "").with("Content-Type", "text/plain; charset=UTF-8",
		"x-amz-sns-message-type", m["Type"], "x-amz-sns-message-id", m["MessageId"], "x-amz-sns-topic-arn", m["TopicArn"])
	d.body = b.written(m)
	return d
}

// lambdaOf is the event that SNS gives to a Lambda function.
func (b *builder) lambdaOf(m map[string]string) string {
	b.t.Helper()
	unsubscribe, err := url.Parse(m["UnsubscribeURL"])
	if err != nil {
		b.t.Fatal(err)
	}
	message := map[string]any{"Subject": nil, "MessageAttributes": map[string]any{}}
	for key, value := range m {
		message[strings.Replace(key, "URL", "Url", 1)] = value
	}
	return b.written(map[string]any{"Records": []any{map[string]any{
		"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": unsubscribe.Query().Get("SubscriptionArn"), "Sns": message,
	}}})
}

// snsDocumented: the signatures of these files are text, and their times are of 2012. So they are sent as they are, with
// a time of now, and with a signature as well.
func snsDocumented(b *builder, data string) {
	var m map[string]string
	b.read(data, &m)
	b.snsAsItIs(m, "").named("as it is").refused("stale")
	d := b.sns(maps.Clone(m), "").named("signed")
	fresh := map[string]string{}
	b.read(d.body, &fresh)
	fresh["Signature"] = m["Signature"]
	b.snsAsItIs(fresh, "").named("of now").refused("forged").fetching(snsFetched(m)...)
	d.heard(b.parsedMessage(d.body))
}

// snsFetched is the certificate, unless the signature is none at all.
func snsFetched(m map[string]string) []string {
	if _, err := base64.StdEncoding.DecodeString(m["Signature"]); err != nil {
		return nil
	}
	return []string{m["SigningCertURL"]}
}

var snsFaults = map[string]string{
	"Message changed": "forged", "SHA-1 signature declared as version 2": "forged", "unknown SignatureVersion": "malformed",
}

// snsVectorFile has messages that a key has signed, and URLs where such a key may be.
type snsVectorFile struct {
	Certificate string `json:"certificate_pem"`
	Cases       []snsVector
	URLs        []struct {
		URL string
		OK  bool
	} `json:"signing_cert_url_cases"`
}

type snsVector struct {
	Valid   bool
	Why     string
	Message map[string]string
	Text    string `json:"string_to_sign"`
}

// snsVectors: the messages are of 2012, and their certificate begins in 2020. So each is dated anew, and what its
// signature was of is signed again.
func snsVectors(b *builder, data string) {
	var file snsVectorFile
	b.read(data, &file)
	var texts []string
	for _, c := range file.Cases {
		texts = append(texts, c.Text)
	}
	for i, c := range file.Cases {
		m, now := c.Message, b.now.UTC().Format(snsTime)
		text, hash := proof(b.t, file.Certificate, texts, m["Signature"])
		m["Signature"] = b.amazon.sign(hash, strings.Replace(text, m["Timestamp"], now, 1))
		m["Timestamp"] = now
		b.snsVector(fmt.Sprint(i, " ", c.Why), c)
	}
	for i, c := range file.URLs {
		m := b.message("hello")
		m["SigningCertURL"] = c.URL
		if d := b.sns(m, "").named(fmt.Sprint("certificate ", i)); c.OK {
			d.heard(m)
		} else {
			d.refused("forged").fetching()
		}
	}
}

func (b *builder) snsVector(name string, c snsVector) {
	d := b.snsAsItIs(c.Message, "").named(strings.TrimSpace(name)).fetching(c.Message["SigningCertURL"])
	if c.Valid {
		d.heard(c.Message)
		return
	}
	code := snsFaults[c.Why]
	if d.refused(code); code == "malformed" {
		d.fetching()
	}
}

// heard is a genuine message of any type.
func (d *delivery) heard(m map[string]string) {
	switch m["Type"] {
	case "Notification":
		d.stored(d.b.lambdaOf(m)).otherwise()
	case "SubscriptionConfirmation":
		d.connected().fetching(m["SigningCertURL"], m["SubscribeURL"])
	default:
		d.connected()
	}
}

func s3Notification(b *builder, text string) {
	b.sns(b.message(text), "").stored(text)
	var file struct{ Records []json.RawMessage }
	b.read(text, &file)
	b.sns(b.message(text), ", split: true").named("split").stored(asRecords(file.Records)...)
}

// asRecords is each of them alone, as a Lambda function gets it.
func asRecords(records []json.RawMessage) (each []string) {
	for _, r := range records {
		each = append(each, `{"Records":[`+string(r)+`]}`)
	}
	return each
}

func s3Test(b *builder, text string) { b.sns(b.message(text), "").connected() }

// cloudWatchAlarm is of a file with what a Lambda function gets of an alarm: what is in it goes through SNS, and has to be
// the same again.
func cloudWatchAlarm(b *builder, data string) {
	var file struct {
		Records []struct {
			Sns struct{ Message, Subject, MessageID string }
		}
	}
	b.read(data, &file)
	given := file.Records[0].Sns
	send := func(settings string) (*delivery, map[string]string) {
		m := b.message(given.Message)
		m["Subject"], m["MessageId"] = given.Subject, given.MessageID
		return b.sns(m, settings), m
	}
	d, m := send("")
	d.stored(b.replaced(data, m)).otherwise()
	d, _ = send(", payload: message")
	d.named("message").stored(given.Message)
}

// replaced is the file with the names and times that are the test's own.
func (b *builder) replaced(data string, m map[string]string) string {
	var file struct{ Records []map[string]any }
	b.read(data, &file)
	unsubscribe, _, _ := strings.Cut(m["UnsubscribeURL"], "SubscriptionArn=")
	file.Records[0]["EventSubscriptionArn"] = strings.TrimPrefix(m["UnsubscribeURL"], unsubscribe+"SubscriptionArn=")
	sns, _ := file.Records[0]["Sns"].(map[string]any)
	for _, key := range []string{"TopicArn", "Timestamp", "Signature", "SigningCertURL", "UnsubscribeURL"} {
		sns[strings.Replace(key, "URL", "Url", 1)] = m[key]
	}
	return b.written(file)
}

func eventBridgeEvent(b *builder, body string) {
	b.on(eventBridgeEntry, payloadSecret).signed(body, "Range", "bytes=0-1048575").stored(body)
}

func eventBridgePipes(b *builder, body string) {
	b.on(eventBridgeEntry, payloadSecret).signed(body).stored(`{"Records":` + body + `}`)
	var records []json.RawMessage
	b.read(body, &records)
	b.on(eventBridgeEntry+", split: true", payloadSecret).named("split").signed(body).stored(asRecords(records)...)
	b.on(eventBridgeEntry, payloadSecret).named("one").signed(string(records[0])).stored(asRecords(records[:1])...)
}

// lambdaForwarder is of a file with what a Lambda function gets.
func lambdaForwarder(b *builder, body string) {
	b.on(eventBridgeEntry, payloadSecret).signed(body).stored(body)
	var file struct{ Records []json.RawMessage }
	b.read(body, &file)
	b.on(eventBridgeEntry+", split: true", payloadSecret).named("split").signed(body).stored(asRecords(file.Records)...)
}

// firehose sends a batch whole and split, as it is and compressed.
func (b *builder) firehose(body string, runs ...string) {
	b.on(firehoseEntry, payloadSecret).signed(body).stored(b.streamed(body)).otherwise()
	b.on(firehoseEntry+", payload: raw", payloadSecret).named("raw").signed(body).stored(body)
	b.on(firehoseEntry+", split: true", payloadSecret).named("split").signed(body).stored(runs...)
	d := b.on(firehoseEntry+", split: true", payloadSecret).named("gzip").signed(body, "Content-Encoding", "gzip").stored(runs...)
	d.body = zipped(b.t, body)
}

func firehoseBatch(runs ...string) func(*builder, string) {
	return func(b *builder, body string) { b.firehose(body, runs...) }
}

// firehoseRequest is as much of it as matters here.
type firehoseRequest struct {
	RequestID string `json:"requestId"`
	Timestamp int64  `json:"timestamp"`
	Records   []struct {
		Data []byte `json:"data"`
	} `json:"records"`
}

// streamed is what Firehose gives to a Lambda function.
func (b *builder) streamed(body string) string {
	var request firehoseRequest
	b.read(body, &request)
	var records []any
	for i, r := range request.Records {
		records = append(records, map[string]any{
			"recordId": fmt.Sprint(request.RequestID, "/", i), "approximateArrivalTimestamp": request.Timestamp, "data": base64.StdEncoding.EncodeToString(r.Data),
		})
	}
	return b.written(map[string]any{
		"invocationId": request.RequestID, "deliveryStreamArn": "arn:aws:firehose:us-east-1:123456789012:deliverystream/sample", "region": "us-east-1", "records": records,
	})
}

// firehoseLogs: the first of the records only tells that there is a destination.
func firehoseLogs(b *builder, body string) {
	var request firehoseRequest
	b.read(body, &request)
	b.firehose(body, fmt.Sprintf(`{"awslogs":{"data":%q}}`, base64.StdEncoding.EncodeToString(request.Records[1].Data)))
	request.Records = request.Records[:1]
	control := b.written(request)
	for _, settings := range []string{"", ", split: true"} {
		b.on(firehoseEntry+settings, payloadSecret).named("control" + settings).signed(control).connected()
	}
}

// firehoseChanges: the records are one change twice.
func firehoseChanges(b *builder, body string) {
	var request firehoseRequest
	b.read(body, &request)
	b.firehose(body, `{"Records":[`+string(request.Records[0].Data)+`]}`)
}

// cloudWatchLogs is of a file with what a Lambda function gets: its data come through Firehose.
func cloudWatchLogs(b *builder, data string) {
	var file struct{ AWSLogs struct{ Data []byte } }
	b.read(data, &file)
	body := b.written(map[string]any{"requestId": "logs", "timestamp": int64(1578090901599), "records": []any{map[string]any{"data": file.AWSLogs.Data}}})
	b.on(firehoseEntry+", split: true", payloadSecret).signed(body).stored(data).otherwise()
}

// documentedAnswer is an answer as the documentation has it.
type documentedAnswer struct {
	Status  int
	Headers map[string]string
	Body    map[string]any
}

func firehoseExchange(b *builder, data string) {
	var file struct {
		Headers          map[string]string `json:"request_headers"`
		Success, Failure documentedAnswer
	}
	b.read(data, &file)
	send := func(key string) *delivery {
		d := b.on(firehoseEntry, key)
		for name, value := range file.Headers {
			d.with(name, value)
		}
		d.body = fmt.Sprintf(`{"requestId":%q,"timestamp":1578090901599,"records":[{"data":"aGVsbG8="}]}`, file.Success.Body["requestId"])
		return d
	}
	d := send(file.Headers["X-Amz-Firehose-Access-Key"])
	d.stored(strings.Replace(b.streamed(d.body), "/sample", "/testStream", 1)).otherwise()
	file.Success.Body["timestamp"] = 0
	d.want.status, d.want.body = file.Success.Status, b.written(file.Success.Body)
	d.want.header["Content-Type"] = file.Success.Headers["Content-Type"]
	send("another key").named("failure").refused("forged").want.header["Content-Type"] = file.Failure.Headers["Content-Type"]
	if names := slices.Sorted(maps.Keys(file.Failure.Body)); !slices.Equal(names, []string{"errorMessage", "requestId", "timestamp"}) {
		b.t.Errorf("%s: a failure has the members %s, checkFirehose wants others", b.file, names)
	}
}

func minIOEvent(b *builder, body string) {
	var file struct{ Records []map[string]any }
	b.read(body, &file)
	for _, r := range file.Records {
		name, _ := r["eventName"].(string)
		r["eventName"], r["eventSource"], r["awsRegion"] = strings.TrimPrefix(name, "s3:"), "aws:s3", "us-east-1"
	}
	for _, kind := range []string{trigger.MinIO, trigger.RustFS} {
		b.on(kind+": NAME, secret-file: SECRET", payloadSecret).named(kind).signed(body).stored(body)
		b.on(kind+": NAME, secret-file: SECRET, payload: lambda", payloadSecret).named(kind + " lambda").signed(body).stored(b.written(file)).otherwise()
	}
}
