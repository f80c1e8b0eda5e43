package queue

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The model test plays random histories against the queue and against a model that knows what has to come of each run:
// its plan says what the function does at each attempt, so its end is known from the start, whatever crashes meanwhile.
// Only time can change it: a run that is too old expires.

const (
	modelFunction = "F"
	modelSlots    = 2
	modelMaxAge   = 10 * time.Minute
)

var modelRetry = Retry{Attempts: 3, Initial: 10 * time.Second, Max: time.Minute, MaxAge: modelMaxAge}

// deed is what the function does at one attempt.
type deed string

const (
	deedSucceed deed = "succeed"
	deedFail    deed = "fail"
	deedRefuse  deed = "refuse"
	deedDie     deed = "die"
)

func (d deed) result() Result {
	switch d {
	case deedSucceed:
		return Result{Outcome: OutcomeOK, Reply: []byte(`"ok"`)}
	case deedRefuse:
		return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "refused", Final: true}
	case deedDie:
		return Result{Outcome: OutcomeFailed, Code: CodeFunctionDied, Message: "no answer"}
	}
	return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "failed"}
}

// plan is what the function does at the attempts of one run, and how often no task takes it before that.
type plan struct {
	deeds  []deed // one for each attempt that the policy allows
	absent int
}

// end is the only end that the plan allows.
func (p *plan) end() string {
	for _, d := range p.deeds {
		switch d {
		case deedSucceed:
			return "ok"
		case deedRefuse:
			return "dead " + string(ReasonRefused)
		}
	}
	return "dead " + string(ReasonExhausted)
}

type modelEvent struct {
	id, delivery string
	runs         []string  // ids of its runs, the first one first
	known        time.Time // until when its delivery is taken for a repeat
}

type modelRun struct {
	*plan
	begun time.Time
}

// may reports whether a run that has ended so has ended as it must.
func (r *modelRun) may(end string) bool {
	return end == r.end() || end == "dead "+string(ReasonExpired) && time.Since(r.begun)+modelRetry.Max > modelMaxAge
}

// model is a gateway with a worker, and what is expected of it.
type model struct {
	t   *testing.T
	dir string
	q   *Queue

	feed    *Feed // nil while the worker is down
	stop    context.CancelFunc
	stopped chan struct{}

	mu      sync.Mutex
	plans   map[string]*modelRun // by run
	runs    map[string]int       // attempts that ran, by run
	working int
	events  []*modelEvent
	calls   map[string]int // how often each ran
}

func (m *model) openGateway() {
	q, err := Open(m.t.Context(), Options{Dir: m.dir, Log: testLog(m.t)})
	if err != nil {
		m.t.Fatal(err)
	}
	m.q = q
	if err := q.AddFunction(m.t.Context(), modelFunction, modelRetry); err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) startWorker() {
	if m.feed != nil {
		return
	}
	f, err := m.q.Feed(modelFunction, modelRetry)
	if err != nil {
		m.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	m.feed, m.stop, m.stopped = f, stop, make(chan struct{})
	var slots sync.WaitGroup
	for range modelSlots {
		slots.Go(func() {
			if err := f.Slot(ctx, m.handle); err != nil {
				m.t.Error(err)
			}
		})
	}
	go func() { slots.Wait(); close(m.stopped) }()
}

func (m *model) stopWorker() {
	if m.feed == nil {
		return
	}
	m.stop()
	<-m.stopped
	m.feed.Close()
	m.feed = nil
}

// handle is the function. It takes its time, so that two that run at once are seen.
func (m *model) handle(e *Event) Result {
	m.mu.Lock()
	if m.working++; m.working > modelSlots {
		m.t.Errorf("%d run at once", m.working)
	}
	m.mu.Unlock()
	time.Sleep(time.Millisecond)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.working--
	if !e.Deadline.IsZero() {
		m.calls[e.ID]++
		return Result{Outcome: OutcomeOK, Reply: e.Body}
	}
	return m.attempt(e)
}

func (m *model) attempt(e *Event) Result {
	p := m.plans[e.run()]
	if p == nil {
		return Result{Outcome: OutcomeNotStarted, Code: CodeNoTask} // its sender has no answer yet
	}
	if p.absent > 0 {
		p.absent--
		return Result{Outcome: OutcomeNotStarted, Code: CodeNoTask}
	}
	if e.Attempt >= len(p.deeds) {
		m.t.Errorf("run %s: attempt %d is one too many", e.run(), e.Attempt+1)
		return deedRefuse.result()
	}
	m.runs[e.run()]++
	return p.deeds[e.Attempt].result()
}

func drawPlan(t *rapid.T) *plan {
	deeds := rapid.SliceOfN(rapid.SampledFrom([]deed{deedSucceed, deedFail, deedFail, deedDie, deedRefuse}), modelRetry.Attempts, modelRetry.Attempts)
	return &plan{deeds: deeds.Draw(t, "plan"), absent: rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "absent")}
}

