package main

import (
	"testing"

	"github.com/funker-dispatch/funker-dispatch/ingress"
)

func TestMemory_IsKnownHere(t *testing.T) {
	if m := memory(); m < 64<<20 || m > 1<<50 {
		t.Errorf("got %d bytes", m)
	}
}

func TestInFlightBytes_FollowTheMemory(t *testing.T) {
	const MiB = 1 << 20
	for memory, want := range map[int64]int64{
		0: 0, 128 * MiB: ingress.DefaultMaxBody, 512 * MiB: 64 * MiB, 1024 * MiB: 128 * MiB, 2048 * MiB: 256 * MiB, 1 << 40: 256 * MiB,
	} {
		if got := inFlightBytes(memory, ingress.DefaultMaxBody); got != want {
			t.Errorf("with %d MiB: got %d, want %d", memory/MiB, got, want)
		}
	}
	if got := inFlightBytes(512*MiB, 65*MiB); got != 65*MiB {
		t.Errorf("one largest body must fit: got %d", got)
	}
}
