package queue

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// quick is a policy whose retries come at once.
var quick = Retry{Attempts: 3, Initial: 20 * time.Millisecond, Max: 50 * time.Millisecond}

// publish stores an event for the function.
func publish(t *testing.T, q *Queue, function string) Receipt {
	t.Helper()
	r, err := q.Publish(t.Context(), &Event{Source: "s", Function: function, Body: []byte(`{"n":1}`), Header: map[string]string{"X-Kind": "push"}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// stored returns the messages of a stream in their order.
func stored(t *testing.T, q *Queue, stream string) []*jetstream.RawStreamMsg {
	t.Helper()
	state, err := q.state(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	var all []*jetstream.RawStreamMsg
	for seq := max(1, state.FirstSeq); seq <= state.LastSeq; seq++ {
		m, err := q.message(t.Context(), stream, seq)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// settledAll waits until a function has nothing to do. What the server says about a consumer may be older than what it
// says about the stream, so the last message counts.
// settledAll waits until nothing of a function is left to do, and the log says so.
func settledAll(t *testing.T, q *Queue, function string) {
	t.Helper()
	within(t, patience, "nothing is left to do", func() bool {
		return acknowledged(t, q, streamEvents, function, eventSubject("*", function)) &&
			last(t, q, streamRetry, retrySubject(function, "*")) == 0 &&
			acknowledged(t, q, streamRetry, function, redoSubject(function))
	})
	loggedAll(t, q)
}

// loggedAll waits until the log has the lines that the server has got: it takes them in their order, and this one, which
// it refuses, after the others.
func loggedAll(t *testing.T, q *Queue) {
	t.Helper()
	_, err := q.js.Publish(t.Context(), logSubject("s", "F"), nil, jetstream.WithExpectStream("another"))
	if failed, ok := errors.AsType[*jetstream.APIError](err); !ok || failed.ErrorCode != jetstream.ErrorCode(10060) {
		t.Fatalf("got %v, want that the stream is another", err)
	}
}

func acknowledged(t *testing.T, q *Queue, stream, function, subject string) bool {
	t.Helper()
	c, err := q.js.Consumer(t.Context(), stream, consumerName(function))
	if err != nil {
		t.Fatal(err)
	}
	return c.CachedInfo().AckFloor.Stream >= last(t, q, stream, subject)
}

// last is the sequence of the newest message on a subject, 0 without any.
func last(t *testing.T, q *Queue, stream, subject string) uint64 {
	t.Helper()
	s, err := q.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetLastMsgForSubject(t.Context(), subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return m.Sequence
}

// outcomes lists what the log says about an event.
func outcomes(t *testing.T, q *Queue, id string) string {
	t.Helper()
	var all []string
	for _, m := range stored(t, q, streamLog) {
		if m.Header.Get(headerID) == id {
			all = append(all, m.Header.Get(headerAttempt)+" "+m.Header.Get(headerOutcome))
		}
	}
	return strings.Join(all, ", ")
}

// wantOutcomes waits until the log says so: its lines are stored before the acknowledgements that they belong to are
// sent, but not at once.
func wantOutcomes(t *testing.T, q *Queue, id, want string) {
	t.Helper()
	got := ""
	defer func() {
		if got != want {
			t.Logf("the log says %s", got)
		}
	}()
	within(t, patience, "the log says "+want, func() bool { got = outcomes(t, q, id); return got == want })
}

func TestMove_AFailedEventIsTriedAgainUntilItSucceeds(t *testing.T) {
	q := open(t, "Flaky")
	var tries atomic.Int64
	workAs(t, q, "Flaky", quick, 2, func(e *Event) Result {
		n := tries.Add(1)
		if int64(e.Attempt) != n-1 || e.Header["X-Kind"] != "push" || string(e.Body) != `{"n":1}` {
			t.Errorf("try %d got %+v", n, e)
		}
		if n < 3 {
			return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "not yet"}
		}
		return Result{Outcome: OutcomeOK, Reply: []byte(`"done"`)}
	})
	r := publish(t, q, "Flaky")
	settledAll(t, q, "Flaky")
	wantOutcomes(t, q, r.ID, "1 retry, 2 retry, 3 ok")
	if dead := stored(t, q, streamDead); len(dead) != 0 {
		t.Errorf("%d dead letters", len(dead))
	}
}

func TestMove_AnEventThatKeepsFailingBecomesADeadLetterWithItsReason(t *testing.T) {
	for reason, c := range map[Reason]struct {
		result   Result
		attempts int
	}{
		ReasonExhausted:  {Result{Outcome: OutcomeFailed, Code: CodeFunctionDied, Message: "closed\nwithout answer"}, 3},
		ReasonRefused:    {Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "never", Final: true}, 1},
		ReasonBadPayload: {Result{Outcome: OutcomeFailed, Code: CodeBadPayload, Message: "no JSON", Final: true}, 1},
	} {
		t.Run(string(reason), func(t *testing.T) {
			q := open(t, "Broken")
			var tries atomic.Int64
			workAs(t, q, "Broken", quick, 1, func(*Event) Result { tries.Add(1); return c.result })
			r := publish(t, q, "Broken")
			settledAll(t, q, "Broken")
			dead := stored(t, q, streamDead)
			if len(dead) != 1 {
				t.Fatalf("%d dead letters, want 1", len(dead))
			}
			h, want := dead[0].Header, map[string]string{
				headerID: r.ID, headerReason: string(reason), headerCode: c.result.Code, headerError: oneLine(c.result.Message),
				headerAttempt: fmt.Sprint(c.attempts), headerRoot: "FUNKER_EVENTS/1", "X-Kind": "push",
			}
			for k, v := range want {
				if h.Get(k) != v {
					t.Errorf("%s: got %q, want %q", k, h.Get(k), v)
				}
			}
			if string(dead[0].Data) != `{"n":1}` || dead[0].Subject != "funker.dead.s.Broken" {
				t.Errorf("got %s on %s", dead[0].Data, dead[0].Subject)
			}
			if tries.Load() != int64(c.attempts) {
				t.Errorf("%d attempts, want %d", tries.Load(), c.attempts)
			}
			within(t, patience, "the log says so", func() bool { return strings.HasSuffix(outcomes(t, q, r.ID), "dead") })
		})
	}
}

func TestMove_AFunctionsRetryAfterIsHonoured(t *testing.T) {
	q := open(t, "Later")
	const asked = 700 * time.Millisecond
	ran := make(chan time.Time, 2)
	workAs(t, q, "Later", quick, 1, func(e *Event) Result {
		ran <- time.Now()
		if e.Attempt == 0 {
			return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, RetryAfter: asked}
		}
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	})
	publish(t, q, "Later")
	if first, second := <-ran, <-ran; second.Sub(first) < asked {
		t.Errorf("tried again after %s, the function asked for %s", second.Sub(first), asked)
	}
}

func TestMove_AnEventOlderThanItsMaxAgeIsGivenUpWithItsLastError(t *testing.T) {
	q := open(t, "Old")
	var tries atomic.Int64
	workAs(t, q, "Old", Retry{Initial: time.Millisecond, MaxAge: time.Second}, 1, func(*Event) Result {
		tries.Add(1)
		return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "down", RetryAfter: 400 * time.Millisecond}
	})
	publish(t, q, "Old")
	settledAll(t, q, "Old")
	dead := stored(t, q, streamDead)
	if len(dead) != 1 || dead[0].Header.Get(headerReason) != string(ReasonExpired) || !strings.Contains(dead[0].Header.Get(headerError), "down") {
		t.Fatalf("got %+v", dead)
	}
	if n := tries.Load(); n < 1 || n > 3 || dead[0].Header.Get(headerAttempt) != fmt.Sprint(n) {
		t.Errorf("%d attempts, dead letter says %s", n, dead[0].Header.Get(headerAttempt))
	}
}

func TestMove_AStoredEventThatIsTooOldNeverRuns(t *testing.T) {
	q := open(t, "Old")
	old := &Event{ID: idAt(time.Now().Add(-25 * time.Hour)), Source: "s", Function: "Old", Body: []byte("1")}
	if _, err := q.Publish(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	workAs(t, q, "Old", Retry{}, 1, func(*Event) Result {
		t.Error("it ran")
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	})
	settledAll(t, q, "Old")
	if dead := stored(t, q, streamDead); len(dead) != 1 || dead[0].Header.Get(headerReason) != string(ReasonExpired) || dead[0].Header.Get(headerAttempt) != "" {
		t.Fatalf("got %+v", dead)
	}
}

func TestMove_ADamagedBodyIsNeverRun(t *testing.T) {
	q := open(t, "Sound")
	m := encode(&Event{ID: NewID(), Source: "s", Function: "Sound", Body: []byte("good")}, eventSubject("s", "Sound"))
	m.Data = []byte("evil")
	if _, err := q.store(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	workAs(t, q, "Sound", quick, 1, func(*Event) Result {
		t.Error("it ran")
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	})
	settledAll(t, q, "Sound")
	if dead := stored(t, q, streamDead); len(dead) != 1 || dead[0].Header.Get(headerReason) != string(ReasonCorrupt) {
		t.Fatalf("got %+v", dead)
	}
	if _, err := q.Replay(t.Context(), "FUNKER_DEAD/1", ""); !errors.Is(err, ErrCorrupt) {
		t.Errorf("the dead letter can be replayed: %v", err)
	}
}

func TestMove_AReplayKeepsItsMarkThroughRetriesAndDeath(t *testing.T) {
	q := open(t, "Again")
	workAs(t, q, "Again", Retry{Attempts: 2, Initial: time.Millisecond}, 1, func(*Event) Result {
		return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "no"}
	})
	r := publish(t, q, "Again")
	settledAll(t, q, "Again")
	p, err := q.Replay(t.Context(), r.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	settledAll(t, q, "Again")
	dead := stored(t, q, streamDead)
	if len(dead) != 2 {
		t.Fatalf("%d dead letters, want 2", len(dead))
	}
	h := dead[1].Header
	if h.Get(headerRunID) != p.Run || h.Get(headerReplayOf) != "FUNKER_EVENTS/1" || h.Get(headerRoot) != p.As || h.Get(headerAttempt) != "2" {
		t.Errorf("got %v, want run %s as %s", h, p.Run, p.As)
	}
}

func TestMove_AHeldEventDoesNotKeepCallsAway(t *testing.T) {
	q := open(t, "Held")
	held := make(chan struct{}, 100)
	workAs(t, q, "Held", quick, 1, func(e *Event) Result {
		if e.Deadline.IsZero() {
			held <- struct{}{}
			return Result{Outcome: OutcomeNotStarted, Code: CodeNoTask}
		}
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	})
	publish(t, q, "Held")
	<-held
	for range 20 {
		if _, err := q.Call(t.Context(), &Event{Source: "s", Function: "Held", Body: []byte("1")}); err != nil {
			t.Fatal(err)
		}
	}
	c, err := q.js.Consumer(t.Context(), streamEvents, consumerName("Held"))
	if err != nil || c.CachedInfo().NumRedelivered != 0 || c.CachedInfo().NumAckPending != 1 {
		t.Errorf("got %+v, %v: a held event is no new delivery", c.CachedInfo(), err)
	}
}

func TestMove_AStoppingWorkerHandsBackWhatItHolds(t *testing.T) {
	q := open(t, "Gone")
	held := make(chan struct{}, 100)
	stop := workAs(t, q, "Gone", quick, 1, func(*Event) Result {
		held <- struct{}{}
		return Result{Outcome: OutcomeNotStarted, Code: CodeNoTask}
	})
	r := publish(t, q, "Gone")
	<-held
	stop()
	workAs(t, q, "Gone", quick, 1, func(e *Event) Result {
		if e.Attempt != 0 {
			t.Errorf("attempt %d", e.Attempt)
		}
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	})
	settledAll(t, q, "Gone")
	wantOutcomes(t, q, r.ID, "1 ok")
}

// abandon takes the next event of a function as a worker does that dies with it.
func abandon(t *testing.T, q *Queue, stream, function string) *nats.Msg {
	t.Helper()
	inbox := q.nc.NewInbox()
	sub, err := q.nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := sub.Unsubscribe(); err != nil {
			t.Error(err)
		}
	}()
	if err := q.nc.PublishRequest(pullSubject(q.prefix, stream, consumerName(function)), inbox, pullPark); err != nil {
		t.Fatal(err)
	}
	m, err := sub.NextMsg(5 * time.Second)
	if err != nil || m.Reply == "" {
		t.Fatalf("got %+v, %v", m, err)
	}
	return m
}

// impatient makes the server give up on a silent worker soon.
func impatient(t *testing.T, q *Queue, function string, wait time.Duration) {
	t.Helper()
	for _, stream := range []string{streamEvents, streamRetry} {
		c, err := q.js.Consumer(t.Context(), stream, consumerName(function))
		if err != nil {
			t.Fatal(err)
		}
		cfg := c.CachedInfo().Config
		cfg.AckWait = wait
		if _, err := q.js.UpdateConsumer(t.Context(), stream, cfg); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMove_AnEventOfADeadWorkerRunsElsewhere(t *testing.T) {
	q := open(t, "Taken")
	impatient(t, q, "Taken", 200*time.Millisecond)
	r := publish(t, q, "Taken")
	abandon(t, q, streamEvents, "Taken")
	workAs(t, q, "Taken", quick, 1, ok("1"))
	settledAll(t, q, "Taken")
	wantOutcomes(t, q, r.ID, "1 ok")
}

func TestMove_WhatWasMovedOnBeforeTheWorkerDiedIsNotRunAgain(t *testing.T) {
	q := open(t, "Moved")
	impatient(t, q, "Moved", 200*time.Millisecond)
	r := publish(t, q, "Moved")
	m := abandon(t, q, streamEvents, "Moved")
	e, err := decode(m)
	if err != nil {
		t.Fatal(err)
	}
	// The worker stores the retry and dies before it acknowledges.
	e.Root, e.Attempt = "FUNKER_EVENTS/1", 1
	if _, err := q.store(t.Context(), retryMessage(e, time.Now().Add(time.Second), "FUNKER_EVENTS/1")); err != nil {
		t.Fatal(err)
	}
	var tries atomic.Int64
	workAs(t, q, "Moved", quick, 1, func(e *Event) Result {
		tries.Add(1)
		if e.Attempt != 1 {
			t.Errorf("attempt %d ran again", e.Attempt)
		}
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	})
	settledAll(t, q, "Moved")
	wantOutcomes(t, q, r.ID, "2 ok")
	if tries.Load() != 1 {
		t.Errorf("%d runs", tries.Load())
	}
}

func TestMove_AStalledWorkerLeavesTheEventToWhoeverHasIt(t *testing.T) {
	q := open(t, "Stalled")
	impatient(t, q, "Stalled", 900*time.Millisecond)
	r := publish(t, q, "Stalled")
	begun, release := make(chan struct{}, 2), make(chan struct{})
	var tries atomic.Int64
	workAs(t, q, "Stalled", quick, 2, func(*Event) Result {
		if tries.Add(1) == 1 {
			begun <- struct{}{}
			await(t, release)
			return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Message: "late", Final: true}
		}
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	})
	<-begun // heartbeats come once a second: for this server the worker is gone
	within(t, patience, "the other slot has run it", func() bool { return outcomes(t, q, r.ID) == "1 ok" })
	close(release)
	settledAll(t, q, "Stalled")
	wantOutcomes(t, q, r.ID, "1 ok, 1 interrupted")
	if dead := stored(t, q, streamDead); len(dead) != 0 {
		t.Errorf("the late result made a dead letter")
	}
}

func TestMove_WaitsForRoomInTheStore(t *testing.T) {
	q := open(t, "Full")
	limit := func(bytes int64) {
		s, err := q.js.Stream(t.Context(), streamRetry)
		if err != nil {
			t.Fatal(err)
		}
		cfg := s.CachedInfo().Config
		cfg.MaxMsgSize = int32(bytes)
		if _, err := q.js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	limit(10) // no retry fits
	failed := make(chan struct{}, 10)
	workAs(t, q, "Full", quick, 1, func(e *Event) Result {
		if e.Attempt == 0 {
			failed <- struct{}{}
			return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed}
		}
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	})
	r := publish(t, q, "Full")
	<-failed
	limit(-1)
	settledAll(t, q, "Full")
	wantOutcomes(t, q, r.ID, "1 retry, 2 ok")
}

func TestMove_AWorkerWithTheWorkersKeyMovesEventsOn(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(t.Context(), Options{Dir: dir, Listen: "127.0.0.1:0", Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, f := range []string{"Flaky", "Broken"} {
		if err := q.AddFunction(t.Context(), f, quick); err != nil {
			t.Fatal(err)
		}
	}
	remote, err := Dial(q.URL(), dir+"/"+WorkerKey, RoleWorker, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := remote.Close(); err != nil {
			t.Error(err)
		}
	})
	workAs(t, remote, "Flaky", quick, 1, func(e *Event) Result {
		if e.Attempt == 0 {
			return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed}
		}
		return Result{Outcome: OutcomeOK, Reply: []byte("1")}
	})
	workAs(t, remote, "Broken", quick, 1, func(*Event) Result {
		return Result{Outcome: OutcomeFailed, Code: CodeFunctionFailed, Final: true}
	})
	flaky, broken := publish(t, q, "Flaky"), publish(t, q, "Broken")
	settledAll(t, q, "Flaky")
	settledAll(t, q, "Broken")
	wantOutcomes(t, q, flaky.ID, "1 retry, 2 ok")
	wantOutcomes(t, q, broken.ID, "1 dead")
}