func (m *model) add(run string, p *plan) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.plans[run] = &modelRun{p, time.Now()}
}

func (m *model) accept(t *rapid.T) {
	delivery := fmt.Sprintf("delivery-%d", len(m.events))
	m.events = append(m.events, &modelEvent{delivery: delivery})
	m.deliver(t, m.events[len(m.events)-1])
}

// acceptSeveral sends deliveries in one request, some of which the queue may know.
func (m *model) acceptSeveral(t *rapid.T) {
	var sent []*modelEvent
	for _, e := range m.events {
		if time.Until(e.known) > time.Second && len(sent) < 2 && m.newest(e) == e && rapid.Bool().Draw(t, "again") {
			sent = append(sent, e)
		}
	}
	for range rapid.IntRange(0, 3).Draw(t, "new") {
		e := &modelEvent{delivery: fmt.Sprintf("delivery-%d", len(m.events))}
		m.events, sent = append(m.events, e), append(sent, e)
	}
	events := make([]*Event, len(sent))
	for i, e := range sent {
		events[i] = e.event()
	}
	receipts, err := m.q.PublishAll(m.t.Context(), events)
	if err != nil {
		t.Fatalf("accept several: %v", err)
	}
	for i, e := range sent {
		if e.id == "" {
			m.accepted(t, e, receipts[i])
		} else {
			m.repeated(t, e, receipts[i])
		}
	}
}

func (e *modelEvent) event() *Event {
	return &Event{Source: "s", Function: modelFunction, DeliveryID: e.delivery, Body: []byte(e.delivery)}
}

// deliver sends a delivery that the queue does not know, or not any more.
func (m *model) deliver(t *rapid.T, e *modelEvent) {
	r, err := m.q.Publish(m.t.Context(), e.event())
	if err != nil {
		t.Fatalf("accept: %v", err)
	}
	m.accepted(t, e, r)
}

func (m *model) accepted(t *rapid.T, e *modelEvent, r Receipt) {
	if r.Duplicate || r.Replay {
		t.Fatalf("accept: %+v", r)
	}
	m.add(r.ID, drawPlan(t))
	e.id, e.runs, e.known = r.ID, []string{r.ID}, time.Now().Add(duplicateWindow)
}

// call makes a call. It runs once when there is a worker, and never when there is none.
func (m *model) call(t *rapid.T) {
	body := fmt.Sprintf(`"call %d"`, len(m.calls))
	e := &Event{Source: "s", Function: modelFunction, Body: []byte(body), Deadline: time.Now().Add(10 * time.Second)}
	reply, err := m.q.Call(m.t.Context(), e)
	m.mu.Lock()
	defer m.mu.Unlock()
	ran := m.calls[e.ID]
	if m.feed != nil && (err != nil || string(reply) != body || ran != 1) {
		t.Fatalf("call: %s, %v after %d runs, want %s after one", reply, err, ran, body)
	}
	if m.feed == nil && (err == nil || ran != 0) {
		t.Fatalf("call without a worker: %s, %v after %d runs", reply, err, ran)
	}
	m.calls[e.ID] = ran
}

func (m *model) wait(t *rapid.T) {
	time.Sleep(rapid.SampledFrom([]time.Duration{100 * time.Millisecond, 10 * time.Second, 10 * time.Second, 2 * time.Minute, modelMaxAge + time.Minute}).Draw(t, "time"))
}

func (m *model) pick(t *rapid.T) *modelEvent {
	if len(m.events) == 0 {
		t.Skip("no event yet")
	}
	return rapid.SampledFrom(m.events).Draw(t, "event")
}

// repeat sends a delivery again. When its newest run is dead it is accepted as a replay, and when it was long ago, as a new
// event.
func (m *model) repeat(t *rapid.T) {
	e := m.pick(t)
	switch left := time.Until(e.known); {
	case left < -time.Second:
		again := &modelEvent{delivery: e.delivery}
		m.events = append(m.events, again)
		m.deliver(t, again)
		e.known = again.known
		return
	case left < time.Second:
		t.Skip("the window is just ending")
	}
	r, err := m.q.Publish(m.t.Context(), e.event())
	if err != nil {
		t.Fatalf("repeat of %s: %v", e.id, err)
	}
	m.repeated(t, m.newest(e), r)
}

