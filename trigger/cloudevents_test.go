package trigger_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

const (
	structuredType = "application/cloudevents+json"
	batchedType    = "application/cloudevents-batch+json"
	orderCreated   = `{"specversion":"1.0","id":"7","source":"/shop","type":"order.created","data":{"order":1}}`
)

var (
	cloudEventsConfig = trigger.Config{Kind: trigger.CloudEvents, Secrets: []trigger.Secret{[]byte(secret)}}
	batchedConfig     = trigger.Config{Kind: trigger.CloudEvents, Secrets: cloudEventsConfig.Secrets, Batched: true}
)

// posted is a request with the right token; header are names and values in turn.
func posted(contentType, body string, header ...string) trigger.Request {
	h := http.Header{"Authorization": {"Bearer " + secret}}
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	for i := 0; i < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return trigger.Request{Header: h, Body: []byte(body), Time: received}
}

// binary is posted with the attributes that every event must have; of those that
// are in header the last one counts.
func binary(contentType, body string, header ...string) trigger.Request {
	r := posted(contentType, body)
	all := append([]string{"ce-specversion", "1.0", "ce-id", "7", "ce-source", "/shop", "ce-type", "order.created"}, header...)
	for i := 0; i < len(all); i += 2 {
		r.Header.Set(all[i], all[i+1])
	}
	return r
}

// envelopeOf is what a function with payload: cloudevents gets of a verified
// request, decoded.
func envelopeOf(t testing.TB, e trigger.Event, r trigger.Request, input ...string) map[string]any {
	t.Helper()
	out, err := trigger.PayloadCloudEvent(trigger.Stored{
		ID: "01M842QYXBY30YRMXP32G27KPE", Source: "cloudevents-shop", Name: e.Name, Form: e.Form,
		ContentType: r.Header.Get("Content-Type"), Header: e.Header, Body: r.Body,
	}, input)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	return all
}

func TestCloudEvents_AcceptsBothModes(t *testing.T) {
	verify := newVerifier(t, cloudEventsConfig)
	for name, c := range map[string]struct {
		request trigger.Request
		payload string
	}{
		"structured":                    {posted(structuredType, orderCreated), `{"order":1}`},
		"structured with parameters":    {posted("Application/CloudEvents+JSON; charset=UTF-8", orderCreated), `{"order":1}`},
		"structured with other headers": {posted(structuredType, orderCreated, "ce-id", "8", "ce-id", "9"), `{"order":1}`},
		"binary":                        {binary("application/json; charset=utf-8", `{"order":1}`), `{"order":1}`},
		"binary without a type":         {binary("", `{"order":1}`), `{"order":1}`},
		"binary, a subtype of JSON":     {binary("application/vnd.order+json", `{"order":1}`), `{"order":1}`},
		"binary, text/json":             {binary("text/json", `[1]`), `[1]`},
		"binary text":                   {binary("text/plain; charset=\"utf-8\"", "a \"ü\"<&>\n"), `"a \"ü\"<&>\n"`},
		"binary XML":                    {binary("application/atom+xml", "<a/>"), `"<a/>"`},
		"binary form":                   {binary(formType, "a=1"), `"a=1"`},
		"binary, text that is empty":    {binary("text/plain", ""), `""`},
		"binary bytes":                  {binary("image/png", "\x89PNG\x00"), `"iVBORwA="`},
		"binary without data":           {binary("", ""), `null`},
		"binary, JSON without data":     {binary("application/json", ""), `null`},
	} {
		e, err := verify(t.Context(), c.request)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if e.Name != "order.created" || e.Identity != "/shop\n7" || e.Answer != trigger.AnswerStored {
			t.Errorf("%s: got %+v", name, e)
		}
		payload, err := trigger.Payload(e.Form, c.request.Header.Get("Content-Type"), c.request.Body)
		if err != nil || string(payload) != c.payload {
			t.Errorf("%s: payload %s, %v; want %s", name, payload, err, c.payload)
		}
	}
}

