package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// delivery is one request of a sender to a trigger of its own, and what has to come of it.
type delivery struct {
	file, name string // of the subtest
	entry      string // in the manifest
	secret     string
	trigger    *deploy.Trigger
	b          *builder

	method, path string
	header       http.Header
	body         string
	reply        string // of the function

	want     hearing
	runs     []string // JSON that functions get, in any order
	reshaped bool     // it is no text of the sender's, so it may be spelled in any way
	again    bool     // a repeat runs nothing
	fetched  []string // what the gateway fetches for it
	tally    counts
	tried    bool
}

// hearing is what the sender has to hear.
type hearing struct {
	status int
	code   string            // "": it is no refusal
	body   string            // of what is none, as tidy leaves it
	header map[string]string // "": it is not there
}

// counts is what `triggers` says of the trigger afterwards.
type counts struct {
	accepted, ignored int
	connected         bool
	refused           string // code of the one request that was
}

// builder makes deliveries.
type builder struct {
	t      *testing.T
	dir    string // of the manifest
	amazon *amazonNet
	now    time.Time
	file   string // that they are of
	head   string // of the manifest: its functions
	all    []*delivery
}

const (
	payloadSecret = "the secret of all these senders"
	signingKey    = "whsec_dGhlIGxhbXAgaXMgbGl0LCB0aGUgaG9ybiBpcyBub3Q=" // 32 bytes
	silentReply   = `{"version":"1.0","response":{}}`
)

// Triggers that many deliveries are for.
const (
	bitbucketEntry   = "bitbucket: NAME, secret-file: SECRET"
	cloudEventsEntry = "cloudevents: NAME, secret-file: SECRET"
	eventBridgeEntry = "eventbridge: NAME, secret-file: SECRET"
	firehoseEntry    = "firehose: NAME, secret-file: SECRET"
	gitHubEntry      = "github: NAME, secret-file: SECRET"
	slackEntry       = "slack: NAME, secret-file: SECRET"
)

// on begins a delivery to a trigger. In its entry NAME stands for its name, and SECRET for the file with its secret.
func (b *builder) on(entry, secret string) *delivery {
	b.t.Helper()
	name := fmt.Sprintf("c%d", len(b.all))
	write(b.t, b.dir, name+".secret", secret)
	entry = strings.NewReplacer("NAME", name, "SECRET", name+".secret").Replace(entry) + ", path: /" + name
	if !strings.Contains(entry, "function: ") {
		entry += ", function: Record"
	}
	m, err := deploy.Parse(b.file, []byte(b.head+"triggers: [{"+entry+"}]"), b.dir)
	if err != nil {
		b.t.Fatalf("%s: %v", b.file, err)
	}
	d := &delivery{
		file: b.file, name: "sent", entry: entry, secret: secret, trigger: m.Triggers[0], b: b,
		method: http.MethodPost, path: "/" + name, header: http.Header{}, reply: silentReply,
	}
	b.all = append(b.all, d)
	return d
}

func (d *delivery) named(name string) *delivery {
	d.name = name
	return d
}

// signed is a body with the headers of the sender, and others.
func (d *delivery) signed(body string, header ...string) *delivery {
	d.b.t.Helper()
	return d.signedAs(func(*trigger.Config) {}, body, header...)
}

// signedAs is signed by somebody who has another configuration.
func (d *delivery) signedAs(change func(*trigger.Config), body string, header ...string) *delivery {
	d.b.t.Helper()
	cfg := d.trigger.Config
	change(&cfg)
	h, err := trigger.Sign(cfg, []byte(body), d.b.now)
	if err != nil {
		d.b.t.Fatalf("%s: %v", d.file, err)
	}
	d.header, d.body = h, body
	return d.with(header...)
}

// with sets headers; "" removes one.
func (d *delivery) with(header ...string) *delivery {
	for i := 0; i < len(header); i += 2 {
		d.header.Set(header[i], header[i+1])
		if header[i+1] == "" {
			d.header.Del(header[i])
		}
	}
	return d
}

