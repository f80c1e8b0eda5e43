package main

import (
	"context"
	"net/http"
	"os"

	"github.com/funker-dispatch/funker-dispatch/funker"
)

const (
	rawSync  = "append 1 KB + fsync"
	direct   = "funker call"
	baseline = "bare HTTP handler + funker call"
	through  = "call through the gateway"
	byTCP    = "the same, with a worker connected by TCP"
	bareSync = "bare HTTP handler + append + fsync that all share"
	accepted = "durable accept of a signed push"
	alsoRun  = "durable accept, while a worker here runs the events"
	drained  = "events from a backlog, through a function that answers at once"

	besideBad = "likewise, while 2,000 bad requests/s come"

	unviewed = "call through the gateway, measured for longer"
	viewed   = "likewise, while 100 browsers show the live overview"
)

func (b *bench) measurements(file *os.File) []measurement {
	payload := payload()
	var c funker.Client
	m := []measurement{
		{what: rawSync, clients: 1, after: emptied(file), do: func(context.Context) error {
			if _, err := file.Write(payload); err != nil {
				return err
			}
			return file.Sync()
		}},
	}
	for _, n := range []int{1, 32, 64} {
		m = append(m, measurement{what: direct, clients: n, do: func(ctx context.Context) error {
			_, err := c.Call(ctx, b.address, payload)
			return err
		}})
	}
	for _, n := range []int{1, 32, 64} {
		post := func(url string) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := b.post(ctx, url, nil, payload, http.StatusOK)
				return err
			}
		}
		m = append(m, measurement{what: baseline, clients: n, do: post(b.bare + "/call")},
			measurement{what: through, clients: n, versus: baseline, do: post(b.public + "/functions/Bench")},
			measurement{what: byTCP, clients: n, versus: baseline, do: post(b.remote.public.url() + "/functions/Bench")})
	}
	call := func(ctx context.Context) error {
		_, err := b.post(ctx, b.public+"/functions/Bench", nil, payload, http.StatusOK)
		return err
	}
	for _, n := range []int{1, 32} {
		m = append(m, measurement{what: unviewed, clients: n, do: call, long: true},
			measurement{what: viewed, clients: n, versus: unviewed, do: call, long: true, viewers: benchViewers})
	}
	for _, n := range []int{1, 64, 256} {
		m = append(m, measurement{what: bareSync, clients: n, versus: rawSync, after: emptied(b.stored), do: func(ctx context.Context) error {
			_, err := b.post(ctx, b.bare+"/store", nil, payload, http.StatusAccepted)
			return err
		}})
		if b.journal == nil { // else the next run waits until all have ended
			m = append(m, measurement{what: accepted, clients: n, versus: rawSync, do: b.pushTo("/github/hangs")})
		}
		m = append(m, measurement{what: alsoRun, clients: n, versus: rawSync, do: b.pushTo("/github/bench"), after: b.allHaveRun})
	}
	for _, n := range []int{1, 64} {
		m = append(m, measurement{what: besideBad, clients: n, versus: alsoRun, do: b.pushTo("/github/bench"), after: b.allHaveRun, bad: true})
	}
	return m
}
