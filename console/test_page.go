package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

const (
	// testPatience is how long the page of a test waits for the first attempt, for those who see nothing live.
	testPatience = 2 * time.Second
	testPoll     = 50 * time.Millisecond
)

// testPages are the pages that send tests.
func (s *Server) testPages() {
	s.mux.HandleFunc("GET /test", taking(s.testPage, "trigger", "sample"))
	s.mux.HandleFunc("POST /test", s.testForm)
	s.mux.HandleFunc("GET /test/outcome", taking(s.outcomeOfTest, "event"))
}

// testPage is what the page of a test shows.
type testPage struct {
	Triggers []string // sources
	Chosen   string   // of them
	Ready    *Ready   // of the chosen one; nil: there is none
	Sample   int      // which of its bodies was taken
	Event    string   // name of the event, as it was typed
	Function string   // that was chosen
	Body     string   // as it was typed
	Problem  string   // why nothing was sent
	Result   *testResult
	Most     int // KiB of a body
}

// testResult is what came of a test.
type testResult struct {
	Tested
	Speech   *speech   // nil: Alexa is not asked, or hears nothing that can be read
	Outcomes []outcome // of the events
	Pretty   string    // the answer as indented JSON, "" when it is none
	Raw      string    // the answer, "" when it is no text
	Cut      bool      // Raw is not all of it
}

// StatusText is what the status means.
func (t testResult) StatusText() string { return http.StatusText(t.Status) }

// Good reports whether the sender would take it for success.
func (t testResult) Good() bool {
	return t.Failed == "" && t.Status < 300 && t.Headers["Funker-Error"] == ""
}

// outcome is where an event of a test stands.
type outcome struct {
	ID     string
	Record *queue.Record // nil: it cannot be told now
}

// Ended reports whether it stands there for good.
func (o outcome) Ended() bool {
	return o.Record != nil && !slices.Contains([]queue.State{queue.StateWaiting, queue.StateRunning, queue.StateRetry}, o.Record.State)
}

// From is where it can be asked again.
func (o outcome) From() string { return "/test/outcome?event=" + url.QueryEscape(o.ID) }

// maySend answers whoever may only look.
func (s *Server) maySend(w http.ResponseWriter, r *http.Request) bool {
	if !visitorIn(r.Context()).MayChange() {
		s.errorPage(w, r, http.StatusForbidden, "You have read-only access: sending a test needs the admin token.")
		return false
	}
	return true
}

// testPage serves GET /test.
func (s *Server) testPage(w http.ResponseWriter, r *http.Request) {
	if !s.maySend(w, r) {
		return
	}
	query := r.URL.Query()
	p, err := s.testOf(query.Get("trigger"))
	if err != nil {
		s.failPage(w, r, err)
		return
	}
	if n, err := strconv.Atoi(query.Get("sample")); err == nil && p.Ready != nil && n >= 0 && n < len(p.Ready.Bodies) {
		p.Sample = n
	}
	if p.Ready != nil {
		p.Body = p.Ready.Bodies[p.Sample].Body
	}
	s.render(w, r, http.StatusOK, "test", "Send a test", p)
}

// testOf begins the page with a trigger, the first one when none is named.
func (s *Server) testOf(source string) (p testPage, err error) {
	p = testPage{Chosen: source, Most: maxTestBody >> 10}
	for _, t := range s.catalog.Manifest().Triggers {
		if t.Closed == "" {
			p.Triggers = append(p.Triggers, t.Source())
		}
	}
	if p.Chosen == "" && len(p.Triggers) > 0 {
		p.Chosen = p.Triggers[0]
	}
	if p.Chosen == "" {
		return p, nil
	}
	ready, err := s.tests.Ready(p.Chosen)
	p.Ready = &ready
	return p, err
}

// testForm serves POST /test. What was typed stays on the page that follows.
func (s *Server) testForm(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxTestForm)
	if err := r.ParseForm(); err != nil {
		status, text := http.StatusBadRequest, "The form cannot be read."
		if errors.As(err, new(*http.MaxBytesError)) {
			status, text = http.StatusRequestEntityTooLarge, tooLargeTest
		}
		s.errorPage(w, r, status, text)
		return
	}
	p, err := s.testOf(r.PostForm.Get("trigger"))
	if err != nil {
		s.failPage(w, r, err)
		return
	}
	p.Sample, _ = strconv.Atoi(r.PostForm.Get("sample")) // only for showing
	p.Event, p.Function = strings.TrimSpace(r.PostForm.Get("event")), r.PostForm.Get("function")
	p.Body = strings.ReplaceAll(r.PostForm.Get("body"), "\r\n", "\n") // forms have these line ends
	tested, err := s.send(r.Context(), Test{Source: p.Chosen, Event: p.Event, Function: p.Function, Body: []byte(p.Body)})
	if err != nil {
		problem := s.problemOf(r, err)
		p.Problem = problem.Detail
		s.render(w, r, problem.Status, "test", "Send a test", p)
		return
	}
	p.Result = s.resultOf(r.Context(), p.Ready.Kind, tested)
	s.render(w, r, http.StatusOK, "test", "Test of "+p.Chosen, p)
}

func (s *Server) resultOf(ctx context.Context, kind string, tested Tested) *testResult {
	result := &testResult{Tested: tested}
	if kind == "alexa" {
		result.Speech = speechOf([]byte(tested.Answer))
	}
	result.Pretty, result.Raw, result.Cut = shown([]byte(tested.Answer))
	wait, cancel := context.WithTimeout(ctx, testPatience)
	defer cancel()
	for _, id := range tested.Events {
		result.Outcomes = append(result.Outcomes, s.firstOutcome(wait, id))
	}
	return result
}

// firstOutcome waits until an event was tried once, or ctx ends.
func (s *Server) firstOutcome(ctx context.Context, id string) outcome {
	tick := time.NewTicker(testPoll)
	defer tick.Stop()
	for {
		o := s.outcomeOf(context.WithoutCancel(ctx), id)
		if o.Record != nil && len(o.Record.Attempts) > 0 {
			return o
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return o
		}
	}
}

func (s *Server) outcomeOf(ctx context.Context, id string) outcome {
	record, err := s.queue.Get(ctx, id)
	if err != nil {
		return outcome{ID: id}
	}
	return outcome{ID: id, Record: &record}
}

// outcomeOfTest serves GET /test/outcome: where an event stands, as the part of the page that shows it.
func (s *Server) outcomeOfTest(w http.ResponseWriter, r *http.Request) {
	record, err := s.queue.Get(r.Context(), r.URL.Query().Get("event"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	var b strings.Builder
	if err := templates()["test"].ExecuteTemplate(&b, "outcome", outcome{ID: record.ID, Record: &record}); err != nil {
		s.fail(w, r, fmt.Errorf("render the outcome: %w", err))
		return
	}
	answerText(w, "text/html; charset=utf-8", []byte(b.String()))
}
