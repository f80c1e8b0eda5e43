package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

func TestStats_CountWhatWaitsAndShowTheBalance(t *testing.T) {
	dir := t.TempDir()
	manifest := write(t, dir, "functions.yaml", fmt.Sprintf("functions: {Absent: {addresses: [%q]}, Idle: {addresses: [%q]}}\n", fixedAddress(t), fixedAddress(t)))
	g := serve(t, dir, manifest, "--no-worker")
	admin := []string{"--nats-url", g.nats, "--data", g.data}
	for range 2 {
		mustCLI(t, append([]string{"invoke", "Absent", "--async"}, admin...)...)
	}
	out := mustCLI(t, append([]string{"stats"}, admin...)...)
	for _, want := range []string{
		`FUNCTION +WAITING +RUNNING +SCHEDULED +OLDEST WAITING +DEAD`, `Absent +2 +0 +0 +\d+s +0`, `Idle +0 +0 +0 +- +0`,
		`2 accepted \+ 0 replays = 2 waiting \+ 0 running \+ .* drift 0`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no %s in:\n%s", want, out)
		}
	}
	var s stats
	if err := json.Unmarshal([]byte(mustCLI(t, append([]string{"stats", "-o", "json"}, admin...)...)), &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Functions) != 2 || s.Functions[0].Events.Waiting != 2 || s.Balance.Accepted != 2 || s.Balance.Waiting != 2 || s.Balance.Drift != 0 {
		t.Errorf("got %+v", s)
	}
}

func TestStats_EndWithWhatIsNearlyFull(t *testing.T) {
	var out strings.Builder
	s := stats{Balance: &queue.Balance{}, Usage: queue.Usage{Streams: []queue.StreamUsage{{Stream: "FUNKER_EVENTS", Bytes: 9 << 20, Limit: 10 << 20}}, Free: 1 << 40}}
	if err := printStats(&out, s); err != nil {
		t.Fatal(err)
	}
	if want := "drift 0\nFUNKER_EVENTS holds 9 MiB of 10 MiB: when it is full, new events get 503 store_full\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("got\n%s", out.String())
	}
}

func TestStats_NameTheReasonsOfTheDead(t *testing.T) {
	got := deadText(map[queue.Reason]int64{queue.ReasonRefused: 1, queue.ReasonExhausted: 12, queue.ReasonCrashed: 1})
	if want := "12 exhausted, 1 crashed, 1 refused"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
