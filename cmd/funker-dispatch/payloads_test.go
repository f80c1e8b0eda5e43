package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/ingress"
	"github.com/funker-dispatch/funker-dispatch/queue"
)

// All that senders send goes through a `serve` in a process of its own to a function: our own samples, and with
// FUNKER_TEST_PAYLOADS every file of that folder. Each delivery has a trigger of its own, so that one is never the
// repeat of another, and what `triggers` counts for it is known.
func TestPayloads_AreAnsweredAsTheSenderExpectsAndRunTheirFunctionOnce(t *testing.T) {
	s := newStage(t)
	b := &builder{t: t, dir: t.TempDir(), amazon: s.amazon, now: time.Now(), head: s.function.manifest()}
	fileDeliveries(t, b)
	sampleDeliveries(t, b)
	s.all = b.all
	s.start(t, b)
	for _, d := range s.all {
		t.Run(d.file+"/"+d.name, func(t *testing.T) { s.deliver(t, d) })
	}
	s.finish(t)
}

// stage is a gateway, and what it talks to.
type stage struct {
	gatewayUnderTest
	process  *process
	function *notebook
	amazon   *amazonNet
	all      []*delivery
}

func newStage(t *testing.T) *stage {
	t.Helper()
	return &stage{amazon: newAmazonNet(t), function: newNotebook(t)}
}

const maxPayload = 100_000 // bytes

var listens = regexp.MustCompile(`msg=ready public=(\S+) admin=(\S+) nats=(\S+)`)

func (s *stage) start(t *testing.T, b *builder) {
	t.Helper()
	var manifest strings.Builder
	manifest.WriteString(b.head + "triggers:\n")
	for _, d := range b.all {
		manifest.WriteString("- {" + d.entry + "}\n")
	}
	s.manifest, s.data = write(t, b.dir, "functions.yaml", manifest.String()), filepath.Join(b.dir, "data")
	s.process = newProcess(t, "gateway", "msg=ready", "serve", "--manifest", s.manifest, "--data", s.data, "--max-body", fmt.Sprint(maxPayload),
		"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0")
	s.process.env = s.amazon.env
	s.process.start()
	s.process.awaitReady()
	m := listens.FindStringSubmatch(s.process.text(0))
	s.public, s.admin, s.nats = m[1], m[2], m[3]
}

// deliver sends once, and once more where the sender may, and looks at all that comes of it.
func (s *stage) deliver(t *testing.T, d *delivery) {
	d.tried = true
	defer s.settle(t)
	s.function.reply.Store(&d.reply)
	first := d.send(t, s.public)
	d.check(t, first)
	s.function.ran(t, d)
	if d.again {
		d.checkRepeat(t, first, d.send(t, s.public))
	}
	s.checkTally(t, d)
	s.amazon.wasAsked(t, d.fetched)
}

// checkTally waits: a request is counted after its answer.
func (s *stage) checkTally(t *testing.T, d *delivery) {
	t.Helper()
	var got counts
	within(t, fmt.Sprintf("the trigger counts %+v", d.tally), func() bool { got = s.tally(t, d); return got == d.tally })
}

func (s *stage) tally(t *testing.T, d *delivery) (got counts) {
	t.Helper()
	status, body := s.adminGet(t, "/api/v1/triggers/"+d.trigger.Source())
	var state ingress.SenderState
	if err := json.Unmarshal(body, &state); err != nil || status != http.StatusOK {
		t.Fatalf("got %d %s", status, body)
	}
	for code, n := range state.Refused {
		got.refused += strings.Repeat(code, int(n))
	}
	got.accepted, got.ignored, got.connected = int(state.Accepted), int(state.Ignored), !state.Connected.IsZero()
	return got
}

var pending = map[queue.State]bool{queue.StateWaiting: true, queue.StateRunning: true, queue.StateRetry: true}

// records are all events, once they are done.
func (s *stage) records(t *testing.T) (records []queue.Record) {
	t.Helper()
	within(t, "every event is done", func() bool {
		records = nil
		out := mustCLI(t, "events", "list", "-o", "json", "--limit", "1000", "--nats-url", s.nats, "--data", s.data)
		if err := json.Unmarshal([]byte(out), &records); err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(records, func(r queue.Record) bool { return pending[r.State] })
	})
	return records
}

// settle keeps what comes of a delivery that has failed from the next one.
func (s *stage) settle(t *testing.T) {
	if t.Failed() {
		s.records(t)
		s.function.idle(t)
		s.amazon.wasAsked(t, nil)
	}
}

// finish looks at what is left when all is done: each event ran once, and no other ran at all.
func (s *stage) finish(t *testing.T) {
	t.Helper()
	records := s.records(t)
	runs := map[string]int{}
	for _, r := range records {
		if runs[r.Source]++; r.State != queue.StateOK || len(r.Attempts) != 1 {
			t.Errorf("the event %s of %s is %s after %d attempts", r.ID, r.Source, r.State, len(r.Attempts))
		}
	}
	for _, d := range s.all {
		if want := len(d.runs); runs[d.trigger.Source()] != want && d.tried {
			t.Errorf("%s/%s: %d events are stored, want %d", d.file, d.name, runs[d.trigger.Source()], want)
		}
	}
	s.process.terminate()
	s.function.idle(t)
	s.checkLog(t)
}

func (s *stage) checkLog(t *testing.T) {
	t.Helper()
	log := s.process.text(0)
	for _, d := range s.all {
		if d.secret != "" && strings.Contains(log, d.secret) {
			t.Errorf("%s/%s: the secret is in the log", d.file, d.name)
		}
	}
}

// notebook is a function that keeps what it gets, byte for byte.
type notebook struct {
	address string
	reply   atomic.Pointer[string]
	got     chan string
}

func newNotebook(t *testing.T) *notebook {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &notebook{address: l.Addr().String(), got: make(chan string, 1000)}
	var calls sync.WaitGroup
	calls.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			calls.Go(func() { f.call(t, c) })
		}
	})
	t.Cleanup(func() { l.Close(); calls.Wait() })
	return f
}

func (f *notebook) call(t *testing.T, c net.Conn) {
	defer c.Close()
	request, err := io.ReadAll(c)
	f.got <- string(request)
	if err == nil {
		_, err = io.WriteString(c, *f.reply.Load())
	}
	if err != nil {
		t.Errorf("function: %v", err)
	}
}

// manifest has the function under two names.
func (f *notebook) manifest() string {
	return fmt.Sprintf("functions:\n  Record: {addresses: [%[1]q], retry: {attempts: 1}}\n  Whole: {addresses: [%[1]q], retry: {attempts: 1}, payload: cloudevents}\n", f.address)
}

// ran waits until the function was given what the delivery brings.
func (f *notebook) ran(t *testing.T, d *delivery) {
	t.Helper()
	left := slices.Clone(d.runs)
	for range d.runs {
		select {
		case got := <-f.got:
			i := slices.IndexFunc(left, func(want string) bool { return d.sameRun(t, got, want) })
			if i < 0 {
				t.Fatalf("the function got %s\nwant one of %s", got, left)
			}
			left = slices.Delete(left, i, i+1)
		case <-time.After(10 * time.Second):
			t.Fatalf("the function did not get %s", left)
		}
	}
}

func (f *notebook) idle(t *testing.T) {
	t.Helper()
	for len(f.got) > 0 {
		t.Errorf("the function also got %s", <-f.got)
	}
}
