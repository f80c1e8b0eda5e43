package queue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The streams. All keep what they hold until their limits say otherwise: an acknowledgement deletes nothing,
// so whatever ran can be looked at and replayed.
const (
	streamEvents   = "FUNKER_EVENTS"   // every accepted event, one message per function
	streamCalls    = "FUNKER_CALLS"    // record of synchronous calls
	streamRetry    = "FUNKER_RETRY"    // scheduled retries, due retries and replays
	streamDead     = "FUNKER_DEAD"     // events that were given up
	streamLog      = "FUNKER_LOG"      // outcome of every attempt
	streamAdvisory = "FUNKER_ADVISORY" // the server's word that it delivered a message too often
	streamBodies   = "OBJ_" + bucket   // bodies that do not fit a message: an object store
)

const (
	eventsMaxAge    = 30 * 24 * time.Hour // waiting ones end long before; so long may a gateway be off
	callsMaxAge     = 24 * time.Hour
	retryMaxAge     = 30 * 24 * time.Hour // likewise
	deadMaxAge      = 30 * 24 * time.Hour
	logMaxAge       = 30 * 24 * time.Hour
	advisoryMaxAge  = 30 * 24 * time.Hour
	callsMaxBytes   = 256 << 20 // the oldest go first
	logMaxBytes     = 1 << 30   // likewise
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

func logSubject(source, function string) string  { return "funker.log." + source + "." + function }
func deadSubject(source, function string) string { return "funker.dead." + source + "." + function }
func retrySubject(function, run string) string   { return "funker.retry." + function + "." + run }
func redoSubject(function string) string         { return "funker.redo." + function }
func hereSubject(function string) string         { return "funker.here." + function }

// namesIn reads the names in the subject of a stored message. One of a retry or a replay has no source.
func namesIn(subject string) (source, function string) {
	tokens := strings.Split(subject, ".")
	switch {
	case len(tokens) == 3 || len(tokens) == 4 && tokens[1] == "retry":
		return "", untoken(tokens[2])
	case len(tokens) == 4:
		return untoken(tokens[2]), untoken(tokens[3])
	}
	return "", ""
}

func wakeSubject(kind, function string) string { return "funker.wake." + kind + "." + function }
func consumerName(function string) string      { return "fn-" + function }

// streamConfigs returns the streams. The records of calls and attempts opt out of the server's sync of every write,
// where there is one: nobody waits for a disk with them.
func streamConfigs(o Options) []jetstream.StreamConfig {
	records := jetstream.DefaultPersistMode
	if o.Durability == DurabilityAlways {
		records = jetstream.AsyncPersistMode
	}
	return []jetstream.StreamConfig{
		{
			Name: streamEvents, Description: "every accepted event, one message per function",
			Subjects: []string{"funker.event.*.*"}, MaxAge: eventsMaxAge, MaxBytes: o.MaxEvents,
			Discard: jetstream.DiscardNew, Duplicates: duplicateWindow, AllowDirect: true, AllowAtomicPublish: true,
			RePublish: &jetstream.RePublish{Source: "funker.event.*.*", Destination: "funker.wake.events.{{wildcard(2)}}", HeadersOnly: true},
		},
		{
			Name: streamCalls, Description: "synchronous calls",
			Subjects: []string{"funker.call.*.*", "funker.called.*.*"}, MaxAge: callsMaxAge, MaxBytes: min(callsMaxBytes, o.MaxEvents/16),
			Discard: jetstream.DiscardOld, AllowDirect: true, PersistMode: records,
		},
		{
			Name: streamRetry, Description: "scheduled retries, due retries and replays",
			Subjects: []string{"funker.redo.*", "funker.retry.*.*"}, MaxAge: retryMaxAge,
			Discard: jetstream.DiscardOld, Duplicates: duplicateWindow, AllowDirect: true, AllowMsgSchedules: true,
			RePublish: &jetstream.RePublish{Source: "funker.redo.*", Destination: "funker.wake.redo.{{wildcard(1)}}", HeadersOnly: true},
		},
		{
			Name: streamDead, Description: "events that were given up",
			Subjects: []string{"funker.dead.*.*"}, MaxAge: deadMaxAge,
			Discard: jetstream.DiscardOld, Duplicates: duplicateWindow, AllowDirect: true,
		},
		{
			Name: streamLog, Description: "outcome of every attempt",
			Subjects: []string{"funker.log.*.*"}, MaxAge: logMaxAge, MaxBytes: min(logMaxBytes, o.MaxEvents/4),
			Discard: jetstream.DiscardOld, AllowDirect: true, PersistMode: records,
		},
		{
			Name: streamAdvisory, Description: "deliveries that gave up",
			Subjects: []string{deliveriesAdvisory(streamEvents), deliveriesAdvisory(streamRetry)}, MaxAge: advisoryMaxAge,
			Discard: jetstream.DiscardOld, AllowDirect: true,
		},
		{
			Name: streamBodies, Description: "bodies that do not fit the message of their event",
			Subjects: []string{chunkSubject(">"), metaSubject(">")}, MaxBytes: bodiesMaxBytes(o.MaxEvents),
			Discard: jetstream.DiscardNew, AllowDirect: true, AllowRollup: true,
		},
		configStream(),
	}
}

// bodiesMaxBytes is a part of the room for events, but always enough for two of the largest bodies.
func bodiesMaxBytes(maxEvents int64) int64 { return max(maxEvents/4, 2*MaxBody) }

// deliveriesAdvisory is where the server says that a message was delivered maxDeliver times without an acknowledgement.
func deliveriesAdvisory(stream string) string {
	return "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES." + stream + ".*"
}

// settingsKey is the metadata of a stream or consumer that says with which settings it was made. One that has them
// already is left alone: the server would write them anew, in two files, and a power cut between the two costs the
// whole stream. What an operator changes by hand stays, until the program has other settings.
const settingsKey = "funker-settings"

func settings(config any) map[string]string {
	data, _ := json.Marshal(config) // plain data, which cannot fail
	sum := sha256.Sum256(data)
	return map[string]string{settingsKey: hex.EncodeToString(sum[:8]), formatKey: strconv.Itoa(format)}
}

// hasSettings also takes those of a newer version, which another gateway has made.
func hasSettings(have, want map[string]string) bool {
	return have[settingsKey] == want[settingsKey] || formatIn(have[formatKey]) > format
}

// inCluster has a stream kept by several servers. How it is written is theirs: each syncs its log of all streams.
func inCluster(cfg jetstream.StreamConfig) jetstream.StreamConfig {
	cfg.Replicas, cfg.PersistMode = replicas, jetstream.DefaultPersistMode
	return cfg
}

// streamsOf returns the streams as the embedded server keeps them.
func streamsOf(o Options) []jetstream.StreamConfig {
	all := streamConfigs(o)
	for i := range all {
		if o.Cluster != nil {
			all[i] = inCluster(all[i])
		}
	}
	return all
}

// createStreams makes the streams or brings those of an older version up to date.
func (q *Queue) createStreams(ctx context.Context, all []jetstream.StreamConfig) error {
	for _, cfg := range all {
		if err := q.insistOnStream(ctx, func(ctx context.Context) error { return createStream(ctx, q.js, cfg) }); err != nil {
			return err
		}
	}
	return nil
}

// insistOnStream is persist for what makes or changes a stream. The log says when that takes all gateways.
func (q *Queue) insistOnStream(ctx context.Context, f func(context.Context) error) error {
	var once sync.Once
	return q.persist(ctx, func(ctx context.Context) error {
		err := f(ctx)
		if peerless(err) {
			once.Do(func() {
				q.log.Warn("waiting for the other gateways: a new cluster begins when there is one for each copy, and streams change only then")
			})
		}
		return err
	})
}

// createStream makes a stream or brings it up to date. How it writes to its file cannot be changed once it exists.
func createStream(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig) error {
	cfg.Metadata = settings(cfg)
	s, err := js.Stream(ctx, cfg.Name)
	switch {
	case err == nil && hasSettings(s.CachedInfo().Config.Metadata, cfg.Metadata):
		return nil
	case err == nil:
		cfg.PersistMode = s.CachedInfo().Config.PersistMode
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("open stream %s: %w", cfg.Name, err)
	}
	if _, err := js.CreateOrUpdateStream(ctx, cfg); err != nil {
		return fmt.Errorf("create stream %s: %w", cfg.Name, err)
	}
	return nil
}

const (
	callAckWait = 90 * time.Second // longer than MaxCallTime, so that the queue never starts a call twice
	maxPending  = 1000
	maxDeliver  = 5 // how often an event is delivered to workers that die with it
)

// How long an event of a worker that died waits until another worker has it: Options.AckWait.
const (
	DefaultAckWait = 30 * time.Second
	MinAckWait     = 3 * time.Second
	heartbeat      = MinAckWait / 3
)

// MaxCallTime is the longest time a call may take, from Call to its deadline.
const MaxCallTime = 80 * time.Second

// AddFunction makes the consumers of a function, one for each stream that holds work, and remembers when its events
// are too old. It may be called again.
func (q *Queue) AddFunction(ctx context.Context, function string, r Retry) error {
	token, err := Token(function)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		stream, filter string
		wait           time.Duration
		deliver        int
	}{
		{streamCalls, callSubject("*", token), callAckWait, -1}, // its deadline ends a call
		{streamRetry, redoSubject(token), q.ackWait, maxDeliver},
		{streamEvents, eventSubject("*", token), q.ackWait, maxDeliver},
	} {
		err := q.persist(ctx, func(ctx context.Context) error {
			return q.createConsumer(ctx, c.stream, jetstream.ConsumerConfig{
				Durable: consumerName(token), FilterSubject: c.filter, AckPolicy: jetstream.AckExplicitPolicy,
				AckWait: c.wait, MaxDeliver: c.deliver, MaxAckPending: maxPending, MaxWaiting: maxWaiting,
			})
		})
		if err != nil {
			return fmt.Errorf("create consumer of %s on %s: %w", function, c.stream, err)
		}
	}
	q.policies.Store(function, r.withDefaults())
	return q.flushAll()
}

