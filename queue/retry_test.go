package queue

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func anyRetry(t *rapid.T) Retry {
	second := rapid.Int64Range(1, int64(47*time.Hour))
	return Retry{
		Attempts: rapid.IntRange(1, 100).Draw(t, "attempts"), Initial: time.Duration(second.Draw(t, "initial")),
		Max: time.Duration(second.Draw(t, "max")), MaxAge: time.Duration(second.Draw(t, "max-age")),
	}.withDefaults()
}

func TestRetry_WaitsWithinItsPolicy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyRetry(t)
		attempts := rapid.IntRange(1, 100).Draw(t, "attempts made")
		asked := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "asked"))
		longest := r.Initial
		for range attempts - 1 {
			longest = min(longest*growth, 48*time.Hour)
		}
		if got := r.wait(attempts, asked); got < asked || got > max(asked, min(longest, r.Max)) {
			t.Fatalf("%+v after %d attempts, asked %s: waits %s", r, attempts, asked, got)
		}
	})
}

func TestRetry_SpreadsEventsThatFailedTogether(t *testing.T) {
	r := Retry{Initial: time.Second, Max: time.Second}.withDefaults()
	var early, late int
	for range 1000 {
		if d := r.wait(1, 0); d < 500*time.Millisecond {
			early++
		} else {
			late++
		}
	}
	if early < 300 || late < 300 {
		t.Errorf("%d of 1000 in the first half, %d in the second: not spread", early, late)
	}
}

func TestRetry_VerdictEndsARunForTheRightReason(t *testing.T) {
	now := time.Now()
	r := Retry{Attempts: 3, MaxAge: time.Hour}.withDefaults()
	for name, c := range map[string]struct {
		failed   Result
		attempts int
		age      time.Duration
		want     Reason
	}{
		"attempts left":                    {Result{Code: CodeFunctionFailed}, 2, 0, ""},
		"attempts used up":                 {Result{Code: CodeFunctionFailed}, 3, 0, ReasonExhausted},
		"no retry can help":                {Result{Code: CodeFunctionFailed, Final: true}, 1, 0, ReasonRefused},
		"corrupt":                          {Result{Code: CodeCorrupt, Final: true}, 1, 0, ReasonCorrupt},
		"bad payload":                      {Result{Code: CodeBadPayload, Final: true}, 1, 0, ReasonBadPayload},
		"too old to start":                 {Result{Code: CodeTooOld, Final: true}, 1, 2 * time.Hour, ReasonExpired},
		"would be too old":                 {Result{Code: CodeTimeout}, 1, time.Hour, ReasonExpired},
		"asked to wait beyond its max-age": {Result{Code: CodeFunctionFailed, RetryAfter: 2 * time.Hour}, 1, 0, ReasonExpired},
	} {
		reason, next := r.verdict(c.failed, c.attempts, c.age, now)
		if reason != c.want || (reason == "") != next.After(now.Add(-1)) {
			t.Errorf("%s: got %q, next %s; want %q", name, reason, next, c.want)
		}
	}
}
