package main

import "testing"

func TestSize_ReadsNumbersWithUnits(t *testing.T) {
	for text, want := range map[string]size{"1": 1, "512B": 512, "64KiB": 64 << 10, "512 MiB": 512 << 20, "4GiB": 4 << 30, "2TiB": 2 << 40} {
		var got size
		if err := got.Set(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "4GB", "4 gib", "1.5GiB", "9999999999TiB", "GiB"} {
		var got size
		if err := got.Set(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
}
