package ingress

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// plainTrigger is a trigger on /plain, whose sender has a secret.
func plainTrigger(kind string) *deploy.Trigger {
	return &deploy.Trigger{
		Config: trigger.Config{Kind: kind, Secrets: []trigger.Secret{[]byte(secret)}}, Name: "plain", Path: "/plain",
		Routes: []deploy.Route{{Function: "Fetch"}},
	}
}

// plain starts a gateway that has only this trigger.
func plain(t *testing.T, d *deploy.Trigger, change ...func(*Options)) *gateway {
	t.Helper()
	g := start(t, change...)
	m := manifest()
	m.Triggers = []*deploy.Trigger{d}
	g.catalog.Set(m)
	return g
}

// give sends body as the sender of the trigger does, with headers changed or, where "", removed.
func (g *gateway) give(body []byte, header ...string) answer {
	g.t.Helper()
	h, err := trigger.Sign(g.catalog.Manifest().Triggers[0].Config, body, time.Now())
	if err != nil {
		g.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
		if header[i+1] == "" {
			h.Del(header[i])
		}
	}
	return g.do("POST", "/plain", h, bytes.NewReader(body))
}

func TestPlainSenders_AreAnswered(t *testing.T) {
	for _, kind := range []string{trigger.EventBridge, trigger.MinIO, trigger.RustFS} {
		d := plainTrigger(kind)
		g := plain(t, d, func(o *Options) { o.MaxBody = 100_000 })
		body := trigger.SampleFor(d.Config, time.Now())
		a := g.give(body, "Range", "bytes=0-1048575")
		e := g.event()
		a.want(t, 202, fmt.Sprintf(`{"id":%q,"status":"queued"}`+"\n", e.ID))
		if !bytes.Equal(e.Body, body) || e.Source != kind+"-plain" || e.Name == "" {
			t.Errorf("the function got %+v", e)
		}
		for name := range e.Header {
			t.Errorf("the header %s is kept", name)
		}
		g.give(body).want(t, 202, fmt.Sprintf(`{"id":%q,"status":"queued","duplicate":true}`+"\n", e.ID))
		g.give(body, "X-Api-Key", "", "Authorization", "").refused(t, 401, "unsigned")
		g.give(body, "X-Api-Key", "no", "Authorization", "no").refused(t, 401, "forged")
		g.give([]byte("no JSON")).refused(t, 400, "not_json")
		g.give([]byte(strings.Repeat(" ", 100_001))).refused(t, 413, "body_too_large")
		g.idle()
		settle(t)
	}
}

func TestRustFS_AsksWhetherAnybodyIsHere(t *testing.T) {
	g := plain(t, plainTrigger(trigger.RustFS))
	g.do("HEAD", "/", nil, nil).want(t, 200, "")
}

func TestEventBridge_EachRecordIsAnEventOfItsOwn(t *testing.T) {
	d := plainTrigger(trigger.EventBridge)
	d.Split = true
	d.Routes[0].Filter.Events = []string{"INSERT"}
	g := plain(t, d)
	record := func(name string) string {
		return fmt.Sprintf(`{"eventID":%q,"eventName":%q,"eventSource":"aws:dynamodb","dynamodb":{}}`, queue.NewID(), name)
	}
	insert := record("INSERT")
	body := []byte("[" + record("REMOVE") + "," + insert + "]")
	a := g.give(body)
	e := g.event()
	a.want(t, 202, fmt.Sprintf(`{"id":%q,"status":"queued"}`+"\n", e.ID))
	if string(e.Body) != `{"Records":[`+insert+`]}` || e.Name != "INSERT" || e.ContentType != "application/json" {
		t.Errorf("the function got %+v", e)
	}
	g.give([]byte("["+record("REMOVE")+"]")).want(t, 202, `{"status":"ignored"}`+"\n")
	g.idle()
}

// firehoseAnswer is all that Firehose understands.
type firehoseAnswer struct {
	RequestID string  `json:"requestId"`
	Timestamp int64   `json:"timestamp"`
	Message   *string `json:"errorMessage"`
}

// firehose checks an answer to Firehose: a form of its own, and nothing else in it.
func (a answer) firehose(t *testing.T, status int, id string) {
	t.Helper()
	var got firehoseAnswer
	d := json.NewDecoder(strings.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		t.Errorf("got %s: %v", a.body, err)
	}
	if a.StatusCode != status || got.RequestID != id || time.Since(time.UnixMilli(got.Timestamp)).Abs() > time.Minute || (got.Message == nil) != (status == 200) {
		t.Errorf("got %d %s, want %d for %s", a.StatusCode, a.body, status, id)
	}
	a.header(t, "Content-Type", "application/json")
	a.header(t, "Content-Length", fmt.Sprint(len(a.body)))
	a.header(t, "Content-Encoding", "")
}

// tooLargeForFirehose checks that it is not 413, after which the whole batch would be gone.
func (a answer) tooLargeForFirehose(t *testing.T, id string) {
	t.Helper()
	a.firehose(t, 400, id)
	a.header(t, "Funker-Error", codeBodyTooLarge)
}

