package trigger_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

const eventID = "01M842QYXBY30YRMXP32G27KPE"

var accepted = time.Date(2026, 11, 23, 12, 30, 29, 547_000_000, time.FixedZone("", 3600))

func TestPayloadCloudEvent_TellsOfAnEventOfAnySender(t *testing.T) {
	push := trigger.Stored{ID: eventID, Source: "github-acme", Name: "push", Time: accepted, ContentType: "application/json", Body: []byte(`{"ref": "x", "commits": []}`)}
	fromForm := push
	fromForm.ContentType, fromForm.Body = formType, form(push.Body)
	traced := push
	traced.Traceparent, traced.Tracestate = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "vendor=1"
	call := trigger.Stored{ID: "FUNKER_EVENTS/42", Source: "a/b ü", ContentType: "application/json", Body: []byte(`[1]`)}
	for name, c := range map[string]struct {
		event trigger.Stored
		names []string
		want  string
	}{
		"JSON":      {push, nil, `{"specversion":"1.0","id":"` + eventID + `","source":"/github-acme","type":"push","time":"2026-11-23T11:30:29.547Z","datacontenttype":"application/json","data":{"ref": "x", "commits": []}}`},
		"traced":    {traced, nil, `{"specversion":"1.0","id":"` + eventID + `","source":"/github-acme","type":"push","time":"2026-11-23T11:30:29.547Z","datacontenttype":"application/json","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","tracestate":"vendor=1","data":{"ref": "x", "commits": []}}`},
		"a form":    {fromForm, nil, `{"specversion":"1.0","id":"` + eventID + `","source":"/github-acme","type":"push","time":"2026-11-23T11:30:29.547Z","datacontenttype":"application/json","data":{"ref": "x", "commits": []}}`},
		"members":   {push, []string{"commits"}, `{"specversion":"1.0","id":"` + eventID + `","source":"/github-acme","type":"push","time":"2026-11-23T11:30:29.547Z","datacontenttype":"application/json","data":{"commits": []}}`},
		"no member": {push, []string{}, `{"specversion":"1.0","id":"` + eventID + `","source":"/github-acme","type":"push","time":"2026-11-23T11:30:29.547Z","datacontenttype":"application/json","data":{}}`},
		"nameless":  {call, nil, `{"specversion":"1.0","id":"FUNKER_EVENTS/42","source":"/a%2Fb%20%C3%BC","type":"funker.request","datacontenttype":"application/json","data":[1]}`},
	} {
		if got, err := trigger.PayloadCloudEvent(c.event, c.names); err != nil || string(got) != c.want {
			t.Errorf("%s:\n got %s, %v\nwant %s", name, got, err, c.want)
		}
	}
	if _, err := trigger.PayloadCloudEvent(call, []string{"a"}); err == nil {
		t.Error("members of an array were found")
	}
}