// newest is the newest event of the same delivery.
func (m *model) newest(e *modelEvent) *modelEvent {
	for _, same := range m.events {
		if same.delivery == e.delivery {
			e = same
		}
	}
	return e
}

func (m *model) repeated(t *rapid.T, e *modelEvent, r Receipt) {
	if r.ID != e.id || r.Duplicate == r.Replay {
		t.Fatalf("repeat of %s: got %+v", e.id, r)
	}
	if r.Replay {
		m.adopt(t, e)
	}
}

// adopt finds the run of a replay that the queue has made by itself.
func (m *model) adopt(t *rapid.T, e *modelEvent) {
	for _, s := range stored(m.t, m.q, streamRetry) {
		run := s.Header.Get(headerRunID)
		if s.Header.Get(headerID) == e.id && s.Header.Get(headerRoot) == "" && m.plans[run] == nil {
			m.add(run, drawPlan(t))
			e.runs = append(e.runs, run)
			return
		}
	}
	t.Fatalf("no replay of %s is stored", e.id)
}

func (m *model) replay(t *rapid.T) {
	e := m.pick(t)
	r, err := m.q.Replay(m.t.Context(), e.id, "")
	if err != nil || r.ID != e.id {
		t.Fatalf("replay: %+v, %v", r, err)
	}
	m.add(r.Run, drawPlan(t))
	e.runs = append(e.runs, r.Run)
}

// crash lets a worker die with an event in its hands, at one of the points where that makes a difference.
func (m *model) crash(t *rapid.T) {
	if m.feed != nil {
		m.stopWorker()
		defer m.startWorker()
	}
	stream := rapid.SampledFrom([]string{streamEvents, streamRetry}).Draw(t, "stream")
	c, err := m.q.js.Consumer(m.t.Context(), stream, consumerName(modelFunction))
	if err != nil {
		t.Fatal(err)
	}
	if c.CachedInfo().NumPending == 0 {
		t.Skip("nothing to die with")
	}
	msg := abandon(m.t, m.q, stream, modelFunction)
	point := rapid.SampledFrom([]string{"before the function", "after the function", "after the copy is stored"}).Draw(t, "dies")
	if point == "before the function" {
		return
	}
	f := &Feed{q: m.q, name: modelFunction}
	f.SetRetry(modelRetry)
	d := newDelivery(&slot{feed: f, handle: m.handle}, msg)
	defer d.end()
	d.slot.feed.wait.Store(int64(time.Minute))
	r := d.run(m.t.Context())
	if point != "after the copy is stored" || r.Outcome != OutcomeFailed {
		if r.Outcome == OutcomeOK {
			m.q.logOutcome(line{event: d.event, result: r, outcome: OutcomeOK, root: d.root}) // the log comes before the acknowledgement
		}
		return
	}
	copied := *d.event
	copied.Root = d.root
	copied.Attempt++
	reason, next := modelRetry.withDefaults().verdict(r, copied.Attempt, 0, time.Now())
	to := retryMessage(&copied, next, d.place())
	if reason != "" {
		to = deadLetter(&copied, reason)
	}
	if _, err := m.q.store(m.t.Context(), to); err != nil {
		t.Fatal(err)
	}
}

func (m *model) restart(*rapid.T) {
	up := m.feed != nil
	m.stopWorker()
	m.closeGateway()
	m.openGateway()
	if up {
		m.startWorker()
	}
}

func (m *model) closeGateway() {
	if err := m.q.Close(); err != nil {
		m.t.Fatal(err)
	}
}

// kill goes on with the files as a gateway leaves them that is killed: what the server has not written yet, such as the
// last acknowledgements, is not in them.
func (m *model) kill(*rapid.T) {
	up := m.feed != nil
	m.stopWorker()
	left := m.t.TempDir()
	if err := os.CopyFS(left, os.DirFS(m.dir)); err != nil {
		m.t.Fatal(err)
	}
	m.closeGateway()
	m.dir = left
	m.openGateway()
	if up {
		m.startWorker()
	}
}

