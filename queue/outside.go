package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Outside is a NATS server of somebody else's that keeps the streams: one server, a cluster, or one behind a leaf node.
// Several gateways may share it, each with its own data folder. The names of streams and subjects are always the same, so
// they share an account of that server only if they shall have one store.
//
// What such a server confirms is as durable as its own settings make it: Publish returns when it has confirmed.
type Outside struct {
	// URL says where it is, such as "nats://nats.example.org:4222", several separated by commas; required. With the scheme
	// tls:// the server must have TLS. It may have a user and a password, which no error and no log line shows.
	URL       string
	CredsFile string // with the JWT and the seed of a user, as nsc writes it
	KeyFile   string // with the seed of an nkey, in place of CredsFile
	CAFile    string // certificates in PEM that the server's own is checked with; "": those of the system
	Domain    string // of JetStream, when that is not at the server of URL itself

	Node             string   // name of this gateway, for people; "" is the host name
	Replicas         int      // of each stream, 1, 3 or 5; 0: 3 in a cluster, else 1
	PlacementTags    []string // of the servers that keep the streams
	PlacementCluster string   // name of their cluster
}

// ErrOutside means that a server of somebody else's does not suffice. The error says what is missing.
var ErrOutside = errors.New("this NATS server does not suffice")

// outside is what a gateway has of such a server.
type outside struct {
	url      string
	lock     *os.File // on the data folder
	replicas int      // of each stream
	retries  uint64   // bytes of FUNKER_RETRY above which nothing new is accepted; 0: the stream has no limit
}

// Check refuses options that cannot work.
func (o *Outside) Check() error {
	switch {
	case o.CredsFile != "" && o.KeyFile != "":
		return errors.New("credentials and a key are two ways to log in at NATS: leave one out")
	case o.Replicas < 0 || o.Replicas > 5 || o.Replicas != 0 && o.Replicas%2 == 0:
		return fmt.Errorf("%d replicas: take 1, 3 or 5", o.Replicas)
	case strings.ContainsAny(o.Domain, " .*>\t\r\n"):
		return fmt.Errorf("%q is no JetStream domain: it is one word", shorten(o.Domain, 40))
	}
	return nil
}

// openOutside is Open with a server of somebody else's.
func openOutside(ctx context.Context, o Options) (*Queue, error) {
	lock, err := lockFolder(o.Dir)
	if err != nil {
		return nil, err
	}
	q, err := dialOutside(o)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	q.outside = &outside{url: o.Outside.URL, lock: lock}
	q.ackWait, q.tracer = o.AckWait, o.Tracer
	if err := q.startOutside(ctx, o); err != nil {
		return nil, errors.Join(err, q.Close())
	}
	return q, nil
}

func dialOutside(o Options) (*Queue, error) {
	out := o.Outside
	if err := out.claim(o.Dir); err != nil {
		return nil, err
	}
	q, err := DialWith(DialOptions{
		URL: out.URL, CredsFile: out.CredsFile, KeyFile: out.KeyFile, CAFile: out.CAFile, Domain: out.Domain, Open: true, Role: RoleAdmin, Log: o.Log,
	})
	if errors.Is(err, ErrKey) {
		return nil, fmt.Errorf("%w: the user may not subscribe to %s.>: give it the permissions of a gateway, see docs/nats.md", ErrOutside, dispatchInbox)
	}
	if errors.Is(err, nats.ErrNoServers) {
		return nil, fmt.Errorf("%w: %w: is the server running, and the address right?", ErrOutside, err)
	}
	return q, err
}

func (q *Queue) startOutside(ctx context.Context, o Options) error {
	q.ready.Store(false) // it is tried what the user may do
	info, err := q.suffices(ctx, o.Outside)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrOutside, q.URL(), err)
	}
	q.ready.Store(true)
	if err := q.createOutside(ctx, &o, info); err != nil {
		return err
	}
	node, err := os.Hostname()
	if err != nil {
		node = NewID()
	}
	q.holdLease(cmp.Or(o.Outside.Node, node), false, nil)
	q.index = newIndex(q, func() (puller, error) { return clientPuller{q}, nil })
	return q.work(ctx, o, q.outside.quota(info).mostOr(2*o.MaxEvents))
}

