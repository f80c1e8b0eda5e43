package queue

import (
	"errors"
	"testing"
)

func TestCheckNames_RefusesWhatNothingHas(t *testing.T) {
	q := open(t, "Fetch")
	if err := q.CheckNames(t.Context(), "", "github"); err != nil {
		t.Errorf("a source of an empty store: %v", err)
	}
	if _, err := q.Publish(t.Context(), &Event{Source: "my site", Function: "Gone", Body: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		function, source string
		want             error
	}{
		{"", "", nil}, {"Fetch", "", nil}, {"Gone", "my site", nil}, {"Fetsch", "", ErrNoFunction}, {"Fetch", "my sight", ErrNoSource},
		{"a\nb", "", ErrName},
	} {
		if err := q.CheckNames(t.Context(), c.function, c.source); !errors.Is(err, c.want) {
			t.Errorf("%q, %q: got %v, want %v", c.function, c.source, err, c.want)
		}
	}
	err := q.CheckNames(t.Context(), "Fetsch", "")
	if want := "unknown function: Fetsch (known: Fetch)"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
