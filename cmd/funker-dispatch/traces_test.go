package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// remoteParent is what a sender says of its trace.
const (
	senderTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	senderSpan   = "00f067aa0ba902b7"
	remoteParent = "00-" + senderTrace + "-" + senderSpan + "-01"
)

// tracedSwarm is a gateway and a worker, in processes of their own, whose spans go to a collector.
func tracedSwarm(t *testing.T, c *collector, gatewayArgs ...string) (*swarm, *journal) {
	t.Helper()
	j := newJournal(t)
	s := newSwarm(t, fmt.Sprintf("functions: {Work: {addresses: [%q], retry: {attempts: 3, initial: 10ms}}}", j.task(t)))
	for _, p := range s.processes() {
		p.env = []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL, "OTEL_BSP_SCHEDULE_DELAY=20"}
	}
	s.gateway.args = append(s.gateway.args, gatewayArgs...)
	s.start()
	return s, j
}

func (s *swarm) async(t *testing.T, w work) (id string) {
	t.Helper()
	status, answer, header := post(t, "http://"+s.public+"/functions/Work", fmt.Sprintf(`{"id":%q,"plan":%q}`, w.ID, w.Plan),
		"Prefer", "respond-async", "Traceparent", remoteParent)
	if status != http.StatusAccepted {
		t.Fatalf("%d %s", status, answer)
	}
	return header.Get("Funker-Event-Id")
}

func TestTraces_OneTraceFromTheRequestToEachAttemptInAnotherProcess(t *testing.T) {
	c := newCollector(t)
	s, _ := tracedSwarm(t, c)
	id := s.async(t, work{ID: "a", Plan: planFail1})

	request := c.await(t, 1, "POST ")[0]
	publish := c.await(t, 1, "publish ")[0]
	sync := c.await(t, 1, "sync ")[0]
	attempts := c.await(t, 2, "process ")
	calls := c.await(t, 2, "invoke ")

	for _, got := range append(append([]sentSpan{publish, sync}, attempts...), calls...) {
		if got.trace != request.trace {
			t.Errorf("span %s is in trace %s, and the request in %s", got.name, got.trace, request.trace)
		}
	}
	wants := []struct {
		got     sentSpan
		parent  string
		service string
		name    string
		kind    tracepb.Span_SpanKind
		failed  bool
		says    map[string]string
	}{
		{request, "", "funker-gateway", "POST /functions/{name}", tracepb.Span_SPAN_KIND_SERVER, false, map[string]string{
			"http.request.method": "POST", "http.route": "/functions/{name}", "url.path": "/functions/Work", "http.response.status_code": "202", "funker.source": "http"}},
		{publish, request.id, "funker-gateway", "publish FUNKER_EVENTS", tracepb.Span_SPAN_KIND_PRODUCER, false, map[string]string{
			"messaging.system": "nats", "messaging.operation.type": "send", "messaging.destination.name": "FUNKER_EVENTS", "messaging.message.id": id, "funker.function": "Work"}},
		{sync, publish.id, "funker-gateway", "sync FUNKER_EVENTS", tracepb.Span_SPAN_KIND_INTERNAL, false, nil},
		{attempts[0], publish.id, "funker-worker", "process Work", tracepb.Span_SPAN_KIND_CONSUMER, true, map[string]string{
			"messaging.operation.type": "process", "messaging.message.id": id, "faas.trigger": "pubsub", "funker.attempt": "1", "funker.outcome": "failed", "error.type": "function_failed"}},
		{calls[0], attempts[0].id, "funker-worker", "invoke Work", tracepb.Span_SPAN_KIND_CLIENT, true, map[string]string{
			"faas.invoked_name": "Work", "server.address": "127.0.0.1", "error.type": "function_failed"}},
		{attempts[1], publish.id, "funker-worker", "process Work", tracepb.Span_SPAN_KIND_CONSUMER, false, map[string]string{
			"funker.attempt": "2", "funker.outcome": "ok", "error.type": ""}},
		{calls[1], attempts[1].id, "funker-worker", "invoke Work", tracepb.Span_SPAN_KIND_CLIENT, false, map[string]string{"error.type": ""}},
	}
	for _, w := range wants {
		if w.got.parent != w.parent || w.got.service != w.service || w.got.name != w.name || w.got.kind != w.kind || w.got.failed != w.failed {
			t.Errorf("got %+v\nwant parent %q, %s, %s, %s, failed %t", w.got, w.parent, w.service, w.name, w.kind, w.failed)
		}
		for key, value := range w.says {
			if w.got.attributes[key] != value {
				t.Errorf("%s: %s is %q, want %q", w.name, key, w.got.attributes[key], value)
			}
		}
	}
	if request.trace == senderTrace || !slices.Equal(request.links, []string{senderTrace + "/" + senderSpan}) {
		t.Errorf("a sender that nobody trusts: %+v", request)
	}
	for _, p := range s.processes() {
		if !strings.Contains(p.text(0), "trace_id="+request.trace) {
			t.Errorf("the log of %s does not name the trace:\n%s", p.name, p.text(0))
		}
	}
}

