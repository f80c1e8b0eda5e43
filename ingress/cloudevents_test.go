package ingress

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

const orderEvent = `{"specversion":"1.0","id":%q,"source":"/shop","type":"order.created","data":{"order":1}}`

// shop starts a gateway with a trigger for CloudEvents.
func shop(t *testing.T, change ...func(*Options)) *gateway {
	t.Helper()
	g := start(t, change...)
	m := manifest()
	m.Triggers = append(m.Triggers, &deploy.Trigger{
		Config: trigger.Config{Kind: trigger.CloudEvents, Secrets: []trigger.Secret{[]byte(secret)}, Batched: true, Origins: []string{"eventgrid.azure.net"}},
		Name:   "shop", Path: "/cloudevents/shop",
		Routes: []deploy.Route{{Function: "Fetch", Filter: deploy.Filter{Events: []string{"order.created"}}}},
	})
	g.catalog.Set(m)
	return g
}

// order sends a body with the right token, in the structured mode unless header says otherwise.
func (g *gateway) order(body string, header ...string) answer {
	g.t.Helper()
	h := http.Header{"Authorization": {"Bearer " + secret}, "Content-Type": {"application/cloudevents+json"}}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return g.do("POST", "/cloudevents/shop", h, strings.NewReader(body))
}

func TestCloudEvents_AreStoredAndRunOnce(t *testing.T) {
	g := shop(t)
	id := queue.NewID()
	body := fmt.Sprintf(orderEvent, id)
	a := g.order(body)
	e := g.event()
	a.want(t, 202, fmt.Sprintf(`{"id":%q,"status":"queued"}`+"\n", e.ID))
	a.header(t, "Cache-Control", "private")
	if string(e.Body) != body || e.Name != "order.created" || e.Source != "cloudevents-shop" || e.Function != "Fetch" || e.ContentType != "application/cloudevents+json" {
		t.Errorf("the function got %s, a %s from %s as %s", e.Body, e.Name, e.Source, e.ContentType)
	}
	if payload, err := trigger.Payload(e.Form, e.ContentType, e.Body); err != nil || string(payload) != `{"order":1}` {
		t.Errorf("the payload is %s, %v", payload, err)
	}
	again := fmt.Sprintf(`{"id":%q,"status":"queued","duplicate":true}`+"\n", e.ID)
	g.order(body).want(t, 202, again)
	g.order("1", "Content-Type", "application/json", "ce-specversion", "1.0", "ce-id", id, "ce-source", "%2Fshop", "ce-type", "order.created").want(t, 202, again)
	g.order(strings.Replace(body, "created", "deleted", 1)).want(t, 202, `{"status":"ignored"}`+"\n")
	g.idle()
}

func TestCloudEvents_InBinaryModeKeepTheirAttributesInHeaders(t *testing.T) {
	g := shop(t)
	g.order("", "Content-Type", "text/plain", "ce-specversion", "1.0", "ce-id", queue.NewID(), "ce-source", "/shop", "ce-type", "order.created",
		"ce-subject", "Euro%20%E2%82%AC").header(t, "Funker-Error", "")
	e := g.event()
	if e.Header["Ce-Subject"] != "Euro%20%E2%82%AC" || e.Header["Ce-Source"] != "/shop" || e.Header["Authorization"] != "" || len(e.Body) != 0 {
		t.Errorf("the function got %q with %v", e.Body, e.Header)
	}
	got, err := trigger.PayloadCloudEvent(trigger.Stored{ID: e.ID, Source: e.Source, Form: e.Form, ContentType: e.ContentType, Header: e.Header, Body: e.Body}, nil)
	if want := `"datacontenttype":"text/plain","subject":"Euro €","data":""}`; err != nil || !strings.HasSuffix(string(got), want) {
		t.Errorf("got %s, %v; want %s at its end", got, err, want)
	}
}

func TestCloudEvents_OfABatchAreStoredOneByOne(t *testing.T) {
	g := shop(t)
	one, two := fmt.Sprintf(orderEvent, queue.NewID()), fmt.Sprintf(orderEvent, queue.NewID())
	other := strings.Replace(fmt.Sprintf(orderEvent, queue.NewID()), "created", "deleted", 1)
	a := g.order("["+one+", "+other+","+two+"]", "Content-Type", "application/cloudevents-batch+json")
	bodies := map[string]string{}
	for range 2 {
		e := g.event()
		bodies[string(e.Body)] = e.ID
		if payload, err := trigger.Payload(e.Form, e.ContentType, e.Body); err != nil || string(payload) != `{"order":1}` {
			t.Errorf("the payload is %s, %v", payload, err)
		}
	}
	a.want(t, 202, fmt.Sprintf(`{"status":"queued","events":[{"id":%q,"function":"Fetch"},{"id":%q,"function":"Fetch"}],"count":2}`+"\n", bodies[one], bodies[two]))
	g.order("[]", "Content-Type", "application/cloudevents-batch+json").want(t, 202, `{"status":"ignored"}`+"\n")
	g.idle()
}