// stored: it is on disk, its functions run, and a repeat is found.
func (d *delivery) stored(runs ...string) *delivery {
	status, body := http.StatusAccepted, `{"id":"ID","status":"queued"}`+"\n"
	switch d.trigger.Kind {
	case trigger.SNS, trigger.Slack, trigger.Firehose, trigger.Alexa:
		status = http.StatusOK
	}
	if len(runs) > 1 {
		one := `{"id":"ID","function":"Record"}`
		body = fmt.Sprintf(`{"status":"queued","events":[%s],"count":%d}`+"\n", one+strings.Repeat(","+one, len(runs)-1), len(runs))
	}
	d.runs, d.again, d.tally = runs, true, counts{accepted: 2}
	d.want = hearing{status, "", body, map[string]string{"Content-Type": "application/json", "Location": "/api/v1/events/ID", "Funker-Event-Id": "ID"}}
	if d.trigger.Kind == trigger.Firehose {
		d.want.body = d.firehoseSuccess()
	}
	return d
}

// answered: the function has done so in the same request.
func (d *delivery) answered(reply string) *delivery {
	d.stored(d.body)
	d.reply, d.want.body = reply, reply
	d.want.header = map[string]string{"Content-Type": "application/json;charset=UTF-8", "Funker-Event-Id": "ID", "Location": ""}
	return d
}

// unheard is stored by Alexa, which takes no reply to it.
func (d *delivery) unheard() *delivery {
	d.answered(silentReply)
	d.want.header["Location"] = "/api/v1/events/ID"
	return d
}

// once: a repeat is not found.
func (d *delivery) once() *delivery {
	d.again, d.tally.accepted = false, 1
	return d
}

// says is stored, with another answer.
func (d *delivery) says(contentType, body string) *delivery {
	d.want.body, d.want.header["Content-Type"] = body, contentType
	return d
}

// otherwise: the functions get this JSON, however it is spelled.
func (d *delivery) otherwise() *delivery {
	d.reshaped = true
	return d
}

// connected: the sender hears that somebody is here, and nothing runs.
func (d *delivery) connected() *delivery {
	d.tally.connected = true
	d.want = hearing{http.StatusOK, "", `{"status":"connected"}` + "\n", map[string]string{"Content-Type": "application/json", "Location": "", "Funker-Event-Id": ""}}
	if d.trigger.Kind == trigger.Firehose {
		d.want.body = d.firehoseSuccess()
	}
	return d
}

// refused is with the status that the page of the sender says.
func (d *delivery) refused(code string) *delivery {
	d.tally.refused = code
	d.want = hearing{refusalStatus(d.trigger.Kind, code), code, "", map[string]string{
		"Content-Type": "application/json", "Location": "", "Funker-Event-Id": "", "X-Slack-No-Retry": "", "Retry-After": "",
	}}
	if final := d.want.status == 400 || d.want.status == 413 || d.want.status == 415; final && d.trigger.Kind == trigger.Slack {
		d.want.header["X-Slack-No-Retry"] = "1"
	}
	if d.want.status == http.StatusServiceUnavailable {
		d.want.header["Retry-After"] = "20"
	}
	return d
}

// refusalStatus is what docs/ says.
func refusalStatus(kind, code string) int {
	stranger := code == "unsigned" || code == "forged"
	switch {
	case kind == trigger.Alexa:
		return http.StatusBadRequest
	case kind == trigger.SNS && (stranger || code == "wrong_topic"):
		return http.StatusForbidden
	case kind == trigger.SNS:
		return http.StatusServiceUnavailable
	case stranger, code == "stale":
		return http.StatusUnauthorized
	case code == "body_too_large" && kind != trigger.Firehose:
		return http.StatusRequestEntityTooLarge
	case code == "origin_refused":
		return http.StatusMethodNotAllowed
	default:
		return http.StatusBadRequest
	}
}

func (d *delivery) firehoseSuccess() string {
	return fmt.Sprintf(`{"requestId":%q,"timestamp":0}`, d.header.Get("X-Amz-Firehose-Request-Id"))
}

// fetching names what the gateway has to fetch once, and not again for a repeat.
func (d *delivery) fetching(urls ...string) *delivery {
	d.fetched = urls
	return d
}

// payloadClient takes an answer as it comes, and says that it would take it compressed.
var payloadClient = &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true, Proxy: nil}}

