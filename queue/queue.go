// Package queue carries events and calls from whoever accepted them to the functions' workers, through NATS
// JetStream. It is the only package that knows NATS.
//
// What it promises:
//
//   - Publish returns only when the event is on disk, synced. From then on it is run, again and again as its Retry says,
//     until it succeeds or becomes a dead letter, whatever dies meanwhile: delivery is at least once.
//   - Call records the call, gives it to one idle worker and waits for its reply. A call is started at most once by
//     the queue, never after its deadline, and its reply reaches this caller or nobody.
//   - A worker is given work only for a slot that is idle, calls before replays before events.
//   - Nothing that ran is deleted by running it: events, calls and the outcome of every attempt can be listed and
//     replayed until the limits of their streams are reached.
package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
)

const (
	// MaxBody is the largest body of an event, in bytes.
	MaxBody = 64 << 20
	// MaxMessage is the largest body of a call or a reply, in bytes: with its headers it fits the largest message that
	// NATS recommends. The body of an event that is larger is stored apart from its message.
	MaxMessage = maxPayload - 64<<10
	maxPayload = 8 << 20

	dispatchInbox = "_INBOX_dispatch" // replies to gateways and to the command line
	workerInbox   = "_INBOX_worker"

	clockSkew = 2 * time.Second // between two machines
)

// Queue is a connection to the streams. It is safe for concurrent use.
type Queue struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	log     *slog.Logger
	server  *embedded    // nil when the server is another process's
	sync    *syncer      // nil when the server is another process's, or syncs by itself
	outside *outside     // nil unless this is a gateway with a server of somebody else's
	index   *index       // nil unless this is a gateway
	house   *housekeeper // likewise
	service *service     // likewise
	lease   *lease       // nil unless there may be several gateways
	prefix  string       // of the API of JetStream: "$JS.API." or "$JS.<domain>.API."
	ackWait time.Duration
	begun   map[string]uint64 // the last message of the streams of events, when the server of this process began
	ready   atomic.Bool       // the connection may do what its role does
	joined  atomic.Int64      // when the connection was made, unix nanoseconds; 0 while there is none
	member  atomic.Bool       // a server that it was connected to is one of several
	link    atomic.Pointer[link]
	batcher batcher

	policies sync.Map // function -> Retry
	sweeper  sweeper
	feeds    sync.Map // function -> *Feed of this process
	callers  callers
	presence presence
	arrived  func(function string)                      // see Arrivals; nil when nobody wants to know
	paused   atomic.Pointer[func(function string) bool] // see PausedBy; nil when nobody knows
	beats    beats
	logging  sync.WaitGroup // lines of the log that are on their way, in a cluster
	tracer   trace.Tracer   // nil: nothing is traced
}

// Durability is when the queue confirms an event.
type Durability string

// The durabilities.
const (
	DurabilityGroup  Durability = "group"  // after a sync to disk that all who wait share
	DurabilityAlways Durability = "always" // after a sync of its own, by the server
	DurabilityNone   Durability = "none"   // without a sync: a power cut may lose what was accepted
)

// ParseDurability reads a durability as a person writes it.
func ParseDurability(s string) (Durability, error) {
	all := []Durability{DurabilityGroup, DurabilityAlways, DurabilityNone}
	if !slices.Contains(all, Durability(s)) {
		return "", fmt.Errorf("there is no durability %q: take %s", shorten(s, 40), choice(all))
	}
	return Durability(s), nil
}

// Options of Open. The zero value of a field means its default.
type Options struct {
	Dir        string        // data folder, made when it is missing; required
	Listen     string        // TCP address for workers and the nats CLI, or a host name of this machine; "" keeps the server to this process
	MaxEvents  int64         // bytes that FUNKER_EVENTS may take; half of the disk, at most 4 GiB; in a cluster what it has already
	Durability Durability    // DurabilityGroup
	AckWait    time.Duration // DefaultAckWait, at least MinAckWait
	Log        *slog.Logger  // slog.Default

	Metrics prometheus.Registerer // where the queue's metrics go; nil: nowhere
	Tracer  trace.Tracer          // makes spans of what is published, called and replayed; nil: none are made

	// Cluster makes this one of several gateways with one store; nil: it stands alone. Durability is that of the cluster then.
	Cluster *Cluster
	// Outside keeps the streams at a server of somebody else's, in place of the embedded one; nil: it is embedded. Listen,
	// Durability and WorkersWithoutKey are that server's matter then.
	Outside *Outside

	// WorkersWithoutKey lets everybody who reaches Listen be a worker: take work, with its bodies, and answer calls.
	WorkersWithoutKey bool

	held bool // see Hold
}

