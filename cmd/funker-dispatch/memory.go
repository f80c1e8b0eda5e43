package main

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/funker-dispatch/funker-dispatch/ingress"
)

// heapMax is where the garbage of large bodies is collected at the latest, in bytes, however much memory there is.
const heapMax = 1 << 30

// memory is what this process may use, in bytes: what the machine has, or less when its container is limited (cgroup
// v2 or v1); 0 when that is not known.
func memory() int64 {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	_, text, _ := strings.Cut(string(info), "MemTotal:")
	text, _, _ = strings.Cut(text, "kB")
	kib, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0
	}
	least := kib << 10
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		limit, err := os.ReadFile(file)
		if n, bad := strconv.ParseInt(strings.TrimSpace(string(limit)), 10, 64); err == nil && bad == nil { // "max" is no number
			least = min(least, n)
		}
	}
	return least
}

// ballast is counted by the garbage collector as live, but never touched, so that it is no memory of the machine. A live
// heap of a few megabytes would be collected after every few hundred requests, which costs a fifth of the throughput.
var ballast []byte

// Garbage gathers up to a quarter of what is live, the ballast included: 24 MiB at least, and little more behind a long
// backlog.
const (
	ballastSize    = 96 << 20
	garbagePercent = 25
)

// tuneHeap sets how much garbage gathers, and keeps that of large bodies within half the memory. GOGC takes the place of
// the first, GOMEMLIMIT of the second.
func tuneHeap(memory int64) {
	limit := debug.SetMemoryLimit(-1)
	if os.Getenv("GOMEMLIMIT") == "" && memory > 0 {
		limit = min(memory/2, heapMax)
	}
	if os.Getenv("GOGC") == "" {
		if ballast == nil {
			ballast = make([]byte, ballastSize)
		}
		debug.SetGCPercent(garbagePercent)
		limit += min(ballastSize, math.MaxInt64-limit)
	}
	debug.SetMemoryLimit(limit)
}

// inFlightBytes is how many bytes of requests a gateway takes at once where the command line does not say: an eighth of
// the memory, since a body is in memory more than once on its way, but always one body of the largest size.
func inFlightBytes(memory, maxBody int64) int64 {
	if memory == 0 {
		return 0
	}
	return max(min(memory/8, ingress.DefaultMaxInFlightBytes), maxBody)
}
