package funker_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/funker"
)

// BenchmarkCall is one call over loopback with a deadline and a way to cancel, as a
// dispatcher makes it. On loopback it cannot pass the rate at which the kernel
// gives ephemeral ports back, about 14,000 a second.
func BenchmarkCall(b *testing.B) {
	for _, bench := range []struct {
		name    string
		callers int
	}{{"callers=1", 1}, {"callers=32", 32}} {
		b.Run(bench.name, func(b *testing.B) { benchmarkCall(b, bench.callers) })
	}
}

// The function is a bare loop, so that the figures are the caller's.
func benchmarkCall(b *testing.B, callers int) {
	addr := startPeer(b, func(conn *net.TCPConn) {
		var request [1024]byte
		for {
			if _, err := conn.Read(request[:]); err != nil {
				break
			}
		}
		_, _ = conn.Write([]byte(`{"hello":"world"}`))
	})
	client, request := &funker.Client{}, []byte(`{"x":1,"y":2}`)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	b.ReportAllocs()
	b.SetParallelism((callers + 1) / 2)
	begun := time.Now()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			ctx, done := context.WithTimeout(ctx, 5*time.Second)
			if _, err := client.Call(ctx, addr, request); err != nil {
				b.Error(err)
			}
			done()
		}
	})
	b.ReportMetric(float64(b.N)/time.Since(begun).Seconds(), "calls/s")
}