func (o Options) withDefaults() (Options, error) {
	o.Durability = cmp.Or(o.Durability, DurabilityGroup)
	o.AckWait = cmp.Or(o.AckWait, DefaultAckWait)
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.AckWait < MinAckWait {
		return o, fmt.Errorf("acknowledgement wait is %s: choose %s or more", o.AckWait, MinAckWait)
	}
	switch {
	case o.Outside != nil && o.Cluster != nil:
		return o, errors.New("a gateway is one of a cluster, or its streams are at a server of somebody else's, not both")
	case o.Outside != nil:
		return o, o.Outside.Check()
	case o.Cluster == nil:
		return o, nil
	}
	if o.Durability == DurabilityNone {
		return o, errors.New("a cluster is durable: each gateway syncs what it confirms")
	}
	if o.Listen == "" {
		return o, errors.New("a gateway of a cluster listens for workers and for the others: give it a NATS address")
	}
	o.Durability = DurabilityAlways
	return o, o.Cluster.Check()
}

// Open starts the embedded server on a data folder and connects to it, or connects to Options.Outside. It returns
// ErrLocked when another process uses the folder, ErrAddressInUse, ErrNotServed, and ErrOutside.
func Open(ctx context.Context, o Options) (*Queue, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if o.Outside != nil {
		return openOutside(ctx, o)
	}
	q, key, err := openStore(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := q.start(ctx, o, key); err != nil {
		return nil, errors.Join(err, q.Close())
	}
	return q, nil
}

// openStore leaves the streams as they are. It also returns the key of this process.
func openStore(ctx context.Context, o Options) (*Queue, nkeys.KeyPair, error) {
	s, key, err := startServer(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	auth, err := withKey(key)
	if err != nil {
		return nil, nil, errors.Join(err, s.stop(func() error { return nil }))
	}
	q, err := connect(DialOptions{Role: RoleAdmin, Log: o.Log}, auth, nats.InProcessServer(s))
	if err != nil {
		return nil, nil, errors.Join(err, s.stop(func() error { return nil }))
	}
	q.server, q.ackWait, q.tracer = s, o.AckWait, o.Tracer
	if o.Durability == DurabilityGroup {
		q.sync = newSyncer(s.StoreDir())
	}
	return q, key, nil
}

func (q *Queue) start(ctx context.Context, o Options, key nkeys.KeyPair) error {
	s, err := spaceOf(o.Dir)
	if err != nil {
		return err
	}
	told := o.MaxEvents > 0
	if o.MaxEvents, err = s.maxEvents(o.MaxEvents); err != nil {
		return err
	}
	if o.Cluster != nil {
		if err := q.join(ctx); err != nil {
			return err
		}
		if !told {
			if o.MaxEvents, err = q.shareEvents(ctx, o, s); err != nil {
				return err
			}
		}
	}
	if err := q.refuseNotice(ctx); err != nil {
		return err
	}
	if err := q.createStreams(ctx, streamsOf(o)); err != nil {
		return err
	}
	if err := q.persist(ctx, q.noteBegin); err != nil {
		return err
	}
	if o.Cluster != nil {
		q.holdLease(o.Cluster.Node, true, slices.Sorted(maps.Keys(o.Cluster.Peers)))
	}
	q.index = newIndex(q, func() (puller, error) { return dialTap(q.server.InProcessConn, key) })
	if err := q.work(ctx, o, s.store()); err != nil {
		return err
	}
	return q.refuseNotice(ctx) // whoever leaves one looks for gateways that answer after that
}

// work begins what a gateway does when its streams are there. store is how much they may take together, in bytes.
func (q *Queue) work(ctx context.Context, o Options, store int64) error {
	if o.Metrics != nil {
		if err := q.measure(o.Metrics); err != nil {
			return err
		}
	}
	if err := q.keepHouse(ctx, o, store); err != nil {
		return err
	}
	if err := q.hear(); err != nil {
		return err
	}
	if err := q.serve(); err != nil || o.Cluster == nil {
		return err
	}
	return q.serveGateway(o.Cluster)
}

func (q *Queue) noteBegin(ctx context.Context) error {
	q.begun = make(map[string]uint64)
	for _, stream := range []string{streamEvents, streamRetry} {
		state, err := q.state(ctx, stream)
		if errors.Is(err, jetstream.ErrStreamNotFound) && q.clustered() { // it is there: another server has just said so
			err = fmt.Errorf("%w: %w", jetstream.ErrNoStreamResponse, err)
		}
		if err != nil {
			return err
		}
		q.begun[stream] = state.LastSeq
	}
	return nil
}

// Role is what a connection may do.
type Role string

// The roles.
const (
	RoleAdmin  Role = dispatchInbox // everything; key file AdminKey
	RoleWorker Role = workerInbox   // Feed only; key file WorkerKey
)

// ErrKey means that a key is not that of the role: WorkerKey in place of AdminKey.
var ErrKey = errors.New("this key may not do that")

// Dial connects to the server of a gateway with a key file of its data folder: see DialWith.
func Dial(url, keyFile string, role Role, log *slog.Logger) (*Queue, error) {
	return DialWith(DialOptions{URL: url, KeyFile: keyFile, Role: role, Log: log})
}

// DialOptions say how to reach the server of a gateway.
type DialOptions struct {
	URL     string // required; with Dialer it is a name only. It may have a user and a password
	KeyFile string
	Key     []byte // what a key file holds; takes the place of KeyFile
	Role    Role   // required

	// For a server of somebody else's; see Outside.
	CredsFile string // takes the place of KeyFile; see Outside.CredsFile
	CAFile    string // see Outside.CAFile
	Domain    string // see Outside.Domain
	Open      bool   // without a KeyFile: as URL says

	// Dialer makes the connections; nil: TCP to URL.
	Dialer func() (net.Conn, error)
	Log    *slog.Logger // required
}

// DialWith connects to the server of a gateway. The connection is made again whenever it breaks, for ever; that of a
// worker need not succeed at first, that of an admin returns ErrKey for another key. A worker without a key connects to a
// gateway that allows it: see Options.WorkersWithoutKey.
func DialWith(o DialOptions) (*Queue, error) {
	opts, err := o.auth()
	if err != nil {
		return nil, err
	}
	if o.Role == RoleWorker {
		// A worker may start before its gateway.
		opts = append(opts, nats.RetryOnFailedConnect(true))
	}
	if o.Dialer != nil {
		opts = append(opts, nats.SetCustomDialer(dialer(o.Dialer)), nats.SkipHostLookup(), nats.Timeout(dialerPatience))
	}
	return connect(o, opts...)
}

// key is nil for whoever needs none.
func (o DialOptions) key() (nkeys.KeyPair, error) {
	switch {
	case o.Key != nil:
		key, err := parseKey(o.Key)
		if err != nil {
			return nil, fmt.Errorf("key: %w", err)
		}
		return key, nil
	case o.KeyFile == "" && (o.Role == RoleWorker || o.Open):
		return nil, nil
	}
	return readKey(o.KeyFile)
}

// dialerPatience is how long the server's first word may take: behind a Dialer a program may have to start first.
const dialerPatience = 10 * time.Second

// dialer is a nats.CustomDialer.
type dialer func() (net.Conn, error)

// Dial implements nats.CustomDialer.
func (d dialer) Dial(_, _ string) (net.Conn, error) { return d() }

func readKey(file string) (nkeys.KeyPair, error) {
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	return loadKey(file)
}

func connect(o DialOptions, opts ...nats.Option) (*Queue, error) {
	inbox, log := string(o.Role), o.Log
	q := &Queue{log: log, prefix: apiPrefix(o.Domain), batcher: batcher{turn: make(chan struct{}, 1)}}
	q.relink()
	opts = append(opts, nats.Name("funker-dispatch"), nats.CustomInboxPrefix(inbox),
		nats.SkipHostLookup(), // the dialer does it, within its two seconds: a name server that drops a query would stop the client for ten
		nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		nats.IgnoreAuthErrorAbort(), nats.PingInterval(2*time.Second), nats.MaxPingsOutstanding(2),
		nats.ConnectHandler(func(nc *nats.Conn) {
			q.noteJoin(nc)
			if inbox == workerInbox {
				log.Info("connected to the queue", "server", nc.ConnectedUrlRedacted())
			}
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			q.joined.Store(0)
			q.relink()
			if err != nil {
				log.Warn("queue connection lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			q.noteJoin(nc)
			log.Info("queue connection is back", "server", nc.ConnectedUrlRedacted())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if q.ready.Load() || !errors.Is(err, nats.ErrPermissionViolation) { // which listen returns
				log.Error("queue connection", "error", err)
			}
		}),
	)
	var err error
	if q.nc, err = nats.Connect(o.URL, opts...); err != nil {
		return nil, fmt.Errorf("connect to the queue at %s: %w", redact(o.URL), err)
	}
	if q.js, err = jetstream.NewWithAPIPrefix(q.nc, strings.TrimSuffix(q.prefix, ".")); err != nil {
		q.nc.Close()
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	if inbox == dispatchInbox {
		err = q.listen()
	}
	if err != nil {
		q.nc.Close()
		return nil, err
	}
	q.ready.Store(true)
	return q, nil
}

// listen subscribes to replies. It returns ErrKey when the server does not allow that, as to a worker's key.
func (q *Queue) listen() error {
	if err := q.callers.listen(q.nc); err != nil {
		return err
	}
	if err := q.nc.FlushTimeout(publishLimit); err != nil {
		return fmt.Errorf("listen for replies: %w", err)
	}
	if errors.Is(q.nc.LastError(), nats.ErrPermissionViolation) {
		return ErrKey
	}
	return nil
}

// joinedBefore reports whether a message was stored after this connection was made, or after the server of this process
// began: sequences tell that for certain, and a clock may be set back at a start.
func (q *Queue) joinedBefore(m *nats.MsgMetadata) bool {
	if q.begun != nil {
		last, known := q.begun[m.Stream]
		return known && m.Sequence.Stream > last
	}
	joined := q.joined.Load()
	return joined != 0 && time.Unix(0, joined).Add(clockSkew).Before(m.Timestamp)
}

func (q *Queue) noteJoin(nc *nats.Conn) {
	q.joined.Store(time.Now().UnixNano())
	if nc.ConnectedClusterName() != "" {
		q.member.Store(true)
	}
}

// Connected reports whether the server is reached now.
func (q *Queue) Connected() bool { return q.nc.IsConnected() }

// gateway reports whether this process is one: it knows where every event stands, and others ask it.
func (q *Queue) gateway() bool { return q.server != nil || q.outside != nil }

// URL is where workers and the nats CLI connect; "" when the server listens to this process only. It has no password.
func (q *Queue) URL() string {
	if q.outside != nil {
		return redact(q.outside.url)
	}
	if q.server == nil || q.server.Addr() == nil {
		return ""
	}
	return "nats://" + q.server.Addr().String()
}

// Close ends the connection, and the embedded server when there is one. What is on its way is flushed first.
func (q *Queue) Close() error {
	if q.house != nil {
		q.house.close()
	}
	if q.lease != nil {
		q.lease.close()
	}
	var err error
	if q.service != nil {
		err = q.service.Stop()
	}
	q.logging.Wait()
	if q.index != nil {
		q.index.close()
	}
	if q.nc.IsConnected() { // else its gateway is gone
		if flush := q.nc.FlushTimeout(publishLimit); flush != nil && err == nil {
			err = fmt.Errorf("flush: %w", flush)
		}
	}
	q.nc.Close()
	switch {
	case q.server != nil:
		return errors.Join(err, q.server.stop(q.flushAll))
	case q.outside != nil:
		return errors.Join(err, q.outside.lock.Close())
	}
	return err
}
