package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
)

// use is what a process has used up.
type use struct {
	CPU     float64 `json:"cpu_us"`        // microseconds of a processor
	Written float64 `json:"written_bytes"` // to files
}

// ticks is how many parts of a second the kernel counts processor time in, on all platforms that Go runs on.
const ticks = 100

// used asks the kernel.
func (s *served) used() (use, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return use{}, fmt.Errorf("read processor time: %w", err)
	}
	_, text, _ := strings.Cut(string(stat), ") ") // behind the name
	fields := strings.Fields(text)
	if len(fields) < 13 {
		return use{}, fmt.Errorf("read processor time: %q", stat)
	}
	user, err1 := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	if err1 != nil || err2 != nil {
		return use{}, fmt.Errorf("read processor time: %q", stat)
	}
	io, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", s.cmd.Process.Pid))
	if err != nil {
		return use{}, fmt.Errorf("read what was written: %w", err)
	}
	_, text, _ = strings.Cut(string(io), "\nwrite_bytes: ")
	text, _, _ = strings.Cut(text, "\n")
	written, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return use{}, fmt.Errorf("read what was written: %w", err)
	}
	return use{CPU: (user + system) * 1e6 / ticks, Written: written}, nil
}

// measureGateways also measures what one of what is measured costs the gateways.
func (b *bench) measureGateways(ctx context.Context, m measurement) (row, error) {
	var done atomic.Int64
	do := m.do
	m.do = func(ctx context.Context) error { done.Add(1); return do(ctx) }
	before, err := usedBy(m.gateways)
	if err != nil {
		return row{}, err
	}
	r, err := b.measureAlone(ctx, m, b.time)
	if err != nil {
		return row{}, err
	}
	after, err := usedBy(m.gateways)
	if err != nil {
		return row{}, err
	}
	n := float64(done.Load())
	r.Busiest = new(use)
	for i := range after {
		cpu := (after[i].CPU - before[i].CPU) / n
		r.CPU += cpu
		r.Busiest.CPU = max(r.Busiest.CPU, cpu)
		r.Busiest.Written = max(r.Busiest.Written, (after[i].Written-before[i].Written)/n)
	}
	return r, nil
}

func usedBy(all []*served) ([]use, error) {
	uses := make([]use, len(all))
	for i, s := range all {
		var err error
		if uses[i], err = s.used(); err != nil {
			return nil, err
		}
	}
	return uses, nil
}
