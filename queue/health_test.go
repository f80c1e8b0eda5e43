package queue

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// The server has the folder of such a stream for a moment, and does not know the stream any more.
func TestHealth_AStreamThatIsDeletedIsNoFault(t *testing.T) {
	q := open(t, "F")
	name := func(i int) string { return fmt.Sprintf("FUNKER_TEST_%d", i) }
	for i := range 100 {
		if _, err := q.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name(i), Subjects: []string{name(i)}}); err != nil {
			t.Fatal(err)
		}
		if _, err := q.js.Publish(t.Context(), name(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	deleted := make(chan error, 1)
	go func() {
		for i := range 100 {
			if err := q.js.DeleteStream(t.Context(), name(i)); err != nil {
				deleted <- err
				return
			}
		}
		deleted <- nil
	}()
	for len(deleted) == 0 {
		if err := q.health(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-deleted; err != nil {
		t.Error(err)
	}
}