// check compares what is stored with the model. It holds after every step, whatever is under way.
func (m *model) check(t *rapid.T) {
	ends := m.ends()
	bodies := map[string]string{}
	for _, s := range stored(m.t, m.q, streamEvents) {
		bodies[s.Header.Get(headerID)] = string(s.Data)
	}
	runs := int64(0)
	for _, e := range m.events {
		if bodies[e.id] != e.delivery {
			t.Fatalf("event %s: body is %q, want %q", e.id, bodies[e.id], e.delivery)
		}
		for _, run := range e.runs {
			runs++
			if end := ends[run]; len(end) > 1 || len(end) == 1 && !m.plans[run].may(end[0]) {
				t.Fatalf("run %s of %s ended %v, want %q or nothing yet", run, e.id, end, m.plans[run].end())
			}
		}
	}
	b, err := m.q.Balance(m.t.Context())
	if err != nil || b.Drift != 0 || b.Accepted+b.Replays != runs || b.sum() != runs {
		t.Fatalf("balance of %d runs: %+v, %v", runs, b, err)
	}
}

// ends reads the ends of all runs from the streams: successes from the log, however often they were logged, and
// dead letters.
func (m *model) ends() map[string][]string {
	ends := map[string][]string{}
	for _, s := range stored(m.t, m.q, streamDead) {
		run := runOf(s.Header)
		ends[run] = append(ends[run], "dead "+s.Header.Get(headerReason))
	}
	succeeded := map[string]bool{}
	for _, s := range stored(m.t, m.q, streamLog) {
		if run := runOf(s.Header); s.Header.Get(headerOutcome) == string(OutcomeOK) && !succeeded[run] {
			succeeded[run] = true
			ends[run] = append(ends[run], "ok")
		}
	}
	return ends
}

func runOf(h interface{ Get(string) string }) string {
	if run := h.Get(headerRunID); run != "" {
		return run
	}
	return h.Get(headerID)
}

func (m *model) allEnded() bool {
	ends := m.ends()
	for run := range m.plans {
		if len(ends[run]) == 0 {
			return false
		}
	}
	return true
}

// finish lets everything end and compares the whole history.
func (m *model) finish(t *rapid.T) {
	m.startWorker()
	for passed := time.Duration(0); !m.allEnded(); passed += modelRetry.Initial {
		if passed > 2*modelMaxAge {
			t.Fatalf("ended are %v of %d runs", m.ends(), len(m.plans))
		}
		time.Sleep(modelRetry.Initial)
	}
	m.check(t)
	m.mu.Lock()
	defer m.mu.Unlock()
	for run := range m.plans {
		if m.runs[run] == 0 && m.ends()[run][0] != "dead "+string(ReasonExpired) {
			t.Fatalf("run %s ended without a run of the function", run)
		}
	}
	for id, ran := range m.calls {
		if ran > 1 {
			t.Fatalf("call %s ran %d times", id, ran)
		}
	}
}

func TestModel_EveryRunEndsOnceAsItsPlanSays(t *testing.T) {
	checks := "12"
	if n := os.Getenv("FUNKER_TEST_MODEL_CHECKS"); n != "" {
		checks = n
	}
	setRapid(t, "rapid.checks", checks)
	setRapid(t, "rapid.steps", "20")
	rapid.Check(t, func(r *rapid.T) {
		var thrown any // by rapid, which wants to catch it outside of the bubble
		bubble(t, func(t *testing.T) {
			defer func() { thrown = recover() }()
			playModel(t, r)
		})
		if thrown != nil {
			panic(thrown)
		}
	})
}

func playModel(t *testing.T, r *rapid.T) {
	m := &model{t: t, dir: t.TempDir(), plans: map[string]*modelRun{}, runs: map[string]int{}, calls: map[string]int{}}
	m.openGateway()
	defer func() {
		m.stopWorker()
		m.closeGateway()
	}()
	r.Repeat(map[string]func(*rapid.T){
		"":                  m.check,
		"accept":            m.accept,
		"accept another":    m.accept,
		"accept several":    m.acceptSeveral,
		"repeat":            m.repeat,
		"replay":            m.replay,
		"call":              m.call,
		"time passes":       m.wait,
		"worker starts":     func(*rapid.T) { m.startWorker() },
		"worker stops":      func(*rapid.T) { m.stopWorker() },
		"worker dies":       m.crash,
		"gateway starts":    m.restart,
		"gateway is killed": m.kill,
	})
	m.finish(r)
}

func setRapid(t *testing.T, name, value string) {
	t.Helper()
	f := flag.Lookup(name)
	old := f.Value.String()
	if err := f.Value.Set(value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Value.Set(old); err != nil {
			t.Error(err)
		}
	})
}
