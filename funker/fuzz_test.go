package funker

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"
)

func FuzzReply(f *testing.F) {
	for _, seed := range []string{
		``, ` `, `null`, "{}\n", `3`, `"ü"`, `"\ud83d"`, "\"\xff\"", `[1,2]x`, `{"a":1}{"b":2}`,
		`{"funkerError":{"message":"no such city","retry":false,"retryAfter":2.5}}`,
		`{"funkerError":{}}`, `{"funkerError":null}`, `{"funkerError":"text"}`, `{"funkerError":{"retry":1}}`,
		`{"funkerError":{"retryAfter":-1e308}}`, `{"funkerError":{"retryAfter":1e999}}`,
		`{"funkerError":{"message":"m"},"more":1}`, `{"funkerError":{},"funkerError":{"message":"twice"}}`,
		`{"\u0066unkerError":{}}`, `{"x":{"funkerError":{}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		reply, err := parseReply(sent)
		oneValue := json.Valid(sent) && utf8.Valid(sent)
		failure, failed := errors.AsType[*Failure](err)
		switch {
		case err == nil:
			if !oneValue || !bytes.Equal(reply, bytes.TrimSpace(sent)) {
				t.Errorf("%q became %q", sent, reply)
			}
		case failed:
			checkFailure(t, sent, failure)
		case !errors.Is(err, ErrBadReply):
			t.Errorf("%q: error of no known kind: %v", sent, err)
		case oneValue && !bytes.Contains(sent, failureName):
			t.Errorf("%q is one value and was refused: %v", sent, err)
		}
	})
}

// checkFailure sends the failure once more, as a function in Go would.
func checkFailure(t *testing.T, sent []byte, failure *Failure) {
	t.Helper()
	if failure.RetryAfter < 0 || failure.RetryAfter > maxRetryAfter {
		t.Errorf("%q: retry after %v", sent, failure.RetryAfter)
	}
	_, err := parseReply(encodeFailure(failure))
	again, ok := errors.AsType[*Failure](err)
	if !ok || again.Message != failure.Error() || again.Retry != failure.Retry {
		t.Errorf("%q became %+v and then %+v", sent, failure, err)
	}
	if d := again.RetryAfter - failure.RetryAfter; d > 100 || d < -100 {
		t.Errorf("%q: retry after %v became %v", sent, failure.RetryAfter, again.RetryAfter)
	}
}
