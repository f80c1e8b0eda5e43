package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What an outside server must have.
const (
	leastVersion  = "2.15"  // of the server
	leastLevel    = 5       // of its API: that of leastVersion
	leastPayload  = 1 << 20 // bytes; NATS' own default
	leastReaders  = 10      // consumers of one stream, besides those of functions
	subjectProbe  = "funker.probe"
	expectedProbe = "FUNKER_PROBE" // a stream that there is not: what is sent for it is stored nowhere
)

// suffices returns what the account may have, or an error that says all that is missing.
func (q *Queue) suffices(ctx context.Context, o *Outside) (*jetstream.AccountInfo, error) {
	if err := q.checkVersion(o.Domain); err != nil {
		return nil, err
	}
	if err := q.checkPermissions(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, publishLimit)
	defer cancel()
	info, err := q.js.AccountInfo(ctx)
	if err != nil {
		return nil, noJetStream(err, o.Domain)
	}
	foreign, err := q.foreignStreams(ctx)
	if err != nil {
		return nil, err
	}
	return info, errors.Join(checkLevel(info.API.Level), q.checkPayload(), checkLimits(info, o.Replicas), foreign)
}

// checkVersion looks at the server of this connection; in a domain another one has the streams.
func (q *Queue) checkVersion(domain string) error {
	have := q.nc.ConnectedServerVersion()
	if domain != "" || !older(have, leastVersion) {
		return nil
	}
	return fmt.Errorf("its version is %s, and %s or newer is needed: upgrade it", have, leastVersion)
}

// older compares versions such as "2.15.2" and "2.14.0-RC.1" by their first two numbers.
func older(have, want string) bool {
	h, w := numbers(have), numbers(want)
	return h[0] < w[0] || h[0] == w[0] && h[1] < w[1]
}

func numbers(version string) (n [2]int) {
	for i, part := range strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3) {
		if i < len(n) {
			n[i], _ = strconv.Atoi(part) // what is no number is old
		}
	}
	return n
}

func checkLevel(have int) error {
	if have < leastLevel {
		return fmt.Errorf("its JetStream has API level %d, and %d is needed: upgrade the servers that keep the streams to %s", have, leastLevel, leastVersion)
	}
	return nil
}

// noJetStream says why nobody answered for JetStream.
func noJetStream(err error, domain string) error {
	where := "this account: enable it there (an account's jetstream in the configuration, or nsc edit account --js-enable), or name the domain with --nats-domain"
	if domain != "" {
		where = fmt.Sprintf("the domain %s: is that its name, and the leaf node connected?", domain)
	}
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) || errors.Is(err, nats.ErrNoResponders) ||
		errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("there is no JetStream in %s: %w", where, err)
	}
	return fmt.Errorf("ask for the limits of the account: %w", err)
}

// checkPayload refuses a server whose messages are too small for anything. Below maxPayload calls and replies have less room.
func (q *Queue) checkPayload() error {
	if have := q.nc.MaxPayload(); have < leastPayload {
		return fmt.Errorf("its max_payload is %s, and %s is needed, better %s", formatSize(have), formatSize(leastPayload), formatSize(maxPayload))
	}
	if q.MaxMessage() < MaxMessage {
		q.log.Warn("the server's max_payload is small: calls and replies have less room; large events are stored in pieces as always",
			"max_payload", formatSize(q.nc.MaxPayload()), "largest_call", formatSize(int64(q.MaxMessage())), "better", formatSize(maxPayload))
	}
	return nil
}

// MaxMessage is the largest body of a call or a reply on this connection: the constant MaxMessage, or less where the server
// takes no larger messages.
func (q *Queue) MaxMessage() int {
	if most := q.nc.MaxPayload(); most > 0 {
		return min(MaxMessage, int(most)-(maxPayload-MaxMessage))
	}
	return MaxMessage // there has been no connection yet
}

// foreignStreams says which streams have the names of ours and are not.
func (q *Queue) foreignStreams(ctx context.Context) (found, err error) {
	for _, cfg := range streamConfigs(Options{}) {
		s, err := q.js.Stream(ctx, cfg.Name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
		case err != nil:
			return nil, fmt.Errorf("look for stream %s: %w", cfg.Name, err)
		case s.CachedInfo().Config.Metadata[settingsKey] == "":
			found = errors.Join(found, fmt.Errorf("there is a stream %s that is not of this program: remove it, or take another account", cfg.Name))
		}
	}
	return found, nil
}

// checkPermissions tries what a gateway does with NATS itself. What it does to a stream that is there has no effect.
func (q *Queue) checkPermissions() error {
	var missing []string
	for _, p := range q.probes() {
		may, err := q.may(p)
		if err != nil {
			return err
		}
		if !may {
			missing = append(missing, p.String())
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("the user may not %s: give it the permissions of a gateway, see docs/nats.md", strings.Join(missing, ", "))
}

// probe is something that a gateway has to be allowed. Without a body it is a subscription.
type probe struct{ subject, body string }

func (p probe) String() string {
	if p.body == "" {
		return "subscribe to " + p.subject
	}
	return "publish to " + p.subject
}

func (q *Queue) probes() (all []probe) {
	for _, subject := range []string{
		subjectProbe, "funker.here.*", "funker.wake.*.*", logSubject("*", "*"), heartbeatSubject("*"), leaderAdvisory("*"), "$SRV.PING", "$SRV.INFO", "$SRV.STATS",
	} {
		all = append(all, probe{subject, ""})
	}
	for _, subject := range []string{
		subjectProbe, workerInbox + ".probe", configSubject("probe"), chunkSubject("probe"), "$JS.ACK.probe",
		q.prefix + "INFO", q.prefix + "STREAM.INFO." + streamEvents, q.prefix + "DIRECT.GET." + streamEvents, q.prefix + leaderGet + streamEvents,
		q.prefix + "STREAM.CREATE." + streamEvents, q.prefix + "STREAM.UPDATE." + streamEvents,
		q.prefix + "CONSUMER.CREATE." + streamEvents + ".probe", q.prefix + "CONSUMER.INFO." + streamEvents + ".probe",
		pullSubject(q.prefix, streamEvents, "probe"),
	} {
		all = append(all, probe{subject, "probe"}) // which JetStream does not understand
	}
	return append(all, probe{q.prefix + "STREAM.PURGE." + streamEvents, `{"seq":1}`}) // all before the first message
}

// may tries a probe. The server says what it does not allow before it answers a ping.
func (q *Queue) may(p probe) (bool, error) {
	if p.body != "" {
		m := &nats.Msg{Subject: p.subject, Header: nats.Header{"Nats-Expected-Stream": {expectedProbe}}, Data: []byte(p.body)}
		if err := q.nc.PublishMsg(m); err != nil {
			return false, fmt.Errorf("%s: %w", p, err)
		}
	} else {
		s, err := q.nc.SubscribeSync(p.subject)
		if err != nil {
			return false, fmt.Errorf("%s: %w", p, err)
		}
		defer func() { _ = s.Unsubscribe() }() // it has ended already when it was not allowed
	}
	if err := q.nc.FlushTimeout(publishLimit); err != nil {
		return false, fmt.Errorf("%s: %w", p, err)
	}
	err := q.nc.LastError()
	return !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), strconv.Quote(p.subject)), nil
}
