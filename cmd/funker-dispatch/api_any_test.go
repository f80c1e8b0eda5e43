package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/funker-dispatch/funker-dispatch/console/apitest"
	"github.com/funker-dispatch/funker-dispatch/funker"
)

// anybody makes requests from the description of the API, good and bad ones.
type anybody struct {
	gateway     gatewayUnderTest
	token       string
	description *apitest.Description
	ids         []string // of events, dead letters and replays, by id and by place
	names       []string // of functions, sources and triggers
}

// newAnybody starts a gateway that has events, calls, dead letters and a manifest which can be changed.
func newAnybody(t *testing.T) *anybody {
	t.Helper()
	w := &workshop{t: t, runs: map[string]int{}}
	s := serveStored(t)
	w.gatewayUnderTest = s.gatewayUnderTest
	manifest := "functions:\n"
	for _, f := range []string{"Saw", "File"} {
		manifest += fmt.Sprintf("  %s: {addresses: [%q], concurrency: 4, retry: {attempts: 1}}\n", f, w.start(f))
	}
	if code, _, stderr := s.apply(manifest + "triggers: [{github: acme, insecure: true, function: Saw}]\n"); code != exitOK {
		t.Fatal(stderr)
	}
	a := &anybody{gateway: s.gatewayUnderTest, description: description(t), names: []string{"Saw", "File", "github-acme", "http", "none"}}
	token, err := os.ReadFile(filepath.Join(s.data, tokenFile))
	if err != nil {
		t.Fatal(err)
	}
	a.token = strings.TrimSpace(string(token))
	for range 5 {
		w.cli("invoke", "Saw")
		a.ids = append(a.ids, w.send("File", `{"n":1}`))
	}
	w.fault.Store(&funker.Failure{Message: "the blade is broken"})
	for range 5 {
		id := w.send("Saw", `{"n":2}`)
		within(t, "it is dead", func() bool {
			code, _, _ := cli(t, w.args([]string{"dead", "show", id})...)
			return code == exitOK
		})
		a.ids = append(a.ids, id)
	}
	w.fault.Store(nil)
	a.ids = append(a.ids, "1", "FUNKER_EVENTS/2", "FUNKER_CALLS/1", "FUNKER_DEAD/1", "FUNKER_RETRY/1", "FUNKER_LOG/1", "01JZZZZZZZZZZZZZZZZZZZZZZZ")
	return a
}

// value draws one for a parameter: mostly one that its schema allows.
func (a *anybody) value(t *rapid.T, p apitest.Parameter) string {
	if rapid.IntRange(0, 4).Draw(t, "good") == 0 {
		return rapid.StringN(0, 20, 200).Draw(t, p.Name)
	}
	enum, _ := p.Schema["enum"].([]any)
	switch {
	case len(enum) > 0:
		return fmt.Sprint(rapid.SampledFrom(enum).Draw(t, p.Name))
	case p.Schema["format"] == "date-time":
		at := time.Now().Add(time.Duration(rapid.IntRange(-100, 100).Draw(t, p.Name)) * time.Second)
		return at.Format(rapid.SampledFrom([]string{time.RFC3339, time.RFC3339Nano}).Draw(t, "layout"))
	case p.Name == "timeout":
		return rapid.SampledFrom([]string{"100ms", "10s", "90s", "-1s"}).Draw(t, p.Name)
	case p.Name == "rate": // a low one takes long
		return fmt.Sprint(rapid.SampledFrom([]int{0, 1000, 100_000, 100_001}).Draw(t, p.Name))
	case p.Schema["type"] == "integer":
		return fmt.Sprint(rapid.IntRange(-1, 1001).Draw(t, p.Name))
	case p.Schema["type"] == "boolean":
		return rapid.SampledFrom([]string{"true", "false", "1"}).Draw(t, p.Name)
	case p.Name == "id":
		return rapid.SampledFrom(a.ids).Draw(t, p.Name)
	case p.Name == "cursor":
		return rapid.SampledFrom([]string{"", "RlVOS0VSX0VWRU5UUy8z", "RlVOS0VSX0RFQUQvMg", "eA"}).Draw(t, p.Name)
	case strings.HasPrefix(p.Name, "If-"):
		return rapid.SampledFrom([]string{"*", `"1"`, `"2", "3"`, `W/"1"`}).Draw(t, p.Name)
	}
	return rapid.SampledFrom(a.names).Draw(t, p.Name)
}

// request draws one for an operation.
func (a *anybody) request(ctx context.Context, t *rapid.T) *http.Request {
	o := rapid.SampledFrom(a.description.Operations).Draw(t, "operation")
	path, query, header := o.Path, url.Values{}, http.Header{}
	for _, p := range o.Parameters {
		switch {
		case p.In == "path":
			path = strings.ReplaceAll(path, "{"+p.Name+"}", url.PathEscape(a.value(t, p)))
		case rapid.IntRange(0, 2).Draw(t, "given") > 0:
		case p.In == "header":
			header.Set(p.Name, visible(a.value(t, p)))
		default:
			query.Add(p.Name, a.value(t, p))
		}
	}
	if rapid.IntRange(0, 19).Draw(t, "strange") == 0 {
		query.Add(rapid.String().Draw(t, "key"), "1")
	}
	method := o.Method
	if rapid.IntRange(0, 9).Draw(t, "other") == 0 {
		method = rapid.SampledFrom([]string{"HEAD", "PATCH", "PUT", "OPTIONS", "DELETE", "POST"}).Draw(t, "method")
	}
	body := rapid.SampledFrom([]string{"", oneTrigger, "functions: {Saw: {timeout: 5}}", "\x00", "- a\n- b", "functions: {}\nfunctions: {}", "a: &a [*a]"}).Draw(t, "body")
	r, err := http.NewRequestWithContext(ctx, method, a.gateway.admin+path+"?"+query.Encode(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	r.Header.Set("Authorization", "Bearer "+a.token)
	return r
}

// visible is what a header can have.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
}

// A path with dots is answered by a redirection, which is no answer of the API.
var asIs = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func TestAPI_AnswersAnyRequestAsItIsDescribed(t *testing.T) {
	a := newAnybody(t)
	statuses := map[int]int{}
	rapid.Check(t, func(rt *rapid.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		r := a.request(ctx, rt)
		resp, err := asIs.Do(r)
		if err != nil {
			rt.Fatal(err)
		}
		defer resp.Body.Close()
		statuses[resp.StatusCode]++
		if resp.StatusCode >= 301 && resp.StatusCode <= 308 && resp.StatusCode != 304 {
			return
		}
		var body []byte
		if resp.Header.Get("Content-Type") != "text/event-stream" { // which has no end
			if body, err = io.ReadAll(resp.Body); err != nil {
				rt.Fatal(err)
			}
		}
		if resp.StatusCode == http.StatusInternalServerError {
			rt.Errorf("%s %s: got %d %s", r.Method, r.URL, resp.StatusCode, body)
		}
		if err := a.description.Fault(r, resp.StatusCode, resp.Header, body); err != nil {
			rt.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
	})
	t.Logf("answers by status: %v", statuses)
	if statuses[200] == 0 || statuses[400] == 0 || statuses[404] == 0 {
		t.Errorf("not all kinds of requests were made: %v", statuses)
	}
	if log := a.gateway.log.String(); strings.Contains(log, "panic") || strings.Contains(log, `msg="admin request"`) {
		t.Errorf("the log has:\n%s", log)
	}
}
