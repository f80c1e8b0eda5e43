package queue

import (
	"slices"
	"testing"
)

func TestUsage_WarnsBeforeTheStoreRefuses(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name         string
		events, free uint64
		want         []string
	}{
		{name: "empty", free: 1000 * mib},
		{name: "as full as history gets", events: 80 * mib, free: 1000 * mib},
		{name: "full of what waits", events: 90 * mib, free: 1000 * mib,
			want: []string{"FUNKER_EVENTS holds 90 MiB of 100 MiB: when it is full, new events get 503 store_full"}},
		{name: "disk nearly full", free: 100 * mib,
			want: []string{"the disk has 100 MiB free: with 64 MiB and less, new events and calls get 503 store_full"}},
		{name: "disk full", free: 10 * mib,
			want: []string{"the disk has 10 MiB free, the last 64 MiB are kept for what was accepted before: new events and calls get 503 store_full"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := Usage{Streams: []StreamUsage{{streamEvents, c.events, 100 * mib}}, Free: int64(c.free), Reserve: reserveMost}
			if got := u.Warnings(); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestUsage_OfAnOutsideServerIsAboutItsAccount(t *testing.T) {
	for free, want := range map[int64][]string{
		-1: nil, 1 << 30: nil,
		100 << 20: {"the account at the NATS server may store 100 MiB more: when it is full, new events and calls get 503 store_full"},
	} {
		if got := (Usage{Free: free}).Warnings(); !slices.Equal(got, want) {
			t.Errorf("%d free: got %q, want %q", free, got, want)
		}
	}
}
