package queue

import (
	"errors"
	"testing"
	"time"
)

func TestDisks_WhileAMajorityHasRoomEventsAreAccepted(t *testing.T) {
	d := &disks{gateways: 3, full: map[string]time.Time{}}
	d.note("b", true)
	if err := d.majority(); err != nil {
		t.Errorf("one of three: %v", err)
	}
	d.note("c", true)
	if err := d.majority(); !errors.Is(err, ErrFull) {
		t.Errorf("two of three: %v", err)
	}
	d.note("b", false)
	if err := d.majority(); err != nil {
		t.Errorf("one has room again: %v", err)
	}
	d.full["b"] = time.Now().Add(-diskLife)
	if err := d.majority(); err != nil {
		t.Errorf("one is silent: %v", err)
	}
}

func TestCluster_NothingIsAcceptedWhenMostDisksAreFull(t *testing.T) {
	f := newFleet(t)
	a := f.open["a"]
	if err := a.AddFunction(t.Context(), "Hello", Retry{}); err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"x", "y"} { // two that nobody contradicts
		if err := a.tellDisk(node, true); err != nil {
			t.Fatal(err)
		}
	}
	for name, q := range f.open {
		within(t, 10*time.Second, name+" refuses", func() bool {
			_, err := q.Publish(t.Context(), &Event{Source: "s", Function: "Hello", Body: []byte("1")})
			return errors.Is(err, ErrFull)
		})
	}
	within(t, time.Minute, "their word is old, and events are accepted", func() bool {
		_, err := a.Publish(t.Context(), &Event{Source: "s", Function: "Hello", Body: []byte("1")})
		return err == nil
	})
}
