package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// wrapped is a CloudEvent as a function gets it.
type wrapped struct {
	SpecVersion, ID, Source, Type, DataContentType, Subject string
	Time                                                    time.Time
	Data                                                    json.RawMessage
}

// spokenReply is one that Alexa takes too.
const spokenReply = `{"version":"1.0","response":{}}`

// recorder is a function that hands over what it gets, and fails the first time.
func recorder(t *testing.T) (address string, got <-chan []byte) {
	t.Helper()
	requests := make(chan []byte, 20)
	address = answering(t, func(request []byte) { requests <- request }, `{"funkerError":{"message":"not yet","retry":true}}`, spokenReply)
	return address, requests
}

func next(t *testing.T, requests <-chan []byte) wrapped {
	t.Helper()
	var e wrapped
	select {
	case r := <-requests:
		if err := json.Unmarshal(r, &e); err != nil {
			t.Fatalf("%s: %v", r, err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the function gets nothing")
	}
	return e
}

func TestServe_AFunctionOfARemoteWorkerGetsEveryEventAsACloudEvent(t *testing.T) {
	address, requests := recorder(t)
	dir := t.TempDir()
	write(t, dir, "secret", "hook")
	manifest := write(t, dir, "functions.yaml", fmt.Sprintf(`
functions: {Wrapped: {addresses: [%q], payload: cloudevents, input: [ref, order, request, n], retry: {attempts: 3, initial: 10ms}}}
triggers:
  - {github: acme, secret-file: secret, function: Wrapped}
  - {cloudevents: shop, secret-file: secret, function: Wrapped}
  - {alexa: id, verify: id-only, function: Wrapped}
`, address))
	g := serve(t, dir, manifest, "--no-worker", "--functions")
	t.Chdir(t.TempDir()) // the worker has no manifest but the gateway's
	background(t, `msg="worker ready" functions=1`, "worker", "--nats-url", g.nats, "--key", filepath.Join(g.data, "worker.nk"))

	id := sendPush(t, g.public+"/github/acme", "hook", []byte(`{"ref":"main","commits":[]}`))
	first, again := next(t, requests), next(t, requests)
	if first.ID != id || again.ID != id || first.Source != "/github-acme" || first.Type != "push" || string(first.Data) != `{"ref":"main"}` {
		t.Errorf("got %+v and %+v of the event %s", first, again, id)
	}
	if age := time.Since(first.Time); age < 0 || age > time.Minute || first.SpecVersion != "1.0" || first.DataContentType != "application/json" {
		t.Errorf("got %+v", first)
	}
	mustCLI(t, "events", "replay", id, "--nats-url", g.nats, "--data", g.data)
	if replayed := next(t, requests); replayed.ID != id || !replayed.Time.Equal(first.Time) {
		t.Errorf("got %+v, want the event %s", replayed, id)
	}

	code, reply, header := post(t, g.public+"/functions/Wrapped", `{"n":1,"m":2}`)
	called := next(t, requests)
	if code != http.StatusOK || reply != spokenReply || called.ID != header.Get("Funker-Event-Id") || called.Source != "/http" || called.Type != "funker.request" || string(called.Data) != `{"n":1}` {
		t.Errorf("got %d %s, and the function %+v", code, reply, called)
	}
	code, reply, _ = post(t, g.public+"/alexa", `{"session":{"application":{"applicationId":"id"}},"request":{"type":"LaunchRequest"}}`)
	if spoken := next(t, requests); code != http.StatusOK || reply != spokenReply || spoken.Source != "/alexa" || spoken.Type != "LaunchRequest" {
		t.Errorf("got %d %s, and the function %+v", code, reply, spoken)
	}

	code, reply, _ = post(t, g.public+"/cloudevents/shop?access_token=hook", `{"order":1,"other":2}`,
		"ce-specversion", "1.0", "ce-id", "7", "ce-source", "/shop", "ce-type", "order.created", "ce-subject", "a%20b", "ce-time", "2018-04-05T03:56:24Z")
	e := next(t, requests)
	if code != http.StatusAccepted || e.ID != "7" || e.Source != "/shop" || e.Type != "order.created" || e.Subject != "a b" || e.Time.Year() != 2018 || string(e.Data) != `{"order":1}` {
		t.Errorf("got %d %s, and the function %+v", code, reply, e)
	}
	if strings.Contains(g.log.String(), "access_token") {
		t.Errorf("the token is in the log: %s", g.log)
	}
}

func TestServe_AFunctionGetsTheDataOfACloudEvent(t *testing.T) {
	address, requests := recorder(t)
	dir := t.TempDir()
	write(t, dir, "secret", "hook")
	manifest := write(t, dir, "functions.yaml", fmt.Sprintf(`
functions: {Ship: {addresses: [%q], retry: {attempts: 3, initial: 10ms}}}
triggers: [{cloudevents: shop, secret-file: secret, batch: true, function: Ship}]
`, address))
	g := serve(t, dir, manifest)
	event := func(id, data string) string {
		return `{"specversion":"1.0","id":"` + id + `","source":"/shop","type":"t",` + data + `}`
	}
	send := func(contentType, body string) {
		if code, reply, _ := post(t, g.public+"/cloudevents/shop", body, "Authorization", "Bearer hook", "Content-Type", contentType); code != http.StatusAccepted {
			t.Fatalf("got %d %s", code, reply)
		}
	}
	want := func(payload string) {
		t.Helper()
		select {
		case got := <-requests:
			if string(got) != payload {
				t.Errorf("the function gets %s, want %s", got, payload)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the function gets nothing")
		}
	}
	send("application/cloudevents+json", event("1", `"data":{"order": 1}`))
	want(`{"order": 1}`)
	want(`{"order": 1}`) // the second attempt
	send("application/cloudevents-batch+json", "["+event("2", `"data_base64":"aGVsbG8="`)+"]")
	want(`"aGVsbG8="`)
}

func TestSign_SendsCloudEventsInEachMode(t *testing.T) {
	address, requests := recorder(t)
	dir := t.TempDir()
	write(t, dir, "secret", "hook")
	manifest := write(t, dir, "functions.yaml", fmt.Sprintf(`
functions: {Ship: {addresses: [%q], payload: cloudevents, retry: {attempts: 3, initial: 10ms}}}
triggers: [{cloudevents: shop, secret-file: secret, batch: true, function: Ship}]
`, address))
	g := serve(t, dir, manifest)
	signed := func(args ...string) string {
		return mustCLI(t, append([]string{"sign", "cloudevents", g.public, "--send", "--manifest", manifest}, args...)...)
	}
	signed()
	sent, again := next(t, requests), next(t, requests)
	if sent.ID == "" || again.ID != sent.ID || !strings.Contains(string(sent.Data), "lamp-oil") {
		t.Errorf("got %+v and %+v", sent, again)
	}
	signed("--event", "order.paid", "-d", `{"order":2}`)
	if e := next(t, requests); e.Type != "order.paid" || string(e.Data) != `{"order":2}` {
		t.Errorf("got %+v", e)
	}
	signed("-d", `[{"specversion":"1.0","id":"9","source":"/shop","type":"order.paid"}]`)
	if e := next(t, requests); e.ID != "9" || e.Data != nil {
		t.Errorf("got %+v", e)
	}
	curl := mustCLI(t, "sign", "cloudevents", "--manifest", manifest)
	if !strings.Contains(curl, "-H 'Ce-Type: ") || !strings.Contains(curl, "/cloudevents/shop'") || trigger.NameHeader(trigger.Config{Kind: trigger.CloudEvents}) != "Ce-Type" {
		t.Errorf("got %s", curl)
	}
}