func TestCloudEvents_DataOfAStructuredEventIsThePayload(t *testing.T) {
	verify := newVerifier(t, cloudEventsConfig)
	for member, want := range map[string]string{
		`"data":{"a":1}`:               `{"a":1}`,
		`"data" : [1, 2] `:             `[1, 2]`,
		`"data":"text"`:                `"text"`,
		`"data":null`:                  `null`,
		`"extension":"x"`:              `null`,
		`"data_base64":"aGVsbG8="`:     `"aGVsbG8="`,
		`"data_base64":"aGVs\u0062G8"`: "",
		`"data_base64":null,"data":1`:  `1`,
		`"data_base64":""`:             `""`,
		`"data\u005fbase64":"aGVsbG8\u003d","datacontenttype":"text/plain"`: `"hello"`,
		`"data_base64":"eyJhIjoxfQ==","datacontenttype":"application/json"`: `{"a":1}`,
		`"data_base64":"aGVsbG8=","datacontenttype":"application/json"`:     "",
		`"data_base64":"/w==","datacontenttype":"text/plain"`:               "",
		`"data_base64":"","datacontenttype":"application/json"`:             `null`,
		`"data":"<a/>","datacontenttype":"application/xml"`:                 `"<a/>"`,
		`"data":1,"datacontenttype":null`:                                   `1`,
	} {
		body := `{"specversion":"1.0","id":"7","source":"/shop","type":"t",` + member + `}`
		e, err := verify(t.Context(), posted(structuredType, body))
		if want == "" {
			if err == nil {
				t.Errorf("%s was accepted", member)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", member, err)
			continue
		}
		if got, err := trigger.Payload(e.Form, structuredType, []byte(body)); err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v; want %s", member, got, err, want)
		}
	}
}

