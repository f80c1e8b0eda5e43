package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// benchViewers is how many browsers show the live overview beside a measurement.
	benchViewers = 100
	// longViewed is how many times as long as others such a measurement takes, and the one that it is compared with: with
	// the defaults that is two pictures of the overview for each viewer, which are what viewers cost.
	longViewed = 10
	// viewerPatience is how long the first picture may take.
	viewerPatience = 30 * time.Second
)

// viewers read the live overview, as the script of the page does.
type viewers struct {
	cancel   context.CancelFunc
	done     chan error
	client   *http.Client
	pictures atomic.Int64 // after the first one of each
}

// measureViewed measures for longer, with viewers or without.
func (b *bench) measureViewed(ctx context.Context, m measurement) (row, error) {
	if m.viewers == 0 {
		return b.measureCPU(ctx, m)
	}
	v, err := b.startViewers(ctx, m.viewers)
	if err != nil {
		return row{}, err
	}
	r, err := b.measureCPU(ctx, m)
	r.Pictures = float64(v.pictures.Load()) / float64(m.viewers)
	return r, errors.Join(err, v.stop())
}

// measureCPU also measures what a call takes of the processors, which hardly depends on what else the machine does.
func (b *bench) measureCPU(ctx context.Context, m measurement) (row, error) {
	var calls atomic.Int64
	do := m.do
	m.do = func(ctx context.Context) error { calls.Add(1); return do(ctx) }
	before, err := cpuTime()
	if err != nil {
		return row{}, err
	}
	r, err := b.measureAlone(ctx, m, longViewed*b.time)
	if err != nil {
		return row{}, err
	}
	after, err := cpuTime()
	r.CPU = float64((after - before).Microseconds()) / float64(calls.Load())
	return r, err
}

// cpuTime is what this process has had of the processors.
func cpuTime() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("ask for the processor time: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// startViewers returns when all of them look at a picture.
func (b *bench) startViewers(ctx context.Context, n int) (*viewers, error) {
	token, err := readToken(filepath.Join(b.dir, "own", readTokenFile))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	v := &viewers{cancel: cancel, done: make(chan error, 1), client: &http.Client{Transport: &http.Transport{}}}
	looking := make(chan struct{}, n)
	group, ctx := errgroup.WithContext(ctx)
	for range n {
		group.Go(func() error {
			err := b.view(ctx, v, token, looking)
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("look at the live overview: %w", err)
		})
	}
	go func() { v.done <- group.Wait() }()
	late := time.After(viewerPatience)
	for range n {
		select {
		case <-looking:
		case <-late:
			return nil, errors.Join(errors.New("the live overview does not come"), v.stop())
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), v.stop())
		}
	}
	return v, nil
}

// view reads pictures until ctx ends.
func (b *bench) view(ctx context.Context, v *viewers, token string, looking chan<- struct{}) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.gateway.admin.url()+"/live", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := v.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New("the answer is " + resp.Status)
	}
	first := true
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		switch {
		case strings.TrimSpace(lines.Text()) != "":
		case first:
			first = false
			looking <- struct{}{}
		default:
			v.pictures.Add(1)
		}
	}
	return errors.Join(lines.Err(), errors.New("the stream has ended"))
}

func (v *viewers) stop() error {
	v.cancel()
	err := <-v.done
	v.client.CloseIdleConnections()
	return err
}