// send returns the answer.
func (d *delivery) send(t *testing.T, public string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), d.method, public+d.path, strings.NewReader(d.body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = d.header.Clone()
	r.Header.Set("Accept-Encoding", "gzip,deflate")
	resp, err := payloadClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Status, resp.Header, body}
}

var (
	eventID      = regexp.MustCompile(`\b[0-9A-Z]{26}\b`)
	timeInAnswer = regexp.MustCompile(`"timestamp":[0-9]{13}\b`)
)

// tidy makes all ids and times the same.
func tidy(text string) string {
	return timeInAnswer.ReplaceAllString(eventID.ReplaceAllString(text, "ID"), `"timestamp":0`)
}

// check compares the answer with what the sender has to hear.
func (d *delivery) check(t *testing.T, got answer) {
	t.Helper()
	if got.code != d.want.status || got.header.Get("Funker-Error") != d.want.code {
		t.Fatalf("got %s %q: %s\nwant %d %q", got.status, got.header.Get("Funker-Error"), got.body, d.want.status, d.want.code)
	}
	for name, want := range d.want.header {
		if value := tidy(got.header.Get(name)); value != want {
			t.Errorf("%s: got %q, want %q", name, value, want)
		}
	}
	size := fmt.Sprint(len(got.body))
	if got.header.Get("X-Request-Id") == "" || got.header.Get("Content-Encoding") != "" || got.header.Get("Content-Length") != size && d.method != http.MethodHead {
		t.Errorf("headers: %v", got.header)
	}
	if d.want.code != "" {
		d.checkRefusal(t, got)
	} else if body := tidy(string(got.body)); body != d.want.body {
		t.Errorf("got %s\nwant %s", body, d.want.body)
	}
	if d.trigger.Kind == trigger.Firehose {
		d.checkFirehose(t, got)
	}
}

// checkRefusal sees to it that the answer says why, and shows no secret.
func (d *delivery) checkRefusal(t *testing.T, got answer) {
	t.Helper()
	if d.secret != "" && strings.Contains(string(got.body), d.secret) {
		t.Errorf("the answer shows the secret: %s", got.body)
	}
	if d.trigger.Kind == trigger.Firehose {
		return
	}
	var usual struct {
		Error struct{ Code, Message string }
	}
	if err := strictly(got.body, &usual); err != nil || usual.Error.Code != d.want.code || usual.Error.Message == "" {
		t.Errorf("got %s: %v", got.body, err)
	}
}

// checkFirehose: Firehose takes an answer for 500 that has another form.
func (d *delivery) checkFirehose(t *testing.T, got answer) {
	t.Helper()
	var form struct {
		RequestID    string
		Timestamp    int64
		ErrorMessage string
	}
	err := strictly(got.body, &form)
	away := time.Since(time.UnixMilli(form.Timestamp)).Abs()
	if err != nil || form.RequestID != d.header.Get("X-Amz-Firehose-Request-Id") || away > time.Minute || (form.ErrorMessage != "") != (d.want.code != "") {
		t.Errorf("got %s: %v", got.body, err)
	}
}

// strictly reads JSON in which nothing is that v does not have.
func strictly(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

var repeated = strings.NewReplacer(`"status":"queued"}`, `"status":"queued","duplicate":true}`, `"function":"Record"}`, `"function":"Record","duplicate":true}`)

// checkRepeat compares the answer to a repeat with the first one.
func (d *delivery) checkRepeat(t *testing.T, first, got answer) {
	t.Helper()
	again := *d
	again.want.body = repeated.Replace(d.want.body)
	if d.trigger.Kind == trigger.Alexa {
		again.want.body = d.want.body
	}
	again.check(t, got)
	if a, b := eventID.FindString(string(first.body)), eventID.FindString(string(got.body)); a != b {
		t.Errorf("the repeat of %s is %s", a, b)
	}
	if a, b := first.header.Get("Funker-Event-Id"), got.header.Get("Funker-Event-Id"); a != b {
		t.Errorf("the repeat of %s is %s", a, b)
	}
}

// sameRun compares what a function got with what it has to get.
func (d *delivery) sameRun(t *testing.T, got, want string) bool {
	return got == want || d.reshaped && reflect.DeepEqual(parsed(t, got), parsed(t, want))
}

func parsed(t *testing.T, text string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}