// createConsumer makes a consumer or brings it up to date.
func (q *Queue) createConsumer(ctx context.Context, stream string, cfg jetstream.ConsumerConfig) error {
	cfg.Metadata = settings(cfg)
	c, err := q.js.Consumer(ctx, stream, cfg.Durable)
	switch {
	case err == nil && hasSettings(c.CachedInfo().Config.Metadata, cfg.Metadata):
		return nil
	case err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound):
		return err
	}
	_, err = q.js.CreateOrUpdateConsumer(ctx, stream, cfg)
	return err
}

// maxWaiting bounds the pulls that wait at one consumer: one per idle slot in the whole swarm.
const maxWaiting = 8192

// errStoreFull is what JetStream would say.
var errStoreFull = errors.New("what all streams may take is taken")

// storeFull reports whether JetStream refused a message because of what all streams take together.
func storeFull(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, errStoreFull) || errors.As(err, &api) && (api.ErrorCode == 10002 || api.ErrorCode == 10023)
}

// full reports whether JetStream refused a message because a limit of the store is reached.
func full(err error) bool {
	var api *jetstream.APIError
	return storeFull(err) || errors.As(err, &api) && (api.ErrorCode == 10077 || api.ErrorCode == 10047)
}

// busy reports whether JetStream refused a message because it has more in hand than it takes. 10176 is a batch of which
// it has dropped a message for that.
func busy(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == 10167 || api.ErrorCode == 10176 || api.ErrorCode == 10210)
}

// leaderless reports whether the cluster, a stream or a consumer has no leader at the moment, or one that has not decided yet:
// 10158 is a message that was sent again while the servers agree on the first one.
func leaderless(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, jetstream.ErrConsumerLeadershipChanged) ||
		errors.As(err, &api) && slices.Contains([]jetstream.ErrorCode{10008, 10009, 10118, 10119, 10158}, api.ErrorCode)
}

// peerless reports whether fewer gateways have been seen than a new stream has copies.
func peerless(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == 10005
}

// unavailable reports whether the server could not be asked, took no more, or did not answer in time.
func unavailable(err error) bool {
	return busy(err) || leaderless(err) || peerless(err) || errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) ||
		errors.Is(err, nats.ErrConnectionDraining) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, jetstream.ErrNoStreamResponse)
}
