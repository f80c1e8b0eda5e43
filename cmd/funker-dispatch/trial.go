package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/funker-dispatch/funker-dispatch/console"
	"github.com/funker-dispatch/funker-dispatch/deploy"
	"github.com/funker-dispatch/funker-dispatch/queue"
	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// trialLimit is how long a test request, or a function that is called in its place, may take.
const trialLimit = 30 * time.Second

// trials sends the test requests of the admin side.
//
//	signed like a sender's ── HTTP, over TLS if it has it ──▶ the public listener of this gateway
//	what nobody here can sign ── verified with a key that is thrown away ──▶ call of a function
type trials struct {
	catalog *deploy.Catalog
	queue   *queue.Queue
	public  *listener
	domain  string // under which the listener has its certificate; "": none is known
}

// Ready implements console.Tests.
func (t *trials) Ready(source string) (console.Ready, error) {
	d, err := t.trigger(source)
	if err != nil {
		return console.Ready{}, err
	}
	r := console.Ready{Source: source, Kind: d.Kind, EventHeader: trigger.NameHeader(d.Config), Functions: t.functions(d)}
	for _, ready := range trigger.ReadyFor(d.Config) {
		r.Bodies = append(r.Bodies, console.ReadyToSend{Title: ready.Title, Body: string(ready.Body)})
	}
	if _, err := signed(d, trigger.SampleFor(d.Config, time.Now()), "", time.Now()); err != nil {
		r.Unsigned = err.Error()
	}
	return r, nil
}

// Send implements console.Tests. It goes on when whoever asked has gone.
func (t *trials) Send(ctx context.Context, in console.Test) (console.Tested, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), trialLimit)
	defer cancel()
	d, err := t.trigger(in.Source)
	if err != nil {
		return console.Tested{}, err
	}
	now := time.Now()
	body := trigger.Fill(d.Config, in.Body, now)
	if err := checkTrial(d, body); err != nil {
		return console.Tested{}, badBody(err)
	}
	if in.Function != "" {
		return t.call(ctx, d, in.Function, body, now)
	}
	r, err := signed(d, body, in.Event, now)
	if err != nil {
		return console.Tested{}, &console.Problem{Status: http.StatusConflict, Code: "cannot_sign", Detail: err.Error()}
	}
	return t.post(ctx, d, r)
}

func (t *trials) trigger(source string) (*deploy.Trigger, error) {
	var known []string
	for _, d := range t.catalog.Manifest().Triggers {
		known = append(known, d.Source())
		if d.Source() != source {
			continue
		}
		if d.Closed != "" {
			return nil, &console.Problem{Status: http.StatusConflict, Code: "trigger_closed", Detail: "this trigger is closed: " + d.Closed}
		}
		return d, nil
	}
	return nil, &console.Problem{Status: http.StatusNotFound, Code: "no_trigger", Detail: "there is no such trigger in the manifest; it has: " + strings.Join(known, ", ")}
}

// functions are those that the trigger may run, likely ones first.
func (t *trials) functions(d *deploy.Trigger) []string {
	names := []string{}
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, route := range d.Routes {
		add(route.Function)
	}
	if d.Kind == trigger.Alexa { // any function may have the name of an intent
		for _, intent := range slices.Sorted(maps.Keys(d.Intents)) {
			add(d.Intents[intent])
		}
		add(d.Function)
		for _, f := range t.catalog.Manifest().Functions {
			add(f.Name)
		}
	}
	return names
}

// checkTrial refuses a slip of the keyboard before the gateway counts it for a request of the sender. Slack sends forms too, and raw
// messages of SNS are any text.
func checkTrial(d *deploy.Trigger, body []byte) error {
	isObject := bytes.HasPrefix(bytes.TrimSpace(body), []byte("{"))
	if (d.Kind == trigger.Slack || d.RawDelivery) && !isObject && len(body) > 0 {
		return nil
	}
	err := trigger.CheckJSON(body)
	if syntax := new(json.SyntaxError); errors.As(json.Unmarshal(body, new(json.RawMessage)), &syntax) && len(bytes.TrimSpace(body)) > 0 {
		line, column := place(body, int(syntax.Offset))
		return fmt.Errorf("the body is no JSON: line %d, column %d: %w", line, column, syntax)
	}
	return err
}

// place is where the byte before an offset is, from 1 on; columns are in characters.
func place(text []byte, offset int) (line, column int) {
	before := text[:min(max(offset-1, 0), len(text))]
	begin := bytes.LastIndexByte(before, '\n') + 1
	return bytes.Count(before, []byte("\n")) + 1, len([]rune(string(before[begin:]))) + 1
}

func badBody(err error) error {
	detail := err.Error()
	if e := new(trigger.Error); errors.As(err, &e) {
		detail = e.Detail
	}
	return &console.Problem{Status: http.StatusBadRequest, Code: "bad_body", Detail: detail}
}

