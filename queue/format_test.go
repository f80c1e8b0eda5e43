package queue

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestFormat_AnEventOfANewerVersionWaitsForANewerWorker(t *testing.T) {
	q := open(t, "Hello")
	event := &nats.Msg{Subject: eventSubject("s", "Hello"), Data: []byte("?"), Header: nats.Header{
		headerFormat: {"2"}, headerID: {NewID()}, headerSum: {"made in another way"}, "Funker-New": {"x"}, "X-Own": {"y"},
	}}
	if _, err := q.js.PublishMsg(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	stop := work(t, q, "Hello", 1, func(e *Event) Result {
		t.Errorf("ran %s", e.ID)
		return Result{Outcome: OutcomeOK}
	})
	within(t, time.Minute, "a worker has it", func() bool {
		c, err := q.js.Consumer(t.Context(), streamEvents, consumerName("Hello"))
		return err == nil && c.CachedInfo().NumAckPending == 1
	})
	stop() // it gives back what it holds
	waiting := stored(t, q, streamRetry)
	if len(waiting) != 1 {
		t.Fatalf("%d messages wait", len(waiting))
	}
	m := waiting[0]
	for name, want := range map[string]string{
		headerFormat: "2", headerID: event.Header.Get(headerID), headerSum: "made in another way", "Funker-New": "x", "X-Own": "y", headerRoot: "FUNKER_EVENTS/1",
	} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if string(m.Data) != "?" || m.Subject != redoSubject("Hello") {
		t.Errorf("%s on %s", m.Data, m.Subject)
	}
	if b, err := q.Balance(t.Context()); err != nil || b.Waiting != 1 || b.Drift != 0 {
		t.Errorf("balance: %+v, %v", b, err)
	}
}

func TestFormat_HeadersThatAreNotKnownDoNoHarm(t *testing.T) {
	q := open(t, "Hello")
	work(t, q, "Hello", 1, ok("1"))
	m := encode(&Event{ID: NewID(), Source: "s", Function: "Hello", Body: []byte("1")}, eventSubject("s", "Hello"))
	m.Header["Funker-Of-The-Next-Release"] = []string{"x"}
	m.Header[headerFormat] = []string{"1"}
	if _, err := q.js.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	settledAll(t, q, "Hello")
	if b, err := q.Balance(t.Context()); err != nil || b.Succeeded != 1 {
		t.Errorf("balance: %+v, %v", b, err)
	}
}

func TestFormat_TheStreamsOfANewerVersionStayAsTheyAre(t *testing.T) {
	q := open(t, "Hello")
	s, err := q.js.Stream(t.Context(), streamLog)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.Description, cfg.Metadata = "as the next release has it", map[string]string{settingsKey: "another", formatKey: "2"}
	if _, err := q.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	c := jetstream.ConsumerConfig{
		Durable: consumerName("Hello"), FilterSubject: redoSubject("Hello"), AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Hour, MaxDeliver: maxDeliver,
		MaxAckPending: maxPending, MaxWaiting: maxWaiting, Metadata: map[string]string{settingsKey: "another", formatKey: "2"},
	}
	if _, err := q.js.UpdateConsumer(t.Context(), streamRetry, c); err != nil {
		t.Fatal(err)
	}
	o, err := Options{MaxEvents: 1 << 30}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if err := q.createStreams(t.Context(), streamsOf(o)); err != nil {
		t.Fatal(err)
	}
	if err := q.AddFunction(t.Context(), "Hello", Retry{}); err != nil {
		t.Fatal(err)
	}
	if s, err = q.js.Stream(t.Context(), streamLog); err != nil || s.CachedInfo().Config.Description != cfg.Description {
		t.Errorf("the stream was changed: %q, %v", s.CachedInfo().Config.Description, err)
	}
	if c, err := q.js.Consumer(t.Context(), streamRetry, consumerName("Hello")); err != nil || c.CachedInfo().Config.AckWait != time.Hour {
		t.Errorf("the consumer was changed: %v, %v", c.CachedInfo().Config.AckWait, err)
	}
}
