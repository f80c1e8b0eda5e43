package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// FUNKER_TEST_KILLS says how often; `make crash` kills a thousand times.
func TestCrash_WhateverIsKilledNothingAcceptedIsLost(t *testing.T) {
	t.Parallel()
	x := newSiege(t)
	x.start()
	x.load(8)
	begin, killed := time.Now(), map[string]int{}
	for range number(t, "FUNKER_TEST_KILLS", 15) {
		if x.random.IntN(4) > 0 { // else it may be starting
			x.gateway.awaitReady()
		}
		wait(t.Context(), x.between(0, 500*time.Millisecond))
		p := x.processes()[[]int{0, 0, 1, 2}[x.random.IntN(4)]]
		p.kill()
		p.start()
		killed[p.name]++
	}
	t.Logf("killed in %s: %v", time.Since(begin).Round(time.Millisecond), killed)
	x.end(time.Minute)
}

func TestCrash_TheGatewayAndItsWorkersStartInAnyOrder(t *testing.T) {
	t.Parallel()
	x := newSiege(t)
	x.startGateway() // it makes the keys
	x.gateway.kill()
	for i, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		for _, n := range order {
			x.processes()[n].start()
		}
		id := fmt.Sprint("order", i)
		x.from.mustDeliver(work{ID: id, Plan: planFail1}, "Alpha")
		within(t, id+" has run", func() bool { return x.j.count(id) >= 2 })
		for _, p := range x.processes() {
			p.kill()
		}
	}
	x.start()
	x.stop = func() {}
	x.end(20 * time.Second)
}

func TestCrash_AGatewayThatIsKilledWhileItMakesItsFolderStartsAgain(t *testing.T) {
	t.Parallel()
	x := newSiege(t)
	for range 10 {
		for range 3 {
			x.gateway.start()
			wait(t.Context(), x.between(0, 150*time.Millisecond))
			x.gateway.kill()
		}
		x.startGateway()
		x.gateway.kill()
		if err := os.RemoveAll(x.data); err != nil {
			t.Fatal(err)
		}
	}
}

// A write that was under way when the machine went down may be there in part. Nobody was told that it is stored: the
// test cuts off what was confirmed, as if it had not been.
func TestCrash_AMessageThatIsStoredInPartIsTheOnlyOneMissing(t *testing.T) {
	t.Parallel()
	x := newSiege(t)
	x.stop = func() {}
	var torn []string
	for round, cut := range []int64{1, 8, 40, 150} {
		x.startGateway()
		for i := range 5 {
			x.from.mustDeliver(work{ID: fmt.Sprintf("%d-%d", round, i), Plan: planOK, Pad: strings.Repeat("x", 100)}, "Alpha")
		}
		x.gateway.kill()
		truncate(t, newestBlock(t, x.data), cut)
		torn = append(torn, fmt.Sprint(round, "-4"))
	}
	x.start()
	records, err := x.records()
	if err != nil {
		t.Fatal(err)
	}
	for id := range x.from.pushes {
		if _, there := records[id]; there == slices.Contains(torn, id) {
			t.Errorf("push %s: stored is %v", id, there)
		}
	}
	for _, id := range torn { // its sender has no answer and tries again
		delete(x.from.pushes, id)
		x.from.mustDeliver(work{ID: id, Plan: planOK}, "Alpha")
	}
	x.end(20 * time.Second)
}

func newestBlock(t *testing.T, data string) string {
	t.Helper()
	blocks, err := filepath.Glob(filepath.Join(data, "jetstream/jetstream/$G/streams/FUNKER_EVENTS/msgs/*.blk"))
	if err != nil || len(blocks) == 0 {
		t.Fatalf("no blocks: %v", err)
	}
	return slices.MaxFunc(blocks, func(a, b string) int { return len(a) - len(b) + strings.Compare(a, b) })
}

