package queue

import (
	"testing"
	"time"
)

func TestRepeat_AfterTheWindowIsANewEvent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := open(t, "Twice")
		work(t, q, "Twice", 1, ok("1"))
		deliver := func() Receipt {
			r, err := q.Publish(t.Context(), &Event{Source: "s", Function: "Twice", DeliveryID: "d1", Body: []byte("1")})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		first := deliver()
		time.Sleep(duplicateWindow - time.Second)
		if again := deliver(); !again.Duplicate || again.ID != first.ID {
			t.Errorf("within the window: got %+v, want a duplicate of %s", again, first.ID)
		}
		time.Sleep(2 * time.Second)
		if late := deliver(); late.Duplicate || late.Replay || late.ID == first.ID {
			t.Errorf("after the window: got %+v", late)
		}
		time.Sleep(time.Second)
		if events := stored(t, q, streamEvents); len(events) != 2 {
			t.Errorf("%d events are stored", len(events))
		}
	})
}
