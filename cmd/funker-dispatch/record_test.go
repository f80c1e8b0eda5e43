package main

import (
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

func TestPrintRecord_AnEndBeforeAnAttemptHasNoNumber(t *testing.T) {
	var out strings.Builder
	r := queue.Record{State: queue.StateDead, Attempts: []queue.Attempt{
		{Function: "F", Outcome: queue.OutcomeDead, Code: queue.CodeTooOld, Reason: queue.ReasonExpired},
		{Function: "F", Outcome: queue.OutcomeOK, Number: 1},
	}}
	if err := printRecord(&out, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"no attempt ", "F given up: too_old; dead: expired", "attempt 1 ", "F ok in"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}