func truncate(t *testing.T, file string, by int64) {
	t.Helper()
	info, err := os.Stat(file)
	if err == nil {
		err = os.Truncate(file, info.Size()-by)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The function kills the worker that called it, so that nobody can give an answer.
func TestCrash_AnEventThatKillsWorkersIsGivenUpAndBlocksNobody(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	manifests := oneTaskEach(t, j)
	s := newSwarm(t, manifests...)
	fatal, gone := make(chan string), make(chan bool)
	j.hook = func(w work, task string) {
		if w.ID != "poison" {
			return
		}
		select { // the connection stays open until its worker is gone, which would report a failure else
		case fatal <- task:
			<-gone
		case <-j.stop:
		}
	}
	s.start()
	from := newSender(t, s.public)
	from.mustDeliver(work{ID: "poison", Plan: planSilent}, "Alpha")
	for n := range maxDeliveries {
		task := <-fatal
		w := s.workers[slices.IndexFunc(manifests, func(m string) bool { return strings.Contains(m, task) })]
		w.kill()
		gone <- true
		w.start()
		id := fmt.Sprint("other", n)
		begin := time.Now()
		from.mustDeliver(work{ID: id, Plan: planOK}, "Alpha")
		within(t, id+" has run", func() bool { return j.count(id) > 0 })
		t.Logf("another event ran after %s", time.Since(begin).Round(time.Millisecond))
	}
	records := s.awaitEnds(20 * time.Second)
	r := records["poison"]
	if r.State != queue.StateDead || r.Reason != queue.ReasonCrashed || j.count("poison") != maxDeliveries {
		t.Errorf("poison is %s %s after %d runs%s", r.State, r.Reason, j.count("poison"), history(r))
	}
	t.Log(s.audit(from, j, records))
}

const maxDeliveries = 5

func TestCrash_AGatewayThatIsStoppedForAWhileLosesNothing(t *testing.T) {
	t.Parallel()
	x := newSiege(t)
	x.start()
	x.load(4)
	for range 2 {
		wait(t.Context(), x.between(500*time.Millisecond, time.Second))
		x.gateway.freeze()
		wait(t.Context(), shortAckWait+500*time.Millisecond)
		x.gateway.signal(syscall.SIGCONT)
	}
	wait(t.Context(), time.Second)
	x.end(20 * time.Second)
}

func TestCrash_ConnectionsThatBreakLoseNothing(t *testing.T) {
	t.Parallel()
	x := newSiege(t)
	var wires []*wire
	for _, w := range x.workers {
		k := newWire(t, x.nats)
		w.args = x.workerArgs(x.manifest, k.address)
		wires = append(wires, k)
	}
	x.start()
	x.load(4)
	for range 20 {
		wait(t.Context(), x.between(0, 400*time.Millisecond))
		wires[x.random.IntN(2)].cut()
	}
	for range 2 { // one worker is cut off for longer than the gateway waits
		k := wires[x.random.IntN(2)]
		release := k.hold([][]int{{there, back}, {there}, {back}}[x.random.IntN(3)]...)
		wait(t.Context(), shortAckWait+x.between(0, time.Second))
		if x.random.IntN(2) == 0 {
			k.cut()
		}
		release()
	}
	x.end(20 * time.Second)
}

// calls starts slow calls, and returns when they run. Their answers come later.
func (x *siege) calls(n int) <-chan string {
	x.t.Helper()
	answers := make(chan string, n)
	for range n {
		x.called++
		id := fmt.Sprint(callID, x.called)
		go func() {
			resp, err := http.Post("http://"+x.public+"/functions/Alpha", "application/json", strings.NewReader(`{"id":"`+id+`","plan":"slow"}`))
			if err != nil {
				answers <- err.Error()
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			answers <- fmt.Sprintln(resp.StatusCode, string(body), err)
		}()
		within(x.t, id+" runs", func() bool { return x.j.count(id) > 0 })
	}
	return answers
}

// Not parallel: it measures.
func TestCrash_ARestartUnderLoadLosesNothing(t *testing.T) {
	x := newSiege(t)
	x.start()
	x.load(4)
	soonest := time.Hour // whatever else the machine does can only add to it
	for range 3 {
		wait(t.Context(), x.between(300*time.Millisecond, 600*time.Millisecond))
		answers := x.calls(3)
		begin := time.Now()
		x.gateway.terminate()
		stopped := time.Since(begin)
		for range 3 {
			if answer := <-answers; strings.TrimSpace(answer) != "200 "+replyOK+" <nil>" {
				t.Errorf("a call that ran was answered %s", answer)
			}
		}
		x.startGateway()
		ready := time.Now()
		var resumed time.Duration
		within(t, "the workers go on", func() bool {
			resumed = x.j.firstSince(ready).Sub(ready)
			return resumed > 0
		})
		t.Logf("stopping took %s, starting %s; the first run came %s later", stopped.Round(time.Millisecond),
			(ready.Sub(begin) - stopped).Round(time.Millisecond), resumed.Round(time.Millisecond))
		soonest = min(soonest, resumed)
	}
	if soonest > time.Second {
		t.Errorf("the workers went on after %s at the soonest", soonest)
	}
	x.end(20 * time.Second)
	if x.from.codes["error"] == 0 {
		t.Error("the load never met a gateway that was down")
	}
}
