package console

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// Lists are read page by page: 10,000 events cost a page no more memory than 50, and the page has no more rows. The test is alone, so that nothing else allocates.
func TestPages_AreAsSmallWithTenThousandEvents(t *testing.T) {
	const many = 10_000
	a := start(t)
	if err := a.queue.AddFunction(t.Context(), "Waits", queue.Retry{}); err != nil {
		t.Fatal(err)
	}
	store := func(n int) {
		for ; n > 0; n -= 500 {
			batch := make([]*queue.Event, min(n, 500))
			for i := range batch {
				batch[i] = &queue.Event{Source: "test", Function: "Waits", Body: []byte(`{"text":"` + strings.Repeat("x", 1000) + `"}`)}
			}
			if _, err := a.queue.PublishAll(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
		}
	}
	b := a.signedIn(token)
	paths := []string{"/", "/events", "/events?function=Waits&state=waiting", "/dead", "/events?since=2026-01-01T00:00"}
	measure := func() (sizes, costs map[string]uint64) {
		sizes, costs = map[string]uint64{}, map[string]uint64{}
		for _, path := range paths {
			b.get(path) // what is made once
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			p := b.get(path)
			runtime.ReadMemStats(&after)
			if p.status != 200 {
				t.Fatalf("%s: got %d", path, p.status)
			}
			sizes[path], costs[path] = uint64(len(p.text)), after.TotalAlloc-before.TotalAlloc
		}
		return sizes, costs
	}
	store(2 * rowsPerPage)
	fewSizes, fewCosts := measure()
	store(many)
	within(t, "all are known", func() bool { return strings.Contains(b.get("/").text, fmt.Sprint(many+2*rowsPerPage)) })
	begin := time.Now()
	manySizes, manyCosts := measure()
	t.Logf("%d pages in %s; allocated %v, with few %v", 2*len(paths), time.Since(begin), manyCosts, fewCosts)
	for _, path := range paths {
		if manySizes[path] > fewSizes[path]+fewSizes[path]/10 {
			t.Errorf("%s has %d bytes, and with few events %d", path, manySizes[path], fewSizes[path])
		}
		if manyCosts[path] > 2*fewCosts[path]+1<<20 { // the server's goroutines allocate beside it
			t.Errorf("%s allocates %d bytes, and with few events %d", path, manyCosts[path], fewCosts[path])
		}
	}
}

// A picture of the live overview is made once in liveEvery, however many look at it.
func BenchmarkLive_Picture(b *testing.B) {
	a := start(b)
	for range 20 {
		a.publish("HelloIntent")
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(a.handler.picture(b.Context())) == 0 {
			b.Fatal("there is nothing to see")
		}
	}
}