// requestID of a body of Firehose.
func requestID(t *testing.T, body []byte) string {
	t.Helper()
	var request struct{ RequestID string }
	if err := json.Unmarshal(body, &request); err != nil || request.RequestID == "" {
		t.Fatalf("%s: %v", body, err)
	}
	return request.RequestID
}

func zipped(t *testing.T, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFirehose_IsAnsweredAsItWants(t *testing.T) {
	d := plainTrigger(trigger.Firehose)
	g := plain(t, d, func(o *Options) { o.MaxBody = 200_000 })
	body := trigger.SampleFor(d.Config, time.Now())
	id := requestID(t, body)
	for range 2 { // the second is a repeat
		g.give(body).firehose(t, 200, id)
	}
	if e := g.event(); !bytes.Equal(e.Body, body) || !strings.HasPrefix(e.Form, "firehose arn:aws:firehose:") {
		t.Errorf("the function got %+v", e)
	}
	g.give(body, "X-Amz-Firehose-Access-Key", "").firehose(t, 401, id)
	g.give(body, "X-Amz-Firehose-Access-Key", "no").firehose(t, 401, id)
	g.give(body, "X-Amz-Firehose-Protocol-Version", "2.0").firehose(t, 400, id)
	g.give(body, "X-Amz-Firehose-Request-Id", "another").firehose(t, 400, "another")
	g.give([]byte("{"), "X-Amz-Firehose-Request-Id", id).firehose(t, 400, id)
	g.give([]byte(strings.Repeat(" ", 200_001)), "X-Amz-Firehose-Request-Id", id).tooLargeForFirehose(t, id)
	g.give(fmt.Appendf(nil, `{"requestId":%q,"timestamp":1,"records":[{"data":""}]}`, id)).firehose(t, 200, id)
	bomb := zipped(t, []byte(`{"x":"`+strings.Repeat("a", 70<<20)+`"}`))
	records, err := json.Marshal(map[string]any{"requestId": id, "timestamp": 1, "records": []map[string][]byte{{"data": bomb}}})
	if err != nil {
		t.Fatal(err)
	}
	g.give(records).firehose(t, 400, id) // not 413
	g.idle()
}

func TestFirehose_HearsThatThereIsNoPlace(t *testing.T) {
	g := plain(t, plainTrigger(trigger.Firehose), func(o *Options) { o.MaxInFlight = 1 })
	g.server.places.take(1)
	a := g.give(trigger.Sample(trigger.Firehose))
	a.firehose(t, 503, requestID(t, trigger.Sample(trigger.Firehose)))
	a.header(t, "Retry-After", "1")
	g.server.places.free(1)
}

func TestFirehose_GzipIsUndoneBeforeAnythingIsStored(t *testing.T) {
	d := plainTrigger(trigger.Firehose)
	g := plain(t, d, func(o *Options) { o.MaxBody, o.MaxInFlightBytes = 1<<20, 1<<20 })
	body := trigger.SampleFor(d.Config, time.Now())
	id := requestID(t, body)
	as := func(body []byte, more ...string) answer {
		return g.give(body, append([]string{"X-Amz-Firehose-Request-Id", id, "X-Amz-Firehose-Access-Key", secret, "Content-Encoding", "gzip"}, more...)...)
	}
	as(zipped(t, body)).firehose(t, 200, id)
	if e := g.event(); !bytes.Equal(e.Body, body) {
		t.Errorf("the function got %q", e.Body)
	}
	whole := zipped(t, body)
	as(body).firehose(t, 400, id)
	as(nil).firehose(t, 400, id)
	as(whole[:len(whole)-1]).firehose(t, 400, id)
	as(append(bytes.Clone(whole), "more"...)).firehose(t, 400, id)
	as(whole, "Content-Encoding", "br").firehose(t, 415, id)
	as(zipped(t, bytes.Repeat([]byte(" "), 1<<20+1))).tooLargeForFirehose(t, id)
	as(bytes.Repeat(zipped(t, nil), 1<<20)).tooLargeForFirehose(t, id) // nothing at all, in many bytes
	bomb := zipped(t, bytes.Repeat([]byte(" "), 1<<20))
	g.server.bytes.take(1 << 19)
	as(bomb).firehose(t, 503, id) // no memory for what is in it
	as(bomb, "X-Amz-Firehose-Access-Key", "no").firehose(t, 401, id)
	g.server.bytes.free(1 << 19)
	if taken := g.server.bytes.taken.Load(); taken != 0 {
		t.Errorf("%d bytes are still taken", taken)
	}
	g.idle()
}

func TestFirehose_SplitStoresEachRecord(t *testing.T) {
	d := plainTrigger(trigger.Firehose)
	d.Split = true
	g := plain(t, d)
	body := trigger.SampleFor(d.Config, time.Now())
	g.give(body).firehose(t, 200, requestID(t, body))
	got := map[string]bool{}
	for range 2 {
		got[string(g.event().Body)] = true
	}
	if !got[`"the fog horn is quiet\n"`] || !got[`{"lamp":"main","lit":true}`+"\n"] {
		t.Errorf("the functions got %v", got)
	}
	g.give(body).firehose(t, 200, requestID(t, body))
	g.idle()
}
