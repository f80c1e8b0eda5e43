package trigger_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

var firehoseConfig = trigger.Config{Kind: trigger.Firehose, Secrets: []trigger.Secret{[]byte(secret)}}

const (
	control = `{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logEvents":[{"id":"","message":"CWL CONTROL MESSAGE"}]}`
	logs    = `{"logEvents":[{"id":"1","timestamp":1,"message":"the lamp is lit"}],"messageType":"DATA_MESSAGE","logGroup":"lighthouse"}`
)

func zipped(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func encoded(data string) string { return base64.StdEncoding.EncodeToString([]byte(data)) }

// batch is a request of Firehose.
func batch(records ...string) string {
	var all []string
	for _, r := range records {
		all = append(all, fmt.Sprintf(`{"data":%q}`, encoded(r)))
	}
	return `{"requestId":"r1","timestamp":1793608200000,"records":[` + strings.Join(all, ",") + `]}`
}

func TestFirehose_ALambdaFunctionWouldGetTheSame(t *testing.T) {
	body := batch("hello", "")
	e := verified(t, firehoseConfig, body)
	const want = `{"invocationId":"r1","deliveryStreamArn":"arn:aws:firehose:us-east-1:123456789012:deliverystream/sample","region":"us-east-1",` +
		`"records":[{"recordId":"r1/0","approximateArrivalTimestamp":1793608200000,"data":"aGVsbG8="},` +
		`{"recordId":"r1/1","approximateArrivalTimestamp":1793608200000,"data":""}]}`
	if got := payloadOf(t, e, body); got != want {
		t.Errorf("got %s", got)
	}
	if e.Identity != "r1" || e.Answer != trigger.AnswerStored || e.Header["X-Amz-Firehose-Request-Id"] != "r1" || len(e.Header) != 2 {
		t.Errorf("got %+v", e)
	}
	if want := fmt.Sprintf(`{"requestId":"r1","timestamp":%d}`, received.UnixMilli()); string(e.Reply) != want {
		t.Errorf("got the reply %s, want %s", e.Reply, want)
	}
	raw := firehoseConfig
	raw.Payload = trigger.PayloadRaw
	if got := payloadOf(t, verified(t, raw, body), body); got != body {
		t.Errorf("raw: got %s", got)
	}
	r := sent(t, firehoseConfig, body)
	r.Header.Del("X-Amz-Firehose-Source-Arn")
	e, err := newVerifier(t, firehoseConfig)(t.Context(), r)
	if err != nil || !strings.Contains(payloadOf(t, e, body), `"deliveryStreamArn":"","region":""`) {
		t.Errorf("without a stream: got %+v, %v", e, err)
	}
}

func TestFirehose_TheTimestampMayBeMissing(t *testing.T) {
	body := `{"requestId":"r1","records":[{"data":"aGVsbG8="}]}`
	if got := payloadOf(t, verified(t, firehoseConfig, body), body); !strings.HasSuffix(got, `"records":[{"recordId":"r1/0","data":"aGVsbG8="}]}`) {
		t.Errorf("got %s", got)
	}
}

func TestFirehose_RefusesWhatIsNoRequestOfItsProtocol(t *testing.T) {
	verify := newVerifier(t, firehoseConfig)
	for _, body := range []string{
		`[]`, `{}`, `"x"`, `{"requestId":"r1","timestamp":1}`, `{"timestamp":1,"records":[]}`,
		`{"requestId":"r1","timestamp":"1","records":[]}`, `{"requestId":"r1","timestamp":1.5,"records":[]}`, `{"requestId":"r1","timestamp":-1,"records":[]}`,
		`{"requestId":7,"timestamp":1,"records":[]}`, `{"requestId":"r1","requestId":"r1","timestamp":1,"records":[]}`,
		`{"requestId":"r1","timestamp":1,"records":[],"records":[]}`, `{"requestId":"r1","timestamp":1,"records":[7]}`,
		`{"requestId":"r1","timestamp":1,"records":[{}]}`, `{"requestId":"r1","timestamp":1,"records":[{"data":{}}]}`,
		`{"requestId":"r1","timestamp":1,"records":[{"data":"a"}]}`, `{"requestId":"r1","timestamp":1,"records":[{"data":"####"}]}`,
		`{"requestId":"r1","timestamp":1,"records":[{"data":"aGVs\nbG8="}]}`,
		`{"requestId":"r1","timestamp":1,"records":[` + strings.Repeat(`{"data":""},`, 10_000) + `{"data":""}]}`,
	} {
		for _, split := range []bool{false, true} {
			cfg := firehoseConfig
			cfg.Split = split
			r := sent(t, cfg, body)
			r.Header.Set("X-Amz-Firehose-Request-Id", "r1")
			_, err := newVerifier(t, cfg)(t.Context(), r)
			if got := reasonOf(t, err); got != trigger.ReasonMalformed && got != trigger.ReasonSyntax {
				t.Errorf("%.80s: got %q", body, got)
			}
		}
	}
	for header, values := range map[string][]string{
		"X-Amz-Firehose-Protocol-Version": {"", "2.0", "1"},
		"X-Amz-Firehose-Request-Id":       {"", "r2", strings.Repeat("x", 600)},
		"X-Amz-Firehose-Source-Arn":       {strings.Repeat("x", 600)},
	} {
		for _, value := range values {
			r := sent(t, firehoseConfig, batch("hello"))
			r.Header.Set(header, value)
			_, err := verify(t.Context(), r)
			wantRefusal(t, err, trigger.ReasonMalformed)
		}
	}
}

func TestFirehose_SplitMakesAnEventOfEachRecord(t *testing.T) {
	cfg := firehoseConfig
	cfg.Split = true
	lit, insert := string(zipped(logs)), change("e1", "INSERT")
	body := batch("hello\n", "", string(zipped(control)), control, lit, logs, insert+"\n", insert, `{"eventName":"PutObject"} `, "\xff\x00", string(zipped("no message")), "\x1f\x8b", "<&>", `"a"`, "1 2",
		`{"a":`+strings.Repeat("[", 600)+strings.Repeat("]", 600)+"}")
	got := verified(t, cfg, body).Records
	want := []trigger.Record{
		{Identity: "r1/0", Body: []byte(`"hello\n"`)},
		{Identity: "r1/4", Name: "DATA_MESSAGE", Body: []byte(`{"awslogs":{"data":"` + encoded(lit) + `"}}`)},
		{Identity: "r1/5", Name: "DATA_MESSAGE", Body: []byte(logs)},
		{Identity: "e1", Name: "INSERT", Body: []byte(`{"Records":[` + insert + "\n]}")},
		{Identity: "r1/8", Name: "PutObject", Body: []byte(`{"eventName":"PutObject"} `)},
		{Identity: "r1/9", Body: []byte(`{"data":"/wA="}`)},
		{Identity: "r1/10", Body: []byte(`{"data":"` + encoded(string(zipped("no message"))) + `"}`)},
		{Identity: "r1/11", Body: []byte(`{"data":"H4s="}`)},
		{Identity: "r1/12", Body: []byte(`"\u003c\u0026\u003e"`)},
		{Identity: "r1/13", Body: []byte(`"a"`)},
		{Identity: "r1/14", Body: []byte(`"1 2"`)},
	}
	if len(got) != len(want)+1 || got[len(want)].Body[0] != '"' { // what is nested too deep is a text
		t.Fatalf("got %d records: %q", len(got), written(got))
	}
	for i := range want {
		if fmt.Sprint(got[i]) != fmt.Sprint(want[i]) {
			t.Errorf("record %d: got %q, want %q", i, written(got[i:i+1]), written(want[i:i+1]))
		}
	}
}

func TestFirehose_WhatSaysNothingIsAnsweredAndNotStored(t *testing.T) {
	for _, split := range []bool{false, true} {
		cfg := firehoseConfig
		cfg.Split = split
		for _, body := range []string{batch(), batch(""), batch(string(zipped(control)), "", control)} {
			if e := verified(t, cfg, body); e.Answer != trigger.AnswerControl || e.Reply == nil || e.Records != nil {
				t.Errorf("split %v: %s makes %+v", split, body, e)
			}
		}
		if e := verified(t, cfg, batch(string(zipped(control)), "x")); e.Answer != trigger.AnswerStored {
			t.Errorf("split %v: got %+v", split, e)
		}
	}
}

// What inflates to much is looked at as far as it takes to know what it is.
func TestFirehose_GzipIsNotInflatedWithoutEnd(t *testing.T) {
	bomb := string(zipped(`{"logEvents":"` + strings.Repeat("a", 70<<20) + `"}`))
	known := string(zipped(`{"messageType":"DATA_MESSAGE","x":"` + strings.Repeat("a", 70<<20) + `"}`))
	zeros := string(zipped(strings.Repeat("\x00", 70<<20)))
	for _, split := range []bool{false, true} {
		cfg := firehoseConfig
		cfg.Split = split
		_, err := newVerifier(t, cfg)(t.Context(), sent(t, cfg, batch(bomb)))
		wantRefusal(t, err, trigger.ReasonInflated)
		verified(t, cfg, batch(known, known, zeros))
	}
}

// A record of 64 KiB, which any producer of the stream can write, may inflate to
// 64 MiB. It takes neither memory nor, for minutes, the processor.
func TestFirehose_WhatInflatesTakesNoMemory(t *testing.T) {
	for name, text := range map[string]string{
		"arrays": `{"a":` + strings.Repeat("[", 70<<20), "a key": `{"` + strings.Repeat(`\"`, 35<<20), "blanks": "{" + strings.Repeat("\n", 70<<20),
	} {
		r := sent(t, firehoseConfig, batch(string(zipped(text))))
		verify := newVerifier(t, firehoseConfig)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := verify(t.Context(), r)
		runtime.ReadMemStats(&after)
		wantRefusal(t, err, trigger.ReasonInflated)
		if took := after.TotalAlloc - before.TotalAlloc; took > 4<<20 {
			t.Errorf("%s: took %d MiB", name, took>>20)
		}
	}
}

// It is no business of this gateway what else is in a message.
func TestFirehose_FindsTheTypeOfAMessage(t *testing.T) {
	cfg := firehoseConfig
	cfg.Split = true
	for text, want := range map[string]string{
		logs:                                   "DATA_MESSAGE",
		" \n" + logs:                           "DATA_MESSAGE",
		`{"a":{"messageType":"DATA_MESSAGE"}}`: "",
		`{"a":["messageType","DATA_MESSAGE"],"messageType":"DATA_MESSAGE"}`:   "DATA_MESSAGE",
		`{"a":"messageType","b":"DATA_MESSAGE"}`:                              "",
		`{"a":"}\\\"{","messageType":"DATA_MESSAGE"}`:                         "DATA_MESSAGE",
		`{"` + strings.Repeat("k", 100) + `":1,"messageType":"DATA_MESSAGE"}`: "DATA_MESSAGE",
		`{"messageType":"OTHER_MESSAGE"}`:                                     "",
		`{"messageType":"DATA_MESSAGES"}`:                                     "",
		`{"messageType":"CONTROL_MESSAGES"}`:                                  "",
		`{"messageType":["DATA_MESSAGE"]}`:                                    "",
		`["messageType","DATA_MESSAGE"]`:                                      "",
		`"messageType"`:                                                       "",
		`x{"messageType":"DATA_MESSAGE"}`:                                     "",
		`{}{"messageType":"DATA_MESSAGE"}`:                                    "",
		`{"messageType`:                                                       "",
	} {
		e := verified(t, cfg, batch(string(zipped(text))))
		if len(e.Records) != 1 || e.Records[0].Name != want {
			t.Errorf("%s: got %+v, want %q", text, e.Records, want)
		}
	}
}

func TestFirehose_EscapedBase64IsUnderstood(t *testing.T) {
	body := strings.ReplaceAll(batch("\xff\xff\xff"), "/", `\/`)
	if got := payloadOf(t, verified(t, firehoseConfig, body), body); !strings.Contains(got, `"data":"////"`) {
		t.Errorf("got %s", got)
	}
}

func TestFirehose_RecordedRequests(t *testing.T) {
	for name, body := range extraFiles(t, "FUNKER_TEST_PAYLOADS", "firehose/request-*.json") {
		cfg := firehoseConfig
		payloadOf(t, verified(t, cfg, string(body)), string(body))
		cfg.Split = true
		want := map[string]int{"request-plain.json": 2, "request-cloudwatch-logs.json": 1, "request-dynamodb-kinesis.json": 1}[name]
		if got := verified(t, cfg, string(body)).Records; len(got) != want {
			t.Errorf("%s: got %q, want %d", name, written(got), want)
		}
	}
	for name, data := range extraFiles(t, "FUNKER_TEST_PAYLOADS", "firehose/http-exchange.json") {
		var exchange struct {
			Headers map[string]string `json:"request_headers"`
		}
		if err := json.Unmarshal(data, &exchange); err != nil {
			t.Fatal(err)
		}
		r := sent(t, firehoseConfig, strings.ReplaceAll(batch("x"), "r1", exchange.Headers["X-Amz-Firehose-Request-Id"]))
		for name, value := range exchange.Headers {
			r.Header.Set(name, value)
		}
		cfg := trigger.Config{Kind: trigger.Firehose, Secrets: []trigger.Secret{[]byte("my-access-key")}}
		if e, err := newVerifier(t, cfg)(t.Context(), r); err != nil || !strings.Contains(string(e.Reply), e.Identity) {
			t.Errorf("%s: got %+v, %v", name, e, err)
		}
	}
}
