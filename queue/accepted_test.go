package queue

import (
	"testing"
	"time"
)

func TestAccepted_IsTheTimeInTheID(t *testing.T) {
	before := time.Now().Truncate(time.Millisecond)
	got := (&Event{ID: NewID()}).Accepted()
	if got.Before(before) || got.After(time.Now()) || got.Location() != time.UTC {
		t.Errorf("got %s, want %s or a moment later, in UTC", got, before)
	}
	if got := (&Event{ID: "FUNKER_EVENTS/42"}).Accepted(); !got.IsZero() {
		t.Errorf("got %s of an event that was published by hand", got)
	}
}