func TestPayloadCloudEvent_OfACloudEventKeepsWhatItSaysOfItself(t *testing.T) {
	verify := newVerifier(t, cloudEventsConfig)
	structured := `{"type":"order.created", "x":7 ,"specversion":"1.0","source":"/shop","data":{"b":2, "a":1},"id":"7","time":"2018-04-05T03:56:24Z"}`
	encoded := `{"specversion":"1.0","id":"7","source":"/shop","type":"t","data_base64":"eyJhIjoxfQ==","datacontenttype":"application/json"}`
	more := []string{"ce-time", "2018-04-05T03:56:24Z", "ce-subject", "a%20%22b%22", "ce-traceparent", "00-1-2-00"}
	const attributes = `{"specversion":"1.0","id":"7","source":"/shop","type":"order.created","time":"2018-04-05T03:56:24Z",`
	for name, c := range map[string]struct {
		request trigger.Request
		names   []string
		want    string
	}{
		"structured":              {posted(structuredType, structured), nil, structured},
		"structured, members":     {posted(structuredType, structured), []string{"a"}, `{"type":"order.created","x":7,"specversion":"1.0","source":"/shop","id":"7","time":"2018-04-05T03:56:24Z","data":{"a":1}}`},
		"structured, as bytes":    {posted(structuredType, encoded), nil, encoded},
		"members of what is JSON": {posted(structuredType, encoded), []string{"a"}, `{"specversion":"1.0","id":"7","source":"/shop","type":"t","datacontenttype":"application/json","data":{"a":1}}`},
		"JSON":                    {binary("application/json", `{"b":2, "a":1}`, more...), nil, attributes + `"datacontenttype":"application/json","subject":"a \"b\"","traceparent":"00-1-2-00","data":{"b":2, "a":1}}`},
		"JSON, members":           {binary("application/json", `{"b":2, "a":1}`, more...), []string{"a"}, attributes + `"datacontenttype":"application/json","subject":"a \"b\"","traceparent":"00-1-2-00","data":{"a":1}}`},
		"text":                    {binary("text/plain", "<hello>", more...), nil, attributes + `"datacontenttype":"text/plain","subject":"a \"b\"","traceparent":"00-1-2-00","data":"<hello>"}`},
		"bytes":                   {binary("image/png", "\xff", more...), nil, attributes + `"datacontenttype":"image/png","subject":"a \"b\"","traceparent":"00-1-2-00","data_base64":"/w=="}`},
		"no data":                 {binary("", "", more...), nil, attributes + `"subject":"a \"b\"","traceparent":"00-1-2-00"}`},
	} {
		e, err := verify(t.Context(), c.request)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := trigger.PayloadCloudEvent(trigger.Stored{
			ID: eventID, Source: "cloudevents-shop", Name: e.Name, Form: e.Form, Time: accepted,
			ContentType: c.request.Header.Get("Content-Type"), Header: e.Header, Body: c.request.Body,
		}, c.names)
		if err != nil || string(got) != c.want {
			t.Errorf("%s:\n got %s, %v\nwant %s", name, got, err, c.want)
		}
	}
}

func TestPayloadCloudEvent_OfAFormThatIsNotKnownIsAnError(t *testing.T) {
	_, err := trigger.PayloadCloudEvent(trigger.Stored{Form: "newer", Body: []byte("{}")}, nil)
	wantRefusal(t, err, trigger.ReasonMalformed)
}

func TestPayloadCloudEvent_HasAlwaysWhatTheSpecificationDemands(t *testing.T) {
	verify := newVerifier(t, cloudEventsConfig)
	rapid.Check(t, func(rt *rapid.T) {
		data, err := json.Marshal(anyValue(2).Draw(rt, "data"))
		if err != nil {
			rt.Fatal(err)
		}
		source := rapid.StringN(0, 50, -1).Draw(rt, "source")
		got, err := trigger.PayloadCloudEvent(trigger.Stored{ID: eventID, Source: source, Name: rapid.StringMatching(`[\pL\pN\pP\pS ]{0,50}`).Draw(rt, "name"), Time: accepted, Body: data}, nil)
		if err != nil {
			rt.Fatal(err)
		}
		var e struct {
			ID, Source, Type, Time string
			Data                   json.RawMessage
		}
		if err := json.Unmarshal(got, &e); err != nil || e.ID != eventID || e.Type == "" || string(e.Data) != string(data) {
			rt.Fatalf("got %s, %v", got, err)
		}
		if u, err := url.Parse(e.Source); err != nil || u.Path != "/"+source || strings.ContainsAny(e.Source, " \"<>") {
			rt.Fatalf("the source %q is no URI-reference of %q: %v", e.Source, source, err)
		}
		if at, err := time.Parse(time.RFC3339, e.Time); err != nil || !at.Equal(accepted) {
			rt.Fatalf("the time is %q: %v", e.Time, err)
		}
		if _, err := verify(t.Context(), posted(structuredType, string(got))); err != nil {
			rt.Fatalf("an envelope is no event: %v", err)
		}
	})
}