func TestTraces_AReplayIsATraceOfItsOwnWithALink(t *testing.T) {
	c := newCollector(t)
	s, _ := tracedSwarm(t, c)
	id := s.async(t, work{ID: "a", Plan: planOK})
	publish := c.await(t, 1, "publish ")[0]
	c.await(t, 1, "process ")
	link := []string{publish.trace + "/" + publish.id}

	// The command line makes the replay itself, and has no tracer.
	data := []string{"--nats-url", "nats://" + s.nats, "--data", s.data}
	mustCLI(t, append([]string{"events", "replay", id}, data...)...)
	attempt := c.await(t, 2, "process ")[1]
	if attempt.parent != "" || attempt.trace == publish.trace || !slices.Equal(attempt.links, link) {
		t.Errorf("attempt of a replay by the command line: %+v", attempt)
	}

	// The gateway makes it for others.
	replayByAPI(t, s, id)
	replay := c.await(t, 1, "replay ")[0]
	attempt = c.await(t, 3, "process ")[2]
	if replay.parent != "" || replay.trace == publish.trace || !slices.Equal(replay.links, link) || replay.service != "funker-gateway" {
		t.Errorf("replay: %+v", replay)
	}
	if attempt.parent != replay.id || attempt.trace != replay.trace || len(attempt.links) != 0 {
		t.Errorf("attempt of the replay: %+v", attempt)
	}
}

func TestTraces_ACallIsOneTrace(t *testing.T) {
	c := newCollector(t)
	s, _ := tracedSwarm(t, c, "--trust-traceparent")
	status, answer, _ := post(t, "http://"+s.public+"/functions/Work", `{"id":"a","plan":"ok"}`, "Traceparent", remoteParent, "Tracestate", "vendor=1")
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	request, call := c.await(t, 1, "POST ")[0], c.await(t, 1, "call ")[0]
	attempt, invoke := c.await(t, 1, "process ")[0], c.await(t, 1, "invoke ")[0]
	if request.trace != senderTrace || request.parent != senderSpan || len(request.links) != 0 {
		t.Errorf("a sender that is trusted: %+v", request)
	}
	if call.parent != request.id || attempt.parent != call.id || invoke.parent != attempt.id || invoke.trace != senderTrace {
		t.Errorf("request %+v\ncall %+v\nattempt %+v\ninvoke %+v", request, call, attempt, invoke)
	}
	if call.kind != tracepb.Span_SPAN_KIND_CLIENT || call.attributes["messaging.destination.name"] != "FUNKER_CALLS" {
		t.Errorf("call: %+v", call)
	}
}

func TestTraces_AnEventThatWaitsForATaskMakesNoSpans(t *testing.T) {
	c := newCollector(t)
	address := fixedAddress(t)
	s := newSwarm(t, fmt.Sprintf("functions: {Work: {addresses: [%q]}}", address))
	for _, p := range s.processes() {
		p.env = []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL, "OTEL_BSP_SCHEDULE_DELAY=20"}
	}
	s.workers[0].args = append(s.workers[0].args, "--log-level", "debug") // all tries
	s.start()
	s.async(t, work{ID: "a", Plan: planOK})
	within(t, "the worker has tried twice", func() bool { return strings.Count(s.workers[0].text(0), "outcome=not-started") >= 2 })
	background(t, "function ready", "function", "echo", "--listen", address)
	if attempt := c.await(t, 1, "process ")[0]; attempt.attributes["funker.outcome"] != string(queue.OutcomeOK) {
		t.Errorf("attempt: %+v", attempt)
	}
	c.await(t, 1, "invoke ")
}

// replayByAPI has the gateway replay an event.
func replayByAPI(t *testing.T, s *swarm, id string) {
	t.Helper()
	m := regexp.MustCompile(`msg=ready .*admin=(\S+)`).FindStringSubmatch(s.gateway.text(0))
	if m == nil {
		t.Fatal("the gateway does not say where its admin side is")
	}
	token, err := os.ReadFile(filepath.Join(s.data, tokenFile))
	if err != nil {
		t.Fatal(err)
	}
	status, answer, _ := post(t, m[1]+"/api/v1/events/"+id+"/replay", "", "Authorization", "Bearer "+strings.TrimSpace(string(token)))
	if status/100 != 2 {
		t.Fatalf("%d %s", status, answer)
	}
}

// states are those of all events, by their ids.
func (s *swarm) states() (map[string]queue.State, error) {
	states := map[string]queue.State{}
	return states, s.ask(func(ctx context.Context, q *queue.Queue) error {
		page, err := q.List(ctx, queue.Filter{Kind: "event", Limit: queue.MaxLimit})
		for _, r := range page {
			states[r.ID] = r.State
		}
		return err
	})
}