func TestCloudEvents_RefusesWhatIsNoEvent(t *testing.T) {
	verify := newVerifier(t, batchedConfig)
	with := func(old, replacement string) trigger.Request {
		return posted(structuredType, strings.Replace(orderCreated, old, replacement, 1))
	}
	for name, c := range map[string]struct {
		request trigger.Request
		want    trigger.Reason
	}{
		"another format":                 {posted("application/cloudevents+avro", orderCreated), trigger.ReasonContentType},
		"no format":                      {posted("application/cloudevents", orderCreated), trigger.ReasonContentType},
		"a batch in another format":      {posted("application/cloudevents-batch+xml", "[]"), trigger.ReasonContentType},
		"nothing of an event":            {posted("application/json", orderCreated), trigger.ReasonMalformed},
		"empty":                          {posted(structuredType, ""), trigger.ReasonEmpty},
		"not JSON":                       {posted(structuredType, orderCreated[1:]), trigger.ReasonSyntax},
		"two values":                     {posted(structuredType, orderCreated+"1"), trigger.ReasonSyntax},
		"not UTF-8":                      {with("order", "\xff"), trigger.ReasonEncoding},
		"too deep":                       {with(`{"order":1}`, strings.Repeat("[", 600)+strings.Repeat("]", 600)), trigger.ReasonDepth},
		"no object":                      {posted(structuredType, "["+orderCreated+"]"), trigger.ReasonMalformed},
		"another version":                {with("1.0", "0.3"), trigger.ReasonMalformed},
		"a version that is a number":     {with(`"1.0"`, "1.0"), trigger.ReasonMalformed},
		"an empty id":                    {with(`"7"`, `""`), trigger.ReasonMalformed},
		"an id that is null":             {with(`"7"`, `null`), trigger.ReasonMalformed},
		"no source":                      {with("source", "sources"), trigger.ReasonMalformed},
		"a type with a line end":         {with("order.created", `order\n`), trigger.ReasonMalformed},
		"an id that is long":             {with(`"7"`, `"`+strings.Repeat("7", 513)+`"`), trigger.ReasonMalformed},
		"a source that is long":          {with(`/shop`, strings.Repeat("s", 2049)), trigger.ReasonMalformed},
		"another case":                   {with("type", "Type"), trigger.ReasonMalformed},
		"an id twice":                    {with("{", `{"id":"8",`), trigger.ReasonMalformed},
		"an id twice, once null":         {with("{", `{"i\u0064":null,`), trigger.ReasonMalformed},
		"data twice":                     {with("{", `{"data":1,`), trigger.ReasonMalformed},
		"two kinds of data":              {with("{", `{"data_base64":"",`), trigger.ReasonMalformed},
		"base64 that is none":            {with(`"data":{"order":1}`, `"data_base64":"*"`), trigger.ReasonMalformed},
		"base64 of another alphabet":     {with(`"data":{"order":1}`, `"data_base64":"_w=="`), trigger.ReasonMalformed},
		"base64 that is no string":       {with(`"data":{"order":1}`, `"data_base64":[]`), trigger.ReasonMalformed},
		"binary, another version":        {binary("", "1", "ce-specversion", "1.1"), trigger.ReasonMalformed},
		"binary, no id":                  {binary("", "1", "ce-id", ""), trigger.ReasonMalformed},
		"binary, a type of the data":     {binary("", "1", "ce-datacontenttype", "text/plain"), trigger.ReasonMalformed},
		"binary, not JSON":               {binary("application/json", "<a/>"), trigger.ReasonSyntax},
		"binary, a text that is Latin-1": {binary("text/plain", "\xe4"), trigger.ReasonEncoding},
		"binary, a text in UTF-16":       {binary("text/plain; CHARSET=UTF-16", "a\x00"), trigger.ReasonEncoding},
		"binary, an odd name":            {binary("", "1", "ce-a-b", "x"), trigger.ReasonMalformed},
		"binary, no name":                {binary("", "1", "ce-", "x"), trigger.ReasonMalformed},
		"binary, much":                   {binary("", "1", attributesOf(9)...), trigger.ReasonMalformed},
		"a batch that is no array":       {posted(batchedType, orderCreated), trigger.ReasonMalformed},
		"a batch that is empty":          {posted(batchedType, ""), trigger.ReasonEmpty},
		"a batch that ends early":        {posted(batchedType, "["+orderCreated), trigger.ReasonSyntax},
		"a batch of something else":      {posted(batchedType, "["+orderCreated+",1]"), trigger.ReasonMalformed},
		"a large batch":                  {posted(batchedType, "["+strings.Repeat(orderCreated+",", 5000)+orderCreated+"]"), trigger.ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verify(t.Context(), c.request)
			wantRefusal(t, err, c.want)
			wantHidden(t, err, secret[:8])
		})
	}
	r := binary("", "1")
	r.Header.Add("ce-id", "7")
	_, err := verify(t.Context(), r)
	wantRefusal(t, err, trigger.ReasonMalformed)
}

// attributesOf are n headers that are as long as an attribute may be.
func attributesOf(n int) (header []string) {
	for i := range n {
		header = append(header, fmt.Sprintf("ce-x%d", i), strings.Repeat("x", 2048))
	}
	return header
}