func TestCloudEvents_AreRefusedAsTheSpecificationSays(t *testing.T) {
	g := shop(t, func(o *Options) { o.MaxBody = 100_000 })
	body := fmt.Sprintf(orderEvent, "1")
	g.order(body, "Authorization", "").refused(t, 401, "unsigned")
	g.order(body, "Authorization", "Bearer x").refused(t, 401, "forged")
	g.order(body, "Content-Type", "application/cloudevents+avro").refused(t, 415, "unsupported_content_type")
	g.order(body, "Content-Type", "application/json").refused(t, 400, "malformed")
	g.order("not JSON").refused(t, 400, "not_json")
	g.order("1", "Content-Type", "application/json", "ce-specversion", "1.0", "ce-id", "1", "ce-source", "/s", "ce-type", "%C0%A0").refused(t, 400, "malformed")
	g.order(strings.Repeat(" ", 100_001)).refused(t, 413, "body_too_large")
	a := g.do("GET", "/cloudevents/shop", nil, nil)
	a.refused(t, 405, "method_not_allowed")
	a.header(t, "Allow", "OPTIONS, POST")
	g.idle()
}

func TestCloudEvents_BusyGatewaySaysWhenToComeBack(t *testing.T) {
	g := shop(t, func(o *Options) { o.MaxInFlight = 1 })
	g.server.places.take(1)
	a := g.order(fmt.Sprintf(orderEvent, "1"))
	a.refused(t, 503, "busy")
	a.header(t, "Retry-After", "1")
	g.server.places.free(1)
	g.idle()
}

func TestCloudEvents_TheTokenOfAURLIsNowhereToBeRead(t *testing.T) {
	g := shop(t)
	send := func(token string) answer {
		return g.do("POST", "/cloudevents/shop?x=1&access_token="+url.QueryEscape(token), http.Header{"Content-Type": {"application/cloudevents+json"}},
			strings.NewReader(fmt.Sprintf(orderEvent, queue.NewID())))
	}
	good := send(secret)
	if good.StatusCode != 202 {
		t.Fatalf("got %d %s", good.StatusCode, good.body)
	}
	good.header(t, "Cache-Control", "private")
	e := g.event()
	bad := send("guessed" + secret)
	bad.refused(t, 401, "forged")
	within(t, "both requests are in the log", func() bool { return strings.Count(g.log.String(), "msg=request") == 2 })
	seen := fmt.Sprint(g.log, good, bad, e.Header, e.Name, e.DeliveryID)
	for _, hidden := range []string{secret, url.QueryEscape(secret), "guessed", "access_token="} {
		if strings.Contains(seen, hidden) {
			t.Errorf("%q is in %s", hidden, seen)
		}
	}
}

func TestCloudEvents_HandshakeIsGrantedToTheOriginsOfTheTrigger(t *testing.T) {
	g := shop(t)
	ask := func(path, origin string) answer {
		h := http.Header{"Webhook-Request-Callback": {"http://127.0.0.1:1/"}, "Webhook-Request-Rate": {"120"}}
		if origin != "" {
			h.Set("WebHook-Request-Origin", origin)
		}
		return g.do("OPTIONS", path, h, nil)
	}
	a := ask("/cloudevents/shop", "eventgrid.azure.net")
	a.want(t, 200, `{"status":"granted"}`+"\n")
	for name, want := range map[string]string{"WebHook-Allowed-Origin": "eventgrid.azure.net", "WebHook-Allowed-Rate": "*", "Allow": "POST"} {
		a.header(t, name, want)
	}
	for _, origin := range []string{"example.org", ""} {
		a := ask("/cloudevents/shop", origin)
		a.refused(t, 405, "origin_refused")
		for name, want := range map[string]string{"WebHook-Allowed-Origin": "", "WebHook-Allowed-Rate": "", "Allow": "POST"} {
			a.header(t, name, want)
		}
	}
	ask("/github/acme", "eventgrid.azure.net").refused(t, 405, "method_not_allowed")
	within(t, "the source is in the log", func() bool { return strings.Contains(g.log.String(), "method=OPTIONS") })
	if !strings.Contains(g.log.String(), "source=cloudevents-shop") {
		t.Errorf("the log is %s", g.log)
	}
}

func TestCloudEvents_AClosedTriggerGrantsNothing(t *testing.T) {
	g := start(t)
	m := manifest()
	m.Triggers = []*deploy.Trigger{{Config: trigger.Config{Kind: trigger.CloudEvents}, Name: "shop", Path: "/cloudevents/shop", Closed: "its secret file is gone"}}
	g.catalog.Set(m)
	a := g.do("OPTIONS", "/cloudevents/shop", http.Header{"Webhook-Request-Origin": {"eventgrid.azure.net"}}, nil)
	a.refused(t, 503, "unavailable")
	a.header(t, "WebHook-Allowed-Origin", "")
	g.do("POST", "/cloudevents/shop", nil, strings.NewReader("{}")).refused(t, 503, "unavailable")
}

func TestCloudEvents_TheSampleIsAnEvent(t *testing.T) {
	g := shop(t)
	cfg := trigger.Config{Kind: trigger.CloudEvents, Secrets: []trigger.Secret{[]byte(secret)}}
	body := trigger.SampleFor(cfg, time.Now())
	h, err := trigger.Sign(cfg, body, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	h.Set(trigger.NameHeader(cfg), "order.created")
	if a := g.do("POST", "/cloudevents/shop", h, strings.NewReader(string(body))); a.StatusCode != 202 {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
	if e := g.event(); string(e.Body) != string(body) || e.Name != "order.created" {
		t.Errorf("the function got %s", e.Body)
	}
}
