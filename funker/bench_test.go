package funker_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/funker"
)

// BenchmarkCall is one call over loopback with a deadline and a way to cancel, as a
// dispatcher makes it. On loopback it cannot pass the rate at which the kernel
// gives local ports back, about 14,000 a second; past it, calls fail with ErrNoPorts
// or their dial times out, which is counted.
func BenchmarkCall(b *testing.B) {
	addr := startPeer(b, func(conn *net.TCPConn) { // a bare loop, so that the figures are the caller's
		var request [1024]byte
		for err := error(nil); err == nil; {
			_, err = conn.Read(request[:])
		}
		_, _ = conn.Write([]byte(`{"hello":"world"}`))
	})
	for _, callers := range []int{1, 32} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) { benchmarkCall(b, addr, callers) })
	}
}

func benchmarkCall(b *testing.B, addr string, callers int) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var client funker.Client
	var left, refused atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	var running sync.WaitGroup
	for range callers {
		running.Go(func() {
			for left.Add(-1) >= 0 {
				if !benchmarkOne(ctx, b, &client, addr) {
					refused.Add(1)
				}
			}
		})
	}
	running.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	b.ReportMetric(float64(refused.Load()), "dials-failed")
}

func benchmarkOne(ctx context.Context, b *testing.B, client *funker.Client, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := client.Call(ctx, addr, []byte(`{"x":1,"y":2}`))
	if e, ok := errors.AsType[*funker.Error](err); ok && e.Phase == funker.PhaseDial {
		return false
	}
	if err != nil {
		b.Error(err)
	}
	return true
}
