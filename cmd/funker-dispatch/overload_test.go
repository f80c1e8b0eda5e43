package main

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// A gateway with 16 places gets 160 senders that never rest. Events are refused, calls are not, and what was accepted ends.
func TestOverload_EventsAreRefusedBeforeCallsAndWhatIsAcceptedEnds(t *testing.T) {
	x := newSiege(t)
	x.gateway.args = append(x.gateway.args, "--max-in-flight", "16")
	x.start()
	x.stop = x.from.load(x.random.Uint64(), 160, time.Millisecond, "Alpha", "Beta")
	within(t, "events are refused", func() bool { return x.from.answers("503") > 0 })
	for n := range 100 {
		status, answer, _ := post(t, "http://"+x.public+"/functions/Alpha", fmt.Sprintf(`{"id":"%s%d","plan":"ok"}`, callID, n))
		if status != http.StatusOK {
			t.Fatalf("call %d: %d %s", n, status, answer)
		}
	}
	x.called += 100
	refused := x.from.answers("503")
	x.end(2 * time.Minute)
	t.Logf("100 calls were answered while %d of %d answers to events were refusals", refused, refused+x.from.answers("202"))
}