// post sends a request the way that the sender's come, to the listener of this process.
func (t *trials) post(ctx context.Context, d *deploy.Trigger, r request) (console.Tested, error) {
	client := t.client()
	defer client.CloseIdleConnections()
	r.url = t.base() + d.Path
	begin := time.Now()
	a, err := r.sendBy(ctx, client)
	if err != nil {
		return console.Tested{}, &console.Problem{
			Status: http.StatusServiceUnavailable, Code: "unavailable", Detail: "the public listener of this gateway did not answer: " + err.Error(),
		}
	}
	return console.Tested{
		URL: r.url, Sent: slices.Sorted(maps.Keys(r.header)), Body: string(r.body),
		Status: a.code, Headers: telling(a.header), Answer: string(a.body), Events: eventsOf(a), Took: time.Since(begin),
	}, nil
}

// base is the beginning of the URL of a request.
func (t *trials) base() string {
	if t.domain != "" {
		return "https://" + t.domain
	}
	host, port := hostPort(t.public)
	address := net.JoinHostPort(cmp.Or(host, "127.0.0.1"), fmt.Sprint(port))
	if t.public.tls {
		return "https://" + address
	}
	return "http://" + address
}

// client reaches the listener of this process whatever the URL says, and follows nothing. Who it talks to is certain, and so is
// nobody in between. What senders think of the certificate is not tried: it may be for a name that leads here only from
// outside.
func (t *trials) client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", t.public.Addr().String())
			},
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// telling are the headers of an answer that say something of the event.
func telling(h http.Header) map[string]string {
	lines := map[string]string{}
	for name := range h {
		switch {
		case strings.HasPrefix(name, "Funker-"), name == "Content-Type", name == "Location", name == "Retry-After", name == "X-Slack-No-Retry":
			lines[name] = oneLine(h.Get(name))
		}
	}
	return lines
}

// eventsOf are the events that an answer names: a list where there are several, else the one in the header.
func eventsOf(a answer) []string {
	ids := []string{}
	var several struct{ Events []struct{ ID string } }
	if json.Unmarshal(a.body, &several) == nil {
		for _, e := range several.Events {
			ids = append(ids, e.ID)
		}
	}
	if id := a.header.Get("Funker-Event-Id"); id != "" && !slices.Contains(ids, id) {
		ids = append(ids, id)
	}
	return ids
}

// call gives a function what an event of the trigger would bring it, and waits for the reply, as the command invoke does.
func (t *trials) call(ctx context.Context, d *deploy.Trigger, function string, body []byte, now time.Time) (console.Tested, error) {
	event, contentType, err := pretended(ctx, d.Config, body, now)
	if err != nil {
		return console.Tested{}, badBody(err)
	}
	if event.Answer == trigger.AnswerControl {
		return console.Tested{}, badBody(errors.New("this is a message for setting up: it is answered, and no function runs for it"))
	}
	if err := t.queue.HasFunction(ctx, function); err != nil {
		return console.Tested{}, err
	}
	e := &queue.Event{Source: "test", Function: function, Name: event.Name, Form: event.Form, ContentType: contentType, Body: body}
	if len(event.Records) > 0 { // a function gets one at a time
		first := event.Records[0]
		e.Name, e.Form, e.Body, e.ContentType = first.Name, first.Form, first.Body, "application/json"
	}
	e.ID = queue.NewID()
	e.Deadline = now.Add(trialLimit)
	if f, ok := t.catalog.Manifest().Function(function); ok {
		e.Patient = f.Image != "" // its next task may be starting
		e.Deadline = now.Add(min(f.Timeout, trialLimit))
	}
	tested := console.Tested{Function: function, Body: string(body), Events: []string{e.ID}}
	reply, err := t.queue.Call(context.WithoutCancel(ctx), e) // the deadline is that of the call
	tested.Answer, tested.Took = string(reply), time.Since(now)
	if failed := new(queue.CallError); errors.As(err, &failed) {
		tested.Failed = failed.Message
		return tested, nil
	}
	return tested, err
}

// pretended is the event of a body as if its sender had signed it. It is signed here with a key that nobody else has, for a copy of the
// trigger that takes it. All else is checked as ever.
func pretended(ctx context.Context, cfg trigger.Config, body []byte, now time.Time) (event trigger.Event, contentType string, err error) {
	key := make([]byte, 32)
	rand.Read(key)
	cfg.TestSecrets = []trigger.Secret{[]byte(rand.Text())}
	if cfg.Kind == trigger.StandardWebhooks {
		cfg.Secrets = []trigger.Secret{[]byte("whsec_" + base64.StdEncoding.EncodeToString(key))}
	}
	header, err := trigger.Sign(cfg, body, now)
	if err != nil {
		return event, "", err
	}
	verify, err := trigger.New(cfg, func(context.Context, string) ([]byte, error) {
		return nil, errors.New("nothing is fetched for a test")
	})
	if err != nil {
		return event, "", err
	}
	event, err = verify(ctx, trigger.Request{Header: header, Body: body, Time: now})
	return event, header.Get("Content-Type"), err
}

// trials are those of the gateway; its public listener is bound.
func (g *gateway) trials() *trials {
	return &trials{catalog: g.keeper.catalog, queue: g.queue, public: g.public, domain: g.publicSide().Domain}
}

// publicSide is what is known of how senders reach the gateway.
func (g *gateway) publicSide() console.Public {
	_, port := hostPort(g.public)
	p := console.Public{Port: port, TLS: g.public.tls}
	if len(g.options.tls.domains) > 0 {
		p.Domain = g.options.tls.domains[0]
	}
	return p
}
