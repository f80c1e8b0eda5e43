package queue

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
)

// spent is the processor time that this process has used.
func spent(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resident is the memory of this process, in bytes.
func resident(b *testing.B) int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		b.Fatal(err)
	}
	return kb << 10
}

// fill stores n events that have succeeded, and their log.
func fillQueue(b *testing.B, q *Queue, n int) {
	body := bytes.Repeat([]byte("x"), 1024)
	stored := func(n uint64) {
		for _, stream := range []string{streamEvents, streamLog} {
			within(b, time.Minute, "all are stored", func() bool {
				s, err := q.state(b.Context(), stream)
				return err == nil && s.LastSeq == n
			})
		}
	}
	for i := range n {
		e := &Event{ID: NewID(), Source: "github-acme", Function: fmt.Sprint("Function", i%20), ContentType: "application/json", Body: body}
		m := encode(e, eventSubject(e.Source, e.Function))
		m.Header["X-Github-Event"] = []string{"push"}
		if err := q.nc.PublishMsg(m); err != nil {
			b.Fatal(err)
		}
		q.logOutcome(line{event: e, result: Result{Duration: time.Millisecond, Reply: []byte(`"done"`)}, outcome: OutcomeOK, root: newRef(shelfEvents, uint64(i+1)).String()})
		if i%500 == 499 || i == n-1 {
			stored(uint64(i + 1))
		}
	}
}

// BenchmarkIndex_Build reads a store of FUNKER_INDEX_EVENTS events and their log, 20,000 by default. The store is kept in
// FUNKER_INDEX_DIR, when that is set: the second time the memory is that of the index and the server alone.
func BenchmarkIndex_Build(b *testing.B) {
	n, dir := 20_000, os.Getenv("FUNKER_INDEX_DIR")
	if text := os.Getenv("FUNKER_INDEX_EVENTS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	if dir == "" {
		dir = b.TempDir()
	}
	q := openBench(b, dir)
	if s, err := q.state(b.Context(), streamEvents); err != nil {
		b.Fatal(err)
	} else if s.Msgs == 0 {
		fillQueue(b, q, n)
	}
	closeBench(b, q)
	var most int
	for b.Loop() {
		used := spent(b)
		q := openBench(b, dir)
		for !q.index.built.Load() {
			most = max(most, resident(b))
			<-time.After(5 * time.Millisecond)
		}
		b.ReportMetric(float64((spent(b)-used).Nanoseconds())/float64(2*n), "cpu-ns/message")
		b.ReportMetric(float64(most)/1e6, "MB-resident")
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapAlloc)/1e6, "MB-heap")
		askBench(b, q)
		closeBench(b, q)
	}
}

// askBench measures what a person waits for.
func askBench(b *testing.B, q *Queue) {
	list, err := q.List(b.Context(), Filter{Limit: MaxLimit, State: StateOK})
	if err != nil || len(list) == 0 {
		b.Fatalf("got %d, %v", len(list), err)
	}
	report := func(what string, times int, ask func(i int) error) {
		begun := time.Now()
		for i := range times {
			if err := ask(i); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(time.Since(begun).Microseconds())/float64(times)/1000, "ms/"+what)
	}
	report("get", 200, func(i int) error {
		r, err := q.Get(b.Context(), list[i%len(list)].ID)
		if err == nil && (r.State != StateOK || len(r.Attempts) != 1) {
			err = fmt.Errorf("got %+v", r)
		}
		return err
	})
	report("list", 50, func(int) error { _, err := q.List(b.Context(), Filter{}); return err })
	report("list-of-none", 50, func(int) error {
		_, err := q.List(b.Context(), Filter{State: StateRunning, Function: "Function1"})
		return err
	})
	report("balance", 10, func(int) error { _, err := q.Balance(b.Context()); return err })
}

func openBench(b *testing.B, dir string) *Queue {
	q, err := Open(b.Context(), Options{Dir: dir, Log: testLog(b)})
	if err != nil {
		b.Fatal(err)
	}
	return q
}

func closeBench(b *testing.B, q *Queue) {
	if err := q.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkIndex_Follow reads calls and their log as they come from a gateway: what each message costs.
func BenchmarkIndex_Follow(b *testing.B) {
	q := open(b, "Hello")
	body := bytes.Repeat([]byte("x"), 1024)
	const calls = 12_000
	var used time.Duration
	n := 0
	for b.Loop() {
		for range calls {
			e := &Event{ID: NewID(), Source: "http", Function: "Hello", Body: body, Deadline: time.Now()}
			if err := q.nc.PublishMsg(encode(e, "funker.called.http.Hello")); err != nil {
				b.Fatal(err)
			}
			q.logOutcome(line{event: e, result: Result{Duration: time.Millisecond}, outcome: OutcomeOK})
		}
		n += calls
		within(b, time.Minute, "all are stored", func() bool {
			s, err := q.state(b.Context(), streamLog)
			return err == nil && s.LastSeq == uint64(n)
		})
		before := spent(b)
		if err := q.index.fresh(b.Context()); err != nil {
			b.Fatal(err)
		}
		used += spent(b) - before
	}
	b.ReportMetric(float64(used.Nanoseconds())/float64(2*n), "cpu-ns/message")
}

// aMillion is an index of a million events, with their log, of which one in a thousand is dead and the last wait.
func aMillion(b *testing.B) (*index, []string) {
	x := &index{}
	var ids []string
	l := &x.ledger
	const events = 1_000_000
	for i := range uint64(events) {
		id := NewID()
		if i%10_000 == 0 {
			ids = append(ids, id)
		}
		function := l.number(fmt.Appendf(nil, "Function%d", i%20))
		key, made := keyOf([]byte(id), 0)
		e := entry{ref: newRef(shelfEvents, i+1), kind: entryRecord, key: key, made: made, function: function}
		l.note(&e, made)
		of := e.ref
		if i%1000 == 0 {
			e = entry{ref: newRef(shelfDead, i/1000+1), kind: entryLetter, key: key, stored: made, root: of, function: function}
			l.note(&e, made)
		} else if i < events-1000 {
			e = entry{ref: newRef(shelfLog, i+1), kind: entryLine, key: key, stored: made, root: of, outcome: runOK}
			l.note(&e, made)
		}
	}
	b.ResetTimer()
	return x, ids
}

func BenchmarkIndex_Get(b *testing.B) {
	x, ids := aMillion(b)
	for i := 0; b.Loop(); i++ {
		found := x.withID(ulid.MustParse(ids[i%len(ids)]))
		if len(found) == 0 || x.find(found[0], positions{}).record != found[0] {
			b.Fatalf("got %v", found)
		}
	}
}

func BenchmarkIndex_List(b *testing.B) {
	x, _ := aMillion(b)
	for name, c := range map[string]struct {
		filter Filter
		want   int
	}{
		"newest": {Filter{}, 20}, "dead": {Filter{State: StateDead}, 20}, "function": {Filter{Function: "Function3", State: StateOK}, 20},
		"none": {Filter{State: StateRunning}, 0}, "old": {Filter{Until: time.Unix(0, 0)}, 0},
	} {
		b.Run(name, func(b *testing.B) {
			c.filter.Limit = DefaultLimit
			for b.Loop() {
				if found := x.newest(c.filter, positions{}); len(found) != c.want {
					b.Fatalf("got %d, want %d", len(found), c.want)
				}
			}
		})
	}
	b.Run("count", func(b *testing.B) {
		for b.Loop() {
			if n := x.count(Filter{State: StateOK}, 0, positions{}); n < 990_000 {
				b.Fatalf("got %d", n)
			}
		}
	})
}
