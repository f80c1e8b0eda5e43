package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// plan is what a function does with an event.
type plan string

const (
	planOK     plan = "ok"
	planSlow   plan = "slow"   // answers after slowTime
	planFail1  plan = "fail1"  // fails once
	planFail2  plan = "fail2"  // fails twice
	planClose1 plan = "close1" // closes once without an answer
	planOnce   plan = "once"   // refuses every run but the first
	planRefuse plan = "refuse" // says that no retry can help
	planAlways plan = "always" // fails
	planSilent plan = "silent" // closes without an answer
	planHeld   plan = "held"   // answers when the test says so
	planEcho   plan = "echo"   // answers with the id of its work
	planLate   plan = "late"   // likewise, after slowTime
)

const slowTime = 300 * time.Millisecond

const (
	replyOK     = `"done"`
	replyFail   = `{"funkerError":{"message":"not now","retry":true}}`
	replyRefuse = `{"funkerError":{"message":"never","retry":false}}`
)

// reply to the nth run, from 1.
func (p plan) reply(n int) string {
	switch {
	case p == planRefuse, p == planOnce && n > 1:
		return replyRefuse
	case p == planAlways, p == planFail1 && n == 1, p == planFail2 && n <= 2:
		return replyFail
	case p == planSilent, p == planClose1 && n == 1:
		return ""
	}
	return replyOK
}

// succeeds reports whether it always ends well.
func (p plan) succeeds() bool {
	return p.ends(queue.StateOK, "", 1) && !p.ends(queue.StateDead, queue.ReasonRefused, 2)
}

// ends reports whether an event that ran so often may end like this.
func (p plan) ends(state queue.State, reason queue.Reason, runs int) bool {
	dead := state == queue.StateDead
	switch {
	case p == planRefuse, p == planOnce && runs > 1 && dead:
		return dead && reason == queue.ReasonRefused
	case p == planAlways, p == planSilent:
		return dead && reason == queue.ReasonExhausted
	}
	return state == queue.StateOK
}

// work is the body of an event.
type work struct {
	ID   string `json:"id"`
	Plan plan   `json:"plan"`
	Pad  string `json:"pad,omitempty"`
}

// chosenPlan prefers what is usual.
func chosenPlan(r *rand.Rand) plan {
	all := []plan{
		planOK, planOK, planOK, planOK, planOK, planOK, planOK, planOK, planSlow, planSlow, planSlow,
		planFail1, planFail1, planFail2, planClose1, planClose1, planOnce, planRefuse, planAlways, planSilent,
	}
	return all[r.IntN(len(all))]
}

// functionRun is one run of a function.
type functionRun struct {
	task       string // the listener that took it
	begin, end time.Time
	reply      string
	lost       error // the answer could not be sent
}

// journal is what the functions of a test know. They survive everything that is killed.
type journal struct {
	mu   sync.Mutex
	runs map[string][]functionRun
	torn int // requests that were cut off: their worker died
	held map[string]chan string
	hook func(w work, task string) // sees each run begin
	stop chan struct{}
	wg   sync.WaitGroup
}

func newJournal(t *testing.T) *journal {
	j := &journal{runs: map[string][]functionRun{}, held: map[string]chan string{}, stop: make(chan struct{})}
	t.Cleanup(func() { close(j.stop); j.wg.Wait() })
	return j
}

// task starts a task of a function and returns its address.
func (j *journal) task(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return j.taskAt(l)
}

// taskAt is task with a listener.
func (j *journal) taskAt(l net.Listener) string {
	j.wg.Go(func() { <-j.stop; l.Close() })
	j.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			j.wg.Go(func() { defer conn.Close(); j.serve(l.Addr().String(), conn) })
		}
	})
	return l.Addr().String()
}

func (j *journal) serve(task string, conn net.Conn) {
	var w work
	body, err := io.ReadAll(conn)
	if err != nil || json.Unmarshal(body, &w) != nil {
		j.mu.Lock()
		j.torn++
		j.mu.Unlock()
		return
	}
	n, held := j.begin(w, task)
	reply := w.Plan.reply(n)
	if w.Plan == planEcho || w.Plan == planLate {
		reply = strconv.Quote(w.ID)
	}
	switch w.Plan {
	case planSlow, planLate:
		select {
		case <-time.After(slowTime):
		case <-j.stop:
		}
	case planHeld:
		select {
		case reply = <-held:
		case <-j.stop:
		}
	}
	_, err = io.WriteString(conn, reply)
	j.finish(w.ID, n, reply, err)
}

func (j *journal) begin(w work, task string) (n int, held chan string) {
	j.mu.Lock()
	j.runs[w.ID] = append(j.runs[w.ID], functionRun{task: task, begin: time.Now()})
	n, hook := len(j.runs[w.ID]), j.hook
	j.mu.Unlock()
	if hook != nil {
		hook(w, task)
	}
	return n, j.answer(w.ID, n)
}

// answer is where the reply to a held run comes from.
func (j *journal) answer(id string, n int) chan string {
	j.mu.Lock()
	defer j.mu.Unlock()
	key := fmt.Sprint(id, " ", n)
	if j.held[key] == nil {
		j.held[key] = make(chan string, 1)
	}
	return j.held[key]
}

func (j *journal) finish(id string, n int, reply string, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := &j.runs[id][n-1]
	r.end, r.reply, r.lost = time.Now(), reply, err
}

func (j *journal) count(id string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.runs[id])
}

// firstSince returns when the first run began after a time; zero when there was none.
func (j *journal) firstSince(t time.Time) time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	var first time.Time
	for _, runs := range j.runs {
		for _, r := range runs {
			if r.begin.After(t) && (first.IsZero() || r.begin.Before(first)) {
				first = r.begin
			}
		}
	}
	return first
}

// String shows the runs of an event.
func (r functionRun) String() string {
	return fmt.Sprintf("%s–%s at %s: %s %v", r.begin.Format("05.000"), r.end.Format("05.000"), r.task, r.reply, r.lost)
}

func (j *journal) show(id string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b strings.Builder
	for _, r := range j.runs[id] {
		fmt.Fprintf(&b, "\n  run %s", r)
	}
	return b.String()
}

// runs is how often the function runs when nothing is killed.
func (p plan) runs() int {
	switch p {
	case planFail1, planClose1:
		return 2
	case planFail2, planAlways, planSilent:
		return 3
	}
	return 1
}
