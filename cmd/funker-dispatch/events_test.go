package main

import (
	"testing"
	"time"
)

func TestMoment_TakesWhatTablesPrint(t *testing.T) {
	at := time.Date(2026, 11, 23, 8, 30, 15, 250e6, time.Local)
	for text, want := range map[string]time.Time{
		at.Format(time.RFC3339Nano): at,
		exactly(at):                 at,
		at.Format(time.DateTime):    at.Truncate(time.Second),
		"2026-11-23 08:30":          at.Truncate(time.Minute),
		"2026-11-23":                time.Date(2026, 11, 23, 0, 0, 0, 0, time.Local),
		"2026-11-23T08:30:15Z":      time.Date(2026, 11, 23, 8, 30, 15, 0, time.UTC),
		"":                          {},
	} {
		if got, err := moment("since", text); err != nil || !got.Equal(want) {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "2026-11-23 8", "08:30", "2026-13-01"} {
		if got, err := moment("since", text); err == nil {
			t.Errorf("%q: got %v", text, got)
		}
	}
}