func TestCloudEvents_TheTokenIsInTheHeaderOrInTheQuery(t *testing.T) {
	cfg := cloudEventsConfig
	cfg.Secrets = append(cfg.Secrets, trigger.Secret("the next one"))
	verify := newVerifier(t, cfg)
	for name, c := range map[string]struct {
		header []string
		query  []string
		want   trigger.Reason
	}{
		"header":                   {[]string{"Bearer " + secret}, nil, ""},
		"header, another secret":   {[]string{"bearer the next one"}, nil, ""},
		"query":                    {nil, []string{secret}, ""},
		"nothing":                  {nil, nil, trigger.ReasonUnsigned},
		"another scheme":           {[]string{"Basic " + secret}, nil, trigger.ReasonUnsigned},
		"an empty header":          {[]string{"Bearer "}, nil, trigger.ReasonUnsigned},
		"a wrong header":           {[]string{"Bearer " + secret + "x"}, nil, trigger.ReasonForged},
		"a header that is short":   {[]string{"Bearer " + secret[1:]}, nil, trigger.ReasonForged},
		"another case":             {[]string{"Bearer " + strings.ToUpper(secret)}, nil, trigger.ReasonForged},
		"the header twice":         {[]string{"Bearer " + secret, "Bearer " + secret}, nil, trigger.ReasonForged},
		"an empty query":           {nil, []string{""}, trigger.ReasonUnsigned},
		"a wrong query":            {nil, []string{secret[:5]}, trigger.ReasonForged},
		"the query twice":          {nil, []string{secret, secret}, trigger.ReasonForged},
		"both":                     {[]string{"Bearer " + secret}, []string{secret}, trigger.ReasonForged},
		"a header beside a query":  {[]string{""}, []string{secret}, trigger.ReasonForged},
		"a wrong one and a right":  {[]string{"Bearer x"}, []string{secret}, trigger.ReasonForged},
		"both secrets in one":      {nil, []string{secret + "the next one"}, trigger.ReasonForged},
		"the scheme in the query":  {nil, []string{"Bearer " + secret}, trigger.ReasonForged},
		"two tokens in one header": {[]string{"Bearer " + secret + ", Bearer " + secret}, nil, trigger.ReasonForged},
	} {
		r := posted(structuredType, orderCreated)
		r.Header.Del("Authorization")
		for _, h := range c.header {
			r.Header.Add("Authorization", h)
		}
		if c.query != nil {
			r.Query = url.Values{"access_token": c.query, "other": {"x"}}
		}
		_, err := verify(t.Context(), r)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if got := reasonOf(t, err); got != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
		wantHidden(t, err, secret[:8])
	}
}

func TestCloudEvents_ChecksTheTokenBeforeItReadsAnything(t *testing.T) {
	r := posted(structuredType, "not JSON", "ce-id", "%")
	r.Header.Set("Authorization", "Bearer x")
	_, err := newVerifier(t, cloudEventsConfig)(t.Context(), r)
	wantRefusal(t, err, trigger.ReasonForged)
}

func TestCloudEvents_NeedsNoTokenWhenItIsInsecure(t *testing.T) {
	verify := newVerifier(t, trigger.Config{Kind: trigger.CloudEvents, Insecure: true})
	r := posted(structuredType, orderCreated)
	r.Header.Del("Authorization")
	if e, err := verify(t.Context(), r); err != nil || e.Identity != "/shop\n7" {
		t.Errorf("got %+v, %v", e, err)
	}
}

func TestCloudEvents_AttributesAreDecodedOnce(t *testing.T) {
	verify := newVerifier(t, cloudEventsConfig)
	for sent, want := range map[string]string{
		"plain":                             "plain",
		"Euro%20%E2%82%AC%20%F0%9F%98%80":   "Euro € 😀",
		"Euro%20%e2%82%ac":                  "Euro €",
		"%45uro":                            "Euro",
		"100%2525":                          "100%25",
		"Euro €":                            "Euro €",
		`"two words"`:                       "two words",
		`"a \"quoted\" \\ word%20\%20more"`: `a "quoted" \ word  more`,
		`"%22"`:                             `"`,
		`say "hi"`:                          `say "hi"`,
		`""`:                                "",
		"a+b":                               "a+b",
	} {
		r := binary("application/json", "1", "ce-subject", sent)
		e, err := verify(t.Context(), r)
		if err != nil {
			t.Errorf("%s: %v", sent, err)
			continue
		}
		if got := envelopeOf(t, e, r)["subject"]; got != want {
			t.Errorf("%s: got %q, want %q", sent, got, want)
		}
	}
	for _, sent := range []string{
		"%C0%A0", "%c0%a0", "%ED%A0%80", "%F5%80%80%80", "%FF", "\xff", "%", "%2", "%zz", "a%00", "%0A", "%7f", "%C2%85",
		`"`, `"open`, `"a"b`, `"a\"`, strings.Repeat("x", 2049), strings.Repeat("%20", 2049),
	} {
		_, err := verify(t.Context(), binary("application/json", "1", "ce-subject", sent))
		if err == nil {
			t.Errorf("%.20q was accepted", sent)
			continue
		}
		wantRefusal(t, err, trigger.ReasonMalformed)
	}
}

