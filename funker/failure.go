package funker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// maxRetryAfter bounds a wait asked for by a function; a year is as good as never.
const maxRetryAfter = 365 * 24 * time.Hour

// Failure is a function's own word that it failed. [Client.Call] returns it, and
// a function given to [Handle] or [Serve] may return it to decide about retries.
type Failure struct {
	Message    string
	Retry      bool          // whether the same request may succeed later
	RetryAfter time.Duration // how long to wait at least; 0: the caller decides
}

func (f *Failure) Error() string {
	if f.Message == "" {
		return "function failed without a message"
	}
	return f.Message
}

type failureReply struct {
	FunkerError failureBody `json:"funkerError"`
}

type failureBody struct {
	Message    string  `json:"message"`
	Retry      bool    `json:"retry"`
	RetryAfter float64 `json:"retryAfter,omitempty"` // seconds
}

// encodeFailure makes the reply for an error of a function. An error that is no
// Failure may be retried.
func encodeFailure(err error) []byte {
	body := failureBody{Message: err.Error(), Retry: true}
	if f, ok := errors.AsType[*Failure](err); ok {
		body.Retry = f.Retry
		body.RetryAfter = max(f.RetryAfter, 0).Seconds()
	}
	reply, _ := json.Marshal(failureReply{body}) // strings, a bool and a finite number cannot fail
	return reply
}

// refusal makes the reply for a request that no retry can help.
func refusal(err error) []byte {
	return encodeFailure(&Failure{Message: err.Error()})
}

var failureName = []byte(`"funkerError"`)

// parseReply checks that reply is one JSON value and returns it without the white
// space around it. Its error is a *Failure if that is what the reply says, or
// wraps ErrBadReply.
func parseReply(reply []byte) ([]byte, error) {
	reply = bytes.Trim(reply, " \t\r\n")
	if !json.Valid(reply) {
		var value json.RawMessage
		return nil, fmt.Errorf("%w: %w", ErrBadReply, json.Unmarshal(reply, &value))
	}
	if !utf8.Valid(reply) {
		return nil, fmt.Errorf("%w: not UTF-8", ErrBadReply)
	}
	if reply[0] != '{' || !bytes.Contains(reply, failureName) {
		return reply, nil
	}
	if err := parseFailure(reply); err != nil {
		return nil, err
	}
	return reply, nil
}

// parseFailure returns nil for an object which is an ordinary reply. Maps instead
// of structs, because struct decoding also takes names in another case.
func parseFailure(reply []byte) error {
	var object, body map[string]json.RawMessage
	if err := json.Unmarshal(reply, &object); err != nil {
		return fmt.Errorf("%w: %w", ErrBadReply, err)
	}
	said, ok := object["funkerError"]
	if !ok || len(object) != 1 {
		return nil
	}
	if err := json.Unmarshal(said, &body); err != nil || body == nil {
		return fmt.Errorf("%w: funkerError is not an object", ErrBadReply)
	}
	f := &Failure{Retry: true}
	if err := unmarshalMember(body, "message", &f.Message); err != nil {
		return err
	}
	if err := unmarshalMember(body, "retry", &f.Retry); err != nil {
		return err
	}
	var seconds float64
	if err := unmarshalMember(body, "retryAfter", &seconds); err != nil {
		return err
	}
	seconds = min(max(seconds, 0), maxRetryAfter.Seconds())
	f.RetryAfter = time.Duration(seconds * float64(time.Second))
	return f
}

// unmarshalMember leaves v as it is when the member is absent or null.
func unmarshalMember(object map[string]json.RawMessage, name string, v any) error {
	value, ok := object[name]
	if !ok {
		return nil
	}
	if err := json.Unmarshal(value, v); err != nil {
		return fmt.Errorf("%w: funkerError.%s: %w", ErrBadReply, name, err)
	}
	return nil
}