// createOutside makes the streams, and sets how much room events have.
func (q *Queue) createOutside(ctx context.Context, o *Options, info *jetstream.AccountInfo) (err error) {
	most, choices := o.MaxEvents, q.replicaChoices(o.Outside)
	for i, n := range choices {
		q.outside.replicas = n
		r := q.outside.quota(info)
		if o.MaxEvents, err = r.maxEvents(most); err != nil {
			return err
		}
		if r.each {
			q.outside.retries = uint64(o.MaxEvents) //nolint:gosec // a size of a disk
		}
		err = q.createStreams(ctx, o.Outside.streams(*o, n, r.each))
		if apiCode(err) != codeStandalone || i == len(choices)-1 {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w%s", ErrOutside, q.URL(), err, advice(err))
	}
	if q.outside.replicas == 1 {
		q.log.Warn("events are kept by one NATS server: a 2xx is as durable as its sync_interval makes it, by default two minutes", "replicas", 1)
	}
	return nil
}

// replicaChoices returns how many servers may keep a stream, the best first. What is in a domain is seen when it is tried.
func (q *Queue) replicaChoices(o *Outside) []int {
	switch {
	case o.Replicas > 0:
		return []int{o.Replicas}
	case o.Domain == "" && q.nc.ConnectedClusterName() == "":
		return []int{1}
	}
	return []int{3, 1}
}

// streams returns the streams as an outside server keeps them, each with a limit where the account wants one.
func (o *Outside) streams(of Options, replicas int, each bool) []jetstream.StreamConfig {
	all := streamConfigs(of)
	for i := range all {
		cfg := &all[i]
		cfg.Replicas = replicas
		if len(o.PlacementTags) > 0 || o.PlacementCluster != "" {
			cfg.Placement = &jetstream.Placement{Cluster: o.PlacementCluster, Tags: o.PlacementTags}
		}
		if each && cfg.MaxBytes == 0 {
			limitStream(cfg, of.MaxEvents)
		}
	}
	return all
}

// limitStream bounds a stream that has no limit, for an account that wants one for each. What was accepted is never dropped to make
// room: a dead letter that does not fit stays where it is; retries, whose stream must drop the oldest, fit because nothing new
// is accepted once they take as much as events may. What waits then may become as much again, and somewhat larger.
func limitStream(cfg *jetstream.StreamConfig, maxEvents int64) {
	switch cfg.Name {
	case streamRetry:
		cfg.MaxBytes = 3 * maxEvents
	case streamDead:
		cfg.MaxBytes, cfg.Discard = maxEvents/2, jetstream.DiscardNew
	default:
		cfg.MaxBytes = advisoryMaxBytes
	}
}

// advisoryMaxBytes is room for some fifty thousand advisories, which are read at once.
const advisoryMaxBytes = 16 << 20

// outsideFile marks the data folder of a gateway with a server of somebody else's. It says where that is.
const outsideFile = "nats"

// claim marks a data folder, unless it holds events.
func (o *Outside) claim(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, clusterFile)); err == nil {
		return fmt.Errorf("%w: %s is that of one in a cluster: choose another folder for --nats-url", ErrCluster, dir)
	}
	streams, err := fs.Glob(os.DirFS(serverFolder(dir)), "*")
	if err != nil {
		return fmt.Errorf("read data folder: %w", err)
	}
	if len(streams) > 0 {
		return fmt.Errorf("%s holds events of its own, and with --nats-url nobody would see them: choose another folder", dir)
	}
	if err := KeepFile(dir, outsideFile, redact(o.URL)+"\n"); err != nil {
		return fmt.Errorf("write data folder: %w", err)
	}
	return nil
}

// OutsideOf returns where the NATS server is that a gateway with this data folder uses, without a password; "" when it is
// the embedded one.
func OutsideOf(dir string) (url string, err error) {
	at, err := os.ReadFile(filepath.Join(dir, outsideFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read data folder: %w", err)
	}
	return strings.TrimSpace(string(at)), nil
}

// refuseOutside refuses to make streams in the data folder of a gateway with a server of somebody else's.
func refuseOutside(dir string) error {
	at, err := OutsideOf(dir)
	if at == "" || err != nil {
		return err
	}
	return fmt.Errorf("%s is that of a gateway whose events are at the NATS server %s: start it with --nats-url, or choose another folder", dir, at)
}

// auth returns how a connection logs in, and whom it trusts.
func (o DialOptions) auth() (opts []nats.Option, err error) {
	if o.CAFile != "" {
		if _, err := os.Stat(o.CAFile); err != nil {
			return nil, fmt.Errorf("certificates: %w", err)
		}
		opts = append(opts, nats.RootCAs(o.CAFile))
	}
	if o.CredsFile != "" {
		if _, err := os.Stat(o.CredsFile); err != nil {
			return nil, fmt.Errorf("credentials: %w", err)
		}
		return append(opts, nats.UserCredentials(o.CredsFile)), nil
	}
	key, err := o.key()
	if key == nil || err != nil {
		return opts, err
	}
	login, err := withKey(key)
	return append(opts, login), err
}

// redact takes passwords and tokens out of addresses that are separated by commas.
func redact(urls string) string {
	all := strings.Split(urls, ",")
	for i, one := range all {
		u, err := url.Parse(strings.TrimSpace(one))
		switch {
		case err != nil:
			all[i] = "(an address that cannot be read)"
		case u.User != nil:
			u.User = url.User("xxxxx")
			all[i] = u.String()
		}
	}
	return strings.Join(all, ",")
}

// apiPrefix is where JetStream takes requests in a domain, "" for that of the server.
func apiPrefix(domain string) string {
	if domain == "" {
		return "$JS.API."
	}
	return "$JS." + domain + ".API."
}
