package queue

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestLink_WhoWaitsForAnAnswerIsToldWhenTheConnectionBreaks(t *testing.T) {
	dir := t.TempDir()
	gateway, err := Open(t.Context(), Options{Dir: dir, Listen: "127.0.0.1:0", Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 1)
	if _, err := gateway.nc.Subscribe("silent", func(*nats.Msg) { asked <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	if err := gateway.nc.Flush(); err != nil { // else the request may find nobody there
		t.Fatal(err)
	}
	q, err := Dial(gateway.URL(), filepath.Join(dir, AdminKey), RoleAdmin, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 1)
	go func() {
		_, err := q.request(t.Context(), "silent", nil)
		told <- err
	}()
	<-asked
	if err := gateway.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-told:
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it still waits")
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}

func TestLooks_AnAnswerIsNeverTakenForThatToALaterLook(t *testing.T) {
	var l looks
	if time.Since(l.brought()) > time.Minute {
		t.Error("without any look, the event is not as old as now")
	}
	before := time.Now()
	l.add(1)
	between := time.Now()
	l.add(1)
	l.answered()
	if at := l.brought(); at.Before(before) || at.After(between) {
		t.Errorf("the first answer belongs to %s, want the first look", at)
	}
	l.answered()
	if at := l.brought(); at.Before(between) {
		t.Errorf("the second answer belongs to %s, want the second look", at)
	}
	l.answered()
	if time.Since(l.brought()) < time.Hour {
		t.Error("an answer to no look is not too old")
	}
	l.add(1)
	l.add(2) // the connection is another one
	l.answered()
	l.answered()
	if time.Since(l.brought()) < time.Hour {
		t.Error("the look of the first connection was not forgotten")
	}
}

func TestDial_DoesNotWaitLongForANameThatNobodyKnows(t *testing.T) {
	system := net.DefaultResolver
	defer func() { net.DefaultResolver = system }()
	silent := func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: silent}
	key := filepath.Join(t.TempDir(), WorkerKey)
	if _, err := makeKey(key); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	q, err := Dial("nats://queue.example:4222", key, RoleWorker, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if took := time.Since(begin); took > 4*time.Second || q.Connected() {
		t.Errorf("it took %s, connected: %v", took, q.Connected())
	}
}

// A leader that dies takes along the answers that it owes.
func TestLooks_AnswersThatAreLostDoNotMakeLaterOnesLate(t *testing.T) {
	q := openWith(t, Options{Dir: t.TempDir(), AckWait: MinAckWait}, "Hello")
	f, err := q.Feed("Hello", Retry{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	s, err := newSlot(f, func(*Event) Result { return Result{Outcome: OutcomeOK, Reply: []byte("1")} })
	if err != nil {
		t.Fatal(err)
	}
	for range 8 {
		s.looks.sent = append(s.looks.sent, time.Now().Add(-2*MinAckWait))
	}
	r := publish(t, q, "Hello")
	done := make(chan error)
	go func() { done <- s.run(ctx) }()
	if got := become(t, q, r.ID, StateOK); len(got.Attempts) > 1 {
		t.Errorf("got %+v", got.Attempts)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
