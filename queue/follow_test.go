package queue

import (
	"context"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestFollow_GoesOnBehindALineAndShowsWhatIsMissing(t *testing.T) {
	q := open(t, "A")
	log := func() {
		t.Helper()
		if _, err := q.store(t.Context(), &nats.Msg{Subject: logSubject("s", "A"), Header: nats.Header{headerFunction: {"A"}}}); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		log()
	}
	if end, err := q.LogEnd(t.Context()); err != nil || end != 5 {
		t.Errorf("the end: got %d, %v", end, err)
	}
	s, err := q.js.Stream(t.Context(), streamLog)
	if err == nil {
		err = s.Purge(t.Context(), jetstream.WithPurgeSequence(3))
	}
	if err != nil {
		t.Fatal(err)
	}
	for after, want := range map[uint64][]uint64{0: {3, 4, 5}, 3: {4, 5}} {
		var got []uint64
		ctx, stop := context.WithCancel(t.Context())
		err := q.Follow(ctx, after, func(line uint64, a Attempt) {
			if got = append(got, line); len(got) == len(want) || a.Function != "A" {
				stop()
			}
		})
		if stop(); err != nil || !slices.Equal(got, want) {
			t.Errorf("after %d: got %v, %v, want %v", after, got, err, want)
		}
	}
}

// As of a gateway that is stopped as soon as it has started.
func TestFollow_AContextThatIsOverAlreadyIsNoError(t *testing.T) {
	q := open(t, "F")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range map[string]error{
		"Tail":            q.Tail(ctx, func(Attempt) {}),
		"Follow":          q.Follow(ctx, 0, func(uint64, Attempt) {}),
		"WatchConfig":     q.WatchConfig(ctx, func() {}),
		"FollowFunctions": q.FollowFunctions(ctx, func([]byte) {}),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
