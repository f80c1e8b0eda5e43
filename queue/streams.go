package queue

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The streams. All keep what they hold until their limits say otherwise: an acknowledgement deletes nothing,
// so whatever ran can be looked at and replayed.
const (
	streamEvents = "FUNKER_EVENTS" // every accepted event, one message per function
	streamCalls  = "FUNKER_CALLS"  // record of synchronous calls
	streamRetry  = "FUNKER_RETRY"  // replays that are due
	streamLog    = "FUNKER_LOG"    // outcome of every attempt
)

const (
	eventsMaxAge    = 7 * 24 * time.Hour
	callsMaxAge     = 24 * time.Hour
	retryMaxAge     = 48 * time.Hour
	logMaxAge       = 7 * 24 * time.Hour
	recordMaxBytes  = 256 << 20 // calls and log: the oldest go first
	duplicateWindow = 10 * time.Minute
)

// MaxNameLength is the longest encoded source or function name, in bytes; see Token.
const MaxNameLength = 63

// ErrName refuses a source or function name that cannot be part of a subject.
var ErrName = errors.New("name must have 1 to 63 bytes once every byte outside [A-Za-z0-9_-] is written as =HH")

// Token encodes a source or function name as one subject token, also used in consumer names: the bytes of
// [A-Za-z0-9_-] stand for themselves and every other byte becomes =HH in upper case hex. "my fn.v2" is
// "my=20fn=2Ev2". It returns ErrName when the result would be empty or longer than MaxNameLength.
func Token(name string) (string, error) {
	if isToken(name) {
		return name, nil
	}
	if !validHeader("name", name) {
		return "", fmt.Errorf("%w: %q has control characters or is not UTF-8", ErrName, shorten(name, 80))
	}
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; tokenByte(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	if b.Len() == 0 || b.Len() > MaxNameLength {
		return "", fmt.Errorf("%w, %q has %d", ErrName, shorten(name, 80), b.Len())
	}
	return b.String(), nil
}

// isToken reports whether name stands for itself, as most names do.
func isToken(name string) bool {
	for i := range len(name) {
		if !tokenByte(name[i]) {
			return false
		}
	}
	return name != "" && len(name) <= MaxNameLength
}

func tokenByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// untoken is the inverse of Token.
func untoken(token string) string {
	var b []byte
	for i := 0; i < len(token); i++ {
		if c, err := hex.DecodeString(token[min(i+1, len(token)):min(i+3, len(token))]); token[i] == '=' && err == nil && len(c) == 1 {
			b = append(b, c[0])
			i += 2
			continue
		}
		b = append(b, token[i])
	}
	return string(b)
}

func eventSubject(source, function string) string { return "funker.event." + source + "." + function }
func callSubject(source, function string) string  { return "funker.call." + source + "." + function }

// calledSubject is where a call is recorded that runs in the process of its caller.
func calledSubject(callSubject string) string {
	return "funker.called." + callSubject[len("funker.call."):]
}

func logSubject(source, function string) string { return "funker.log." + source + "." + function }
func redoSubject(function string) string        { return "funker.redo." + function }
func hereSubject(function string) string        { return "funker.here." + function }
func wakeSubject(kind, function string) string  { return "funker.wake." + kind + "." + function }
func consumerName(function string) string       { return "fn-" + function }

func streamConfigs(eventsMaxBytes int64) []jetstream.StreamConfig {
	return []jetstream.StreamConfig{
		{
			Name: streamEvents, Description: "every accepted event, one message per function",
			Subjects: []string{"funker.event.*.*"}, MaxAge: eventsMaxAge, MaxBytes: eventsMaxBytes,
			Discard: jetstream.DiscardNew, Duplicates: duplicateWindow, AllowDirect: true, AllowAtomicPublish: true,
			RePublish: &jetstream.RePublish{Source: "funker.event.*.*", Destination: "funker.wake.events.{{wildcard(2)}}", HeadersOnly: true},
		},
		{
			Name: streamCalls, Description: "synchronous calls",
			Subjects: []string{"funker.call.*.*", "funker.called.*.*"}, MaxAge: callsMaxAge, MaxBytes: recordMaxBytes,
			Discard: jetstream.DiscardOld, AllowDirect: true, PersistMode: jetstream.AsyncPersistMode,
		},
		{
			Name: streamRetry, Description: "replays that are due",
			Subjects: []string{"funker.redo.*", "funker.retry.*.*"}, MaxAge: retryMaxAge,
			Discard: jetstream.DiscardOld, Duplicates: duplicateWindow, AllowDirect: true, AllowMsgSchedules: true,
			RePublish: &jetstream.RePublish{Source: "funker.redo.*", Destination: "funker.wake.redo.{{wildcard(1)}}", HeadersOnly: true},
		},
		{
			Name: streamLog, Description: "outcome of every attempt",
			Subjects: []string{"funker.log.*.*"}, MaxAge: logMaxAge, MaxBytes: recordMaxBytes,
			Discard: jetstream.DiscardOld, AllowDirect: true, PersistMode: jetstream.AsyncPersistMode,
		},
	}
}

func createStreams(ctx context.Context, js jetstream.JetStream, eventsMaxBytes int64) error {
	for _, cfg := range streamConfigs(eventsMaxBytes) {
		if _, err := js.CreateOrUpdateStream(ctx, cfg); err != nil {
			return fmt.Errorf("create stream %s: %w", cfg.Name, err)
		}
	}
	return nil
}

// Acknowledgement waits. A call is never started twice by the queue: its wait is longer than MaxCallTime.
const (
	callAckWait  = 90 * time.Second
	eventAckWait = 30 * time.Second
	heartbeat    = eventAckWait / 3
	maxPending   = 1000
)

// MaxCallTime is the longest time a call may take, from Call to its deadline.
const MaxCallTime = 80 * time.Second

// AddFunction makes the consumers of a function, one for each stream that holds work. It may be called again.
func (q *Queue) AddFunction(ctx context.Context, function string) error {
	token, err := Token(function)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		stream, filter string
		wait           time.Duration
	}{
		{streamCalls, callSubject("*", token), callAckWait},
		{streamRetry, redoSubject(token), eventAckWait},
		{streamEvents, eventSubject("*", token), eventAckWait},
	} {
		_, err := q.js.CreateOrUpdateConsumer(ctx, c.stream, jetstream.ConsumerConfig{
			Durable: consumerName(token), FilterSubject: c.filter, AckPolicy: jetstream.AckExplicitPolicy,
			AckWait: c.wait, MaxDeliver: -1, MaxAckPending: maxPending, MaxWaiting: maxWaiting,
		})
		if err != nil {
			return fmt.Errorf("create consumer of %s on %s: %w", function, c.stream, err)
		}
	}
	return nil
}

// maxWaiting bounds the pulls that wait at one consumer: one per idle slot in the whole swarm.
const maxWaiting = 8192

// full reports whether JetStream refused a message because a limit of the store is reached.
func full(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == 10077 || api.ErrorCode == 10023 || api.ErrorCode == 10047)
}

// unavailable reports whether the server could not be asked, or did not answer in time.
func unavailable(err error) bool {
	return errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) ||
		errors.Is(err, nats.ErrConnectionDraining) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, jetstream.ErrNoStreamResponse)
}
