// Package queue carries events and calls from whoever accepted them to the functions' workers, through NATS
// JetStream. It is the only package that knows NATS.
//
// What it promises:
//
//   - Publish returns only when the event is on disk, synced. From then on the event is there until a worker settled
//     it, whatever dies meanwhile: delivery is at least once.
//   - Call records the call, gives it to one idle worker and waits for its reply. A call is started at most once by
//     the queue, never after its deadline, and its reply reaches this caller or nobody.
//   - A worker is given work only for a slot that is idle, calls before replays before events.
//   - Nothing that ran is deleted by running it: events, calls and the outcome of every attempt can be listed and
//     replayed until the limits of their streams are reached.
package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"github.com/nats-io/nkeys"
)

const (
	// MaxBody is the largest body of an event, a call or a reply, in bytes: with its headers it fits the largest
	// message that NATS recommends.
	MaxBody    = maxPayload - 64<<10
	maxPayload = 8 << 20

	dispatchInbox = "_INBOX_dispatch" // replies to gateways and to the command line
	workerInbox   = "_INBOX_worker"
)

// Queue is a connection to the streams. It is safe for concurrent use.
type Queue struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	log     *slog.Logger
	server  *embedded // nil when the server is another process's
	service micro.Service

	feeds    sync.Map // function -> *Feed of this process
	callers  callers
	presence presence
}

// Options of Open. The zero value of a field means its default.
type Options struct {
	Dir       string       // data folder, made when it is missing; required
	Listen    string       // TCP address for workers and the nats CLI; "" keeps the server to this process
	MaxEvents int64        // bytes that FUNKER_EVENTS may take; 4 GiB
	Log       *slog.Logger // slog.Default
}

// Open starts the embedded server on a data folder and connects to it. It returns ErrLocked when another process
// uses the folder, and ErrAddressInUse.
func Open(ctx context.Context, o Options) (*Queue, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.MaxEvents == 0 {
		o.MaxEvents = 4 << 30
	}
	s, key, err := startServer(o.Dir, o.Listen, o.Log)
	if err != nil {
		return nil, err
	}
	q, err := connect("", dispatchInbox, key, o.Log, nats.InProcessServer(s))
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	q.server = s
	if err := q.start(ctx, o.MaxEvents); err != nil {
		return nil, errors.Join(err, q.Close())
	}
	return q, nil
}

func (q *Queue) start(ctx context.Context, maxEvents int64) error {
	if err := createStreams(ctx, q.js, maxEvents); err != nil {
		return err
	}
	return q.serve()
}

// Role is what a connection may do.
type Role string

// The roles.
const (
	RoleAdmin  Role = dispatchInbox // everything; key file AdminKey
	RoleWorker Role = workerInbox   // Feed only; key file WorkerKey
)

// Dial connects to the server of a gateway with a key file of its data folder. The connection is made again whenever
// it breaks, for ever; that of a worker need not succeed at first.
func Dial(url, keyFile string, role Role, log *slog.Logger) (*Queue, error) {
	key, err := readKey(keyFile)
	if err != nil {
		return nil, err
	}
	var opts []nats.Option
	if role == RoleWorker {
		// A worker may start before its gateway.
		opts = append(opts, nats.RetryOnFailedConnect(true), nats.ConnectHandler(func(nc *nats.Conn) {
			log.Info("connected to the queue", "server", nc.ConnectedUrlRedacted())
		}))
	}
	return connect(url, string(role), key, log, opts...)
}

func readKey(file string) (nkeys.KeyPair, error) {
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	return loadKey(file)
}

func connect(url, inbox string, key nkeys.KeyPair, log *slog.Logger, opts ...nats.Option) (*Queue, error) {
	auth, err := withKey(key)
	if err != nil {
		return nil, err
	}
	q := &Queue{log: log}
	opts = append(opts, auth, nats.Name("funker-dispatch"), nats.CustomInboxPrefix(inbox),
		nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		nats.IgnoreAuthErrorAbort(), nats.PingInterval(2*time.Second), nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("queue connection lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("queue connection is back", "server", nc.ConnectedUrlRedacted()) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Error("queue connection", "error", err) }),
	)
	if q.nc, err = nats.Connect(url, opts...); err != nil {
		return nil, fmt.Errorf("connect to the queue at %s: %w", url, err)
	}
	if q.js, err = jetstream.New(q.nc); err != nil {
		q.nc.Close()
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	if inbox == dispatchInbox {
		err = q.callers.listen(q.nc)
	}
	if err != nil {
		q.nc.Close()
		return nil, err
	}
	return q, nil
}

// URL is where workers and the nats CLI connect; "" when the server listens to this process only.
func (q *Queue) URL() string {
	if q.server == nil || q.server.Addr() == nil {
		return ""
	}
	return "nats://" + q.server.Addr().String()
}

// Close ends the connection, and the embedded server when there is one. What is on its way is flushed first.
func (q *Queue) Close() error {
	var err error
	if q.service != nil {
		err = q.service.Stop()
	}
	if flush := q.nc.FlushTimeout(time.Second); flush != nil && !errors.Is(flush, nats.ErrConnectionClosed) && err == nil {
		err = fmt.Errorf("flush: %w", flush)
	}
	q.nc.Close()
	if q.server != nil {
		return errors.Join(err, q.server.stop())
	}
	return err
}