// encodeValue is the encoding of the specification, with more of it than necessary.
func encodeValue(t *rapid.T, text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c <= ' ' || c == '"' || c == '%' || c > '~' || rapid.Bool().Draw(t, "escape") {
			fmt.Fprintf(&b, rapid.SampledFrom([]string{"%%%02X", "%%%02x"}).Draw(t, "case"), c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func TestCloudEvents_BothModesAreTheSameEvent(t *testing.T) {
	verify := newVerifier(t, cloudEventsConfig)
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.StringMatching(`[\pL\pN\pP\pS ]{1,20}`)
		want := map[string]string{"specversion": "1.0", "id": text.Draw(rt, "id"), "source": text.Draw(rt, "source"), "type": text.Draw(rt, "type")}
		maps.Copy(want, rapid.MapOfN(rapid.StringMatching(`x[a-z0-9]{0,9}`), text, 0, 5).Draw(rt, "extensions"))
		data, err := json.Marshal(anyValue(2).Draw(rt, "data"))
		if err != nil {
			rt.Fatal(err)
		}
		r := posted("application/json", string(data))
		structured := map[string]any{"data": json.RawMessage(data), "datacontenttype": "application/json"}
		for name, value := range want {
			r.Header.Set("ce-"+name, encodeValue(rt, value))
			structured[name] = value
		}
		body, err := json.Marshal(structured)
		if err != nil {
			rt.Fatal(err)
		}
		one, err := verify(t.Context(), r)
		if err != nil {
			rt.Fatal(err)
		}
		other := posted(structuredType, string(body))
		two, err := verify(t.Context(), other)
		if err != nil {
			rt.Fatal(err)
		}
		if one.Identity != two.Identity || one.Name != two.Name || one.Name != want["type"] {
			rt.Fatalf("got %+v and %+v", one, two)
		}
		if a, b := envelopeOf(t, one, r), envelopeOf(t, two, other); !reflect.DeepEqual(a, b) {
			rt.Fatalf("got %v and %v", a, b)
		}
	})
}

func TestCloudEvents_EachEventOfABatchIsARecord(t *testing.T) {
	verify := newVerifier(t, batchedConfig)
	second := `{"data_base64":"aGVsbG8=","id":"2","source":"/s","specversion":"1.0","type":"t"}`
	got, err := verify(t.Context(), posted(batchedType+"; charset=utf-8", " [ "+orderCreated+" ,\n"+second+"]"))
	want := []trigger.Record{
		{Name: "order.created", Identity: "/shop\n7", Form: got.Records[0].Form, Body: []byte(orderCreated)},
		{Name: "t", Identity: "/s\n2", Form: got.Records[0].Form, Body: []byte(second)},
	}
	if err != nil || got.Answer != trigger.AnswerStored || !reflect.DeepEqual(got.Records, want) {
		t.Fatalf("got %+v, %v", got, err)
	}
	for i, payload := range []string{`{"order":1}`, `"aGVsbG8="`} {
		if p, err := trigger.Payload(want[i].Form, "application/json", want[i].Body); err != nil || string(p) != payload {
			t.Errorf("got %s, %v; want %s", p, err, payload)
		}
	}
	_, err = verify(t.Context(), posted(batchedType, "["+orderCreated+`,{"specversion":"1.0"}]`))
	wantRefusal(t, err, trigger.ReasonMalformed)
	if !strings.Contains(err.Error(), "event 2 of the batch") {
		t.Errorf("got %v, want the number of the event", err)
	}
}

func TestCloudEvents_AnEmptyBatchHasNoRecords(t *testing.T) {
	got, err := newVerifier(t, batchedConfig)(t.Context(), posted(batchedType, " [ ]"))
	if err != nil || got.Records == nil || len(got.Records) != 0 {
		t.Errorf("got %+v, %v; want records, and none of them", got, err)
	}
}

func TestCloudEvents_TakesBatchesOnlyWhereTheyAreWanted(t *testing.T) {
	_, err := newVerifier(t, cloudEventsConfig)(t.Context(), posted(batchedType, "[]"))
	wantRefusal(t, err, trigger.ReasonContentType)
}

func TestCloudEvents_SignsWhatItVerifies(t *testing.T) {
	verify := newVerifier(t, batchedConfig)
	sample := string(trigger.Sample(trigger.CloudEvents))
	for body, contentType := range map[string]string{
		sample: "application/json", `{"a":1}`: "application/json", `1`: "application/json",
		orderCreated: structuredType, " [" + orderCreated + "]": batchedType,
	} {
		h := sign(t, batchedConfig, []byte(body))
		if _, err := verify(t.Context(), trigger.Request{Header: h, Body: []byte(body)}); err != nil || h.Get("Content-Type") != contentType {
			t.Errorf("%s as %s: %v", body, h.Get("Content-Type"), err)
		}
	}
	one, two := sign(t, cloudEventsConfig, []byte("[1]")), sign(t, cloudEventsConfig, []byte("[1]"))
	if one.Get("ce-id") == "" || one.Get("ce-id") == two.Get("ce-id") || one.Get("ce-time") != "2026-11-02T08:30:01Z" {
		t.Errorf("got %v and %v", one, two)
	}
	h := sign(t, trigger.Config{Kind: trigger.CloudEvents, Insecure: true}, []byte("1"))
	if h.Get("Authorization") != "" || trigger.NameHeader(trigger.Config{Kind: trigger.CloudEvents}) != "Ce-Type" {
		t.Errorf("got %v", h)
	}
	first, second := trigger.SampleFor(cloudEventsConfig, received), trigger.SampleFor(cloudEventsConfig, received)
	if string(first) == string(second) || !strings.Contains(string(first), "2026-11-02T08:30:01Z") || !json.Valid(first) {
		t.Errorf("samples are equal or not of now: %s", first)
	}
}

func TestCloudEvents_AgreesWithTheExamples(t *testing.T) {
	verify := newVerifier(t, batchedConfig)
	for name, data := range extraFiles(t, "FUNKER_TEST_PAYLOADS", "cloudevents/structured.json") {
		if e, err := verify(t.Context(), posted(structuredType, string(data))); err != nil || e.Identity != "/mycontext/subcontext\n1234-1234-1234" {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
	for name, data := range extraFiles(t, "FUNKER_TEST_PAYLOADS", "cloudevents/batch.json") {
		if e, err := verify(t.Context(), posted(batchedType, string(data))); err != nil || len(e.Records) != 2 {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
	for name, data := range extraFiles(t, "FUNKER_TEST_PAYLOADS", "cloudevents/binary-exchange.json") {
		var v struct {
			Body    json.RawMessage
			Headers map[string]string
			Subject string `json:"decoded_subject"`
			Reject  []struct{ Header, Value, Why string }
		}
		if err := json.Unmarshal(data, &v); err != nil || len(v.Reject) == 0 {
			t.Fatalf("%s: %v", name, err)
		}
		request := func() trigger.Request {
			r := posted("", string(v.Body))
			for name, value := range v.Headers {
				r.Header.Set(name, value)
			}
			return r
		}
		r := request()
		e, err := verify(t.Context(), r)
		if err != nil || envelopeOf(t, e, r)["subject"] != v.Subject {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
		for _, bad := range v.Reject {
			r := request()
			r.Header.Set(bad.Header, bad.Value)
			if _, err := verify(t.Context(), r); err == nil {
				t.Errorf("%s: accepted %s", name, bad.Why)
			}
		}
	}
}

func TestConsent_AgreesWithTheHandshakeOfTheExamples(t *testing.T) {
	for name, data := range extraFiles(t, "FUNKER_TEST_PAYLOADS", "cloudevents/webhook-handshake.json") {
		var v struct {
			Request struct{ Headers map[string]string }
			Grant   struct{ Headers map[string]string } `json:"response_grant"`
		}
		if err := json.Unmarshal(data, &v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		request := http.Header{}
		for name, value := range v.Request.Headers {
			request.Set(name, value)
		}
		got, ok := trigger.Consent(trigger.Config{}, request)
		if origin := v.Grant.Headers["WebHook-Allowed-Origin"]; !ok || origin == "" || got.Get("WebHook-Allowed-Origin") != origin || got.Get("WebHook-Allowed-Rate") == "" {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestConsent_IsGivenToTheOriginsOfTheTrigger(t *testing.T) {
	some := trigger.Config{Origins: []string{"eventgrid.azure.net", "emitter.example.org"}}
	for name, c := range map[string]struct {
		cfg     trigger.Config
		origins []string
		want    bool
	}{
		"everybody":           {trigger.Config{}, []string{"eventgrid.azure.net"}, true},
		"one of some":         {some, []string{"emitter.example.org"}, true},
		"in other letters":    {some, []string{"EventGrid.Azure.net"}, true},
		"none of them":        {some, []string{"example.org"}, false},
		"the end of one":      {some, []string{"azure.net"}, false},
		"nobody":              {trigger.Config{}, nil, false},
		"an empty name":       {trigger.Config{}, []string{""}, false},
		"two":                 {some, []string{"eventgrid.azure.net", "emitter.example.org"}, false},
		"a star":              {trigger.Config{}, []string{"*"}, false},
		"a URL":               {trigger.Config{}, []string{"https://a.example.org"}, false},
		"a name that is long": {trigger.Config{}, []string{strings.Repeat("a", 256)}, false},
	} {
		request := http.Header{}
		for _, o := range c.origins {
			request.Add("WebHook-Request-Origin", o)
		}
		answer, ok := trigger.Consent(c.cfg, request)
		if ok != c.want {
			t.Errorf("%s: got %v, %v", name, answer, ok)
		}
		if ok && (answer.Get("WebHook-Allowed-Origin") != c.origins[0] || answer.Get("WebHook-Allowed-Rate") != "*") {
			t.Errorf("%s: got %v", name, answer)
		}
		if !ok && answer != nil {
			t.Errorf("%s: a refusal has the headers %v", name, answer)
		}
	}
}

func FuzzCloudEvents(f *testing.F) {
	f.Add(structuredType, "", []byte(orderCreated))
	f.Add(structuredType, "", []byte(`{"specversion":"1.0","id":"\ud800","source":"s","type":"t","data_base64":"aA==","datacontenttype":"text/plain"}`))
	f.Add(batchedType, "", []byte("["+orderCreated+","+orderCreated+"]"))
	f.Add("text/plain", "Euro%20%E2%82%AC", []byte("hello"))
	f.Add("image/png", `"a\"b"`, []byte{0xff})
	f.Add("", "%C0%A0", []byte("{}"))
	verify := newVerifier(f, batchedConfig)
	f.Fuzz(func(t *testing.T, contentType, subject string, body []byte) {
		r := binary(contentType, string(body), "ce-subject", subject)
		e, err := verify(t.Context(), r)
		if err != nil {
			reasonOf(t, err)
			return
		}
		if e.Records == nil {
			readable(t, e, r)
		}
		for _, record := range e.Records {
			r.Body = record.Body
			readable(t, trigger.Event{Name: record.Name, Identity: record.Identity, Form: record.Form}, r)
		}
	})
}

// readable checks that a function can read both of what it may get, and that they agree.
func readable(t *testing.T, e trigger.Event, r trigger.Request) {
	t.Helper()
	payload, err := trigger.Payload(e.Form, r.Header.Get("Content-Type"), r.Body)
	if err != nil || trigger.CheckJSON(payload) != nil || e.Name == "" || len(e.Identity) < 3 {
		t.Fatalf("accepted %+v with the payload %q, %v", e, payload, err)
	}
	all := envelopeOf(t, e, r)
	for _, name := range []string{"specversion", "id", "source", "type"} {
		if text, ok := all[name].(string); !ok || text == "" {
			t.Fatalf("%s is %v", name, all[name])
		}
	}
	if all["type"] != e.Name || fmt.Sprintf("%s\n%s", all["source"], all["id"]) != e.Identity {
		t.Fatalf("got %v of %+v", all, e)
	}
}
